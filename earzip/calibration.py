"""The steps of a model's latents, measured on music: its mean posterior scales.

A step in proportion to the scale that the encoder itself gives a channel is the noise that its decoder
was trained to bear; so one preset costs the same loss with every model that was calibrated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earzip.codec import Audio, Codec
from earzip.errors import SourceError
from earzip.formats.audio import AUDIO_EXTENSIONS, open_source
from earzip.formats.resample import SAMPLE_RATE, stereo_44k
from earzip.level import LevelMeter, gain_to_reference_db
from earzip.quantizer import STEPS_PER_OCTAVE

MAX_TRACKS = 20
SECONDS_A_TRACK = 30
"""Taken from the middle of each track: enough for a mean, and a large network may crawl on a CPU."""


def choose_tracks(paths: Sequence[Path]) -> list[Path]:
    """Return the sound files in ``paths``, at most 20 and from all over the folders among them.

    Raises SourceError for a path that is not there, and when there is no sound file.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO_EXTENSIONS)
            found += (p for p in inside if p.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise SourceError("cannot be read: there is no such file", path)
    if not found:
        raise SourceError("there is no sound file to calibrate with", paths[0])
    n_chosen = min(len(found), MAX_TRACKS)
    return [found[i * len(found) // n_chosen] for i in range(n_chosen)]


def measure_scales(codec: Codec, music: Sequence[Path]) -> NDArray[np.float64]:
    """Return the mean posterior scale of each latent over the tracks in ``music``, float64 ``[D]``.

    ``music``: files or folders; see `choose_tracks`. A track counts by the frames taken of it. Raises
    SourceError for one that cannot be read, and when there is no sound in any.
    """
    total, n_frames = np.zeros(codec.n_latents), 0
    for path in choose_tracks(music):
        for scales in codec.encode_scales([_excerpt(path)]):
            total += scales.sum(1, dtype=np.float64)
            n_frames += scales.shape[1]
    if not n_frames:
        raise SourceError("there is no sound to calibrate with", music[0])
    mean = total / n_frames
    if not np.isfinite(mean).all() or (mean <= 0).any():
        raise SourceError("its posterior scales are not positive numbers", music[0])
    return mean


def step_exponents(scales: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the exponents of the steps nearest to ``scales``; see `earzip.quantizer`."""
    return tuple(np.rint(np.log2(scales) * STEPS_PER_OCTAVE).astype(int).tolist())


def _excerpt(path: Path) -> Audio:
    """Return the middle of a track at the reference level, ``[2, T]``, 44.1 kHz."""
    meter, n_samples = LevelMeter(), 0
    for block in _blocks(path):
        meter.add(block)
        n_samples += block.shape[1]
    gain = np.float32(10 ** (gain_to_reference_db(meter.level_db()) / 20))
    length = min(n_samples, SECONDS_A_TRACK * SAMPLE_RATE)
    return _cut(_blocks(path), (n_samples - length) // 2, length) * gain


def _blocks(path: Path) -> Iterator[Audio]:
    with open_source(path) as reader:
        yield from stereo_44k(reader)


def _cut(blocks: Iterable[Audio], start: int, length: int) -> Audio:
    """Return the samples ``[start, start + length)`` of a track that comes in ``blocks``."""
    pieces, position = [np.zeros((2, 0), np.float32)], 0
    for block in blocks:
        first, last = start - position, start + length - position
        if last <= 0:
            break
        pieces.append(block[:, max(0, first) : last])
        position += block.shape[1]
    return np.concatenate(pieces, 1)
