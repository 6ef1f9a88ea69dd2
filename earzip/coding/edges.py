"""The first and the last sample of a track made right, so that tracks cut from one recording join.

Tracks are coded apart, so at a join of a live album the errors of both meet without knowing of each
other: a step as high as the error itself, which is heard as a click. An archive therefore holds the
error of its track's first and last sample, and restoring takes them back, fading over 32
samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earzip.arrays import Audio
from earzip.formats.archive.header import MAX_EDGE, MIN_EDGED_SAMPLES, Edges

RAMP_SAMPLES = MIN_EDGED_SAMPLES // 2
RAMP = np.cos(np.pi * np.arange(RAMP_SAMPLES) / (2 * RAMP_SAMPLES)) ** 2
"""What of an edge's error is taken back at the edge and at the samples next to it, float64 ``[32]``."""
_UNIT = 2.0**-16


class TrackEnds:
    """The ends of a track that passes in blocks of samples and segments of symbols.

    ``samples``: float32 ``[2, 2]``, channels × first and last; ``first`` and ``last``: the symbols of the
    outermost ``n_frames`` frames, int32 ``[D, F]``, or of all if there are fewer.
    """

    def __init__(self, n_latents: int, n_frames: int) -> None:
        self.samples: Audio = np.zeros((2, 2), np.float32)
        self.first = self.last = np.zeros((n_latents, 0), np.int32)
        self._n_frames = n_frames
        self._begun = False

    def add_samples(self, block: Audio) -> None:
        """Take in the next samples ``[2, T]``."""
        if not block.shape[1]:
            return
        if not self._begun:
            self.samples[:, 0] = block[:, 0]
            self._begun = True
        self.samples[:, 1] = block[:, -1]

    def forget_symbols(self) -> None:
        """Begin with the symbols again: the track is coded once more."""
        self.first = self.last = self.first[:, :0]

    def add_symbols(self, symbols: NDArray[np.int32]) -> None:
        """Take in the symbols of the next segment, ``[D, F]``."""
        room = self._n_frames - self.first.shape[1]
        self.first = np.concatenate([self.first, symbols[:, :room]], 1)
        self.last = np.concatenate([self.last, symbols], 1)[:, -self._n_frames :]


def edge_errors(original: Audio, decoded: Audio, n_samples: int) -> Edges:
    """Return what an archive says of its edges: left and right of the first, then of the last sample.

    ``original``, ``decoded``: float32 ``[2, 2]``, channels × first and last sample, ±1; errors are in
    units of 2^-16. Zeros for a track whose ramps would overlap.
    """
    if n_samples < MIN_EDGED_SAMPLES:
        return 0, 0, 0, 0
    errors = np.nan_to_num(np.rint((original.astype(np.float64) - decoded) / _UNIT))
    left, right = np.clip(errors, -MAX_EDGE, MAX_EDGE).astype(int).tolist()
    return left[0], right[0], left[1], right[1]


def mend_edges(audio: Audio, position: int, n_samples: int, edges: Edges) -> Audio:
    """Return ``audio`` ``[2, T]``, the samples from ``position`` of a track, with its edges mended."""
    first, last = np.array(edges[:2]) * _UNIT, np.array(edges[2:]) * _UNIT
    end = position + audio.shape[1]
    begins = np.arange(position, min(RAMP_SAMPLES, end))
    ends = np.arange(max(position, n_samples - RAMP_SAMPLES), end)
    for error, near, distance in ((first, begins, begins), (last, ends, n_samples - 1 - ends)):
        if near.size and error.any():
            audio = audio.copy()
            audio[:, near - position] += (error[:, None] * RAMP[distance]).astype(np.float32)
    return audio
