"""The networks by the name that a model's specification gives its architecture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from earzip.network.config import LevelConfig, SpectralConfig, TransformConfig, network_config
from earzip.network.ear import EarVae
from earzip.network.level_vae import LevelVae
from earzip.network.oobleck import fold_for_inference
from earzip.network.spectral import SpectralVae
from earzip.network.transform import TransformVae

Network = SpectralVae | TransformVae | LevelVae | EarVae


def build_network(architecture: str, config: dict[str, Any]) -> Network:
    """Return the network with weights to be set; ValueError for what this version cannot build."""
    match network_config(architecture, config):
        case SpectralConfig() as dimensions:
            return SpectralVae(dimensions)
        case TransformConfig() as dimensions:
            return TransformVae(dimensions)
        case LevelConfig() as dimensions:
            return LevelVae(dimensions)
        case dimensions:
            return EarVae(dimensions)


_DRAWING = {
    Tensor.normal_,
    Tensor.uniform_,
    nn.init.kaiming_uniform_,
    nn.init.normal_,
    nn.init.uniform_,
}


class WithoutDrawing(TorchFunctionMode):
    """A context where weights of networks are not drawn at random: they have any values, until set."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Return the tensor as it is, if ``func`` would fill it with random numbers."""
        kwargs = kwargs or {}
        if func in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def ready_to_run(network: Network, weights: dict[str, Tensor]) -> Network:
    """Set the weights, in float32, and make ``network`` ready to encode and decode, not to train.

    Raises RuntimeError for weights of other names or shapes.
    """
    # Copies, as memory of a file has other alignment, and sums would round differently.
    own = {name: tensor.to(torch.float32, copy=True) for name, tensor in weights.items()}
    network.load_state_dict(own, assign=True)
    if isinstance(network, EarVae):
        fold_for_inference(network)
    return network.eval().requires_grad_(False)
