"""PEAQ, basic version: how audible the differences of a decoded sound are (ITU-R BS.1387-2).

With the 2f-model (Kastner and Herre, "An Efficient Model for Estimating Subjective Quality of Separated
Audio Source Signals", WASPAA 2019), which needs two of its eleven variables. The reading of the standard
is that of Kabal; see `earzip.metrics.peaq_ear`.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from earzip.metrics.peaq_averages import Averager
from earzip.metrics.peaq_ear import FRAME, HOP, SAMPLE_RATE, Array, hear
from earzip.metrics.peaq_network import distortion_index, objective_difference_grade
from earzip.metrics.peaq_patterns import PatternMeter
from earzip.metrics.peaq_variables import variables_of

__all__ = ["SAMPLE_RATE", "OutputVariables", "Peaq", "PeaqMeter", "peaq"]

_FRAMES_AT_ONCE = 64
_STEPS = (
    32768  # of 16 bits: their noise is the floor that the standard's bandwidths are measured from
)
_GROUP = 5  # samples; the sound begins and ends with a group whose magnitudes add up to more than:
_LEAST_SUM = 200 / _STEPS


@dataclass(frozen=True)
class OutputVariables:
    """The model output variables of the basic version, in the order of its network's inputs.

    Means of the channels, as the standard says; of those only in which the original has sound.
    """

    bandwidth_ref: float
    """Of the original, in bins of 23.4 Hz; 0 if no frame has sound above 8.1 kHz that ends below 21.6."""
    bandwidth_test: float
    """Of the decoded sound in the same frames."""
    total_nmr_db: float
    """Noise-to-mask ratio: 0 is where noise is just masked, over all bands; lower is better."""
    win_mod_diff_1: float
    """Difference of modulation, where it lasts 0.1 s."""
    adb: float
    """Average distorted block: logarithm of the mean steps above the threshold, of frames that are heard
    to differ."""
    ehs: float
    """Harmonic structure of the error."""
    avg_mod_diff_1: float
    """Difference of modulation."""
    avg_mod_diff_2: float
    """The same with more weight on what is added, and on weak modulation."""
    rms_noise_loud: float
    """Partial loudness of the noise in sone."""
    mfpd: float
    """Highest smoothed probability of detection, 0 to 1."""
    rel_dist_frames: float
    """Share of frames with noise above what is masked, 0 to 1."""


@dataclass(frozen=True)
class Peaq:
    """What PEAQ says of a decoded sound."""

    variables: OutputVariables
    distortion_index: float

    @property
    def odg(self) -> float:
        """Objective difference grade: 0 inaudible, −4 very annoying."""
        return objective_difference_grade(self.distortion_index)

    @property
    def two_f(self) -> float:
        """The score of the 2f-model, 0 to 100; higher is better."""
        bent = 1 + (-0.0282 * self.variables.avg_mod_diff_1 - 0.8628) ** 2
        score = 56.1345 / bent - 27.1451 * self.variables.adb + 86.3515
        return min(max(score, 0.0), 100.0)


class PeaqMeter:
    """Measures a sound that arrives in blocks; it keeps about 10 kB per second."""

    def __init__(self, n_channels: int = 2) -> None:
        self._held = np.zeros((2, n_channels, 0))
        self._first: int | None = None
        self._last = 0  # samples of the original within which there is sound
        self._has_sound = np.zeros(n_channels, bool)
        self._n_samples = 0
        self._tail = np.zeros((n_channels, _GROUP - 1))
        self._patterns = PatternMeter(n_channels)
        self._averages = Averager()

    def add(self, estimate: NDArray[np.floating], original: NDArray[np.floating]) -> None:
        """Take in the next samples of both: ``[channels, T]``, ±1, 48 kHz.

        Raises ValueError for shapes that differ.
        """
        if estimate.shape != original.shape:
            raise ValueError(f"shapes differ: {estimate.shape} and {original.shape}")
        if not original.shape[-1]:
            return
        both = np.rint(np.stack([original, estimate]).astype(np.float64) * _STEPS) / _STEPS
        self._find_sound(both[0])
        self._held = np.concatenate([self._held, both], -1)
        while self._held.shape[-1] >= FRAME + (_FRAMES_AT_ONCE - 1) * HOP:
            self._take(_FRAMES_AT_ONCE)

    def result(self) -> Peaq | None:
        """Return the result for all that was added, and end the stream.

        None where it is not defined: the original is silent or hardly longer than half a second, or
        samples are not finite.
        """
        if self._first is None:
            return None
        first = self._first // HOP
        stop = (self._last + 1 - FRAME // 2) // HOP + 1
        n_frames = max(stop - self._averages.n_frames, 0)
        missing = (n_frames + 1) * HOP - self._held.shape[-1]
        self._held = np.pad(self._held, ((0, 0), (0, 0), (0, max(missing, 0))))
        if n_frames:
            self._take(n_frames)
        averages = self._averages.averages(first, stop, self._has_sound)
        if averages is None or not np.isfinite(averages).all():
            return None
        variables = OutputVariables(*averages.tolist())
        return Peaq(variables, distortion_index(astuple(variables)))

    def _take(self, n_frames: int) -> None:
        """Measure as many frames of what is held, and drop what no later frame needs."""
        sound = self._held[..., : (n_frames + 1) * HOP]
        windows = np.lib.stride_tricks.sliding_window_view(sound, FRAME, -1)[..., ::HOP, :]
        frames: Array = windows.swapaxes(1, 2)
        heard = hear(frames)
        patterns = self._patterns.add(heard.excitations.swapaxes(0, 1))
        self._averages.add(variables_of(frames, heard, patterns))
        self._held = self._held[..., n_frames * HOP :]

    def _find_sound(self, original: Array) -> None:
        """Note where the sound of any channel begins and ends."""
        known = np.concatenate([self._tail, np.abs(original)], -1)
        self._tail = known[:, -(_GROUP - 1) :]
        sums = np.lib.stride_tricks.sliding_window_view(known, _GROUP, -1).sum(-1)
        self._has_sound |= (sums > _LEAST_SUM).any(-1)
        ends = np.flatnonzero((sums > _LEAST_SUM).any(0)) + self._n_samples
        if len(ends):
            if self._first is None:
                self._first = max(int(ends[0]) - _GROUP + 1, 0)
            self._last = int(ends[-1])
        self._n_samples += original.shape[-1]


def peaq(estimate: NDArray[np.floating], original: NDArray[np.floating]) -> Peaq:
    """Return what PEAQ says of ``estimate`` against ``original``: ``[channels, T]``, ±1, 48 kHz.

    Raises ValueError for shapes that differ, and where the result is not defined; see
    `PeaqMeter.result`.
    """
    meter = PeaqMeter(original.shape[0])
    meter.add(estimate, original)
    result = meter.result()
    if result is None:
        raise ValueError("the original is silent or too short, or samples are not finite")
    return result
