"""Who does the jobs of a run, seen by whoever keeps its record: threads, processes, or machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from earzip.batch.plan import Job
from earzip.batch.signals import Stop
from earzip.report import FileRecord, Progress
from earzip.runtime import Seat

Work = Callable[[Job, Progress], FileRecord]
"""Does one job, tells the seconds of audio done as it goes, returns the record."""


OpenWork = Callable[[Seat], AbstractContextManager[Work]]
"""Loads what the work needs, the network above all, and gives the work.

It is called in every process of a run, and is pickled on its way there.
"""


@dataclass(frozen=True)
class Began:
    """A process has taken the job ``index`` in hand."""

    index: int
    rank: int


@dataclass(frozen=True)
class Advanced:
    """So many more seconds of audio are done."""

    seconds: float


@dataclass(frozen=True)
class Recorded:
    """The job ``index`` is done."""

    index: int
    record: FileRecord


@dataclass(frozen=True)
class Ended:
    """The process ``rank`` does no more jobs; ``cause`` is set if it ended otherwise than it should."""

    rank: int
    cause: str | None = None


@dataclass(frozen=True)
class Broke:
    """A process cannot do its work at all: for the same reason none can."""

    error: BaseException


Event = Began | Advanced | Recorded | Ended | Broke


class Crew(Protocol):
    """Does jobs and tells of it."""

    @property
    def n_processes(self) -> int:
        """Processes that share the jobs."""

    def start(self, jobs: Sequence[Job], stop: Stop) -> None:
        """Begin with ``jobs``, in this order; begin no more of them once ``stop`` is requested."""

    def receive(self, timeout_s: float) -> Event | None:
        """Return the next event, or None if none comes in ``timeout_s``."""

    @property
    def is_done(self) -> bool:
        """Whether nobody is at work any more and every event has been received."""

    def close(self) -> None:
        """Abandon what is still in hand, and come back when nobody is at work."""
