"""The sound of an archive: from its segments through the model's decoder to blocks of samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from earzip.arrays import Audio, Latents
from earzip.coding.edges import mend_edges
from earzip.coding.quantizer import dequantize
from earzip.errors import (
    ArchiveError,
    DamagedArchiveError,
    ModelDamagedError,
    ModelNotFoundError,
)
from earzip.formats.archive.reader import ArchiveReader
from earzip.models.pool import CodecPool
from earzip.models.store import find_model_of_archive
from earzip.results import Progress
from earzip.transcode.exact import ExactTrack

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


# Far below the end of float32: what gain, resampling and mixing make of it is still finite.
_LOUDEST = np.float32(1e30)


@dataclass
class DecodedTrack:
    """Samples ``[start, end)`` of an archive's track, and which segments were lost.

    ``keep_going``: silence stands for damaged segments, which ``lost`` lists with what is wrong;
    otherwise `blocks` raises DamagedArchiveError at the first.
    """

    reader: ArchiveReader
    codec: Codec
    start: int
    end: int
    keep_going: bool
    lost: dict[int, str] = field(default_factory=dict)

    @property
    def segments(self) -> range:
        """The segments that hold the samples; their neighbours are read for context only."""
        return self.codec.geometry.segments_of(self.start, self.end)

    @property
    def lost_segments(self) -> tuple[int, ...]:
        """Those of `segments` that are lost, so far."""
        return tuple(i for i in sorted(self.lost) if i in self.segments)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each lost segment that is only a neighbour."""
        return tuple(
            f"segment {i}, which is beside the range, is damaged: the sound next to it may differ"
            for i in sorted(self.lost)
            if i not in self.segments
        )

    def blocks(self) -> Iterator[Audio]:
        """Yield the samples, ``[2, T]``, at the source's level; silence for lost segments."""
        header, g = self.reader.header, self.codec.geometry
        gain = np.float32(10 ** (-header.gain_centibels / 200))
        cores = self.codec.decode(self._latents, header.n_samples, self.segments)
        for i, block in zip(self.segments, cores, strict=True):
            first = max(0, i * g.core * g.hop - g.lead)
            cut = block[:, max(0, self.start - first) : max(0, self.end - first)]
            with np.errstate(over="ignore"):
                cut = cut * gain
            if not (np.abs(cut) < _LOUDEST).all():  # infinite and NaN ones too
                if self.codec.precision == "float16":  # which is no damage
                    raise ArchiveError(
                        "overflows in float16; --precision float32 or bfloat16 has a greater range",
                        self.reader.path,
                    )
                self._lose(i, "decodes to numbers that are no sound")
            if i in self.lost:
                yield np.zeros_like(cut)
            else:
                position = max(first, self.start)
                yield mend_edges(cut, position, header.n_samples, header.edges)

    def _latents(self, i: int) -> Latents:
        try:
            return read_segment(self.reader, i)
        except DamagedArchiveError as error:
            beside = "" if i in self.segments else " (the range beside it needs it as context)"
            self._lose(i, error.message + beside, error)
            n_frames = self.reader.header.segment_frames(i)
            return np.zeros((self.reader.header.model.n_latents, n_frames), np.float32)

    def _lose(self, i: int, message: str, cause: DamagedArchiveError | None = None) -> None:
        """Note that segment ``i`` is lost. Raises DamagedArchiveError unless going on."""
        if not self.keep_going:
            message = message if cause else f"segment {i}: {message}"
            raise DamagedArchiveError(message, self.reader.path) from cause
        self.lost.setdefault(i, message)


def codec_of(reader: ArchiveReader, pool: CodecPool) -> Codec:
    """Return the codec that the archive names, which must have the geometry that it was coded with.

    Raises ModelNotFoundError, ModelDamagedError, or ArchiveError for another geometry.
    """
    header = reader.header
    try:
        spec = find_model_of_archive(header.model.name, header.model.sha256)
    except (ModelNotFoundError, ModelDamagedError) as error:
        raise type(error)(error.message, reader.path) from error
    codec = pool.of_model(spec)
    coded = {k: v for k, v in vars(header.geometry).items() if k != "sample_rate"}
    if coded != vars(codec.geometry) or header.model.n_latents != codec.n_latents:
        raise ArchiveError(
            f"was coded with a geometry that its model {spec.name!r} does not have", reader.path
        )
    return codec


def decode_check(
    archive: Path, *, codecs: CodecPool | None = None, on_progress: Progress | None = None
) -> list[str]:
    """Decode ``archive`` without output; return a sentence for each thing that is wrong.

    Raises ArchiveError for a file that cannot be opened as an archive, ModelNotFoundError or
    ModelDamagedError.
    """
    problems: list[str] = []
    with ArchiveReader(archive) as reader, ExitStack() as stack:
        pool = codecs or stack.enter_context(CodecPool())
        n_expected = reader.header.n_samples
        sound = DecodedTrack(reader, codec_of(reader, pool), 0, n_expected, keep_going=True)
        n_samples = 0
        for block in sound.blocks():
            n_samples += block.shape[1]
            if on_progress:
                on_progress(block.shape[1] / reader.header.geometry.sample_rate)
        problems += [f"segment {i}: {message}" for i, message in sorted(sound.lost.items())]
        if n_samples != n_expected:
            problems.append(f"{n_samples} samples decode, the header says {n_expected}")
        problems += _exact_problems(reader, on_progress)
    return problems


def _exact_problems(reader: ArchiveReader, on_progress: Progress | None) -> list[str]:
    """Return what is wrong with the exact copy, if there is one."""
    if reader.header.exact is None:
        return []
    n_frames = reader.header.source.n_frames
    try:
        with reader.exact_copy() as copy:
            if reader.header.exact == "file":  # whose SHA-256 says all
                return []
            track = ExactTrack(reader, copy, 0, n_frames, at_source_rate=True)
            for _block in track.channel_blocks():
                if on_progress:
                    on_progress(0)
    except DamagedArchiveError as error:
        return [error.message]
    return []


def read_segment(reader: ArchiveReader, i: int) -> Latents:
    """Return the latents of segment ``i``: float32 ``[D, F]``. Raises DamagedArchiveError."""
    header = reader.header
    try:
        symbols = header.unpack_segment(reader.segment(i), i)
    except DamagedArchiveError as error:
        if error.path is not None:
            raise
        raise DamagedArchiveError(f"segment {i}: {error.message}", reader.path) from error
    return dequantize(symbols, np.array(header.quantizer.step_exponents, np.int32))
