"""Processes that benchmarks start and measure, and the machine that they run on. Linux only."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import IO, Any

# Nothing heavy may be imported here, nor by who measures: the kernel counts the memory that a parent has
# when it starts a process towards the peak of that process.

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True)
class Usage:
    """What one process took."""

    wall_s: float
    cpu_s: float
    """In user and system mode, of all its threads."""
    peak_mb: float


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    stdout: IO[str] | int = subprocess.DEVNULL,
) -> Usage:
    """Run ``command`` with ``env`` added to the environment; RuntimeError unless it exits with 0.

    The CPU time is also that of the processes that it started and waited for; the peak is of one. It ends
    with this process, however that ends: a command without one to measure it would only disturb others.
    """
    us = os.getpid()

    def end_with_us() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != us:  # it has ended meanwhile
            os.kill(os.getpid(), signal.SIGKILL)

    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=said,
            env={**os.environ, **(env or {})},
            preexec_fn=end_with_us,  # noqa: PLW1509  # who measures has one thread
        )
        # Of subprocess's own ways to wait none tells the resources of one process.
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace")
            words = " ".join(map(str, command))
            raise RuntimeError(f"{words}: exit code {process.returncode}\n{text}")
    return Usage(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def run_earzip(*arguments: str, stdout: IO[str] | int = subprocess.DEVNULL) -> Usage:
    """Run `earzip` in a process of its own; as `run`."""
    return run([sys.executable, "-m", "earzip", *arguments], stdout=stdout)


def medians(runs: Sequence[Usage]) -> Usage:
    """Return the median of each figure."""
    return Usage(
        wall_s=median(usage.wall_s for usage in runs),
        cpu_s=median(usage.cpu_s for usage in runs),
        peak_mb=median(usage.peak_mb for usage in runs),
    )


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_at_start": round(os.getloadavg()[0], 2),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": version("torch"),
    }
