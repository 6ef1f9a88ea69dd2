"""Jobs, records and events as JSON, for where they travel between machines: nothing is ever unpickled.

Names of files that are no text keep their bytes: as the lone surrogates that Python makes of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earzip.batch.crew import Advanced, Began, Broke, Ended, Event, Recorded
from earzip.batch.plan import Job
from earzip.errors import EarzipError
from earzip.report import FileRecord, FileStatus


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
