"""Signals that end a run: the first asks it to stop, the second ends it at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequested(BaseException):
    """Unwinds the file in hand. Not an Exception: nobody may take it for a fault of the file."""


class StopSignal:
    """While it is entered, the first SIGINT or SIGTERM sets ``requested``; a second one exits 130.

    The request is looked at between blocks of audio rather than raised from the handler: an
    exception there could come up inside a callback of a C library and be lost. ``on_request`` is
    called from the handler of the first signal.
    """

    def __init__(self, on_request: Callable[[], None] | None = None) -> None:
        self.requested = False
        self._on_request = on_request
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in _STOP_SIGNALS:
            # A run in the background of a script is told to ignore SIGINT: so it does.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise `StopRequested` if a signal has come."""
        if self.requested:
            raise StopRequested

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            os._exit(130)  # at once, whatever hangs; temporaries are reaped by the next run
        self.requested = True
        if self._on_request:
            self._on_request()
