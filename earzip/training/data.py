"""Random crops of pools of music, each a library in one flat file, augmented."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from earzip.arrays import Audio
from earzip.coding.level import REFERENCE_LEVEL_DB
from earzip.errors import SourceError
from earzip.formats.geometry import SAMPLE_RATE

_FILTER_MARGIN = 2048  # samples a side, cut off after filtering in the frequency domain
_SILENCE_RMS = 1e-4
_TRIES = 8


@dataclass(frozen=True)
class _Track:
    start: int
    frames: int
    level_db: float

    @classmethod
    def from_json(cls, entry: dict[str, Any], n_frames: int) -> _Track:
        """Return the track that ``entry`` describes; ValueError for one beyond a pool's ``n_frames``."""
        track = cls(entry["start"], entry["frames"], float(entry["rms_db"]))
        if type(track.start) is not int or type(track.frames) is not int:
            raise TypeError(f"start and frames are {track.start!r} and {track.frames!r}")
        if not 0 <= track.start <= track.start + track.frames <= n_frames:
            raise ValueError(f"a track at {track.start} of {track.frames} in {n_frames} frames")
        if not -200 <= track.level_db <= 20:
            raise ValueError(f"a track at {track.level_db} dBFS")
        return track


class MusicPool:
    """Tracks of one ``NAME.s16`` (int16, interleaved stereo, 44.1 kHz) with its ``NAME.json`` index.

    The index is a list of objects with ``start``, ``frames`` (in stereo frames) and ``rms_db``, the
    gated level that `earzip.coding.level` defines. Raises SourceError when the pair cannot be read.
    """

    def __init__(self, path: Path, shortest_frames: int) -> None:
        try:
            entries = json.loads(path.with_suffix(".json").read_bytes())
            self._samples = np.memmap(path, dtype=np.int16, mode="r").reshape(-1, 2)
            tracks = [_Track.from_json(entry, len(self._samples)) for entry in entries]
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise SourceError(f"not a music pool: {error!r}", path) from error
        self._tracks = [t for t in tracks if t.frames > shortest_frames and t.level_db > -60]
        if not self._tracks:
            raise SourceError("no track is long enough to cut crops from", path)
        lengths = np.array([track.frames for track in self._tracks], np.float64)
        self.hours = float(lengths.sum()) / SAMPLE_RATE / 3600
        self._odds = lengths / lengths.sum()

    def crop(self, rng: np.random.Generator, frames: int) -> Audio:
        """Return a random crop ``[2, frames]`` at the reference level, seldom a silent one."""
        for _ in range(_TRIES):
            track = self._tracks[rng.choice(len(self._tracks), p=self._odds)]
            start = track.start + int(rng.integers(0, track.frames - frames))
            crop = self._samples[start : start + frames].T.astype(np.float32) / 32768
            if np.sqrt(np.mean(crop**2)) > _SILENCE_RMS:
                break
        gain = 10 ** ((REFERENCE_LEVEL_DB - track.level_db) / 20)
        return np.ascontiguousarray(crop * np.float32(gain))


@dataclass(frozen=True)
class Mixture:
    """Pools of music to draw from with their odds, and a pool of voices to lay over them."""

    pools: list[MusicPool]
    odds: list[float]
    voices: MusicPool | None = None


class CropSource:
    """Augmented crops, each the same for the same seed, step and place in its batch.

    Augmentations: level, polarity, channel swap, stereo width, equaliser tilt, low-pass, speed,
    mixing of two crops, voices over music, silence and fades.
    """

    def __init__(self, mixture: Mixture, batch_size: int, frames: int, seed: int) -> None:
        self._mixture = mixture
        self._frames = frames
        self._seed = seed
        self.batch_size = batch_size

    def batch(self, step: int) -> Audio:
        """Return all crops of ``step``: float32 ``[batch_size, 2, frames]``."""
        return np.stack([self.crop(step, place) for place in range(self.batch_size)])

    def crop(self, step: int, place: int) -> Audio:
        """Return the crop at ``place`` in the batch of ``step``: float32 ``[2, frames]``."""
        return self._item(np.random.default_rng((self._seed, step, place)))

    def _item(self, rng: np.random.Generator) -> Audio:
        frames = self._frames + 2 * _FILTER_MARGIN
        audio = self._music(rng, frames)
        if rng.random() < 0.08:
            audio = audio + self._music(rng, frames) * _gain(rng, -12, 3)
        if self._mixture.voices is not None and rng.random() < 0.1:
            audio = audio + self._mixture.voices.crop(rng, frames) * _gain(rng, -9, 6)
        if rng.random() < 0.5:
            audio = audio[::-1]
        if rng.random() < 0.5:
            audio = -audio
        if rng.random() < 0.25:
            audio = _with_width(audio, 0.0 if rng.random() < 0.3 else float(rng.uniform(0.2, 1.6)))
        if rng.random() < 0.4:
            audio = _filtered(audio, rng)
        audio = audio[:, _FILTER_MARGIN : _FILTER_MARGIN + self._frames]
        audio = audio * (_gain(rng, -30, -10) if rng.random() < 0.12 else _gain(rng, -8, 4))
        if rng.random() < 0.04:
            audio = audio * _fade(rng, self._frames)
        return np.ascontiguousarray(audio, np.float32)

    def _music(self, rng: np.random.Generator, frames: int) -> Audio:
        pool = self._mixture.pools[rng.choice(len(self._mixture.pools), p=self._mixture.odds)]
        if rng.random() < 0.2:
            ratio = float(rng.uniform(0.95, 1.05))
            crop = pool.crop(rng, int(frames * ratio) + 64)
            resampled = soxr.resample(crop.T, ratio, 1.0, quality="MQ").T
            return np.ascontiguousarray(resampled[:, :frames])
        return pool.crop(rng, frames)


def _gain(rng: np.random.Generator, low_db: float, high_db: float) -> np.float32:
    return np.float32(10 ** (rng.uniform(low_db, high_db) / 20))


def _with_width(audio: Audio, width: float) -> Audio:
    mid, side = 0.5 * (audio[0] + audio[1]), 0.5 * width * (audio[0] - audio[1])
    return np.stack([mid + side, mid - side])


def _filtered(audio: Audio, rng: np.random.Generator) -> Audio:
    """A random smooth tilt of at most ±6 dB, a low-pass at 11 to 20 kHz, or both."""
    spectrum = np.fft.rfft(audio)
    f_hz = np.fft.rfftfreq(audio.shape[1], 1 / SAMPLE_RATE)
    gain_db = np.zeros_like(f_hz)
    which = rng.random()
    if which < 0.75:
        knots = np.log2([30, 120, 500, 2000, 8000, 20000])
        gain_db += np.interp(np.log2(np.maximum(f_hz, 20)), knots, rng.uniform(-6, 6, len(knots)))
    if which > 0.6:
        edge = rng.uniform(11_000, 20_000)
        gain_db -= np.clip((f_hz - edge) / 500, 0, 1) * 120
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), audio.shape[1]).astype(np.float32)


def _fade(rng: np.random.Generator, frames: int) -> Audio:
    """A gain curve that falls to digital silence somewhere in the crop, or rises from it."""
    at = int(rng.integers(0, frames))
    length = int(rng.integers(1, SAMPLE_RATE // 2))
    curve = np.clip((at - np.arange(frames)) / length, 0, 1).astype(np.float32)
    return curve if rng.random() < 0.5 else np.ascontiguousarray(curve[::-1])
