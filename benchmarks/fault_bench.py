"""The commands that faults are put into, what each should leave, and what is wrong with what it left."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fault_server import HUNG, Ended, Fault, FaultServer

_TEMPORARY = re.compile(r"\.earzip-(tmp|claim|lock)$")


MAY_LEAVE = {"unlink", "stat", "open", "fstat", "flock", "close"}
"""Calls whose failing may leave a temporary or a claim: it cannot be removed, or may be a live one's."""


@dataclass(frozen=True)
class State:
    """The files below a folder: SHA-256, time in nanoseconds and permissions by name."""

    files: dict[str, tuple[str, int, int]]

    @classmethod
    def of(cls, root: Path) -> State:
        """Read all of them."""
        found = {}
        for path in sorted(root.rglob("*")):
            if path.is_file():
                status = path.stat()
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[path.relative_to(root).as_posix()] = (
                    digest,
                    status.st_mtime_ns,
                    status.st_mode,
                )
        return cls(found)

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each file that has its final name."""
        return {name: f[0] for name, f in self.files.items() if not _TEMPORARY.search(name)}

    @property
    def temporaries(self) -> list[str]:
        """The names of what a run keeps while it is at work."""
        return [name for name in self.files if _TEMPORARY.search(name)]


def make_music(folder: Path) -> Path:
    """Write sound files with tags, in two folders, and a cover; return the folder."""
    import numpy as np  # noqa: PLC0415
    import soundfile  # noqa: PLC0415
    from mutagen.flac import FLAC, Picture  # noqa: PLC0415

    t = np.arange(20_000) / 44_100
    sound = 0.2 * np.sin(2 * np.pi * 440 * t[:, None] * [1, 1.5])
    (folder / "disc").mkdir(parents=True)
    soundfile.write(folder / "one.flac", sound, 44_100, subtype="PCM_16")
    tagged = FLAC(folder / "one.flac")
    tagged["title"] = "One"
    picture = Picture()
    picture.mime, picture.data = "image/png", bytes(range(256)) * 40
    tagged.add_picture(picture)
    tagged.save()
    soundfile.write(folder / "disc" / "two.wav", sound, 44_100, subtype="PCM_24")
    soundfile.write(folder / "disc" / "three.ogg", sound, 44_100, format="OGG", subtype="VORBIS")
    (folder / "disc" / "cover.jpg").write_bytes(b"\xff\xd8" + bytes(9_000))
    for i, path in enumerate(sorted(folder.rglob("*.*"))):
        os.utime(path, ns=(10**18 + i, 10**18 + i))
    return folder


@dataclass
class Bench:
    """A server, its sources, and what undisturbed runs make of them."""

    server: FaultServer
    root: Path
    music: Path = field(init=False)
    archives: Path = field(init=False)
    expected: dict[str, dict[str, str]] = field(default_factory=dict)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.music = make_music(self.root / "music")
        self.archives = self.root / "archives"
        done = self.server.run(self._arguments("compress", self.archives), self.root)
        assert done.exit_code == 0, done.stderr
        for name in COMMANDS:
            out = self.root / "undisturbed"
            ended = self.server.run(self._arguments(name, out), self.root)
            assert ended.exit_code == 0, ended.stderr
            self.expected[name] = State.of(out).digests
            shutil.rmtree(out, ignore_errors=True)

    def _arguments(self, name: str, out: Path) -> list[object]:
        places = {"MUSIC": self.music, "ARCHIVES": self.archives, "OUT": out}
        return [places.get(word, word) for word in COMMANDS[name].split()]

    def count(self, name: str, call: str) -> int:
        """Return how often an undisturbed run of a command makes a call."""
        if (name, call) not in self.counts:
            out = self.root / "counted"
            fault = Fault(call)
            self.counts[name, call] = self.server.run(
                self._arguments(name, out), self.root, fault
            ).seen
            shutil.rmtree(out, ignore_errors=True)
        return self.counts[name, call]

    def case(self, name: str, fault: Fault, out: Path | None = None) -> dict[str, Any]:
        """Run a command with ``fault`` and once more without it; return what was wrong."""
        out = out or self.root / "out"
        expected = self.expected[name]
        before = State.of(self.music), State.of(self.archives)
        ended = self.server.run(self._arguments(name, out), self.root, fault)
        left = State.of(out)
        wrong = list(faults_of(ended, left, expected, fault))
        again = self.server.run(self._arguments(name, out), self.root)
        if again.exit_code:
            wrong.append(f"the second run ends with {again.exit_code}: {again.stderr[-300:]}")
        elif State.of(out).digests != expected:
            wrong.append("the second run does not complete")
        elif fault.mode != "kill" and State.of(out).temporaries:
            wrong.append(f"the second run leaves {State.of(out).temporaries}")
        if (State.of(self.music), State.of(self.archives)) != before:
            wrong.append("a source has changed")
        shutil.rmtree(out, ignore_errors=True)
        return {
            "command": name,
            **asdict(fault),
            "exit_code": ended.exit_code,
            "wrong": wrong,
            "stderr": ended.stderr[-1000:] if wrong else "",
        }


COMMANDS = {
    "compress": "compress --model tiny --devices cpu --threads 1 MUSIC -o OUT",
    "compress, copies": "compress --model tiny --devices cpu --threads 1 --copy-other MUSIC -o OUT",
    "restore": "restore --devices cpu --threads 1 ARCHIVES -o OUT",
    "latents": "latents ARCHIVES -o OUT",
    "verify": "verify ARCHIVES",
    "info": "info ARCHIVES",
}
"""Commands and their arguments."""


def faults_of(ended: Ended, left: State, expected: dict[str, str], fault: Fault) -> Iterator[str]:
    """Yield what is wrong with how a command ended and what it left."""
    if ended.exit_code == HUNG:
        yield "it hangs"
    killed = fault.mode == "kill" and ended.exit_code == -signal.SIGKILL
    if ended.exit_code < 0 and not killed:
        yield f"it died of signal {-ended.exit_code}"
    if "Traceback" in ended.stderr or "internal error" in ended.stderr:
        yield "traceback"
    if "Exception ignored" in ended.stderr:
        yield "an exception is printed and lost"
    for name, digest in left.digests.items():
        if expected.get(name) != digest:
            yield f"{name} is not what an undisturbed run writes"
    is_complete = left.digests == expected
    if ended.exit_code == 0 and not is_complete:
        yield f"exit code 0, though {sorted(expected.keys() - left.digests.keys())} are missing"
    if ended.exit_code not in (0, 3, 75, 1, 4) and not killed:
        yield f"exit code {ended.exit_code}"
    if ended.exit_code == 4:
        yield "called damage"
    if ended.exit_code > 0 and "earzip: " not in ended.stderr:
        yield "no message"
    if left.temporaries and not killed and fault.call not in MAY_LEAVE:
        yield f"it leaves {left.temporaries}"
