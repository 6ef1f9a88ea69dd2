"""The keys that are pressed at a terminal, one by one."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from contextlib import suppress
from typing import Any, Self

_ARROWS = {b"A": "up", b"B": "down", b"C": "right", b"D": "left"}
_MAX_BYTES = 64


class Keys:
    """The keys of the terminal at standard input, if that is one. A context manager.

    Meanwhile keys are not shown, and need no Return; how the terminal was is restored in any case.
    """

    def __init__(self) -> None:
        self._descriptor = _terminal_at_stdin()
        self._before: list[Any] = []
        self._handler: Any = None

    def __enter__(self) -> Self:
        if self._descriptor is not None:
            self._before = termios.tcgetattr(self._descriptor)
            self._set()
            # Shells give a terminal back as they like it to who was stopped by Ctrl-Z.
            self._handler = signal.signal(signal.SIGCONT, lambda *_: self._set())
        return self

    def __exit__(self, *exc: object) -> None:
        if self._descriptor is not None:
            signal.signal(signal.SIGCONT, self._handler)
            with suppress(termios.error):  # it has been lost
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    @property
    def are_there(self) -> bool:
        """Whether there is a terminal."""
        return self._descriptor is not None

    def wait(self, seconds: float) -> list[str]:
        """Return the keys that were pressed within ``seconds``: as soon as there are any."""
        if self._descriptor is None:
            time.sleep(seconds)
            return []
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return []
        try:
            data = os.read(self._descriptor, _MAX_BYTES)
        except OSError:
            data = b""
        if not data:  # the terminal is gone
            self._descriptor = None
        return _keys_of(data)

    def _set(self) -> None:
        assert self._descriptor is not None
        with suppress(termios.error):  # in the background
            tty.setcbreak(self._descriptor, termios.TCSADRAIN)


def _terminal_at_stdin() -> int | None:
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    # Reading from a terminal stops a process in its background.
    is_ours = os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    return descriptor if is_ours else None


def _keys_of(data: bytes) -> list[str]:
    """Return the names of the keys that ``data`` stands for: letters, and arrows by their names."""
    keys = []
    while data:
        if data[:2] in (b"\x1b[", b"\x1bO") and data[2:3] in _ARROWS:
            keys.append(_ARROWS[data[2:3]])
            data = data[3:]
        else:
            keys.append(chr(data[0]))
            data = data[1:]
    return keys
