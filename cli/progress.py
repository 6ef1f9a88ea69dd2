"""A progress bar on stderr, counted in seconds of audio; only on a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from earzip.cli.output import size
from earzip.formats.geometry import clock

_REDRAW_S = 0.1
_USUAL_WIDTH = 80


class ProgressBar:
    """How far a run has come. A context manager; does nothing if stderr is not a terminal.

    How long the audio is that is still to come is not known before it is read. It is taken to have
    as many seconds a byte as the files that are done; those that took no work count as none. Until the
    first one is done it is ``expected_s`` long, if that is given. Where no audio goes through at all,
    bytes are counted, if files are only read, or else files. The bar never goes back: it waits where
    more is to come than was thought.
    Without ``shown`` there is none.
    """

    def __init__(
        self, n_files: int, n_bytes: int, expected_s: float = 0.0, *, shown: bool = True
    ) -> None:
        self._shown = shown
        self._n_files = n_files
        self._n_bytes = n_bytes  # of the files that are, or may be, work
        self._expected_s = expected_s
        self._files_done = 0
        self._bytes_done = 0
        self._bytes_read = 0
        self._seconds_done = 0.0
        self._seconds_of_done_files = 0.0
        self._started: float | None = None
        self._seconds_at_start = 0.0
        self._bytes_at_start = 0
        self._drawn = 0.0
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self._shown and sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm  # noqa: PLC0415  # most runs of most commands show no bar

            self._bar = tqdm(
                desc=f"0/{self._n_files} files",
                total=1.0,
                bar_format="{percentage:3.0f} % |{bar}| {desc}",
                # A terminal of unknown width would show nothing at all.
                ncols=None if _width() else _USUAL_WIDTH,
                dynamic_ncols=bool(_width()),
                leave=False,
            )
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, seconds: float) -> None:
        """Count ``seconds`` more of audio as done."""
        self._seconds_done += seconds
        self._start()
        self._show()

    def _start(self) -> None:
        if self._started is None:  # loading the network says nothing about its speed
            self._started = time.monotonic()
            self._seconds_at_start = self._seconds_done
            self._bytes_at_start = self._bytes_read

    def file_done(self, n_bytes: int, seconds: float | None = None, *, n_read: int = 0) -> None:
        """Count a file of ``n_bytes`` as done, which took the work of ``seconds`` of audio.

        None: what was counted since the last file. That is right where one file is done after the other.
        ``n_read``: bytes that were read, if reading was the work.
        """
        self._files_done += 1
        self._bytes_read += n_read
        if n_read:
            self._start()
        if seconds is None:
            seconds = self._seconds_done - self._seconds_of_done_files
        if seconds > 0:
            self._bytes_done += n_bytes
        else:
            self._n_bytes -= n_bytes
        self._seconds_of_done_files += seconds
        self._show()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar off the screen while something else is printed."""
        if self._bar is None:
            yield
        else:
            with self._bar.external_write_mode(file=sys.stderr):
                yield

    def _show(self) -> None:
        now = time.monotonic()
        if self._bar is None or now - self._drawn < _REDRAW_S:
            return
        self._drawn = now
        text = f"{self._files_done}/{self._n_files} files"
        fraction = self._files_done / self._n_files if self._n_files else 1.0
        if self._seconds_done:
            text += f", {clock(self._seconds_done)} of audio"
            speed = self._speed(now)
            text += f", {speed:.3g} × real time" if speed else ""
            fraction = 0.0
            total = self._expected_s
            if self._bytes_done:
                total = self._seconds_of_done_files * self._n_bytes / self._bytes_done
            if total:
                fraction = min(1.0, self._seconds_done / total)
                left = max(0.0, total - self._seconds_done)
                text += f", {clock(left / speed)} to go" if speed else ""
        elif self._bytes_read:
            left = self._n_bytes  # those that are done were taken out of it
            fraction = self._bytes_read / (self._bytes_read + left)
            text += f", {size(self._bytes_read)}"
            speed = self._bytes_a_second(now)
            text += f", {size(speed)}/s, {clock(left / speed)} to go" if speed else ""
        # What is to come was guessed too short; a bar that goes back says nothing that this one does not.
        self._bar.n = max(self._bar.n, fraction)
        self._bar.set_description_str(text)

    def _bytes_a_second(self, now: float) -> float:
        """Return the bytes read a second so far; 0 if it is too early to say."""
        if self._started is None or now <= self._started:
            return 0.0
        return (self._bytes_read - self._bytes_at_start) / (now - self._started)

    def _speed(self, now: float) -> float:
        """Return the seconds of audio a second so far; 0 if it is too early to say."""
        if self._started is None or now <= self._started:
            return 0.0
        return (self._seconds_done - self._seconds_at_start) / (now - self._started)


def _width() -> int:
    """Return how many columns the terminal at stderr has; 0 if it does not say."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:  # it is lost
        return 0
