"""How much memory a model takes, counted without computing where that is possible."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from earzip.formats.geometry import SAMPLE_RATE, Geometry
from earzip.models.spec import ModelSpec
from earzip.models.store import verify_model
from earzip.network import native
from earzip.network.networks import Network, WithoutDrawing, build_network, ready_to_run
from earzip.runtime import GPU_BATCH, TF32

_BESIDE = 1 << 30  # on a GPU: work spaces of cuDNN and cuBLAS, and what lies between allocations


@dataclass(frozen=True)
class Footprint:
    """Bytes that a model takes in a precision."""

    weights: int
    window: int
    """The most that tensors of one window take at one time, in encoding or decoding."""

    def batch_in(self, n_bytes: int) -> int:
        """Return how many windows should fit into ``n_bytes`` of a GPU: 16, halved; 0 for none."""
        n = GPU_BATCH
        while n and self.weights + n * self.window + _BESIDE > n_bytes:
            n //= 2
        return n


def footprint(spec: ModelSpec, precision: str) -> Footprint:
    """Return what ``spec`` takes in ``precision``, as a GPU computes.

    Counted over tensors without memory; a network whose operations depend on values computes a window of
    noise on the CPU instead. Raises ValueError for a network that this version cannot build, and as
    `earzip.models.store.verify_model` does.
    """
    try:
        with FakeTensorMode(), WithoutDrawing():
            network = build_network(spec.architecture, spec.config)
            return _counted(ready_to_run(network, network.state_dict()), spec, precision)
    except (DataDependentOutputException, DynamicOutputShapeException):
        verify_model(spec)
        with WithoutDrawing():
            network = build_network(spec.architecture, spec.config)
        return _counted(ready_to_run(network, load_file(spec.weights_path)), spec, precision)


def _counted(network: Network, spec: ModelSpec, precision: str) -> Footprint:
    g = Geometry(SAMPLE_RATE, **spec.geometry)
    audio = torch.randn(1, 2, (g.core + 2 * g.encoder_context) * g.hop)
    latents = torch.randn(1, spec.n_latents, g.core + 2 * g.decoder_context)
    dtype = torch.float32 if precision == TF32 else getattr(torch, precision)
    weights = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32), native.left_out():
        return Footprint(
            sum(tensor.nbytes for tensor in weights.values()),
            max(peak_of(network.encode, audio), peak_of(network.decode, latents)),
        )


def peak_of(run: Callable[[Tensor], Any], x: Tensor) -> int:
    """Return the most bytes that ``run`` has in tensors at one time, ``x`` and its result among them."""
    with torch.inference_mode(), _counting() as count:
        count.see(x)
        run(x)
    return count.most


class _Count(TorchDispatchMode):
    """Follows the memory of tensors that operations make."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = self._now = 0
        self._living: dict[int, int] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self.see(each)
        return result

    def see(self, tensor: Tensor) -> None:
        """Count the memory of ``tensor`` from here until it is freed."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._living:
            self._living[key] = storage.nbytes()
            self._now += storage.nbytes()
            self.most = max(self.most, self._now)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._now -= self._living.pop(key)


@contextmanager
def _counting() -> Iterator[_Count]:
    with _Count() as count:
        yield count
