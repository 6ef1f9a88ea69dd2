"""A task for backends of several processes: a stand-in for compress, pickled as that is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from earzip.batch.events import Work
from earzip.batch.jobs import Job, Plan
from earzip.batch.launched import run_worker
from earzip.batch.rendezvous import Launch, Rendezvous
from earzip.batch.signals import StopSignal
from earzip.batch.threads import ThreadBackend
from earzip.errors import SourceError, UsageError
from earzip.formats.atomic import atomic_write
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement, Runtime

NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"
ECC = "CUDA error: uncorrectable ECC error encountered"


def plan_of(folder: Path, names: str) -> Plan:
    """Return a plan of a job for each letter."""
    return Plan([Job(folder / name, folder / "out" / f"{name}.earz", 5) for name in names])


def plan_in_folders(folder: Path, names: str) -> Plan:
    """Return a plan of a job for each letter, each in a folder of its own below ``folder``."""
    return Plan(
        [job for i, name in enumerate(names) for job in plan_of(folder / str(i), name).jobs]
    )


def _common_folder(job: Job) -> Path:
    return job.source.parent.parent


@dataclass(frozen=True)
class TaskOf:
    """A task made of what opens its work."""

    open_work: Callable[[Placement], AbstractContextManager[Work]]
    name: ClassVar[str] = "stand-in"

    def planned(self, _job: Job, _on_progress: Progress) -> FileRecord | None:
        return None

    def up_to_date(self, _job: Job) -> FileRecord | None:
        return None

    def opened(self, placement: Placement) -> AbstractContextManager[Work]:
        return self.open_work(placement)


def threads_of(work: Work, n_threads: int = 1) -> ThreadBackend:
    """Return a backend of threads that do ``work``."""
    return ThreadBackend(
        TaskOf(lambda _: nullcontext(work)), Placement(0, Runtime("cpu")), n_threads
    )


@dataclass(frozen=True)
class StandInTask:
    """Work whose files are named for what becomes of them.

    ``k`` kills the process, ``t`` asks it to stop, ``x`` kills every process but rank 0, which takes its
    time, ``e`` fails, ``b`` is a bug, ``l`` takes as long as it may, ``p`` tells of a second more a
    thousand times, ``u`` ruins the GPU, all others are written. ``opening`` is what goes wrong with the
    whole process. ``broken`` are the ranks whose GPU is; they notice it with the first file, or on
    opening if that is ``gpu``. The plan is a `plan_in_folders`.
    """

    opening: str = ""
    broken: tuple[int, ...] = ()
    name: ClassVar[str] = "stand-in"

    def planned(self, _job: Job, _on_progress: Progress) -> FileRecord | None:
        return None

    def up_to_date(self, _job: Job) -> FileRecord | None:
        return None

    @contextmanager
    def opened(self, placement: Placement) -> Iterator[Work]:
        if self.opening == "usage":
            raise UsageError(f"device {placement.runtime.device!r} cannot be used")
        if self.opening == "dies":
            _die()
        if self.opening == "gpu" and placement.rank in self.broken:
            raise RuntimeError(NO_KERNEL)
        yield partial(self._work, placement.rank)

    def _work(self, rank: int, job: Job, on_progress: Progress) -> FileRecord:
        deeds: dict[str, Callable[[], object]] = {
            "k": _die,
            "t": _ask_to_stop,
            "x": lambda: _linger(on_progress, 4) if rank == 0 else _die(),
            "e": lambda: _fail(job),
            "u": _break,
            "b": lambda: 1 // 0,
            "l": lambda: _linger(on_progress),
            "p": lambda: [on_progress(1.0) for _ in range(1000)],
        }
        assert job.target is not None
        with atomic_write(job.target) as file:
            file.write(b"half")
            if rank in self.broken:
                (_common_folder(job) / f"begun.{rank}").touch()
                _break()
            if self.broken and not self.opening:  # or all could be done before the broken begin
                wait_for(_common_folder(job) / f"begun.{broken}" for broken in self.broken)
            deeds.get(job.source.name, lambda: None)()
            on_progress(1.0)
            file.write(b"whole")
        return FileRecord(FileStatus.WRITTEN, job.source, job.target, figures={"duration_s": 1.0})


def wait_for(paths: Iterable[Path]) -> None:
    """Wait until the files are there, which other processes make; a minute at most."""
    until = time.monotonic() + 60
    for path in paths:
        while not path.exists():
            assert time.monotonic() < until, f"{path} did not appear"
            time.sleep(0.01)


def _break() -> None:
    # What torch raises is one of these, without the time that it takes to load it.
    raise RuntimeError(f"{ECC}\nCUDA kernel errors might be asynchronously reported.")


def _fail(job: Job) -> None:
    raise SourceError("is empty", job.source)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _ask_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.2)  # for the main thread, which is the one that hears of it


def _linger(on_progress: Progress, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        on_progress(0)
        time.sleep(0.01)


def environment_of(rank: int, world_size: int, port: int) -> dict[str, str]:
    """Return what a launcher tells a process, rank 0 of which keeps the store."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def run_worker_as(opening: str = "", broken: tuple[int, ...] = ()) -> None:
    """Take part in the run of a launcher, as the process that the environment says."""
    launch = Launch.from_environment()
    assert launch
    with StopSignal() as stop, Rendezvous(launch) as rendezvous:
        run_worker(
            rendezvous,
            StandInTask(opening, broken),
            Placement(launch.rank, Runtime("cpu", threads=1), is_named=not broken),
            stop,
        )
