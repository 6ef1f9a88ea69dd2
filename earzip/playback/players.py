"""Players of the system that take sound from a pipe and play it as it comes."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from earzip.errors import PlayerError, UsageError
from earzip.formats.geometry import SAMPLE_RATE

FRAME_BYTES = 4
"""Of a sample of two channels, 16 bits each."""
BYTES_PER_S = SAMPLE_RATE * FRAME_BYTES
_END_S = 1.0  # that a player has to end
_STDERR_BYTES = 2000
_SAID_LINES = 2


@dataclass(frozen=True)
class Player:
    """A program that plays its standard input: WAV of unknown length, or the samples alone."""

    command: Sequence[str]
    takes_samples: bool = False

    @property
    def name(self) -> str:
        """The program."""
        return os.path.basename(self.command[0])  # noqa: PTH119  # a str


# Those first that go through whatever mixes the sound of the system. All wait for the device before they
# read on, and hold about a second at most.
_KNOWN = (
    Player(("mpv", "--no-terminal", "--no-video", "--cache=no", "-")),
    Player(("ffplay", "-v", "error", "-nostats", "-nodisp", "-autoexit", "-i", "pipe:0")),
    Player(
        ("paplay", "--raw", "--format=s16le", "--rate=44100", "--channels=2", "--latency-msec=300"),
        takes_samples=True,
    ),
    Player(("aplay", "-q", "-t", "raw", "-f", "cd", "-"), takes_samples=True),
    Player(
        ("play", "-q", "-t", "raw", "-r", "44100", "-e", "signed", "-b", "16", "-c", "2", "-"),
        takes_samples=True,
    ),
)


def find_player(command: str | None) -> Player:
    """Return the player of a command line, which is given WAV, or if it is None one that is installed.

    Raises UsageError if there is none.
    """
    if command is not None:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--player {command!r} cannot be read: {error}") from error
        if not words or shutil.which(words[0]) is None:
            raise UsageError(f"--player {command!r}: there is no such program")
        return Player(words)
    for player in _KNOWN:
        if shutil.which(player.command[0]):
            return player
    names = ", ".join(player.name for player in _KNOWN[:-1])
    raise UsageError(
        "no player is installed: install mpv, or FFmpeg with its ffplay; earzip takes "
        f"{names}, play of SoX, or what --player names"
    )


class RunningPlayer:
    """A player that runs from the first sound on. `end` is called in any case."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._name = player.name
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `end`
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ended = False
        self._starting = threading.Lock()
        self.head = b"" if player.takes_samples else _wav_head()
        """What goes ahead of the samples."""

    def start(self) -> IO[bytes] | None:
        """Start the player and return where sound is written to; None once it was ended.

        Raises PlayerError if it cannot be started.
        """
        with self._starting:
            if self._is_ended:
                return None
            self._process = self._started()
            return self._process.stdin

    def _started(self) -> subprocess.Popen[bytes]:
        try:
            # In a session of its own: Ctrl-C and Ctrl-Z are for us, and no key goes to it.
            return subprocess.Popen(
                self._player.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            message = f"the player {self._name} cannot be started: {error.strerror or error}"
            raise PlayerError(message) from error

    def has_ended(self, *, has_all: bool) -> bool:
        """Return whether the player has ended; ``has_all``: whether it got all there is to play.

        One that is not started has ended where there is nothing to play. Raises PlayerError if it failed,
        or ended before the sound did: without a device some do, and say that all is well.
        """
        if self._process is None:
            return has_all
        code = self._process.poll()
        if code is None:
            return False
        if code or not has_all:
            how = f"with {code}" if code else "before the sound did"
            raise PlayerError(f"the player {self._name} ended {how}{self._said()}")
        return True

    def _said(self) -> str:
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _STDERR_BYTES))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f": {'; '.join(lines[-_SAID_LINES:])}" if lines else ""

    def end(self) -> None:
        """End the player at once, whatever it still has to play."""
        with self._starting:
            self._is_ended = True
        if self._process is not None:
            self._stop(self._process)
        self._stderr.close()

    @staticmethod
    def _stop(process: subprocess.Popen[bytes]) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is not None:
                break
            with suppress(OSError):
                process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)


def _wav_head() -> bytes:
    """Return the header of a WAV stream of 16-bit stereo that has no end."""
    endless = 0xFFFF_FFFF
    pcm, channels = 1, FRAME_BYTES // 2
    facts = struct.pack("<HHIIHH", pcm, channels, SAMPLE_RATE, BYTES_PER_S, FRAME_BYTES, 16)
    chunk = b"fmt " + struct.pack("<I", len(facts)) + facts
    return (
        b"RIFF"
        + struct.pack("<I", endless)
        + b"WAVE"
        + chunk
        + b"data"
        + struct.pack("<I", endless)
    )
