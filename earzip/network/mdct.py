"""The orthonormal modified discrete cosine transform, by FFT."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earzip.network import native


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

    def starts(self, frames: int | Tensor) -> Tensor:
        """Return the sample that each of so many frames, or of these, begins at: int64 ``[F]``."""
        numbers = torch.arange(frames) if isinstance(frames, int) else frames
        return numbers * self.n_bins - self.n_bins // 2

    def forward(self, x: Tensor) -> Tensor:
        """Return the coefficients ``[..., F, n_bins]`` of ``x`` ``[..., F·n_bins]``, float32."""
        n, half = self.n_bins, self.n_bins // 2
        starts = self.starts(x.shape[-1] // n)
        if native.is_mdct_usable(x, n):
            return self.of_frames(x, starts, *self._own_windows(starts))
        if not len(starts):
            return x.new_zeros(*x.shape[:-1], 0, n)
        # F frames need F·n_bins + n_bins samples: half a frame of zeros on each side.
        return self._folded(F.pad(x, (half, half)).unfold(-1, 2 * n, n) * self.window)

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Return the samples ``[..., F·n_bins]`` of ``coefficients`` ``[..., F, n_bins]``."""
        half = self.n_bins // 2
        *rows, n_frames, _ = coefficients.shape
        if native.is_mdct_usable(coefficients, self.n_bins):
            sound = coefficients.new_zeros(*rows, n_frames * self.n_bins)
            starts = self.starts(n_frames)
            return self.add_frames(sound, coefficients, starts, *self._own_windows(starts))
        left, right = (self._unfolded(coefficients) * self.window).split(self.n_bins, -1)
        overlapped = F.pad(left, (0, 0, 0, 1)) + F.pad(right, (0, 0, 1, 0))
        return overlapped.flatten(-2)[..., half:-half]

    def of_frames(self, x: Tensor, starts: Tensor, kinds: Tensor, windows: Tensor) -> Tensor:
        """Return the coefficients ``[..., F, n_bins]`` of the frames of ``x`` ``[..., T]`` at ``starts``.

        ``starts``: int64 ``[F]``, from −n_bins on; there are zeros beyond the ends of ``x``. ``kinds``:
        uint8 ``[F]``, which of ``windows`` ``[k, 2·n_bins]`` each has.
        """
        if native.is_mdct_usable(x, self.n_bins):
            return native.mdct(x, starts, kinds, windows, self.twiddle)
        n = self.n_bins
        padded = F.pad(x, (n, 2 * n))
        return self._folded(padded[..., self._samples(starts)] * windows[kinds.long()])

    def add_frames(
        self, sound: Tensor, coefficients: Tensor, starts: Tensor, kinds: Tensor, windows: Tensor
    ) -> Tensor:
        """Return ``sound`` ``[..., T]``, maybe changed in place, and the inverse of frames at ``starts``.

        ``coefficients``: ``[..., F, up to n_bins]``, the others 0; otherwise as `of_frames`.
        """
        if native.is_mdct_usable(coefficients, self.n_bins):
            native.add_imdct(sound, coefficients, starts, kinds, windows, self.twiddle)
            return sound
        n = self.n_bins
        padded = F.pad(coefficients, (0, n - coefficients.shape[-1]))
        frames = (self._unfolded(padded) * windows[kinds.long()]).flatten(-2)
        added = F.pad(sound, (n, 2 * n)).index_add(-1, self._samples(starts).flatten(), frames)
        return added[..., n : -2 * n]

    def _own_windows(self, starts: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(starts, dtype=torch.uint8), self.window[None]

    def _samples(self, starts: Tensor) -> Tensor:
        """Return the samples of frames, ``[F, 2·n_bins]``, in a sound with n_bins zeros before it."""
        return starts[:, None] + torch.arange(self.n_bins, 3 * self.n_bins, device=starts.device)

    def _folded(self, frames: Tensor) -> Tensor:
        """Return the coefficients of windowed frames ``[..., 2·n_bins]``."""
        a, b, c, d = frames.split(self.n_bins // 2, -1)
        return self._dct4(torch.cat([-c.flip(-1) - d, a - b.flip(-1)], -1))

    def _unfolded(self, coefficients: Tensor) -> Tensor:
        """Return frames ``[..., 2·n_bins]`` before they are windowed."""
        p, q = self._dct4(coefficients).split(self.n_bins // 2, -1)
        return torch.cat([q, -q.flip(-1), -p.flip(-1), -p], -1)
