"""Tasks, events and worker backends.

A backend (threads, processes or machines) opens a `Task`, does jobs with it, and sends events.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from earzip.batch.jobs import Job
from earzip.batch.remote import Remote
from earzip.batch.signals import Stop
from earzip.errors import EarzipError, ExitCode, RunEndedError
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement

Work = Callable[[Job, Progress], FileRecord]
"""Does one job, reports the seconds of audio done as it goes, returns the record."""


class Reads(Enum):
    """How much of its files a task reads, which tells what of an object in a store must be fetched."""

    ALL = "all"
    """All of the source, and of what is at the target."""
    PARTS = "parts"
    """The source, an archive, at a few places."""
    FACTS = "facts"
    """What archives say of themselves, their tags too; nothing is written."""
    STATE = "state"
    """The headers of archives, and a source only if it may have changed; nothing is written."""


class Task(Protocol):
    """What a command does with each file. It is pickled for other processes."""

    @property
    def name(self) -> str:
        """The command's name in locks, metrics and messages."""

    @property
    def reads(self) -> Reads:
        """How much of a job's files it reads."""

    def up_to_date(self, job: Job) -> FileRecord | None:
        """Return the record of a job that a quick check finds done already; None for others."""

    def planned(self, job: Job, on_progress: Progress) -> FileRecord | None:
        """Return the record of what would be done with a job, without doing it; None if not known.

        ``on_progress`` is called with 0 as files are read, and may raise to end it.
        """

    def opened(self, placement: Placement) -> AbstractContextManager[Work]:
        """Load what the work needs, above all the network, and return the work.

        Raises UsageError if the device is missing or cannot do the work.
        """


@dataclass(frozen=True)
class Opened:
    """The process ``rank`` is ready to work on ``device``, of which ``model`` is the maker's name."""

    rank: int
    device: str
    model: str | None = None


@dataclass(frozen=True)
class Started:
    """The process ``rank`` has started the job ``index``."""

    index: int
    rank: int


@dataclass(frozen=True)
class Progressed:
    """As many more seconds of audio are done."""

    seconds: float


@dataclass(frozen=True)
class Finished:
    """The job ``index`` is done."""

    index: int
    record: FileRecord


@dataclass(frozen=True)
class Exited:
    """The process ``rank`` does no more jobs; ``cause`` says why if it exited abnormally.

    ``device`` is the one it worked on, if that is known, ``index`` the job with which that failed.
    """

    rank: int
    cause: str | None = None
    device: str | None = None
    index: int | None = None


@dataclass(frozen=True)
class Waiting:
    """Nobody works yet, for a reason that may pass."""

    what_for: str


@dataclass(frozen=True)
class Failed:
    """A process cannot work at all, for a reason that stops them all."""

    error: BaseException


Event = Opened | Started | Progressed | Finished | Exited | Waiting | Failed


class Backend(ABC):
    """Does the jobs of a run and sends events."""

    _stop: Stop

    def __init__(self) -> None:
        self._opened = ExitStack()

    @property
    @abstractmethod
    def n_processes(self) -> int:
        """Processes that share the jobs."""

    @abstractmethod
    def start(self, jobs: Sequence[Job], stop: Stop) -> None:
        """Start ``jobs``, in this order; start no more of them once ``stop`` is requested."""

    @abstractmethod
    def receive(self, timeout_s: float) -> Event | None:
        """Return the next event, or None if none comes in ``timeout_s``."""

    @property
    @abstractmethod
    def is_done(self) -> bool:
        """Whether every worker has exited and every event has been received."""

    def close(self) -> None:
        """Abandon files in progress; return when every worker has exited."""
        if not self.is_done:
            self._stop.request(0)
        with suppress(RunEndedError):
            while not self.is_done:
                self.receive(_CLOSE_POLL_S)
        self._opened.close()


_CLOSE_POLL_S = 0.2


class ElsewhereError(EarzipError):
    """An error of another process; ``exit_code`` is that of the error."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.exit_code)


def jobs_to_json(jobs: Sequence[Job]) -> str:
    """Return ``jobs`` as JSON."""
    rows = [
        [
            str(j.source),
            _text(j.target),
            j.n_bytes,
            j.source_name,
            list(map(str, j.found)),
            j.remote and asdict(j.remote),
        ]
        for j in jobs
    ]
    return json.dumps(rows)


def jobs_from_json(data: str | bytes) -> list[Job]:
    """Return the jobs of `jobs_to_json`."""
    return [
        Job(
            Path(source),
            _path(target),
            n_bytes,
            source_name,
            tuple(map(Path, found)),
            remote and Remote(**{**remote, "found": tuple(remote["found"])}),
        )
        for source, target, n_bytes, source_name, found, remote in json.loads(data)
    ]


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def record_to_json(record: FileRecord) -> dict[str, Any]:
    """Return all of ``record``; `FileRecord.to_json` leaves out what users do not need."""
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
        case Finished(index, record):
            members = {"index": index, "record": record_to_json(record)}
        case Failed(error):
            members = {
                "message": str(error),
                "exit_code": getattr(error, "exit_code", ExitCode.FATAL),
            }
        case _:
            members = vars(event)
    return json.dumps({"event": type(event).__name__, **members}).encode()


def event_from_bytes(data: bytes) -> Event:
    """Return the event of `event_to_bytes`; an error comes back as an `ElsewhereError`."""
    members = json.loads(data)
    kind = members.pop("event")
    if kind == "Finished":
        return Finished(members["index"], record_from_json(members["record"]))
    if kind == "Failed":
        return Failed(ElsewhereError(**members))
    plain: dict[str, type[Opened | Started | Progressed | Exited]] = {
        "Opened": Opened,
        "Started": Started,
        "Progressed": Progressed,
        "Exited": Exited,
    }
    return plain[kind](**members)
