"""The recipes of docs/jobs, run as their users run them: with programs on a PATH and a small library."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.conftest import write_sound

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "docs" / "jobs"


def write_script(path: Path, text: str) -> Path:
    """Write an executable shell script; return ``path``."""
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


class Site:
    """A machine with earzip, music and a folder for archives, and the environment that says where."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._groups: list[int] = []
        self.music = root / "srv" / "music"
        self.archive = root / "srv" / "archive"
        self.logs = root / "logs"
        self.bin = root / "bin"
        for folder in (self.music, self.archive, self.logs, self.bin):
            folder.mkdir(parents=True)
        python = shlex.quote(sys.executable)
        self.earzip = write_script(self.bin / "earzip", f'exec {python} -m earzip "$@"')
        accelerate = "accelerate.commands.accelerate_cli"
        self.accelerate = write_script(
            self.bin / "accelerate", f'exec {python} -m {accelerate} "$@"'
        )
        config = root / "config" / "earzip"
        config.mkdir(parents=True)
        (config / "config.toml").write_text('[compress]\nmodel = "tiny"\nthreads = 1\n')
        self.environment = os.environ | {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "XDG_CONFIG_HOME": str(root / "config"),
            "XDG_STATE_HOME": str(root / "state"),
            "HF_HOME": str(root / "huggingface"),  # no configuration of accelerate but its own
            "EARZIP": str(self.earzip),
            "ACCELERATE": str(self.accelerate),
            "MUSIC": str(self.music),
            "ARCHIVE": str(self.archive),
            "LOGS": str(self.logs),
        }

    def add_music(self, n_files: int, seconds: float = 0.2) -> None:
        for i in range(n_files):
            write_sound(self.music / f"disc {i % 2}" / f"{i}.flac", seconds)

    def archived(self) -> list[str]:
        """Return the names of the archives, and of whatever else is there that is not hidden."""
        files = (p for p in self.archive.rglob("*") if p.is_file())
        return sorted(p.name for p in files if not p.name.startswith("."))

    def start(self, command: list[object], **environment: object) -> subprocess.Popen[str]:
        """Start a command of this machine, with its output piped, in a process group of its own."""
        process = subprocess.Popen(
            [str(word) for word in command],
            env=self.environment | {name: str(value) for name, value in environment.items()},
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._groups.append(process.pid)
        return process

    def run(self, command: list[object], **environment: object) -> subprocess.CompletedProcess[str]:
        """Run a command of this machine to its end."""
        with self.start(command, **environment) as process:
            stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def clear(self) -> None:
        """End what a test that failed has left at work."""
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


@pytest.fixture
def site(tmp_path: Path, tiny_model: str) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.clear()
