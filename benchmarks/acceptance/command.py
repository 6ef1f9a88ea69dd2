"""Whole `earzip` processes, what a tree of files holds, and the tally of what was checked."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Tree = Mapping[str, tuple[str, int]]
"""The SHA-256 and time of modification, in ns, of every file by its path in the tree."""


@dataclass(frozen=True)
class Outcome:
    """What one process has left."""

    command: str
    exit_code: int
    stdout: str
    stderr: str

    @property
    def files(self) -> list[dict[str, Any]]:
        """The records of files, of a command with --json."""
        records = [json.loads(line) for line in self.stdout.splitlines()]
        return [record for record in records if record["type"] == "file"]

    def by_source(self, folder: Path) -> dict[str, dict[str, Any]]:
        """The records by the source's path in ``folder``."""
        return {Path(r["source"]).relative_to(folder).as_posix(): r for r in self.files}


class Earzip:
    """Starts `earzip` in processes of its own, whose temporary files go to ``temporary``."""

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary
        temporary.mkdir(parents=True)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a process and return it."""
        return subprocess.Popen(
            [sys.executable, "-m", "earzip", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=os.environ | {"TMPDIR": str(self.temporary)},
        )

    def __call__(self, *arguments: object) -> Outcome:
        """Run a process to its end."""
        return finish(self.start(*arguments))


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Wait for the end of a process and return what it has left."""
    stdout, stderr = process.communicate()
    assert isinstance(process.args, list)
    return Outcome(" ".join(map(str, process.args[2:])), process.returncode, stdout, stderr)


def read_tree(folder: Path) -> Tree:
    """Return what the files under ``folder`` hold, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def contents(tree: Tree) -> dict[str, str]:
    """Return the SHA-256 alone of each file."""
    return {name: digest for name, (digest, _) in tree.items()}


@dataclass
class Tally:
    """How often something was checked, and each time it did not hold."""

    n_checked: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass
class Checks:
    """What was checked, by the promise that it belongs to, in the order of the first check."""

    tallies: dict[str, Tally] = field(default_factory=dict)

    def require(self, promise: str, holds: bool, failure: str) -> bool:
        """Count one check of ``promise``; return ``holds``."""
        tally = self.tallies.setdefault(promise, Tally())
        tally.n_checked += 1
        if not holds:
            tally.failures.append(failure)
        return holds

    def require_equal(self, promise: str, found: object, expected: object, about: str) -> bool:
        """Count one check that ``found`` is as ``expected``."""
        return self.require(
            promise, found == expected, f"{about}: {found!r}, expected {expected!r}"
        )

    def require_exit(self, outcome: Outcome, expected: int) -> bool:
        """Count one check of an exit code; a failure tells the end of stderr."""
        about = f"{outcome.command} ({outcome.stderr[-400:]})"
        return self.require_equal("exit codes", outcome.exit_code, expected, about)

    @property
    def n_failed(self) -> int:
        """How many checks failed."""
        return sum(len(tally.failures) for tally in self.tallies.values())
