"""A stream in windows that overlap, so that what is measured of each is what the whole would give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Block = Tensor | NDArray[np.float32]

CONTEXT = 4096
"""Samples on both sides of a core: twice what the frame of the largest FFT reaches."""
FFT_SIZE = 1 << 17
"""Of a window with as many zeros as a context has, so that neither end wraps into the other."""
_CHANNELS = 4


@dataclass(frozen=True)
class Window:
    """A piece of both signals: estimate and original, ``audio`` float32 ``[4, T]``.

    Its core is ``[start, stop)``. ``start`` is a multiple of 1024 samples from the track's beginning,
    and 0 in a track's first window; ``stop`` is the end in the last.
    """

    audio: Tensor
    start: int
    stop: int
    is_last: bool

    def frames(self, spectra: Tensor, hop: int) -> Tensor:
        """Return those of ``spectra``, ``[…, bins, frames]``, whose centres lie in the core.

        A track's last frame may be centred on its very end.
        """
        end = None if self.is_last else self.stop // hop
        return spectra[..., self.start // hop : end]


class Windows:
    """Gathers blocks of any length; gives the windows of an estimate and its original.

    ``fft_size`` takes a window and as many zeros as a context has.
    """

    def __init__(self, fft_size: int = FFT_SIZE) -> None:
        self._longest = fft_size - CONTEXT
        self._held = torch.zeros(_CHANNELS, self._longest)
        self._n_held = 0
        self._start = 0

    def add(self, estimate: Tensor, original: Tensor) -> Iterator[Window]:
        """Yield the windows that are full with ``estimate`` and ``original``: float32 ``[2, T]``."""
        blocks = torch.cat([estimate, original])
        while blocks.shape[1]:
            # Only when there is more is it known that a full window is not the last.
            if self._n_held == self._longest:
                stop = self._longest - CONTEXT
                yield Window(self._held, self._start, stop, is_last=False)
                self._held[:, : 2 * CONTEXT] = self._held[:, -2 * CONTEXT :].clone()
                self._n_held, self._start = 2 * CONTEXT, CONTEXT
            taken = blocks[:, : self._longest - self._n_held]
            self._held[:, self._n_held : self._n_held + taken.shape[1]] = taken
            self._n_held += taken.shape[1]
            blocks = blocks[:, taken.shape[1] :]

    def last(self) -> Window:
        """Return the window at the end of the stream, without taking anything from it."""
        return Window(self._held[:, : self._n_held], self._start, self._n_held, is_last=True)


def as_sound(block: Block) -> Tensor:
    """Return ``block`` as a float32 tensor ``[2, T]`` on the CPU; ValueError for another shape."""
    if isinstance(block, np.ndarray):
        block = np.require(block, np.float32, "W")  # torch warns of arrays that cannot be written
    tensor = torch.as_tensor(block, dtype=torch.float32, device="cpu")
    if tensor.ndim != 2 or tensor.shape[0] != 2:
        raise ValueError(f"shape is {tuple(tensor.shape)}, expected [2, T]")
    return tensor
