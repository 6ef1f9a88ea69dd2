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

    windows: Tensor

    def __init__(self, n_bins: int, n_short: int) -> None:
        super().__init__()
        if n_bins % n_short:
            raise ValueError(f"{n_bins} bins cannot be split into transforms of {n_short}")
        self.n_bins, self.n_short = n_bins, n_short
        self.n_blocks = n_bins // n_short
        self.long = Mdct(n_bins)
        self.short = Mdct(n_short)
        margin = (n_bins - n_short) // 2
        rise = self.long.window[:n_bins]
        steep = torch.cat(
            [rise.new_zeros(margin), self.short.window[:n_short], rise.new_ones(margin)]
        )
        # By number: 1 for a short frame before, and 2 for one behind.
        windows = [
            torch.cat([before, behind.flip(0)])
            for behind in (rise, steep)
            for before in (rise, steep)
        ]
        self.register_buffer("windows", torch.stack(windows), persistent=False)

    def interleaved(self, blocks: Tensor) -> Tensor:
        """Return those of `short`, ``[..., F·n_blocks, n_short]``, by frames: ``[..., F, n_bins]``."""
        frames: Tensor = blocks.unflatten(-2, (-1, self.n_blocks)).transpose(-1, -2).flatten(-2)
        return frames

    def choose(self, x: Tensor, long: Tensor, blocks: Tensor, is_short: Tensor) -> Tensor:
        """Return those of ``x`` as `forward`, given those of `long` and of `short`."""
        kinds = self._kinds(is_short)
        chosen = long.clone()
        of_frames = blocks.unflatten(-2, (-1, self.n_blocks))
        beside = (kinds > 0) & ~is_short
        for b in range(len(x)):
            at = is_short[b].nonzero()[:, 0]
            chosen[b, :, at] = self.interleaved(of_frames[b, :, at].flatten(-3, -2))
            at = beside[b].nonzero()[:, 0]  # their windows have another slope
            if len(at):
                starts = self.long.starts(at)
                chosen[b, :, at] = self.long.of_frames(x[b], starts, kinds[b, at], self.windows)
        return chosen

    def forward(self, x: Tensor, is_short: Tensor) -> Tensor:
        """Return the coefficients ``[B, C, F, n_bins]`` of ``x`` ``[B, C, F·n_bins]``, float32.

        ``is_short``: bool ``[B, F]``, for all channels.
        """
        return self.choose(x, self.long(x), self.short(x), is_short)

    def inverse(self, coefficients: Tensor, is_short: Tensor) -> Tensor:
        """Return the samples ``[B, C, F·n_bins]``, the inverse of `forward`.

        ``coefficients``: ``[B, C, F, up to n_bins]``, the others 0.
        """
        kinds = self._kinds(is_short)
        n_samples = is_short.shape[1] * self.n_bins
        sounds = []
        for b, short in enumerate(is_short):
            sound = coefficients.new_zeros(coefficients.shape[1], n_samples)
            long_at, short_at = (x.nonzero()[:, 0] for x in (~short, short))
            if len(long_at):
                of_long = coefficients[b, :, long_at] if len(short_at) else coefficients[b]
                starts = self.long.starts(long_at)
                sound = self.long.add_frames(
                    sound, of_long, starts, kinds[b, long_at], self.windows
                )
            if len(short_at):
                sound = self._with_short(sound, coefficients[b, :, short_at], short_at)
            sounds.append(sound)
        return torch.stack(sounds)

    def _with_short(self, sound: Tensor, coefficients: Tensor, at: Tensor) -> Tensor:
        """Return ``sound`` ``[C, T]`` and its short frames of the numbers ``at``."""
        padded = F.pad(coefficients, (0, self.n_bins - coefficients.shape[-1]))
        blocks = padded.unflatten(-1, (self.n_short, self.n_blocks)).transpose(-1, -2)
        numbers = at[:, None] * self.n_blocks + torch.arange(self.n_blocks, device=at.device)
        starts = self.short.starts(numbers.flatten())
        kinds, windows = torch.zeros_like(starts, dtype=torch.uint8), self.short.window[None]
        return self.short.add_frames(sound, blocks.flatten(1, 2), starts, kinds, windows)

    def _kinds(self, is_short: Tensor) -> Tensor:
        """Return the numbers of the windows of long frames: uint8 ``[B, F]``."""
        beside = F.pad(is_short, (1, 1)).byte()
        return beside[:, :-2] + 2 * beside[:, 2:]
