"""Processes that benchmarks measure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.batch_runs import wait_for

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.skipif(not (ROOT / "benchmarks").exists(), reason="not in a checkout"),
    pytest.mark.skipif(sys.platform != "linux", reason="benchmarks run on Linux only"),
]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_what_is_measured_ends_with_who_measures(tmp_path: Path, number: signal.Signals) -> None:
    pid = tmp_path / "pid"
    words = ["sh", "-c", f"echo $$ >{pid}; exec sleep 600"]
    program = f"from benchmarks.processes import run; run({words!r})"
    measuring = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: pid.exists() and pid.read_text().endswith("\n"))
    measured = int(pid.read_text())
    assert is_alive(measured)
    measuring.send_signal(number)
    assert measuring.wait(timeout=60) != 0
    wait_for(lambda: not is_alive(measured))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
