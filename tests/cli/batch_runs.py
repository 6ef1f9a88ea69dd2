"""Runs of `earzip` over many files in processes of their own, there to be signalled and killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import soundfile

from earzip.formats.archive.verify import verify_structure
from earzip.results import FileStatus
from tests.conftest import MODELS, tones

T = TypeVar("T")

STALE = (".earzip-tmp", ".earzip-claim", ".earzip-lock")
"""Ends the names of what a run keeps in the output folder while it is at work."""
_HANGS_S = 120.0
"""No wait here takes so long on the slowest machine: a test that waits longer has found a hang."""


@dataclass(frozen=True)
class Ended:
    """What a run has left: its exit code and what it printed."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of files on stdout."""
        return [line for line in self._lines if line["type"] == "file"]

    @property
    def summary(self) -> dict[str, Any]:
        """The last line on stdout."""
        return self._lines[-1]

    @property
    def counts(self) -> dict[str, int]:
        """How many files there are of each status of which there are any."""
        return {each.value: n for each in FileStatus if (n := self.summary[each.value])}

    def names(self, status: str) -> list[str]:
        """Return the names of the sources of this status, in the order of their records."""
        return [Path(r["source"]).name for r in self.records if r["status"] == status]

    @property
    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]


class Run:
    """`earzip` with these arguments and --json, in a session of its own."""

    started: ClassVar[list[Run]] = []
    """Those of the test that is running."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        folder.mkdir(parents=True, exist_ok=True)
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "earzip", *map(str, arguments), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=os.environ | {"EARZIP_MODELS": str(MODELS), "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        self.started.append(self)

    @property
    def n_records(self) -> int:
        """The lines on stdout so far."""
        return self._stdout.read_bytes().count(b"\n")

    @property
    def is_over(self) -> bool:
        """Whether the process that was started has ended."""
        return self.process.poll() is not None

    def holders(self, path: Path) -> list[int]:
        """Return the ranks that have ``path`` open."""
        return [pid for pid in self.ranks() if path in _open_files(pid)]

    def open_files(self) -> set[Path]:
        """Return what the process that was started has open."""
        return _open_files(self.process.pid)

    def ranks(self) -> list[int]:
        """Return the process ids of the ranks: children of the process that deals."""
        started = []
        for pid in self.survivors():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"spawn_main" in command:
                started.append(pid)
        return started

    def survivors(self) -> list[int]:
        """Return all processes of the session that are alive."""
        alive = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal():
                continue
            try:
                states = [_fields(thread) for thread in (folder / "task").iterdir()]
            except OSError:
                continue
            # A killed process is there, with all that it has open, until its last thread is gone.
            if any(f[3] == str(self.process.pid) and f[0] not in "ZX" for f in states):
                alive.append(int(folder.name))
        return sorted(alive)

    def signal(self, number: int) -> None:
        """Send a signal to the process that was started, alone."""
        self.process.send_signal(number)

    def kill_all(self) -> None:
        """Kill every process of the run at once, as the end of a Slurm or systemd job does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self) -> Ended:
        """Return what the run has left when it, and every process that it has started, has ended."""
        self.process.wait(_HANGS_S)
        wait_for(lambda: not self.survivors())
        stdout, stderr = (p.read_text(errors="replace") for p in (self._stdout, self._stderr))
        return Ended(self.process.returncode, stdout, stderr)


def wait_for(value: Callable[[], T]) -> T:
    """Return ``value`` as soon as it is something."""
    until = time.monotonic() + _HANGS_S
    while not (found := value()):
        assert time.monotonic() < until, "hangs"
        time.sleep(0.005)
    return found


def run(folder: Path, *arguments: object) -> Ended:
    """Return what `earzip` with these arguments leaves, when it has ended."""
    return Run(folder, *arguments).wait()


def write_music(root: Path, lengths_s: list[float]) -> Path:
    """Write a track of each length, in folders of 16; return ``root``."""
    for i, seconds in enumerate(lengths_s):
        path = root / f"disc {i // 16}" / f"track {i:03}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tones(round(seconds * 44_100), i).T, 44_100, subtype="PCM_16")
    return root


def write_silence(path: Path, seconds: float) -> Path:
    """Write a WAV file that takes long to archive and no room on the disk; return ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n_bytes = 4 * round(seconds * 44_100)
    facts = struct.pack("<IHHIIHH", 16, 1, 2, 44_100, 4 * 44_100, 4, 16)
    header = b"RIFF" + struct.pack("<I", 36 + n_bytes) + b"WAVEfmt " + facts
    path.write_bytes(header + b"data" + struct.pack("<I", n_bytes))
    os.truncate(path, 44 + n_bytes)  # a hole
    return path


def contents(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below ``root`` by its path there, hidden ones too."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def stale_files(root: Path) -> list[str]:
    """Return the names of what runs keep below ``root`` while they are at work."""
    return sorted(path.name for path in _files_below(root) if path.name.endswith(STALE))


def assert_whole(root: Path, expected: dict[str, str]) -> int:
    """Check that what has its final name below ``root`` is what ``expected`` says; return how many."""
    whole = 0
    for path in _files_below(root):
        if path.name.endswith(STALE):
            continue
        data = (
            path.read_bytes()
        )  # once: the name may come in the meantime, the bytes may not change
        assert hashlib.sha256(data).hexdigest() == expected[path.relative_to(root).as_posix()]
        if path.suffix == ".earz":
            assert verify_structure(path) == []
        whole += 1
    return whole


def _fields(thread: Path) -> list[str]:
    # After the name, which may hold anything: state, parent, process group, session.
    return (thread / "stat").read_text().rpartition(")")[2].split()


def _open_files(pid: int) -> set[Path]:
    try:
        return {link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:  # it, or the file, has been closed in the meantime
        return set()


def _files_below(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        yield from (Path(folder, name) for name in names)
