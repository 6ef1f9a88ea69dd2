"""Runs a target on damaged inputs in processes of its own, which may crash, hang or swell."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from fuzz.targets import Target

MAX_BYTES = 512 << 20
"""Memory of a process that reads one input."""
MAX_CPU_S = 5.0
_MAX_WAIT_S = 120.0  # asleep, as at a pipe
_MAX_ADDRESSES = 4 << 30  # beyond this an allocation fails
_RUNS_A_PROCESS = 2000  # so that what libraries leak does not add up
_FOUND = 70


@dataclass(frozen=True)
class Finding:
    """An input that a reader does not bear, and what it does."""

    data: bytes
    what: str


@dataclass(frozen=True)
class Limits:
    """When a run ends."""

    seconds: float | None = None
    runs: int | None = None

    def reached(self, began: float, n_runs: int) -> bool:
        """Return whether a run that began then, by the monotonic clock, has had enough."""
        is_late = self.seconds is not None and time.monotonic() - began >= self.seconds
        return is_late or (self.runs is not None and n_runs >= self.runs)


@dataclass(frozen=True)
class _Run:
    """What the processes of one run read, and until when."""

    target: Target
    seeds: list[bytes]
    seed: str
    limits: Limits
    began: float
    """By the monotonic clock."""
    folder: Path

    @property
    def current(self) -> Path:
        """Where the input is that a process reads."""
        return self.folder / "current"

    @property
    def report(self) -> Path:
        """Where a process says what it found, or why it ended."""
        return self.folder / "report"

    @property
    def count(self) -> Path:
        """Where a process says how many inputs it has read."""
        return self.folder / "count"


def fuzz(target: Target, seed: str, limits: Limits) -> tuple[int, Finding | None]:
    """Return how many inputs were read, and the first finding.

    Input number n depends on ``seed`` and n alone.
    """
    began, n_runs = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="earzip-fuzz-") as name:
        folder = Path(name)
        run = _Run(target, list(target.seeds(folder)), seed, limits, began, folder)
        while not limits.reached(began, n_runs):
            n_done, finding = _one_process(run, n_runs)
            n_runs += n_done
            if finding:
                return n_runs, finding
    return n_runs, None


def replay(target: Target, data: bytes) -> Finding | None:
    """Return what ``target`` does with one input, None if it bears it."""
    with tempfile.TemporaryDirectory(prefix="earzip-fuzz-") as name:
        limits = Limits(runs=1)
        same = Target(target.read, target.allowed, target.seeds, lambda data, _rng: data)
        return _one_process(_Run(same, [data], "", limits, time.monotonic(), Path(name)), 0)[1]


def _one_process(run: _Run, first: int) -> tuple[int, Finding | None]:
    """Read inputs from number ``first`` on in a process; return how many, and a finding."""
    for path in (run.current, run.report, run.count):
        path.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = _read_on(run, first)
        except BaseException:
            run.report.write_text(traceback.format_exc())
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    n_done = int(run.count.read_text()) if run.count.exists() else 0
    if os.WIFSIGNALED(status):
        return n_done, Finding(run.current.read_bytes(), _how_it_died(os.WTERMSIG(status)))
    if os.WEXITSTATUS(status) == _FOUND:
        return n_done, Finding(run.current.read_bytes(), run.report.read_text())
    if os.WEXITSTATUS(status):
        raise RuntimeError(run.report.read_text() if run.report.exists() else "the process ended")
    return n_done, None


def _read_on(run: _Run, first: int) -> int:
    """Read inputs until a finding or a limit, in this process; return its exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where libraries complain of the input
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_ADDRESSES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    n_files = _n_open_files()
    for number in range(first, first + _RUNS_A_PROCESS):
        if run.limits.reached(run.began, number):
            break
        rng = random.Random(f"{run.seed}/{number}")
        run.current.write_bytes(run.target.damaged(rng.choice(run.seeds), rng))
        run.count.write_text(str(number - first + 1))
        _set_timers(MAX_CPU_S, _MAX_WAIT_S)  # their signals end the process
        problem = _problem_of(run.target, run.current)
        _set_timers(0, 0)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10 > MAX_BYTES:
            problem = problem or f"takes more than {MAX_BYTES >> 20} MiB"
        if _n_open_files() > n_files:
            problem = problem or "leaves a file open"
        if problem:
            run.report.write_text(problem)
            return _FOUND
    return 0


def _problem_of(target: Target, path: Path) -> str | None:
    try:
        target.read(path)
    except target.allowed:
        return None
    except Exception:
        return traceback.format_exc()
    return None


def _set_timers(cpu_s: float, real_s: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, real_s)


def _n_open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names are all that is asked


def _how_it_died(number: int) -> str:
    if number == signal.SIGPROF:
        return f"takes more than {MAX_CPU_S:g} s"
    if number == signal.SIGALRM:
        return f"waits for more than {_MAX_WAIT_S:g} s"
    return f"dies of {signal.Signals(number).name}"


def save(finding: Finding, name: str, folder: Path) -> Path:
    """Write a finding's input, and what it does beside it; return the input's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(finding.data).hexdigest()[:12]}"
    path.write_bytes(finding.data)
    path.with_suffix(".txt").write_text(finding.what)
    return path
