"""By how many samples one track comes later than another, from their cross-correlation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]

MAX_LAG = 5 * 44_100
"""The greatest lag that is looked for, in samples: 5 s."""
_SEGMENT = 1 << 19  # samples, 12 s
_N_SEGMENTS = 5  # with sound in both tracks: a minute says enough
_LEAST_CORRELATION = 0.1


def find_lag(pairs: Iterable[tuple[Audio, Audio]]) -> int | None:
    """Return by how many samples the first of two tracks comes later; negative: earlier.

    ``pairs`` are blocks of both from their beginnings, ``[2, T]``, of equal length; a minute of sound is
    read of them. None if at no lag up to `MAX_LAG` they have anything in common.
    """
    spectrum: NDArray[np.complex128] | None = None
    energies = np.zeros(2)
    n_segments = 0
    for segment in _segments(pairs):
        # Of differences, because the bass has a blunt peak.
        x, y = np.diff(segment.astype(np.float64), axis=-1)
        if not (x.any() and y.any()):
            continue
        # Zeros as many as samples keep one end of a segment out of the other's lags.
        product = np.fft.rfft(x, 2 * _SEGMENT) * np.fft.rfft(y, 2 * _SEGMENT).conj()
        spectrum = product.sum(0) if spectrum is None else spectrum + product.sum(0)
        energies += np.square(x).sum(), np.square(y).sum()
        n_segments += 1
        if n_segments == _N_SEGMENTS:
            break
    if spectrum is None:
        return None
    correlation = np.fft.irfft(spectrum, 2 * _SEGMENT) / np.sqrt(energies.prod())
    near = np.concatenate([correlation[-MAX_LAG:], correlation[: MAX_LAG + 1]])
    best = int(np.argmax(near))
    return best - MAX_LAG if near[best] >= _LEAST_CORRELATION else None


def _segments(pairs: Iterable[tuple[Audio, Audio]]) -> Iterator[Audio]:
    """Yield both tracks in segments, ``[2, 2, T]``, the last one as long as it is."""
    held: list[Audio] = []
    n_held = 0
    for pair in pairs:
        both = np.stack(pair)
        while both.shape[-1]:
            taken = both[..., : _SEGMENT - n_held]
            both = both[..., taken.shape[-1] :]
            held.append(taken)
            n_held += taken.shape[-1]
            if n_held == _SEGMENT:
                yield np.concatenate(held, -1)
                held, n_held = [], 0
    if n_held > 1:
        yield np.concatenate(held, -1)
