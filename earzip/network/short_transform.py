"""The short Fourier transform of levels, and its bands: measured, and multiplied."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from earzip.network import native

FLOOR = 1e-9  # of a coefficient's mean energy: −90 dB
HOP = 128  # 2.9 ms
SIZE = 2 * HOP
# In bins of 172 Hz: twenty bands of a sixth of an octave (or a bin) from 1.4 to 14 kHz, three on
# each side.
EDGES = (
    4, 5, 6, 8, 9, 10, 11, 13, 14, 16, 18, 20, 23, 26, 29, 32, 36, 41, 46, 51, 58, 65, 73, 81,
    93, 107, 120,
)  # fmt: skip
N_LEVELS = len(EDGES) - 1
ATTACK_EDGES = (4, 8, 16, 32, 58, 120)
N_ATTACK_BANDS = len(ATTACK_EDGES) - 1


def band_matrix(edges: list[int], n_bins: int) -> Tensor:
    """Return float32 ``[bands, n_bins]``, 1 where a bin belongs to a band."""
    bins = torch.arange(n_bins)
    first, end = torch.tensor(edges[:-1])[:, None], torch.tensor(edges[1:])[:, None]
    return ((bins >= first) & (bins < end)).float()


class ShortTransform:
    """The short Fourier transform in which levels are measured and applied, and its inverse."""

    def __init__(self) -> None:
        n = torch.arange(SIZE, dtype=torch.float64)
        self.window = torch.sin(math.pi * (n + 0.5) / SIZE).float()
        self.bands = band_matrix(list(EDGES), HOP + 1)
        self.attack_bands = band_matrix(list(ATTACK_EDGES), HOP + 1)

    def forward(self, audio: Tensor) -> Tensor:
        """Return the spectra ``[..., blocks + 1, 129]`` of ``audio`` ``[..., blocks · 128]``.

        Spectrum i is centred on the beginning of block i. White noise of variance 1 has energy 1 a bin.
        """
        window = self.window.to(audio.device) / math.sqrt(HOP)
        if native.is_usable(audio):
            frames = native.stft_frames(audio, window)
        else:
            frames = F.pad(audio, (HOP, HOP)).unfold(-1, SIZE, HOP) * window
        spectra: Tensor = torch.fft.rfft(frames)
        return spectra

    def inverse(self, spectra: Tensor) -> Tensor:
        """Return the audio of `forward`."""
        window = (self.window * math.sqrt(HOP)).to(spectra.device)
        frames = torch.fft.irfft(spectra, SIZE)
        if native.is_usable(frames):
            return native.stft_overlap(frames, window)
        left, right = (frames * window).split(HOP, -1)
        audio: Tensor = (left[..., 1:, :] + right[..., :-1, :]).flatten(-2)
        return audio


def power(spectra: Tensor) -> Tensor:
    """Return the energies ``[..., blocks, 129]`` of all spectra but the last."""
    if native.is_usable(spectra):
        return native.stft_powers(spectra)
    re, im = torch.view_as_real(spectra[..., :-1, :]).unbind(-1)
    return re.square() + im.square()


def band_means(spectra: Tensor, n_parts: int) -> Tensor:
    """Return mean energies of a bin in `EDGES`, ``[..., n_parts, N_LEVELS]``, of `power`'s spectra."""
    if native.is_usable(spectra):
        return native.stft_band_means(spectra, n_parts, torch.tensor(EDGES))
    bands = band_matrix(list(EDGES), spectra.shape[-1]).to(spectra.device)
    by_block = power(spectra) @ bands.t() / bands.sum(1)
    means: Tensor = by_block.unflatten(-2, (n_parts, -1)).mean(-2)
    return means


def scale_bands(spectra: Tensor, gain: Tensor, edges: Sequence[int]) -> Tensor:
    """Return ``spectra`` ``[..., blocks + 1, 129]`` times gains of bands; may change them in place.

    ``gain``: ``[..., parts, bands]``, each for as many blocks; the last spectrum stays, and what is
    outside of the bands of ``edges``.
    """
    n_blocks = spectra.shape[-2] - 1
    if native.is_usable(spectra) and native.is_usable(gain):
        native.stft_scale(spectra, gain, torch.tensor(edges))
        return spectra
    bands = band_matrix(list(edges), spectra.shape[-1]).to(gain.device)
    of_bins = ((gain - 1) @ bands + 1).repeat_interleave(n_blocks // gain.shape[-2], -2)
    return spectra * F.pad(of_bins, (0, 0, 0, 1), value=1.0)
