"""An MDCT whose frames may each be split into short transforms: window switching."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earzip.network.mdct import Mdct


class SwitchedMdct(nn.Module):
    """An orthonormal MDCT of ``n_bins`` in which single frames are ``n_bins / n_short`` short MDCTs.

    Frame f covers the samples that frame f of `Mdct` covers. A long frame beside a short one has the
    short window's slope on that side (B. Edler, "Coding of audio signals with overlapping block
    transform and adaptive window functions", 1989, as AAC has it): the round trip stays exact. The
    coefficients of a short frame are interleaved, so that an index stands for the same frequency in
    either kind: coefficient k of short block j has the index ``k · n_blocks + j``.
    """

    def __init__(self, n_bins: int, n_short: int) -> None:
        super().__init__()
        if n_bins % n_short:
            raise ValueError(f"{n_bins} bins cannot be split into transforms of {n_short}")
        self.n_bins, self.n_short = n_bins, n_short
        self.n_blocks = n_bins // n_short
        self.long = Mdct(n_bins)
        self.short = Mdct(n_short)
        self._margin = (n_bins - n_short) // 2

    def frames(self, x: Tensor) -> Tensor:
        """Return the samples ``[..., F, 2·n_bins]`` that frames of ``x`` ``[..., F·n_bins]`` cover."""
        half = self.n_bins // 2
        return F.pad(x, (half, half)).unfold(-1, 2 * self.n_bins, self.n_bins)

    def long_of(self, frames: Tensor, is_short: Tensor | None = None) -> Tensor:
        """Return the coefficients of `frames` as long ones; ``is_short`` as in `forward`."""
        window = self.long.window if is_short is None else self._windows(is_short)[:, None]
        return _folded(self.long, frames * window)

    def short_of(self, frames: Tensor) -> Tensor:
        """Return the interleaved coefficients of `frames` as short ones."""
        n, margin = self.n_short, self._margin
        blocks = frames[..., margin : frames.shape[-1] - margin].unfold(-1, 2 * n, n)
        coefficients = _folded(self.short, blocks * self.short.window)
        return coefficients.transpose(-1, -2).flatten(-2)

    def forward(self, x: Tensor, is_short: Tensor) -> Tensor:
        """Return the coefficients ``[B, C, F, n_bins]`` of ``x`` ``[B, C, F·n_bins]``, float32.

        ``is_short``: bool ``[B, F]``, for all channels.
        """
        frames = self.frames(x)
        long = self.long_of(frames, is_short)
        if not is_short.any():
            return long
        return torch.where(is_short[:, None, :, None], self.short_of(frames), long)

    def inverse(self, coefficients: Tensor, is_short: Tensor) -> Tensor:
        """Return the samples ``[B, C, F·n_bins]``, the inverse of `forward`."""
        half = self.n_bins // 2
        frames = _unfolded(self.long, coefficients) * self._windows(is_short)[:, None]
        if is_short.any():
            frames = torch.where(
                is_short[:, None, :, None], self._short_frames(coefficients), frames
            )
        left, right = frames.split(self.n_bins, -1)
        overlapped = F.pad(left, (0, 0, 0, 1)) + F.pad(right, (0, 0, 1, 0))
        return overlapped.flatten(-2)[..., half:-half]

    def _short_frames(self, coefficients: Tensor) -> Tensor:
        blocks = coefficients.unflatten(-1, (self.n_short, self.n_blocks)).transpose(-1, -2)
        samples = _unfolded(self.short, blocks) * self.short.window
        left, right = samples.split(self.n_short, -1)
        overlapped = F.pad(left, (0, 0, 0, 1)) + F.pad(right, (0, 0, 1, 0))
        return F.pad(overlapped.flatten(-2), (self._margin, self._margin))

    def _windows(self, is_short: Tensor) -> Tensor:
        """Return the windows ``[B, F, 2·n_bins]`` of long frames beside what their neighbours are."""
        margin, n = self._margin, self.n_short
        rise = self.long.window[: self.n_bins]
        steep = torch.cat([rise.new_zeros(margin), self.short.window[:n], rise.new_ones(margin)])
        beside = F.pad(is_short, (1, 1))
        before = (beside[:, :-2] | is_short)[..., None]
        behind = (beside[:, 2:] | is_short)[..., None]
        rises = torch.where(before, steep, rise)
        falls = torch.where(behind, steep.flip(0), rise.flip(0))
        return torch.cat([rises, falls], -1)


def _folded(mdct: Mdct, windowed: Tensor) -> Tensor:
    a, b, c, d = windowed.split(mdct.n_bins // 2, -1)
    return mdct._dct4(torch.cat([-c.flip(-1) - d, a - b.flip(-1)], -1))


def _unfolded(mdct: Mdct, coefficients: Tensor) -> Tensor:
    p, q = mdct._dct4(coefficients).split(mdct.n_bins // 2, -1)
    return torch.cat([q, -q.flip(-1), -p.flip(-1), -p], -1)
