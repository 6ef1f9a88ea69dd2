"""An archive that is open: its facts, and all that is in it, read as it is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from earzip.arrays import Audio, Latents, Symbols
from earzip.coding.quantizer import dequantize
from earzip.errors import UsageError
from earzip.formats.archive.header import Header
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.tag_payload import Chapter, Payload
from earzip.formats.tags.model import Picture
from earzip.models.pool import CodecPool
from earzip.options import RestoreOptions
from earzip.transcode.facts import TrackFacts
from earzip.transcode.inspect import ArchiveInfo, info_of
from earzip.transcode.restore_plan import coded_range
from earzip.transcode.saved_tags import read_tag_payload
from earzip.transcode.sound import archive_sound, read_symbols

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Segment:
    """A stretch of a track that is stored by itself."""

    number: int
    start: int
    """Its first sample in the track."""
    end: int
    """The first sample behind it."""
    symbols: Symbols
    """Integers as they are stored: int32 ``[D, F]``."""
    latents: Latents
    """The integers times their steps: float32 ``[D, F]``."""


class Archive(TrackFacts):
    """An archive that `open_archive` has opened; a context manager.

    Nothing but the facts is read before it is asked for, and iterators hold one segment, or one picture,
    at a time: memory does not grow with the track. Facts stay when it is closed; all else raises
    UsageError then, iterators in progress too. Not for several threads at once.
    """

    def __init__(self, path: str | os.PathLike[str], codecs: CodecPool | None) -> None:
        self._open = ExitStack()
        self._reader = self._open.enter_context(ArchiveReader(path))
        self._codecs = codecs or self._open.enter_context(CodecPool())
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and end the model's threads unless they are a caller's."""
        self._is_closed = True
        self._open.close()

    @property
    def path(self) -> Path:
        """The file."""
        return self._reader.path

    @property
    def header(self) -> Header:
        """Everything that the archive says of its sound."""
        return self._reader.header

    @property
    def n_segments(self) -> int:
        """How many segments there are."""
        return self.header.n_segments

    @property
    def info(self) -> ArchiveInfo:
        """All facts, sizes among them, as `earzip.transcode.inspect.read_info` returns them."""
        self._require_open()
        return info_of(self._reader, self._reader.tags)

    @property
    def tags(self) -> dict[str, list[str]]:
        """The values of each tag, by the lower-case names of Vorbis comments, such as ``title``."""
        return {name: list(values) for name, values in self._tags.fields.items()}

    @property
    def chapters(self) -> list[Chapter]:
        """The named parts of the track."""
        return list(self._tags.chapters)

    def pictures(self) -> Iterator[Picture]:
        """Yield each picture of the tags with the bytes of its file."""
        self._require_open()
        part = self._reader.tags
        numbers = part.pictures if part else ()
        return self._each(
            Picture.of(facts, self._reader.picture(number))
            for facts, number in zip(self._tags.pictures, numbers, strict=True)
        )

    def samples(
        self, start_s: float | None = None, end_s: float | None = None, *, coded: bool = False
    ) -> Iterator[Audio]:
        """Yield the sound in blocks: float32 ``[2, T]``, ±1, at `rate`.

        ``start_s``, ``end_s``: a range in seconds. An archive with an exact copy of its source gives that
        unless ``coded`` requests the model's output. Raises UsageError for what is no range of the track,
        ArchiveError, ModelNotFoundError or ModelDamagedError.
        """
        self._require_open()
        options = RestoreOptions(start_s=start_s, end_s=end_s)
        start, end = coded_range(self.header, options, self.path)
        sound = archive_sound(self._reader, self._codecs, start, end, coded=coded)
        return self._each(sound.blocks())

    def segments(self) -> Iterator[Segment]:
        """Yield the segments in order, at the models' working level. Needs neither the model nor torch.

        Raises DamagedArchiveError.
        """
        self._require_open()
        self._reader.require_work()
        return self._each(map(self._segment, range(self.n_segments)))

    def latents(self) -> Iterator[Latents]:
        """Yield the latents of each of `segments`: float32 ``[D, F]``; joined they are the track's."""
        return (segment.latents for segment in self.segments())

    def _segment(self, number: int) -> Segment:
        g = self.header.geometry
        begins = (i * g.core * g.hop - g.lead for i in (number, number + 1))
        start, end = (min(max(sample, 0), self.n_samples) for sample in begins)
        symbols = read_symbols(self._reader, number)
        exponents = np.array(self.header.quantizer.step_exponents, np.int32)
        return Segment(number, start, end, symbols, dequantize(symbols, exponents))

    @property
    def _tags(self) -> Payload:
        self._require_open()
        return self._payload

    @cached_property
    def _payload(self) -> Payload:
        return read_tag_payload(self._reader)

    def _each(self, items: Iterator[T]) -> Iterator[T]:
        """Yield the items as long as the archive is open."""
        while True:
            self._require_open()
            try:
                item = next(items)
            except StopIteration:
                return
            yield item

    def _require_open(self) -> None:
        if self._is_closed:  # its descriptor may be another file's by now
            raise UsageError("is closed; read it before its `with` block ends", self.path)


def open_archive(path: str | os.PathLike[str], *, codecs: CodecPool | None = None) -> Archive:
    """Return the archive at ``path``, opened: samples, latents, tags and pictures on demand.

    ``codecs`` has the models of several archives, so that each is loaded once. Raises ArchiveError, or
    the kind of it that says why the file cannot be used: DamagedArchiveError, NotAnArchiveError.
    """
    return Archive(path, codecs)
