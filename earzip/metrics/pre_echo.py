"""What is heard before an onset that should not be: the energy of 2 to 20 ms before, above 2 kHz."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SAMPLE_RATE = 44_100
_HIGH_PASS_HZ = 2000
_BLOCK = 44  # samples: 1 ms
_GUARD, _BEFORE, _AFTER = 2, 20, 10  # ms
_LEAST_RISE_DB = 10.0
_APART = 50  # ms in which an onset is the steepest
_RANGE_DB = 30.0  # below the strongest onset, none counts
_UNHEARD_DB = 10.0  # below that: rises there are ignored
_FLOOR = 1e-9  # power of a block: −90 dBFS
_LEAST_DB = -60.0  # nothing below is heard before an onset


@dataclass(frozen=True)
class PreEcho:
    """Medians over a track's onsets, in dB relative to the onsets' first 10 ms; −60 or more."""

    original_db: float
    estimate_db: float
    n_onsets: int

    @property
    def excess_db(self) -> float:
        """By how much more is there than in the original."""
        return self.estimate_db - self.original_db


class PreEchoMeter:
    """Measures a sound that arrives in blocks; it keeps about 16 kB per second. Needs scipy."""

    def __init__(self, n_channels: int = 2) -> None:
        from scipy import signal  # noqa: PLC0415  # of the extra eval

        # Its impulse response is causal, so nothing of an onset gets to before it.
        self._filter = signal.butter(4, _HIGH_PASS_HZ, "highpass", fs=SAMPLE_RATE, output="sos")
        self._sosfilt = signal.sosfilt
        self._state = np.zeros((len(self._filter), 2, n_channels, 2))
        self._held = np.zeros((2, 0))
        self._powers: list[Array] = []

    def add(self, estimate: NDArray[np.floating], original: NDArray[np.floating]) -> None:
        """Take in the next samples of both: ``[channels, T]``, ±1, 44.1 kHz."""
        if not original.shape[-1]:
            return
        both = np.stack([estimate, original]).astype(np.float64)
        filtered, self._state = self._sosfilt(self._filter, both, zi=self._state)
        self._held = np.concatenate([self._held, np.square(filtered).mean(1)], -1)
        n_blocks = self._held.shape[-1] // _BLOCK
        whole, self._held = np.split(self._held, [n_blocks * _BLOCK], -1)
        if n_blocks:
            self._powers.append(whole.reshape(2, n_blocks, _BLOCK).mean(-1))

    def result(self) -> PreEcho | None:
        """Return the medians; None for a track without onsets.

        An onset is where the original's energy above 2 kHz rises by 10 dB or more, the steepest rise
        within 50 ms and at most 30 dB below the track's strongest sound.
        """
        powers = np.concatenate(self._powers, -1) if self._powers else np.zeros((2, 0))
        if powers.shape[-1] < _BEFORE + _AFTER:
            return None
        estimate, original = powers
        at = _onsets(original)
        if not len(at):
            return None
        medians = [
            float(np.median(np.maximum(-_rises_db(sound, _FLOOR)[at], _LEAST_DB)))
            for sound in (original, estimate)
        ]
        return PreEcho(medians[0], medians[1], len(at))


def _means(powers: Array, first: int, n: int) -> Array:
    """Return the mean of ``n`` blocks from each of ``first`` on, for every possible onset."""
    running = np.concatenate([[0.0], powers.cumsum()])
    starts = np.arange(_BEFORE, len(powers) - _AFTER + 1) + first
    mean: Array = np.maximum(running[starts + n] - running[starts], 0) / n
    return mean


def _rises_db(powers: Array, floor: float) -> Array:
    """Return by how much the energy rises at each possible onset, from block 20 on."""
    before = _means(powers, -_BEFORE, _BEFORE - _GUARD)
    rise: Array = 10 * np.log10((_means(powers, 0, _AFTER) + floor) / (before + floor))
    return rise


def _onsets(powers: Array) -> NDArray[np.int64]:
    """Return the onsets of a sound, as indices into `_rises_db`."""
    after = _means(powers, 0, _AFTER)
    weakest = after.max() * 10 ** (-_RANGE_DB / 10)
    # Without the floor, a faint sound after digital silence would be steeper than the stroke after it.
    rises = _rises_db(powers, max(weakest * 10 ** (-_UNHEARD_DB / 10), _FLOOR))
    padded = np.pad(rises, _APART, constant_values=-np.inf)
    steepest = np.lib.stride_tricks.sliding_window_view(padded, 2 * _APART + 1).max(-1)
    return np.flatnonzero((rises >= _LEAST_RISE_DB) & (rises == steepest) & (after >= weakest))


def pre_echo(estimate: NDArray[np.floating], original: NDArray[np.floating]) -> PreEcho | None:
    """Return `PreEchoMeter.result` of both sounds: ``[channels, T]``, ±1, 44.1 kHz."""
    meter = PreEchoMeter(original.shape[0])
    meter.add(estimate, original)
    return meter.result()
