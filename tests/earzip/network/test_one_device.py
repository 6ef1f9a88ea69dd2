"""No network mixes devices: each runs on `meta`, where every tensor that an operation gets must be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.fx.experimental._config as fx_config
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from earzip.models.store import find_model
from earzip.network.config import EarConfig
from earzip.network.ear import EarVae
from earzip.network.networks import Network, WithoutDrawing, build_network, ready_to_run

_VALUES = ("item", "is_nonzero", "_local_scalar_dense")
"""Operations that ask for a value, which a tensor without memory does not have."""
N_FRAMES = 64


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices; numbers may be on the CPU."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        devices = {t.device.type for t in tensors if t.dim()}
        if func.__name__.startswith(_VALUES):
            assert devices <= {"meta"}
            return 1
        is_copy = func.__name__.startswith(("_to_copy", "copy_"))
        assert len(devices) < 2 or is_copy, f"{func} gets tensors of {devices}"
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _without_values(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which knows no `meta`
    with fx_config.patch(meta_nonzero_assume_all_nonzero=True):
        yield


def _of_model(name: str) -> Callable[[], tuple[Network, int]]:
    def build() -> tuple[Network, int]:
        spec = find_model(name)
        return build_network(spec.architecture, spec.config), spec.n_latents

    return build


def _ear() -> tuple[Network, int]:
    config = EarConfig(channels=8)
    return EarVae(config), config.n_latents


@pytest.mark.parametrize(
    "build", [_of_model("mini"), _of_model("mini-2"), _ear], ids=["mini", "mini-2", "ear"]
)
def test_a_network_stays_on_its_device(build: Callable[[], tuple[Network, int]]) -> None:
    with WithoutDrawing():
        network, n_latents = build()
    network = ready_to_run(network, network.state_dict()).to("meta")
    hop = network.config.hop
    with torch.inference_mode():
        audio = torch.empty(2, 2, N_FRAMES * hop, device="meta")
        latents = torch.empty(2, n_latents, N_FRAMES, device="meta")
        with OneDevice():
            mean, scale = network.encode(audio)
            sound = network.decode(latents)
    assert mean.shape == scale.shape == latents.shape
    assert sound.shape == audio.shape


def test_a_mixed_operation_would_be_seen() -> None:
    x, y = torch.zeros(3, device="meta"), torch.zeros(3)
    with OneDevice():
        _ = x * torch.tensor(2.0) + y.to("meta")
        with pytest.raises(AssertionError, match="gets tensors of"):
            torch.cat([x, y])
