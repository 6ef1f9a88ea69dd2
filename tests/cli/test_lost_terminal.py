"""A run whose terminal is closed, as when a connection breaks, goes on to its end."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.cli.batch_runs import run, stale_files, wait_for, write_music
from tests.conftest import MODELS

N_FILES = 12


def _on_a_terminal(*arguments: object) -> tuple[subprocess.Popen[bytes], int]:
    """Start `earzip` on a terminal of its own; return the process, and our end of the terminal."""
    ours, theirs = os.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "earzip", *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=take_terminal,  # noqa: PLW1509  # no threads here
        env=os.environ | {"EARZIP_MODELS": str(MODELS), "OMP_NUM_THREADS": "1"},
    )
    os.close(theirs)
    return process, ours


@pytest.mark.parametrize("n_processes", [1, 2])
def test_a_run_goes_on_when_its_terminal_is_lost(tmp_path: Path, n_processes: int) -> None:
    music = write_music(tmp_path / "music", [1.0] * N_FILES)
    out = tmp_path / "out"
    options = ("--model", "tiny", "--devices", "cpu", "--threads", 1, "--processes", n_processes)
    process, terminal = _on_a_terminal("compress", music, "-o", out, *options)
    try:
        wait_for(lambda: process.poll() is not None or list(out.rglob("*.earz")))
        n_before = len(list(out.rglob("*.earz")))
        os.close(terminal)
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert n_before < N_FILES
    assert len(list(out.rglob("*.earz"))) == N_FILES
    assert stale_files(out) == []
    assert run(tmp_path / "logs", "verify", out).exit_code == 0
