"""Who does the jobs of a run, seen by whoever keeps its record: threads, processes, or machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from earzip.batch.plan import Job
from earzip.batch.signals import Stop
from earzip.errors import EarzipError
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement

Work = Callable[[Job, Progress], FileRecord]
"""Does one job, tells the seconds of audio done as it goes, returns the record."""


OpenWork = Callable[[Placement], AbstractContextManager[Work]]
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


class ElsewhereError(EarzipError):
    """An error that ended the work of another process; ``exit_code`` is that of the error."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.exit_code)


def jobs_to_json(jobs: Sequence[Job]) -> str:
    """Return ``jobs`` as JSON."""
    rows = [[str(j.source), None if j.target is None else str(j.target), j.n_bytes] for j in jobs]
    return json.dumps(rows)


def jobs_from_json(data: str | bytes) -> list[Job]:
    """Return the jobs of `jobs_to_json`."""
    return [
        Job(Path(source), None if target is None else Path(target), n_bytes)
        for source, target, n_bytes in json.loads(data)
    ]


def record_to_json(record: FileRecord) -> dict[str, Any]:
    """Return all of ``record``; `FileRecord.to_json` is for users and leaves out what is for nobody."""
    return {
        "status": record.status.value,
        "source": str(record.source),
        "target": None if record.target is None else str(record.target),
        "message": record.message,
        "warnings": list(record.warnings),
        "figures": dict(record.figures),
        "rank": record.rank,
        "elapsed_s": record.elapsed_s,
        "traceback": record.traceback,
    }


def record_from_json(members: dict[str, Any]) -> FileRecord:
    """Return the record of `record_to_json`."""
    target = members["target"]
    return FileRecord(
        **{
            **members,
            "status": FileStatus(members["status"]),
            "source": Path(members["source"]),
            "target": None if target is None else Path(target),
            "warnings": tuple(members["warnings"]),
        }
    )


def event_to_bytes(event: Event) -> bytes:
    """Return ``event`` as JSON."""
    members: dict[str, Any]
    match event:
        case Recorded(index, record):
            members = {"index": index, "record": record_to_json(record)}
        case Broke(error):
            members = {"message": str(error), "exit_code": getattr(error, "exit_code", 1)}
        case _:
            members = vars(event)
    return json.dumps({"event": type(event).__name__, **members}).encode()


def event_from_bytes(data: bytes) -> Event:
    """Return the event of `event_to_bytes`; an error comes back as an `ElsewhereError`."""
    members = json.loads(data)
    kind = members.pop("event")
    if kind == "Recorded":
        return Recorded(members["index"], record_from_json(members["record"]))
    if kind == "Broke":
        return Broke(ElsewhereError(**members))
    plain: dict[str, type[Began | Advanced | Ended]] = {
        "Began": Began,
        "Advanced": Advanced,
        "Ended": Ended,
    }
    return plain[kind](**members)
