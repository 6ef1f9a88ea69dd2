"""Tracks of archives, one behind the other without a gap, to a player, in threads of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from earzip.arrays import Audio
from earzip.errors import EarzipError
from earzip.formats.archive.reader import ArchiveReader
from earzip.models.pool import CodecPool
from earzip.options import RestoreOptions
from earzip.playback.players import BYTES_PER_S, RunningPlayer
from earzip.transcode.restore_plan import coded_range
from earzip.transcode.sound import archive_sound

_AHEAD = 2  # blocks that are decoded before they are due: a segment each, 24 s
_PIECE_BYTES = 8192  # 46 ms
_LOOK_S = 0.2

OnProblem = Callable[[int, EarzipError], None]
"""Called with the number of a track that cannot be played, and why."""


class Mark(NamedTuple):
    """Where a track begins in what a player gets: ``at_s`` seconds in, at ``offset_s`` of the track."""

    at_s: float
    track: int
    offset_s: float


@dataclass(frozen=True)
class Tracks:
    """What is to be played: archives, and of each the range from ``start_s`` to ``end_s``."""

    archives: Sequence[Path]
    start_s: float | None
    end_s: float | None
    codecs: CodecPool

    def blocks(self, track: int, offset_s: float) -> Iterator[Audio]:
        """Yield the samples of a track from ``offset_s`` on, float32 ``[2, T]``.

        Raises ArchiveError, ModelNotFoundError, ModelDamagedError, or UsageError for a range that begins
        beyond the end.
        """
        path = self.archives[track]
        with ArchiveReader(path) as reader:
            asked = RestoreOptions(start_s=self.start_s, end_s=self.end_s)
            start, end = coded_range(reader.header, asked, path)
            start = max(start, min(round(offset_s * reader.header.geometry.sample_rate), end))
            if start < end:
                yield from archive_sound(reader, self.codecs, start, end).blocks()


class Feed:
    """The tracks from one on, to a player, which is started with the first sound."""

    def __init__(
        self,
        tracks: Tracks,
        player: RunningPlayer,
        first: int,
        offset_s: float,
        decoding: threading.Lock,
        on_problem: OnProblem,
    ) -> None:
        """Begin with track ``first`` at ``offset_s``. ``decoding`` is held while a block is decoded."""
        self.marks: list[Mark] = []
        """Of the tracks that the player has got something of, in order."""
        self.has_all = False
        """Whether the player has got all."""
        self._tracks, self._player = tracks, player
        self._first, self._offset_s = first, offset_s
        self._decoding, self._on_problem = decoding, on_problem
        self._n_bytes = 0
        self._ended = threading.Event()
        self._blocks: queue.Queue[tuple[int, float, bytes] | None] = queue.Queue(_AHEAD)
        self._error: BaseException | None = None
        for work in (self._decode, self._write):
            threading.Thread(target=self._guarded, args=(work,), daemon=True).start()

    @property
    def written_s(self) -> float:
        """How much the player has got, in seconds. Raises what went wrong in a thread."""
        if self._error:
            raise self._error
        return self._n_bytes / BYTES_PER_S

    def end(self) -> None:
        """Let the threads end; one may be in the middle of a block."""
        self._ended.set()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # the thread that plays raises it
            self._error = error

    def _decode(self) -> None:
        offset_s = self._offset_s
        for track in range(self._first, len(self._tracks.archives)):
            begins = True
            try:
                for samples in self._decoded(track, offset_s):
                    where = max(offset_s, self._tracks.start_s or 0.0)
                    self._put((track, where if begins else -1.0, samples))
                    begins = False
            except EarzipError as error:
                if not self._ended.is_set():
                    self._on_problem(track, error)
            offset_s = 0.0
            if self._ended.is_set():
                return
        self._put(None)

    def _decoded(self, track: int, offset_s: float) -> Iterator[bytes]:
        blocks = self._tracks.blocks(track, offset_s)
        while not self._ended.is_set():
            with self._decoding:
                # Not once more if it was ended while another feed had the lock.
                block = None if self._ended.is_set() else next(blocks, None)
            if block is None:
                return
            yield _to_16_bits(block)

    def _put(self, block: tuple[int, float, bytes] | None) -> None:
        while not self._ended.is_set():
            with suppress(queue.Full):
                self._blocks.put(block, timeout=_LOOK_S)
                return

    def _write(self) -> None:
        blocks = self._due_blocks()
        first = next(blocks, None)
        stream = None if first is None else self._player.start()
        if first is None or stream is None:
            return
        # A player that has ended, or was ended, takes no more: whoever plays asks it.
        with suppress(BrokenPipeError), stream:
            _write_all(stream, self._player.head)
            for track, offset_s, samples in chain([first], blocks):
                if offset_s >= 0:
                    self.marks.append(Mark(self._n_bytes / BYTES_PER_S, track, offset_s))
                for start in range(0, len(samples), _PIECE_BYTES):
                    self._n_bytes += _write_all(stream, samples[start : start + _PIECE_BYTES])

    def _due_blocks(self) -> Iterator[tuple[int, float, bytes]]:
        """Yield the blocks as they come, until this is ended or has all."""
        while not self._ended.is_set():
            try:
                block = self._blocks.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if block is None:
                self.has_all = True
                return
            yield block


def _write_all(stream: IO[bytes], data: bytes) -> int:
    left = memoryview(data)
    while left:
        left = left[stream.write(left) :]
    return len(data)


def _to_16_bits(block: Audio) -> bytes:
    """Return samples as a player takes them: 16 bits, left and right by turns, saturated."""
    scaled = np.rint(block.T * np.float32(1 << 15))
    stored: bytes = np.clip(scaled, -(1 << 15), (1 << 15) - 1).astype("<i2").tobytes()
    return stored
