"""Averages over time and channels that make PEAQ's variables of those of its frames.

After ITU-R BS.1387-2, annex 2, section 5, in the reading of Kabal (see `earzip.metrics.peaq_ear`).
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from earzip.metrics.peaq_ear import FRAME_RATE, Array
from earzip.metrics.peaq_variables import Variables

_DELAY = int(np.ceil(0.5 * FRAME_RATE))  # frames before modulation and loudness count
_LOUD_DELAY = int(np.ceil(0.05 * FRAME_RATE))  # frames after both sounds became loud
_N_WINDOW = int(0.1 * FRAME_RATE)
_FORGET = 0.9  # by a frame, of the probability of detection


class Averager:
    """Keeps what was measured of each frame: where a sound ends is known at its end only."""

    def __init__(self) -> None:
        self.n_frames = 0
        self._kept: list[Variables] = []

    def add(self, variables: Variables) -> None:
        """Take in further frames."""
        self._kept.append(variables)
        self.n_frames += len(variables.nmr)

    def averages(self, first: int, stop: int, channels: NDArray[np.bool_]) -> Array | None:
        """Return the eleven variables over the frames ``[first, stop)``; None if there are too few.

        They are the means of the ``channels`` that are True. A variable that counts none of the frames is
        0.
        """
        start = max(first, _DELAY)
        if stop - start < _N_WINDOW:
            return None
        v = self._joined(slice(first, stop))
        late = self._joined(slice(start, stop))
        has_been_loud = np.flatnonzero(v.is_loud.any(1))
        loud_from = first + int(has_been_loud[0]) + _LOUD_DELAY if len(has_been_loud) else stop
        loud = self._joined(slice(max(start, loud_from), stop)).noise_loudness
        weights = late.mod_weight.sum(0)
        with np.errstate(divide="ignore"):  # of no noise at all
            nmr_db = 10 * np.log10(v.nmr.mean(0))
        by_channel = (
            _mean_of_known(v.bandwidth_ref),
            _mean_of_known(v.bandwidth_test),
            nmr_db,
            _windowed(late.mod_diff_1),
            _distorted_block(v.detection, v.steps),
            1000 * _mean_of_known(v.ehs),
            (late.mod_diff_1 * late.mod_weight).sum(0) / weights,
            (late.mod_diff_2 * late.mod_weight).sum(0) / weights,
            np.sqrt(np.square(loud).mean(0)) if len(loud) else np.zeros(1),
            _greatest_smoothed(v.detection),
            v.is_disturbed.mean(0),
        )
        # Those of both ears together are one.
        return np.array(
            [each[channels].mean() if len(each) > 1 else each[0] for each in by_channel]
        )

    def _joined(self, frames: slice) -> Variables:
        names = [field.name for field in fields(Variables)]
        return Variables(
            **{n: np.concatenate([getattr(v, n) for v in self._kept])[frames] for n in names}
        )


def _mean_of_known(values: Array) -> Array:
    """Return the mean over the frames that are not NaN, by channel; 0 if there are none."""
    known = ~np.isnan(values)
    mean: Array = np.where(known, values, 0).sum(0) / np.maximum(known.sum(0), 1)
    return mean


def _windowed(values: Array) -> Array:
    """Return the windowed average of 5.1.3, by channel: what lasts counts more."""
    roots = np.lib.stride_tricks.sliding_window_view(np.sqrt(values), _N_WINDOW, 0).mean(-1)
    found: Array = np.sqrt((roots**4).mean(0))
    return found


def _distorted_block(detection: Array, steps: Array) -> Array:
    """Return the average distorted block, ADB: 0 where no frame's difference is heard."""
    heard = steps[detection > 0.5]
    if not len(heard):
        return np.zeros(1)
    return np.array([np.log10(heard.mean()) if heard.any() else -0.5])


def _greatest_smoothed(detection: Array) -> Array:
    smoothed, greatest = 0.0, 0.0
    for probability in detection[:, 0]:
        smoothed = _FORGET * smoothed + (1 - _FORGET) * probability
        greatest = max(greatest, smoothed)
    return np.array([greatest])
