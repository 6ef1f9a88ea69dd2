"""Oobleck: the convolutional encoder and decoder of Stable Audio's and of the published εar-VAE.

Modules are named and numbered so that the state dict has the published keys: sequences are under
``layers``, and the two Snakes of a residual unit are one module, used twice.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earzip.network.config import EarConfig

_AUDIO_CHANNELS = 2
_DILATIONS = (1, 3, 9)


class WeightNormConv(nn.Module):
    """A 1-D convolution with normalised weights (Salimans and Kingma, 2016), or its transpose.

    ``fold`` replaces magnitude and direction by their product, for inference.
    """

    weight: Tensor | None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.transposed = transposed
        shape = (n_in, n_out, kernel_size) if transposed else (n_out, n_in, kernel_size)
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        direction = torch.empty(shape)
        nn.init.kaiming_uniform_(direction, a=math.sqrt(5))
        self.weight_g = nn.Parameter(direction.norm(dim=(1, 2), keepdim=True))
        self.weight_v = nn.Parameter(direction)
        self.register_buffer("weight", None, persistent=False)

    @torch.no_grad()
    def fold(self) -> None:
        """Keep the weight itself from here on: half the memory, and no product a pass."""
        self.weight = torch._weight_norm(self.weight_v, self.weight_g, 0)
        del self.weight_g, self.weight_v

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of ``x`` ``[B, n_in, T]``."""
        weight = self.weight
        if weight is None:
            weight = torch._weight_norm(self.weight_v, self.weight_g, 0)
        if self.transposed:
            return F.conv_transpose1d(x, weight, self.bias, self.stride, self.padding)
        if self.stride > 1:
            return strided_conv1d(x, weight, self.bias, self.stride, self.padding)
        return F.conv1d(x, weight, self.bias, padding=self.padding, dilation=self.dilation)


def strided_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
) -> Tensor:
    """Return ``F.conv1d`` of ``x`` ``[B, n_in, T]``, right in reduced precision on every CPU.

    oneDNN 3.12, in PyTorch 2.13, gives wrong sums of bfloat16 on processors with AMX: for most shapes of
    an even n_in below 32 whose product with the kernel's width is a multiple of 32. Of the networks'
    kernels those of a stride alone are of even width. A product of matrices is right and no slower.
    """
    if not torch.is_autocast_enabled("cpu"):
        return F.conv1d(x, weight, bias, stride, padding)
    padded = F.pad(x.to(torch.get_autocast_dtype("cpu")), (padding, padding))
    pieces = padded.unfold(2, weight.shape[2], stride).transpose(1, 2)  # [B, F, n_in, kernel_size]
    return F.linear(pieces.flatten(2), weight.flatten(1), bias).transpose(1, 2)


def fold_for_inference(network: nn.Module) -> None:
    """Fold normalised weights and Snakes of ``network``; it can then no longer be trained or saved."""
    for module in network.modules():
        if isinstance(module, WeightNormConv | Snake):
            module.fold()


class Snake(nn.Module):
    """``x + sin²(αx) / β`` (Ziyin et al., 2020), α and β a channel, kept as logarithms.

    ``fold`` replaces these by what the formula needs, for inference.
    """

    scale: Tensor | None
    """α, float32 ``[n_channels, 1]``, once folded."""
    inverse: Tensor | None
    """1 / β, likewise."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(n_channels))
        self.beta = nn.Parameter(torch.zeros(n_channels))
        self.register_buffer("scale", None, persistent=False)
        self.register_buffer("inverse", None, persistent=False)

    @torch.no_grad()
    def fold(self) -> None:
        """Keep α and 1 / β themselves from here on: no exponentials and no division a pass."""
        if self.scale is None:  # residual units have one Snake twice
            self.scale = self.alpha.exp()[:, None]
            self.inverse = 1 / (self.beta.exp()[:, None] + 1e-9)
            del self.alpha, self.beta

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of ``x`` ``[B, n_channels, T]``, in the type of ``x``."""
        if self.scale is None or self.inverse is None:
            alpha, beta = self.alpha.exp()[:, None], self.beta.exp()[:, None]
            return (x + torch.sin(x * alpha).square() / (beta + 1e-9)).to(x.dtype)
        # Half of what the network reads and writes is here. Four passes over memory, all of them in the
        # type of x: α in float32 would make the rest float32 too, of twice the bytes.
        bent = torch.mul(x, self.scale, out=torch.empty_like(x))
        bent.sin_().square_()
        return torch.addcmul(x, bent, self.inverse.to(x.dtype), out=bent)


class _Layers(nn.Module):
    """Modules one after the other, under the name that the published keys have."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


class ResidualUnit(_Layers):
    """``x`` plus a dilated convolution of 7 and one of 1, a Snake before each."""

    def __init__(self, n_channels: int, dilation: int) -> None:
        snake = Snake(n_channels)
        super().__init__(
            snake,
            WeightNormConv(n_channels, n_channels, 7, dilation=dilation, padding=3 * dilation),
            snake,
            WeightNormConv(n_channels, n_channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` ``[B, n_channels, T]`` plus the unit's residual."""
        return super().forward(x).add_(x)


def _resampling(n_in: int, n_out: int, stride: int, *, up: bool) -> WeightNormConv:
    # For an even stride this padding makes the lengths exact: T to T / stride and back.
    return WeightNormConv(
        n_in, n_out, 2 * stride, stride=stride, padding=(stride + 1) // 2, transposed=up
    )


def _residual_units(n_channels: int) -> list[nn.Module]:
    return [ResidualUnit(n_channels, dilation) for dilation in _DILATIONS]


class OobleckEncoder(_Layers):
    """Audio ``[B, 2, F·hop]`` to ``[B, 2·n_latents, F]``."""

    def __init__(self, config: EarConfig) -> None:
        widths = [config.channels * multiple for multiple in (1, *config.multiples)]
        super().__init__(
            WeightNormConv(_AUDIO_CHANNELS, widths[0], 7, padding=3),
            *(
                _Layers(
                    *_residual_units(n_in), Snake(n_in), _resampling(n_in, n_out, stride, up=False)
                )
                for n_in, n_out, stride in zip(widths, widths[1:], config.strides, strict=False)
            ),
            Snake(widths[-1]),
            WeightNormConv(widths[-1], 2 * config.n_latents, 3, padding=1),
        )


class OobleckDecoder(_Layers):
    """Latents ``[B, n_latents, F]`` to audio ``[B, 2, F·hop]``."""

    def __init__(self, config: EarConfig) -> None:
        widths = [config.channels * multiple for multiple in (*config.multiples[::-1], 1)]
        strides = config.strides[::-1]
        super().__init__(
            WeightNormConv(config.n_latents, widths[0], 7, padding=3),
            *(
                _Layers(
                    Snake(n_in), _resampling(n_in, n_out, stride, up=True), *_residual_units(n_out)
                )
                for n_in, n_out, stride in zip(widths, widths[1:], strides, strict=False)
            ),
            Snake(widths[-1]),
            WeightNormConv(widths[-1], _AUDIO_CHANNELS, 7, padding=3, bias=False),
        )
