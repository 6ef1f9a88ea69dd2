"""Sound as blocks of samples: of a sound file, of an archive's coded sound, or of its exact copy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np

from earzip.arrays import Audio, Latents, Symbols
from earzip.coding.edges import mend_edges
from earzip.coding.level import is_sound, without_gain
from earzip.coding.quantizer import dequantize
from earzip.errors import (
    ArchiveError,
    DamagedArchiveError,
    EarzipError,
    ModelDamagedError,
    ModelNotFoundError,
    SourceError,
    count,
)
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.audio.downmix import downmix
from earzip.formats.audio.reader import SourceReader
from earzip.formats.audio.resample import stereo_44k
from earzip.formats.audio.source import open_source
from earzip.formats.geometry import n_samples_at
from earzip.formats.names import is_archive_name
from earzip.models.pool import CodecPool
from earzip.models.store import models_of_archive
from earzip.transcode.exact import open_copy

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


_DECODER_SLACK = 8192
"""Samples by which decoders of a lossy file disagree at the most: some frames of its padding."""


class Sound(Protocol):
    """Sound at 44.1 kHz in stereo, which is read once."""

    @property
    def path(self) -> Path:
        """The file that it is in."""

    def blocks(self) -> Iterator[Audio]:
        """Yield the samples: float32 ``[2, T]``, ±1. Raises as `open_sound`."""

    def length(self) -> int:
        """Return the number of samples; a sound file is read to its end for that."""

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each thing that is missing, once the blocks have been read."""


@contextmanager
def open_sound(
    path: str | os.PathLike[str],
    *,
    codecs: CodecPool | None = None,
    coded: bool = False,
    keep_going: bool = False,
) -> Iterator[Sound]:
    """Open the sound of the file at ``path``, a sound file or, if its name ends in .earz, an archive.

    An archive with an exact copy of its source gives that, unless ``coded`` requests the coded sound.
    ``keep_going``: silence stands for damaged segments of coded sound, which `Sound.problems` names;
    else reading the blocks raises DamagedArchiveError. Memory does not grow with the length.

    Raises SourceError for what cannot be read as sound, ArchiveError, ModelNotFoundError or
    ModelDamagedError.
    """
    path = Path(path)
    with ExitStack() as stack:
        if not is_archive_name(path.name):
            yield FileSound(stack.enter_context(open_source(path)))
            return
        archive = stack.enter_context(ArchiveReader(path, salvage=keep_going))
        pool = codecs or stack.enter_context(CodecPool())
        whole = 0, archive.header.n_samples
        yield archive_sound(archive, pool, *whole, coded=coded, keep_going=keep_going)


def archive_sound(
    archive: ArchiveReader,
    codecs: CodecPool,
    start: int,
    end: int,
    *,
    coded: bool = False,
    keep_going: bool = False,
) -> CodedSound | ExactSound:
    """Return samples ``[start, end)`` of an open archive's track, with all else as in `open_sound`."""
    if archive.header.exact is None or coded:
        archive.require_work()
        codec = codec_of(archive, codecs)
        return CodedSound(archive, codec, start, end, keep_going=keep_going)
    return ExactSound(archive, archive.exact_copy(), start, end, at_source_rate=False)


class FileSound:
    """The sound of a file that is open."""

    def __init__(self, source: SourceReader) -> None:
        self.path = Path(source.path)
        self._source = source
        self._blocks = stereo_44k(source)

    def blocks(self) -> Iterator[Audio]:
        """Yield the samples, float32 ``[2, T]``."""
        return self._blocks

    def length(self) -> int:
        """Return the number of samples; reads what is left of the file."""
        for _ in self._blocks:
            pass
        return n_samples_at(self._source.n_frames_read, self._source.facts.sample_rate)

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence if the file, which was read to its end, is cut short."""
        truncated = self._source.truncated
        return (f"{self.path} is cut short: {truncated}",) if truncated else ()


@dataclass
class CodedSound:
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
    def path(self) -> Path:
        """The archive."""
        return self.reader.path

    def length(self) -> int:
        """Return the number of samples."""
        return self.end - self.start

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each segment that is lost, so far."""
        return tuple(message for _, message in sorted(self.lost.items()))

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
            f"{self.reader.header.segment_name(i)} beside the range is damaged: "
            "the sound next to it may differ"
            for i in sorted(self.lost)
            if i not in self.segments
        )

    def blocks(self) -> Iterator[Audio]:
        """Yield the samples, ``[2, T]``, at the source's level; silence for lost segments."""
        header, g = self.reader.header, self.codec.geometry
        cores = self.codec.decode(self._latents, header.n_samples, self.segments)
        for i, block in zip(self.segments, cores, strict=True):
            first = max(0, i * g.core * g.hop - g.lead)
            cut = block[:, max(0, self.start - first) : max(0, self.end - first)]
            cut = without_gain(cut, header.gain_centibels)
            if not is_sound(cut):
                if self.codec.precision == "float16":  # which is no damage
                    raise ArchiveError(
                        "overflows in float16; --precision float32 or bfloat16 has a greater range",
                        self.reader.path,
                    )
                name = self.reader.header.segment_name(i)
                self._lose(i, f"{name}: decodes to infinite or far too large samples")
            if i in self.lost:
                yield np.zeros_like(cut)
            else:
                position = max(first, self.start)
                yield mend_edges(cut, position, header.n_samples, header.edges)

    def _latents(self, i: int) -> Latents:
        try:
            return read_segment(self.reader, i)
        except DamagedArchiveError as error:
            beside = "" if i in self.segments else " (needed as context for the range beside it)"
            self._lose(i, error.message + beside, error)
            n_frames = self.reader.header.segment_frames(i)
            return np.zeros((self.reader.header.model.n_latents, n_frames), np.float32)

    def _lose(self, i: int, message: str, cause: DamagedArchiveError | None = None) -> None:
        """Note that segment ``i`` is lost. Raises DamagedArchiveError unless going on."""
        if not self.keep_going:
            raise DamagedArchiveError(message, self.reader.path) from cause
        self.lost.setdefault(i, message)


@dataclass
class ExactSound:
    """Samples ``[start, end)`` of the exact copy, in stereo: at 44.1 kHz, or at the source's rate.

    ``copy`` is closed by whichever of `blocks` and `channel_blocks` is used.
    """

    reader: ArchiveReader
    copy: BinaryIO
    start: int
    end: int
    at_source_rate: bool
    problems: tuple[str, ...] = ()
    """None: a damaged copy raises an error."""

    @property
    def path(self) -> Path:
        """The archive."""
        return self.reader.path

    def length(self) -> int:
        """Return the number of samples."""
        return self.end - self.start

    def blocks(self) -> Iterator[Audio]:
        """Yield the samples, float32 ``[2, T]``.

        Raises DamagedArchiveError where the copy is not the sound that the header tells of, ArchiveError
        where it is the source file and nothing that is installed decodes that.
        """
        with self._opened() as source:
            blocks = stereo_44k(source)
            if self.at_source_rate:
                blocks = (downmix(block, source.layout) for block in source.blocks())
            position = 0
            for block in self._of_length(blocks, 2):
                cut = block[:, max(0, self.start - position) : max(0, self.end - position)]
                position += block.shape[1]
                if cut.shape[1]:
                    yield cut
                if position >= self.end and self.end < self._n_samples:
                    return

    def channel_blocks(self) -> Iterator[Audio]:
        """Yield all samples of all channels at the source's rate, ``[C, T]``; raises as `blocks`."""
        with self._opened() as source:
            yield from self._of_length(source.blocks(), source.facts.channels)

    def _of_length(self, blocks: Iterable[Audio], channels: int) -> Iterator[Audio]:
        """Yield as many samples as the header says.

        That a copy of the source file is one is known from its SHA-256, so where another decoder finds
        a few samples more or fewer in it, they are cut off, or silence is added.
        """
        n_left, n_found = self._n_samples, 0
        slack = _DECODER_SLACK if self._is_source_file else 0
        for block in blocks:
            n_found += block.shape[1]
            if n_found > self._n_samples + slack:
                break
            yield block[:, :n_left]
            n_left -= min(n_left, block.shape[1])
        if abs(n_found - self._n_samples) > slack:
            raise self._error(f"{n_found} samples decode, the header says {self._n_samples}")
        yield np.zeros((channels, n_left), np.float32)

    @property
    def _is_source_file(self) -> bool:
        return self.reader.header.exact == "file"

    @property
    def _n_samples(self) -> int:
        header = self.reader.header
        return header.source.n_frames if self.at_source_rate else header.n_samples

    @contextmanager
    def _opened(self) -> Iterator[SourceReader]:
        """Give the copy as sound; the archive is at fault where it does not decode."""
        try:
            with open_copy(self.reader, self.copy) as source:
                told, found = self.reader.header.source, source.facts
                if (told.sample_rate, told.channels) != (found.sample_rate, found.channels):
                    raise self._error(
                        f"has {count(found.channels, 'channel')} at {found.sample_rate} Hz, the header "
                        f"says {told.channels} at {told.sample_rate} Hz"
                    )
                yield source
        except SourceError as error:
            if not self._is_source_file:
                raise self._error(error.message) from error
            raise ArchiveError(
                f"its exact copy, the source file, cannot be decoded here: {error.message}",
                self.reader.path,
            ) from error

    def _error(self, message: str) -> DamagedArchiveError:
        return DamagedArchiveError(f"exact copy: {message}", self.reader.path)


def codec_of(reader: ArchiveReader, pool: CodecPool) -> Codec:
    """Return the codec that the archive names, which must have the geometry that it was coded with.

    Raises ModelNotFoundError, ModelDamagedError, or ArchiveError for another geometry.
    """
    header = reader.header
    codec = _loaded(reader, pool)
    if header.geometry != codec.geometry or header.model.n_latents != codec.n_latents:
        raise ArchiveError(
            f"its geometry is not that of its model {header.model.name!r}", reader.path
        )
    return codec


def _loaded(reader: ArchiveReader, pool: CodecPool) -> Codec:
    """Return the codec of the first model of the archive that can be loaded."""
    model = reader.header.model
    problem: EarzipError | None = None
    try:
        for spec in models_of_archive(model.name, model.sha256, reader.path):
            try:
                return pool.of_model(spec)
            except (ModelNotFoundError, ModelDamagedError) as error:
                problem = problem or error
    except ModelNotFoundError as error:
        raise ModelNotFoundError(error.message, reader.path) from error
    assert problem
    raise problem


def read_segment(reader: ArchiveReader, i: int) -> Latents:
    """Return the latents of segment ``i``: float32 ``[D, F]``. Raises DamagedArchiveError."""
    exponents = np.array(reader.header.quantizer.step_exponents, np.int32)
    return dequantize(read_symbols(reader, i), exponents)


def read_symbols(reader: ArchiveReader, i: int) -> Symbols:
    """Return the integers of segment ``i``: int32 ``[D, F]``. Raises DamagedArchiveError."""
    header = reader.header
    try:
        return header.unpack_segment(reader.segment(i), i)
    except DamagedArchiveError as error:
        if error.path is not None:
            raise
        raise DamagedArchiveError(
            f"{header.segment_name(i)}: {error.message}", reader.path
        ) from error
