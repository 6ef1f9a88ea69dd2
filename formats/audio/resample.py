"""Streaming conversion between sample rates with exact lengths, and to 44.1 kHz stereo."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import soxr

from earzip.formats.audio.downmix import downmix
from earzip.formats.geometry import SAMPLE_RATE, n_samples_at

if TYPE_CHECKING:
    from earzip.formats.audio.reader import SourceReader


class _SharedTables:
    """Guards the tables of sines and bit reversals that all streams of libsoxr share.

    A new stream may move them, as it does where there is no AVX, while another thread computes with
    them: the library has locks for that, which wheels are built without, as they need OpenMP
    (https://github.com/chirlu/soxr/issues/10). So streams run side by side, but begin alone.
    """

    def __init__(self) -> None:
        self._door = threading.Lock()
        self._idle = threading.Condition()
        self._n_running = 0

    @contextmanager
    def may_move(self) -> Iterator[None]:
        """Wait until nothing runs, and let nothing run meanwhile."""
        with self._door, self._idle:
            self._idle.wait_for(lambda: self._n_running == 0)
            yield

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the tables where they are."""
        with self._door, self._idle:
            self._n_running += 1
        try:
            yield
        finally:
            with self._idle:
                self._n_running -= 1
                self._idle.notify()


_TABLES = _SharedTables()


def stereo_44k(reader: SourceReader) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the source as float32 ``[2, T]`` at 44.1 kHz; what passes ±1 is kept.

    Altogether ``n_samples_at(reader.n_frames_read, reader.facts.sample_rate)`` samples. Raises what
    ``reader.blocks()`` raises.
    """
    rate = reader.facts.sample_rate
    stereo = (downmix(block, reader.layout) for block in reader.blocks())
    yield from _resampled(stereo, rate, SAMPLE_RATE, lambda n_read: n_samples_at(n_read, rate))


def resample_to(
    blocks: Iterable[npt.NDArray[np.float32]], rate_in: int, rate_out: int, n_out: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield float32 ``[2, T]`` at ``rate_in`` as exactly ``n_out`` samples at ``rate_out``.

    ``n_out`` may differ from the natural length by the rounding of an earlier conversion the other
    way: silence is added, or the end cut off.
    """
    yield from _resampled(blocks, rate_in, rate_out, lambda _: n_out)


def _resampled(
    blocks: Iterable[npt.NDArray[np.float32]],
    rate_in: int,
    rate_out: int,
    length_of: Callable[[int], int],
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the blocks at ``rate_out``, ``length_of(samples read)`` samples of them."""
    n_read = n_sent = 0
    stream = None
    if rate_in != rate_out:
        with _TABLES.may_move():
            stream = soxr.ResampleStream(rate_in, rate_out, 2, dtype="float32", quality="VHQ")
    # One block is held back: only after the last one is it known how many samples are due.
    held = np.zeros((2, 0), np.float32)
    for block in blocks:
        n_read += block.shape[1]
        out = block if stream is None else _chunk(stream, block)
        if out.shape[1]:
            if held.shape[1]:
                yield held
                n_sent += held.shape[1]
            held = out
    if stream is not None:
        rest = _chunk(stream, np.zeros((2, 0), np.float32), last=True)
        held = np.concatenate([held, rest], axis=1)
    n_due = length_of(n_read) - n_sent
    n_spare = abs(n_due - held.shape[1])
    assert n_spare <= rate_out // rate_in + 1, f"{n_spare} samples too many or missing"
    held = np.pad(held[:, :n_due], ((0, 0), (0, max(0, n_due - held.shape[1]))))
    if n_due:
        yield held


def _chunk(
    stream: soxr.ResampleStream, block: npt.NDArray[np.float32], *, last: bool = False
) -> npt.NDArray[np.float32]:
    frames = np.ascontiguousarray(block.T)
    with _TABLES.in_use():
        interleaved = stream.resample_chunk(frames, last=last)
    return np.ascontiguousarray(interleaved.T)
