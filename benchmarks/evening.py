"""An evening with a library of 2,000 files and the night after it: `python -m benchmarks.evening`.

Makes the library (`benchmarks.evening_library`), archives it, listens, changes it, damages two archives,
and runs what a nightly job runs, each command in a process of its own. Writes as Markdown what each
printed, its exit code and its time, and what the archives take with pictures embedded and shared. Exits
with 1 if a command ends with another exit code than it should. Needs ffmpeg and par2.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.evening_library import N_ALBUMS, N_FILES, Library, retitle
from benchmarks.processes import machine

HEAD, TAIL = 3, 5
"""Lines of each command that the report shows."""
COMPRESS = ("compress", "Music", "-o", "Archive")
NIGHTLY = (*COMPRESS, "--pictures", "share")
NULL_SINK = ("--player", "dd of=/dev/null status=none")
PROTECTED = "Archive/Artist 3"
"""The part of the archives that has recovery data."""

# Numbers of albums: each has its own fate.
RETAGGED, N_RETAGGED = range(60, 68), 100
MOVED = (20, 21)
WITH_DELETED = (40, 41, 42)
DAMAGED = (3, 5)
NEW_ALBUM = (N_ALBUMS, 12)
"""Its number, and how many tracks it has."""


@dataclass(frozen=True)
class Step:
    """A command that was run."""

    words: tuple[str, ...]
    expected: int
    """The exit code that it should have."""
    exit_code: int
    wall_s: float
    lines: list[str]
    """Of standard output and standard error, as they came."""

    @property
    def command(self) -> str:
        """As a shell takes it."""
        return "earzip " + shlex.join(self.words)

    @property
    def surprise(self) -> str:
        """What the exit code should have been, if it was another one."""
        return "" if self.exit_code == self.expected else f" instead of {self.expected}"


@dataclass
class Evening:
    """What is done in a folder, in order: texts of what happened, and commands."""

    root: Path
    story: list[str | Step] = field(default_factory=list)

    def run(self, *words: str, expected: int = 0) -> Step:
        """Run earzip, keep what it said, and print a line of it."""
        # The user's configuration, and what verify remembers of other archives, must not count.
        own = {f"XDG_{kind}_HOME": str(self.root / kind.lower()) for kind in ("CONFIG", "STATE")}
        start = time.perf_counter()
        ended = subprocess.run(
            [sys.executable, "-m", "earzip", *words],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **own},
            check=False,
        )
        wall_s = time.perf_counter() - start
        lines = ended.stdout.decode(errors="backslashreplace").splitlines()
        step = Step(words, expected, ended.returncode, wall_s, lines)
        self.story.append(step)
        print(f"{step.command}: {step.exit_code} after {wall_s:.1f} s; {lines[-1:]}", flush=True)
        return step

    def tell(self, text: str) -> None:
        """Keep what happened between two commands."""
        self.story.append(text)
        print(text, flush=True)

    def tell_size(self) -> None:
        """Keep how large the files of the sources and of the archives are together."""
        music, archives = (_megabytes(self.root / name) for name in ("Music", "Archive"))
        self.tell(f"Music takes {music:.0f} MB, Archive {archives:.1f} MB.")


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def spend(evening: Evening, library: Library) -> None:
    """Archive, look and listen."""
    evening.run(*COMPRESS)
    evening.tell_size()
    evening.run(*NIGHTLY)
    evening.tell_size()
    evening.run(*NIGHTLY)
    evening.run("list", "Archive", "--where", 'artist="Artist 7" tracknumber<=2')
    evening.run("play", _archives_of(library, 7), *NULL_SINK)
    evening.run("protect", PROTECTED)


def change(evening: Evening, library: Library) -> None:
    """Retag, move, delete and add music, and damage two archives."""
    candidates = [path for number in RETAGGED for path in library.tracks(number)]
    retagged = candidates[:N_RETAGGED]
    for path in retagged:
        retitle(path, f"Retagged: {path.stem}")
    for number in MOVED:
        folder = library.folder(number)
        folder.rename(library.root / f"Moved {folder.name}")
    for number in WITH_DELETED:
        library.tracks(number)[0].unlink()
    library.add_album(*NEW_ALBUM)
    for number in DAMAGED:
        damage(min((evening.root / _archives_of(library, number)).glob("*.earz")))
    evening.tell(
        f"{len(retagged)} files get new titles, {len(MOVED)} albums move, {len(WITH_DELETED)} files "
        f"are deleted, an album of {NEW_ALBUM[1]} comes. One byte changes in each of {len(DAMAGED)} "
        "archives, of which the first has recovery data."
    )


def rest(evening: Evening) -> None:
    """Run what a nightly job runs, and mend what it finds."""
    evening.run("status", "Music", "-o", "Archive", expected=3)
    evening.run(*NIGHTLY, "--prune", "--yes")
    evening.run("verify", "Archive", "--subset", "1/30")
    evening.run("verify", "Archive", "--older-than", "30d", expected=4)
    evening.run("repair", PROTECTED)
    evening.run(*NIGHTLY, "--verify-sources")
    evening.run("verify", "Archive", "--older-than", "30d")
    evening.run("protect", PROTECTED)
    evening.run("status", "Music", "-o", "Archive")
    evening.run(*NIGHTLY, "--quiet")
    evening.tell_size()


def damage(archive: Path) -> None:
    """Change one byte in the middle, and keep the time, as a disk does that goes bad."""
    before = archive.stat()
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0x20
    archive.write_bytes(data)
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))


def _archives_of(library: Library, number: int) -> str:
    return str("Archive" / library.folder(number).relative_to(library.root))


def report(evening: Evening) -> str:
    """Return the story as Markdown: a table of the commands, then what each printed."""
    about = machine()
    steps = [step for step in evening.story if isinstance(step, Step)]
    rows = [
        f"| `{step.command}` | {step.exit_code}{step.surprise} | {step.wall_s:.1f} | {len(step.lines)} |"
        for step in steps
    ]
    parts = [
        f"# An evening: {N_FILES} files, {N_ALBUMS} albums",
        f"{about['cpu']}, {about['cores']} cores, load {about['load_at_start']}; "
        f"Python {about['python']}, torch {about['torch']}.",
        "| command | exit code | seconds | lines |\n|---|---:|---:|---:|\n" + "\n".join(rows),
        "## What was printed",
    ]
    for part in evening.story:
        parts.append(part if isinstance(part, str) else f"```console\n{_shown(part)}\n```")
    return "\n\n".join(parts) + "\n"


def _shown(step: Step) -> str:
    lines = step.lines
    if len(lines) > HEAD + TAIL + 1:
        left_out = len(lines) - HEAD - TAIL
        lines = [*lines[:HEAD], f"… {left_out} lines", *lines[-TAIL:]]
    return "\n".join([f"$ {step.command}", *lines])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", type=Path, required=True, help="folder for Music and Archive (3 GB), made anew"
    )
    parser.add_argument("--out", type=Path, required=True, help="Markdown file")
    arguments = parser.parse_args()
    evening = Evening(arguments.root.resolve() / "evening")
    shutil.rmtree(evening.root, ignore_errors=True)
    library = Library(evening.root / "Music", evening.root / "sounds")
    library.make()
    spend(evening, library)
    change(evening, library)
    rest(evening)
    arguments.out.write_text(report(evening), encoding="utf-8")
    surprises = [step for step in evening.story if isinstance(step, Step) and step.surprise]
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
