"""Layers of a network with weights laid out for the processor, for sound that is decoded on a CPU.

The layers are those of oneDNN that torch.compile uses (`torch.ops.mkldnn`): weights are reordered once,
and an activation is computed as sums are written. These operators are private to torch, so each is tried
beside the layer that it stands for, and where it is missing, or gives something else, that stays.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from earzip.network.spectral import ConvNeXtBlock

_Network = TypeVar("_Network")

_ROWS = 512  # that weights are laid out for
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05}  # of the largest result


class PackedLinear(nn.Module):
    """A linear layer, and maybe a GELU after it, in float32 or bfloat16."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype, *, gelu: bool = False) -> None:
        super().__init__()
        self.dtype, self.gelu = dtype, gelu
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.to(dtype), _ROWS)
        self.bias = None if linear.bias is None else linear.bias.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output for ``x`` ``[..., in]``, in the layer's type."""
        attribute = "gelu" if self.gelu else "none"
        result: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(self.dtype), self.weight, self.bias, attribute, [], "tanh"
        )
        return result


@torch.inference_mode()
def packed(network: _Network, dtype: torch.dtype) -> _Network:
    """Return ``network``, on a CPU, with its linear layers packed in ``dtype``; or as it is.

    Other parameters are shared with ``network``, which stays as it is.
    """
    assert isinstance(network, nn.Module)
    shared = [*network.parameters(), *network.buffers()]
    result = copy.deepcopy(network, {id(tensor): tensor for tensor in shared})
    try:
        for module in list(result.modules()):
            for name, layer in list(module.named_children()):
                if type(layer) is not nn.Linear:
                    continue
                gelu = isinstance(module, ConvNeXtBlock) and name == "expand"
                setattr(module, name, _checked(layer, dtype, gelu))
                if gelu:
                    module.activation = nn.Identity()
    except (AttributeError, RuntimeError, _DifferentError):
        return network
    return result


class _DifferentError(Exception):
    """A packed layer does not compute what it should."""


def _checked(linear: nn.Linear, dtype: torch.dtype, gelu: bool) -> PackedLinear:
    layer = PackedLinear(linear, dtype, gelu=gelu)
    x = torch.linspace(-1, 1, 3 * linear.in_features).reshape(3, -1)
    wanted = linear(x)
    if gelu:
        wanted = nn.functional.gelu(wanted, approximate="tanh")
    difference = (layer(x).float() - wanted).abs().max()
    if not difference <= _TOLERANCE[dtype] * wanted.abs().max().clamp(min=1e-3):
        raise _DifferentError
    return layer
