"""The sound of one track for the page: decoded once, beside its original, in flat memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from earzip.arrays import Audio
from earzip.coding.blocks import zip_blocks
from earzip.errors import SourceError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.audio.reader import SourceReader
from earzip.formats.geometry import SAMPLE_RATE
from earzip.page.pictures import Grade, difference_picture, levels_picture
from earzip.page.spectrum import Spectrogram, Waveform
from earzip.results import Progress
from earzip.transcode.sound import CodedSound, FileSound, codec_of

if TYPE_CHECKING:
    from earzip.metrics.measures import Measures
    from earzip.models.pool import CodecPool

EXCERPT_S = 20
N_PEAKS = 600

OpenOriginal = Callable[[ArchiveReader], SourceReader]
"""Opens the original of an archive, which may be in the archive itself."""


@dataclass(frozen=True)
class Side:
    """The original, or what was restored: how it looks, and an excerpt of how it sounds."""

    spectrogram: bytes
    """WebP, see `earzip.page.pictures.levels_picture`."""
    peaks: bytes
    excerpt: bytes | None
    """FLAC, 16 bit."""
    lufs: float | None = None
    """Loudness of the excerpt (ITU-R BS.1770-4), to match levels by; None for silence, or no excerpt."""


@dataclass(frozen=True)
class TrackView:
    """What the page shows of a track's sound. Without an original there is nothing to compare."""

    restored: Side
    original: Side | None
    difference: bytes | None
    measures: Measures | None
    excerpt_start_s: float
    lost_segments: tuple[int, ...]

    @property
    def sides(self) -> dict[str, Side]:
        """The sides that there are, by name."""
        both = {"original": self.original, "restored": self.restored}
        return {name: side for name, side in both.items() if side is not None}


def analyse(
    archive: Path,
    open_original: OpenOriginal | None,
    codecs: CodecPool,
    grade: Grade,
    *,
    with_audio: bool,
    on_progress: Progress,
) -> TrackView | None:
    """Return the view of an archive's track; None for a track without samples.

    Silence stands for damaged segments. Raises ArchiveError, ModelNotFoundError, ModelDamagedError,
    and SourceError for an original that cannot be decoded to the length that the archive has.
    """
    with ArchiveReader(archive, salvage=True) as reader:
        n_samples = reader.header.n_samples
        if not n_samples:
            return None
        sound = CodedSound(reader, codec_of(reader, codecs), 0, n_samples, keep_going=True)
        meters = {"restored": _SideMeter(n_samples, grade, with_audio)}
        if open_original is None:
            for block in sound.blocks():
                meters["restored"].add(block)
                on_progress(block.shape[1] / SAMPLE_RATE)
            return _finish(meters, grade, None, tuple(sorted(sound.lost)))
        from earzip.metrics.measures import QualityMeter  # noqa: PLC0415  # loads torch

        meters["original"] = _SideMeter(n_samples, grade, with_audio)
        meter = QualityMeter()
        with open_original(reader) as source:
            original = FileSound(source)
            for restored, before in zip_blocks(sound.blocks(), original.blocks()):
                meters["restored"].add(restored)
                meters["original"].add(before)
                meter.add(restored, before)
                on_progress(restored.shape[1] / SAMPLE_RATE)
            _require_length(original, n_samples)
        return _finish(meters, grade, meter.measures(), tuple(sorted(sound.lost)))


class _SideMeter:
    """Takes in one side of a track, block by block."""

    def __init__(self, n_samples: int, grade: Grade, with_audio: bool) -> None:
        self.spectrogram = Spectrogram(n_samples, grade.n_columns, grade.n_rows)
        self.waveform = Waveform(n_samples, N_PEAKS)
        self.start, self.end = excerpt_range(n_samples)
        self._pieces: list[Audio] | None = [] if with_audio else None
        self._position = 0

    def add(self, block: Audio) -> None:
        self.spectrogram.add(block)
        self.waveform.add(block)
        if self._pieces is not None:
            begin, end = self.start - self._position, self.end - self._position
            self._pieces.append(block[:, max(0, begin) : max(0, end)].copy())
        self._position += block.shape[1]

    def excerpt(self) -> tuple[bytes, float | None] | tuple[None, None]:
        """Return the excerpt as FLAC, and its loudness."""
        if self._pieces is None:
            return None, None
        from earzip.metrics.loudness import LoudnessMeter  # noqa: PLC0415  # loads scipy

        audio = np.concatenate(self._pieces, axis=1)
        meter = LoudnessMeter()
        meter.add(np.clip(audio, -1, 1))
        return encode_flac(audio), meter.loudness().lufs


def excerpt_range(n_samples: int) -> tuple[int, int]:
    """Return the samples of the 20 s in the middle of a track, or all of a shorter one."""
    start = max(0, n_samples - EXCERPT_S * SAMPLE_RATE) // 2
    return start, min(n_samples, start + EXCERPT_S * SAMPLE_RATE)


def encode_flac(audio: Audio) -> bytes:
    """Return float32 ``[2, T]`` at 44.1 kHz as a FLAC file of 16 bit; saturated, not dithered."""
    samples = np.rint(np.clip(32768 * audio.T, -32768, 32767)).astype(np.int16)
    target = io.BytesIO()
    soundfile.write(target, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return target.getvalue()


def _finish(
    meters: dict[str, _SideMeter], grade: Grade, measures: Measures | None, lost: tuple[int, ...]
) -> TrackView:
    levels = {name: ear.spectrogram.decibels() for name, ear in meters.items()}
    sides = {
        name: Side(levels_picture(levels[name], grade), ear.waveform.peaks(), *ear.excerpt())
        for name, ear in meters.items()
    }
    difference = None
    if "original" in levels:
        difference = difference_picture(levels["restored"], levels["original"], grade)
    return TrackView(
        restored=sides["restored"],
        original=sides.get("original"),
        difference=difference,
        measures=measures,
        excerpt_start_s=meters["restored"].start / SAMPLE_RATE,
        lost_segments=lost,
    )


def _require_length(original: FileSound, n_archived: int) -> None:
    if (n_samples := original.length()) != n_archived:
        raise SourceError(
            f"decodes to {n_samples} samples here, {n_archived} were archived: not compared",
            original.path,
        )
