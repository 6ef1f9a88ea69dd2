"""Stopping a run early: the first signal asks, the second forces."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from earzip.errors import ExitCode

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; the signal of systemd, Slurm and Docker before SIGKILL; the one Slurm can be set to send."""

_SAME_REQUEST_S = 1.0
"""Signals this soon after the first are the same request: Slurm and systemd signal every process of a
job, some processes pass signals on, and Slurm sends SIGTERM twice at a time limit."""


class StopRequested(BaseException):
    """Unwinds the file in progress. Not an Exception, which would be taken for an error of the file."""


class Stop:
    """Whether a run stops early, and when it abandons files in progress. Safe among threads."""

    def __init__(self, grace_s: float = 0.0) -> None:
        self.requested = False
        """Start no further file."""
        self.grace_s = grace_s
        """Seconds that files in progress have by default."""
        self._deadline = float("inf")

    def request(self, grace_s: float | None = None) -> None:
        """Ask to stop: files in progress have ``grace_s`` more seconds. Never extends a deadline."""
        more_s = self.grace_s if grace_s is None else grace_s
        self._deadline = min(self._deadline, time.monotonic() + more_s)
        self.requested = True

    @property
    def is_due(self) -> bool:
        """Whether files in progress must be abandoned now."""
        return self.requested and time.monotonic() >= self._deadline

    @property
    def left_s(self) -> float:
        """Seconds that files in progress have left, 0 or more; infinite without a request."""
        return max(0.0, self._deadline - time.monotonic())

    def check(self) -> None:
        """Raise `StopRequested` if files in progress must be abandoned now."""
        if self.is_due:
            raise StopRequested


class StopSignal(Stop):
    """A context manager: while entered, the first of `STOP_SIGNALS` requests a stop.

    Another signal, a second later or more, ends the process at once, with exit code 130. Workers check
    the request between blocks of audio; the handler raises no exception, which could be lost in a
    callback of a C library. The first signal calls ``on_request``, the second ``at_once``. That the
    terminal is lost (SIGHUP) stops nothing: a night's run goes on when a connection breaks.
    """

    def __init__(
        self, on_request: Callable[[], None] | None = None, *, grace_s: float = 0.0
    ) -> None:
        super().__init__(grace_s)
        self.at_once: Callable[[], None] | None = None
        self._on_request = on_request
        self._signalled_at: float | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in STOP_SIGNALS:
            # A script makes its background processes ignore SIGINT: leave that.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)
        # Ignored, not handled: so do the processes that this one starts.
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signalled_at is not None:
            if now - self._signalled_at < _SAME_REQUEST_S:
                return
            if self.at_once:
                self.at_once()
            os._exit(ExitCode.INTERRUPTED)  # even if threads hang; the next run removes temporaries
        self._signalled_at = now
        self.request()
        if self._on_request:
            self._on_request()
