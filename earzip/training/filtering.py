"""What makes a track fit to train on: measures of it, and limits that they must keep.

The quantities are those that the paper's second stage is filtered by (arXiv 2509.14912: bandwidth,
clipping, silence, true stereo, loudness). It does not define them: the definitions here are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earzip.arrays import Audio
from earzip.coding.level import LevelMeter
from earzip.formats.geometry import SAMPLE_RATE

FLOOR_DB = -120.0
"""Stands for −∞ in every measure in dB: digital silence, exact mono. +120 stands for +∞."""

_SILENCE = 10 ** (-60 / 10)
_SILENCE_BLOCK = 17_640  # samples: 400 ms, the block of `LevelMeter`

_FULL_SCALE = 32_767 / 32_768  # the highest sample of 16 bit; the lowest, and those of 24, pass it
_LOWEST_CEILING = 10 ** (-30 / 20)  # below this equal samples come from coarse steps
_CLIPPED_RUN = 3

_WINDOW = 4096
_BINS_A_BAND = 8
_N_BANDS = _WINDOW // 2 // _BINS_A_BAND
BAND_HZ = _BINS_A_BAND * SAMPLE_RATE / _WINDOW
"""Resolution of the bandwidth: 86 Hz."""
_LOUD, _QUIET = 0.95, 0.1  # quantiles of a band's level over time
_RANGE_DB = 82.0
_NOISE_DB = 50.0
_STEADY_DB = 6.0
_LOWEST_DB, _STEPS_A_DB = -180.0, 2
_N_STEPS = 400
_GATE_DB = -70.0


@dataclass(frozen=True)
class Measures:
    """A track in numbers; see the meters for their definitions."""

    duration_s: float
    bandwidth_hz: float
    clipping: float
    """Share of the samples, 0 to 1."""
    silence: float
    """Share of the blocks, 0 to 1."""
    side_mid_db: float
    balance_db: float
    """Energy of left over that of right; 0 is even."""
    level_db: float
    """The gated level of `earzip.coding.level`, dBFS RMS: a sine at full scale has −3."""
    peak_db: float
    """Highest sample at 44.1 kHz, dBFS."""

    def to_json(self) -> dict[str, float]:
        """Return the measures by name, rounded to what they are good for."""
        return {
            "duration_s": round(self.duration_s, 3),
            "bandwidth_hz": round(self.bandwidth_hz),
            "clipping": round(self.clipping, 7),
            "silence": round(self.silence, 4),
            "side_mid_db": round(self.side_mid_db, 2),
            "balance_db": round(self.balance_db, 2),
            "level_db": round(self.level_db, 2),
            "peak_db": round(self.peak_db, 2),
        }


class Reason(NamedTuple):
    """Why a track is not wanted: the kind of measure, and a sentence with its value and the limit."""

    kind: str
    sentence: str


@dataclass(frozen=True)
class Limits:
    """Limits for a track; None: no limit.

    The defaults are for a small set of clean, full-band, truly stereophonic productions. The limit on
    clipping is low because of what is left of it in lossy files; see `ClippingMeter`. Above
    −8 dBFS RMS only masters of the loudness war lie, clipped or not: the limit is on the level alone,
    not on its distance from the peak. Below −50 dBFS the noise of 16 bit would be heard once the
    track is at the models' working level.
    """

    min_duration_s: float | None = 10.0
    min_bandwidth_hz: float | None = 18_000.0
    max_clipping: float | None = 0.0002
    max_silence: float | None = 0.2
    min_side_mid_db: float | None = -40.0
    max_side_mid_db: float | None = 10.0
    """Above it one channel is the other one inverted."""
    max_balance_db: float | None = 20.0
    """Above it one channel is dead, or next to it."""
    min_level_db: float | None = -50.0
    max_level_db: float | None = -8.0

    def reasons(self, measures: Measures) -> list[Reason]:
        """Return why a track of these measures is not wanted; nothing if it is."""
        return list(self._reasons(measures))

    def _reasons(self, m: Measures) -> Iterator[Reason]:
        if _below(m.duration_s, self.min_duration_s):
            value = f"{m.duration_s:.1f} s long"
            yield Reason("length", f"{value}; {_at_least(self.min_duration_s, 's')}")
        if _below(m.bandwidth_hz, self.min_bandwidth_hz):
            value = f"nothing above {m.bandwidth_hz / 1000:.1f} kHz"
            yield Reason("bandwidth", f"{value}; {_at_least(self.min_bandwidth_hz, 'kHz', 1e-3)}")
        if _above(m.clipping, self.max_clipping):
            value = f"{100 * m.clipping:.3g} % of the samples are clipped"
            yield Reason("clipping", f"{value}; {_at_most(self.max_clipping, '%', 100)}")
        if _above(m.silence, self.max_silence):
            value = f"{100 * m.silence:.3g} % of it is silence"
            yield Reason("silence", f"{value}; {_at_most(self.max_silence, '%', 100)}")
        if _below(m.side_mid_db, self.min_side_mid_db):
            value = f"mono: side over mid is {m.side_mid_db:.1f} dB"
            yield Reason("stereo", f"{value}; {_at_least(self.min_side_mid_db, 'dB')}")
        if _above(m.side_mid_db, self.max_side_mid_db):
            value = f"a channel is inverted: side over mid is {m.side_mid_db:.1f} dB"
            yield Reason("stereo", f"{value}; {_at_most(self.max_side_mid_db, 'dB')}")
        if _above(abs(m.balance_db), self.max_balance_db):
            softer = "right" if m.balance_db > 0 else "left"
            value = f"the {softer} channel is {abs(m.balance_db):.1f} dB below the other"
            yield Reason("stereo", f"{value}; {_at_most(self.max_balance_db, 'dB')}")
        if _below(m.level_db, self.min_level_db):
            value = f"its level is {m.level_db:.1f} dBFS"
            yield Reason("level", f"{value}; {_at_least(self.min_level_db, 'dBFS')}")
        if _above(m.level_db, self.max_level_db):
            value = f"its level is {m.level_db:.1f} dBFS"
            yield Reason("level", f"{value}; {_at_most(self.max_level_db, 'dBFS')}")


def _below(value: float, limit: float | None) -> bool:
    return limit is not None and value < limit


def _above(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit


def _at_least(limit: float | None, unit: str, scale: float = 1.0) -> str:
    assert limit is not None
    return f"the minimum is {limit * scale:g} {unit}"


def _at_most(limit: float | None, unit: str, scale: float = 1.0) -> str:
    assert limit is not None
    return f"the maximum is {limit * scale:g} {unit}"


class TrackMeter:
    """Measures a track that arrives in blocks; its memory does not grow but by `LevelMeter`'s."""

    def __init__(self) -> None:
        self.peak = 0.0
        """Highest absolute sample at 44.1 kHz; 1 is full scale."""
        self._n_samples = 0
        self._clipping = ClippingMeter()
        self._spectrum = SpectrumMeter()
        self._silence = SilenceMeter()
        self._stereo = StereoMeter()
        self._level = LevelMeter()

    def add_source(self, audio: Audio) -> None:
        """Take in samples as they are stored, ``[C, T]``: resampling would hide their clipping."""
        self._clipping.add(audio)

    def add(self, audio: Audio) -> None:
        """Take in ``audio``: float32 ``[2, T]``, 44.1 kHz."""
        self.peak = max(self.peak, float(np.abs(audio).max(initial=0.0)))
        self._n_samples += audio.shape[1]
        self._spectrum.add(audio)
        self._silence.add(audio)
        self._stereo.add(audio)
        self._level.add(audio)

    def measures(self) -> Measures:
        """Return the measures of what was taken in."""
        return Measures(
            duration_s=self._n_samples / SAMPLE_RATE,
            bandwidth_hz=self._spectrum.bandwidth_hz(),
            clipping=self._clipping.share(),
            silence=self._silence.share(),
            side_mid_db=self._stereo.side_mid_db(),
            balance_db=self._stereo.balance_db(),
            level_db=max(self._level.level_db(), FLOOR_DB),
            peak_db=_ratio_db(self.peak**2, 1.0),
        )


class ClippingMeter:
    """The share of samples in runs of at least three at the ceiling of their channel and sign.

    The ceiling is full scale of 16 bit, or the extreme that the channel reaches if that is lower: so
    a master that was clipped and then turned down counts (as in the flat factor of FFmpeg's
    astats). What a lossy decoder gives beyond full scale is at the ceiling.

    Lossy coding hides clipping: of the share of a clipped master about a half is left after Vorbis at
    quality 5, one to eight in a hundred after MP3 at 192 kbit/s, and nothing if it was turned down
    before. A synthetic square wave counts as clipped.
    """

    def __init__(self) -> None:
        self._ceilings: list[_Ceiling] = []
        self._n_samples = 0

    def add(self, audio: Audio) -> None:
        """Take in ``audio``: float32 ``[C, T]``, ±1, the same C each time."""
        self._ceilings = self._ceilings or [_Ceiling() for _ in range(2 * len(audio))]
        self._n_samples += audio.size
        for i, channel in enumerate(audio):
            self._ceilings[2 * i].add(channel)
            self._ceilings[2 * i + 1].add(-channel)

    def share(self) -> float:
        """Return the share of all samples, 0 to 1."""
        n_clipped = sum(c.n_clipped for c in self._ceilings if c.level > _LOWEST_CEILING)
        return n_clipped / self._n_samples if self._n_samples else 0.0


class _Ceiling:
    """Counts runs at the highest value so far, or at full scale once that is reached."""

    def __init__(self) -> None:
        self.level = 0.0
        self.n_clipped = 0
        self._tail = 0  # length of the run that the last block ended in, at most _CLIPPED_RUN

    def add(self, samples: Audio) -> None:
        top = float(samples.max(initial=0.0))
        if min(top, _FULL_SCALE) > self.level:
            self.level, self.n_clipped, self._tail = min(top, _FULL_SCALE), 0, 0
        if top < self.level or not self.level:
            self._tail = 0
            return
        at_ceiling = np.concatenate([np.ones(self._tail, bool), samples >= self.level])
        ends = np.flatnonzero(np.diff(at_ceiling.astype(np.int8), prepend=0, append=0))
        lengths = ends[1::2] - ends[::2]
        counted_before = self._tail if self._tail == _CLIPPED_RUN else 0
        self.n_clipped += int(lengths[lengths >= _CLIPPED_RUN].sum()) - counted_before
        self._tail = min(int(lengths[-1]), _CLIPPED_RUN) if at_ceiling[-1] else 0


class SpectrumMeter:
    """The highest frequency that carries music.

    Spectra of 4096 samples (Hann, no overlap, energy of both channels) are summed to bands of 86 Hz.
    Windows below −70 dBFS, the absolute gate of ITU-R BS.1770, do not count. A band is loud at its
    95th percentile over time and quiet at its 10th. It carries music if it is loud within 82 dB of
    the loudest band; where it is 50 dB or more below that, it must also rise more than 6 dB over its
    quiet level: what is soft and steady is hiss, dither or a pilot tone. The bandwidth is the upper
    edge of the highest such band. A sharp low-pass is found to about 400 Hz.
    """

    def __init__(self) -> None:
        self._frames = _Frames(_WINDOW)
        window = np.hanning(_WINDOW + 1)[:-1]
        self._window = window.astype(np.float32)
        self._scale = 1 / (np.square(window).sum() * _WINDOW / 2)  # bands sum to the mean square
        self._counts = np.zeros((_N_BANDS, _N_STEPS), np.int64)

    def add(self, audio: Audio) -> None:
        """Take in ``audio``: float32 ``[2, T]``, 44.1 kHz."""
        spectra = np.fft.rfft(self._frames.add(audio) * self._window)[..., : _WINDOW // 2]
        power = (np.square(spectra.real) + np.square(spectra.imag)).mean(0)
        bands = power.reshape(-1, _N_BANDS, _BINS_A_BAND).sum(2, dtype=np.float64) * self._scale
        bands = bands[bands.sum(1) > 10 ** (_GATE_DB / 10)]
        level_db = 10 * np.log10(bands + 10 ** (_LOWEST_DB / 10))
        step = np.clip((level_db - _LOWEST_DB) * _STEPS_A_DB, 0, _N_STEPS - 1).astype(np.intp)
        np.add.at(self._counts, (np.broadcast_to(np.arange(_N_BANDS), step.shape), step), 1)

    def bandwidth_hz(self) -> float:
        """Return the bandwidth in Hz; 0 for less than a window of sound."""
        if not self._counts.any():
            return 0.0
        loud, quiet = self._quantile_db(_LOUD), self._quantile_db(_QUIET)
        below = loud.max() - loud
        is_music = (below < _RANGE_DB) & ((below < _NOISE_DB) | (loud - quiet > _STEADY_DB))
        return float(np.flatnonzero(is_music)[-1] + 1) * BAND_HZ

    def _quantile_db(self, quantile: float) -> NDArray[np.float64]:
        cumulated = self._counts.cumsum(1)
        reached = cumulated >= quantile * cumulated[:, -1:]
        level_db: NDArray[np.float64] = _LOWEST_DB + reached.argmax(1) / _STEPS_A_DB
        return level_db


class SilenceMeter:
    """The share of blocks of 400 ms whose mean square over both channels is below −60 dBFS."""

    def __init__(self) -> None:
        self._frames = _Frames(_SILENCE_BLOCK)
        self._n_blocks = 0
        self._n_silent = 0

    def add(self, audio: Audio) -> None:
        """Take in ``audio``: float32 ``[2, T]``, 44.1 kHz."""
        power = np.square(self._frames.add(audio)).mean((0, 2))
        self._n_blocks += len(power)
        self._n_silent += int((power < _SILENCE).sum())

    def share(self) -> float:
        """Return the share of whole blocks, 0 to 1; 0 where there is none."""
        return self._n_silent / self._n_blocks if self._n_blocks else 0.0


class StereoMeter:
    """Energy ratios over the whole track: side to mid, ``L − R`` to ``L + R``, and left to right."""

    def __init__(self) -> None:
        self._energies = np.zeros(4)

    def add(self, audio: Audio) -> None:
        """Take in ``audio``: float32 ``[2, T]``."""
        left, right = audio
        # Not np.dot: the rounding of BLAS depends on how many threads it takes.
        parts = (left - right, left + right, left, right)
        self._energies += [float(np.square(part, dtype=np.float64).sum()) for part in parts]

    def side_mid_db(self) -> float:
        """Return side over mid in dB, within ±120: −120 for mono and for silence."""
        return _ratio_db(self._energies[0], self._energies[1])

    def balance_db(self) -> float:
        """Return left over right in dB, within ±120; 0 for silence."""
        return _ratio_db(self._energies[2], self._energies[3]) if self._energies[2:].any() else 0.0


class _Frames:
    """Cuts blocks of any length into frames of one; the rest waits for the next block."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rest = np.zeros((2, 0), np.float32)

    def add(self, audio: Audio) -> Audio:
        """Return the frames that are whole now, ``[2, n, size]``."""
        audio = np.concatenate([self._rest, audio], 1)
        n_whole = audio.shape[1] // self._size
        self._rest = audio[:, n_whole * self._size :].copy()
        return audio[:, : n_whole * self._size].reshape(2, n_whole, self._size)


def _ratio_db(energy: float, reference: float) -> float:
    if not energy:
        return FLOOR_DB
    if not reference:
        return -FLOOR_DB
    return min(max(10 * math.log10(energy / reference), FLOOR_DB), -FLOOR_DB)
