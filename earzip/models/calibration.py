"""What a model is calibrated by, measured on music: its mean posterior scales, and the rates they give.

A step in proportion to the scale that the encoder itself gives a channel is the noise that its decoder
was trained to bear; so one preset costs the same loss with every model that was calibrated. What it
costs in bits differs from model to model; the specification states it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earzip.arrays import Audio, Latents
from earzip.coding.codec import Codec
from earzip.coding.level import LevelMeter, gain_to_reference_db
from earzip.coding.quantizer import STEPS_PER_OCTAVE
from earzip.errors import SourceError
from earzip.formats.archive.frames import compress_frames
from earzip.formats.audio.resample import stereo_44k
from earzip.formats.audio.source import open_source
from earzip.formats.geometry import SAMPLE_RATE
from earzip.formats.names import AUDIO_EXTENSIONS
from earzip.formats.symbols.coding import pack
from earzip.models.spec import ModelSpec, Preset

OnUnreadable = Callable[[SourceError], None]
"""Called with each track that cannot be read."""

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


@dataclass(frozen=True)
class EncodedMusic:
    """The encoder's outputs for the calibration excerpts."""

    scales: NDArray[np.float64]
    """The mean posterior scale of each latent, ``[D]``; a track counts by the frames taken of it."""
    segments: tuple[Latents, ...]
    """The posterior means, float32 ``[D, F]`` each."""
    duration_s: float

    @property
    def step_exponents(self) -> tuple[int, ...]:
        """The exponents of the steps nearest to the scales; see `earzip.coding.quantizer`."""
        exponents = np.rint(np.log2(self.scales) * STEPS_PER_OCTAVE)
        return tuple(exponents.astype(int).tolist())

    def kbps(self, spec: ModelSpec, preset: Preset) -> float:
        """Return the rate at ``preset`` of ``spec``, pooled, in kilobits per second.

        It counts the segments as an archive stores them; header, index and tags come on top.
        """
        symbols = (spec.quantize(latents, preset) for latents in self.segments)
        n_bytes = sum(len(compress_frames(pack(s, spec.layout))) for s in symbols)
        return 8 * n_bytes / self.duration_s / 1000


def encode_music(
    codec: Codec, music: Sequence[Path], on_unreadable: OnUnreadable | None = None
) -> EncodedMusic:
    """Return the encoded excerpts of the tracks in ``music``, each encoded once.

    ``music``: files or folders; see `choose_tracks`. Unreadable tracks are skipped and reported.
    Raises SourceError when there is no sound in any, and where the encoder gives no finite numbers.
    """
    segments: list[Latents] = []
    total, n_samples, problem = np.zeros(codec.n_latents), 0, None
    for path in choose_tracks(music):
        try:
            audio = read_excerpt(path, SECONDS_A_TRACK)
        except SourceError as error:
            problem = error
            if on_unreadable:
                on_unreadable(error)
            continue
        n_samples += audio.shape[1]
        for mean, scale in codec.encode_posterior([audio]):
            if not np.isfinite(mean).all():
                raise SourceError(f"its latents overflow in {codec.precision}", path)
            segments.append(mean)
            total += scale.sum(1, dtype=np.float64)
    if not segments:
        raise problem or SourceError("there is no sound to calibrate with", music[0])
    scales = total / sum(mean.shape[1] for mean in segments)
    if not np.isfinite(scales).all() or (scales <= 0).any():
        raise SourceError("its posterior scales are not positive numbers", music[0])
    return EncodedMusic(scales, tuple(segments), n_samples / SAMPLE_RATE)


def read_excerpt(path: Path, seconds: float) -> Audio:
    """Return the middle ``seconds`` of a track, at the reference level, ``[2, T]``, 44.1 kHz.

    Raises SourceError for a file that cannot be read.
    """
    meter, n_samples = LevelMeter(), 0
    for block in _blocks(path):
        meter.add(block)
        n_samples += block.shape[1]
    gain = np.float32(10 ** (gain_to_reference_db(meter.level_db()) / 20))
    length = min(n_samples, round(seconds * SAMPLE_RATE))
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
