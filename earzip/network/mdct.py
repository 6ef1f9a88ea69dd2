"""The orthonormal modified discrete cosine transform, by FFT."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Mdct(nn.Module):
    """An MDCT of ``n_bins`` with a sine window, and its inverse.

    Frame f covers samples ``[f·n_bins − n_bins/2, f·n_bins + 3·n_bins/2)`` of the input, zeros
    beyond its ends. A round trip is exact but for the outermost n_bins/2 samples, where the
    neighbouring frame that would cancel the alias is missing: callers give context.

    The fast algorithm (a DCT-IV by a complex FFT of half the size with pre- and post-twiddle) is
    the textbook one: H. Malvar, Signal Processing with Lapped Transforms, 1992.
    """

    window: Tensor
    twiddle: Tensor

    def __init__(self, n_bins: int) -> None:
        super().__init__()
        self.n_bins = n_bins
        n = torch.arange(2 * n_bins, dtype=torch.float64)
        window = torch.sin(math.pi * (n + 0.5) / (2 * n_bins))
        k = torch.arange(n_bins // 2, dtype=torch.float64)
        phase = (
            -math.pi * (8 * k + 1) / (8 * n_bins)
        )  # an eighth before and an eighth behind the FFT
        # As real pairs: Module.half() and .to(dtype) would spoil a complex buffer.
        twiddle = torch.stack([phase.cos(), phase.sin()], -1)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("twiddle", twiddle.float(), persistent=False)

    def _dct4(self, x: Tensor) -> Tensor:
        twiddle = torch.view_as_complex(self.twiddle)
        z = torch.complex(x[..., 0::2].contiguous(), x.flip(-1)[..., 0::2].contiguous())
        z = torch.fft.fft(z * twiddle) * twiddle * math.sqrt(2 / self.n_bins)
        return torch.stack([z.real, -z.imag.flip(-1)], -1).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the coefficients ``[..., F, n_bins]`` of ``x`` ``[..., F·n_bins]``, float32."""
        half = self.n_bins // 2
        frames = (
            F.pad(x, (half, half)).unfold(-1, 2 * self.n_bins, self.n_bins)
            if (x.shape[-1] > 0)
            else x.new_zeros(*x.shape[:-1], 0, 2 * self.n_bins)
        )
        # F frames need F·n_bins + n_bins samples: half a frame of zeros on each side.
        a, b, c, d = (frames * self.window).split(half, -1)
        return self._dct4(torch.cat([-c.flip(-1) - d, a - b.flip(-1)], -1))

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Return the samples ``[..., F·n_bins]`` of ``coefficients`` ``[..., F, n_bins]``."""
        half = self.n_bins // 2
        p, q = self._dct4(coefficients).split(half, -1)
        frames = torch.cat([q, -q.flip(-1), -p.flip(-1), -p], -1) * self.window
        left, right = frames.split(self.n_bins, -1)
        overlapped = F.pad(left, (0, 0, 0, 1)) + F.pad(right, (0, 0, 1, 0))
        return overlapped.flatten(-2)[..., half:-half]
