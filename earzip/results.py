"""What a run reports: a record for each file, counts, and the exit code."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from earzip.errors import ExitCode

TOTALLED = (
    "duration_s",
    "source_bytes",
    "archive_bytes",
    "picture_bytes",
    "exact_bytes",
    "to_encode_s",
    "to_encode_bytes",
    "checked_bytes",
    "recovery_bytes",
)
"""Figures of records that a report adds up. ``to_encode_…`` are estimates of what is not there yet."""

AVERAGED = ("measures", "perceptual", "loudness")
"""Figures of records, themselves numbers by name, that a report gives the means of."""

UNREAD_SOUND = "sound that earzip does not read"
"""Why a file is skipped that is sound by its name, of a format that earzip has no decoder for."""

_SEVERITY = (
    ExitCode.FATAL,
    ExitCode.STOPPED,
    ExitCode.DAMAGED,
    ExitCode.SOME_FAILED,
)  # the most severe first; 130 ends a process without a report
Progress = Callable[[float], None]
"""Called with the seconds of audio done since the last call."""


def kbps(n_bytes: int, duration_s: float) -> float:
    """Return the rate of so many bytes in kilobits per second; 0 for no sound."""
    return 8 * n_bytes / duration_s / 1000 if duration_s else 0.0


class FileStatus(StrEnum):
    """The outcome for one file; the values appear in the JSON records."""

    WRITTEN = "written"
    UP_TO_DATE = "up_to_date"
    RETAGGED = "retagged"
    """An archive has its source's new tags; its sound is as it was."""
    REPICTURED = "repictured"
    """Only the pictures of an archive were stored otherwise, or again."""
    MOVED = "moved"
    """An archive was made from that of the same source under another name."""
    PRUNED = "pruned"
    """An archive without a source was moved to the trash."""
    COPIED = "copied"
    INTACT = "intact"
    CHECKED_LATELY = "checked_lately"
    """An archive was found intact not long ago, and is left out."""
    READ = "read"
    EVALUATED = "evaluated"
    PLANNED = "planned"
    """A dry run would have worked on it."""
    ORPHANED = "orphaned"
    """An archive has no source."""
    SKIPPED = "skipped"
    """Not a file that the command works on."""
    REPAIRED = "repaired"
    """A damaged or missing archive or shared picture was put back from recovery data."""
    INCOMPLETE = "incomplete"
    """Written, without the sound, tags or pictures that damage has cost."""
    DAMAGED = "damaged"
    FAILED = "failed"
    LOCKED = "locked"
    """Another run is writing its target."""


_EXIT_CODES = {
    FileStatus.INCOMPLETE: ExitCode.SOME_FAILED,
    FileStatus.FAILED: ExitCode.SOME_FAILED,
    FileStatus.DAMAGED: ExitCode.DAMAGED,
    FileStatus.LOCKED: ExitCode.STOPPED,
}


@dataclass(frozen=True)
class FileRecord:
    """The outcome for one file.

    ``message`` is the reason of a status that is not a success. ``figures`` are the command's own
    facts, JSON-able: durations in seconds (``…_s``), sizes in bytes (``…_bytes``).
    """

    status: FileStatus
    source: Path
    target: Path | None = None
    message: str | None = None
    warnings: tuple[str, ...] = ()
    figures: Mapping[str, object] = field(default_factory=dict)
    rank: int = 0
    """Which process of the run worked on it."""
    elapsed_s: float = 0.0
    """How long it worked on it; 0 if it was not."""
    traceback: str | None = None
    """Where earzip itself went wrong, for a bug report."""
    is_absent: bool = False
    """It is a path that the user named and that is not there: perhaps a whole library is missing."""

    @property
    def exit_code(self) -> int:
        """The exit code of a run of this file alone; 1 for a bug, and for a path that is not there."""
        if self.traceback or self.is_absent:
            return ExitCode.FATAL
        return _EXIT_CODES.get(self.status, ExitCode.OK)

    def to_json(self) -> dict[str, object]:
        """Return the JSON object of this record."""
        return {
            "type": "file",
            "status": self.status.value,
            "source": str(self.source),
            "target": None if self.target is None else str(self.target),
            "message": self.message,
            "warnings": list(self.warnings),
            "rank": self.rank,
            "elapsed_s": round(self.elapsed_s, 3),
            **self.figures,
        }


def _stands_for_infinity(measures: object) -> bool:
    si_sdr_db = measures.get("si_sdr_db") if isinstance(measures, Mapping) else None
    return isinstance(si_sdr_db, int | float) and abs(si_sdr_db) >= 200


@dataclass(frozen=True)
class LostProcess:
    """A worker process that died, or whose device failed."""

    rank: int
    device: str | None
    """Where it worked, as cuda:1; None if that is not known."""
    cause: str
    """What became of it, after "the worker process"."""

    def __str__(self) -> str:
        where = f" on {self.device}" if (self.device or "").startswith("cuda") else ""
        return f"the worker process{where} {self.cause}"


@dataclass
class Mean:
    """The mean of numbers that come one by one, of which none is kept."""

    n: int = 0
    total: float = 0.0

    def add(self, value: float) -> None:
        """Count ``value``."""
        self.n += 1
        self.total += value

    @property
    def value(self) -> float:
        """The mean so far. Raises ZeroDivisionError before the first number."""
        return self.total / self.n


@dataclass
class Report:
    """Counts and totals of a run; the problems keep their records."""

    counts: Counter[FileStatus] = field(default_factory=Counter)
    totals: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TOTALLED, 0))
    averaged: dict[str, dict[str, Mean]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Mean))
    )
    shared_pictures: dict[str, int] = field(default_factory=dict)
    """The size of each file with a picture that archives share, by its path: each counts once."""
    problems: list[FileRecord] = field(default_factory=list)
    n_warnings: int = 0
    n_below_floor: int = 0
    """Files that do not reach the floor of a check and have an archive all the same."""
    n_unread_sound: int = 0
    """Skipped files that are `UNREAD_SOUND`."""
    n_undone: int = 0
    """Planned files that were not started, or were abandoned."""
    stopped: bool = False
    """A signal ended the run early."""
    gave_up: bool = False
    """Too many files failed."""
    died: bool = False
    """No process was left to go on."""
    lost_processes: list[LostProcess] = field(default_factory=list)
    """Those that did not work to the end; others did their files."""
    n_processes: int = 1
    """Processes that shared the work."""
    failing: frozenset[FileStatus] = frozenset()
    """Statuses that count as failed, beside those that always do."""
    coded_s: float = 0.0
    """Seconds of audio that went through the network or were checked in this run."""
    elapsed_s: float = 0.0

    def add(self, record: FileRecord) -> None:
        """Count ``record``."""
        self.counts[record.status] += 1
        self.n_warnings += len(record.warnings)
        self.n_below_floor += bool(record.figures.get("below_floor"))
        is_skipped = record.status is FileStatus.SKIPPED
        self.n_unread_sound += is_skipped and record.message == UNREAD_SOUND
        if record.exit_code:
            self.problems.append(record)
        for name in TOTALLED:
            value = record.figures.get(name)
            if isinstance(value, int | float):
                self.totals[name] += value
        shared = record.figures.get("shared_pictures")
        if isinstance(shared, Mapping):
            self.shared_pictures.update(shared)
        for group in AVERAGED:
            values = record.figures.get(group)
            if not isinstance(values, Mapping):
                continue
            if group != "loudness" and _stands_for_infinity(record.figures.get("measures")):
                continue
            for name, value in values.items():
                if value is not None:
                    self.averaged[group][name].add(value)

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """The means of what is `AVERAGED`, by its name and the figure's, over the files that have it.

        Of tracks that are the same to the bit, or silent where the original is not, an SI-SDR of ±200 dB
        stands for an infinite one: their measures are in no mean.
        """
        return {
            group: {name: mean.value for name, mean in figures.items()}
            for group, figures in self.averaged.items()
        }

    @property
    def shared_picture_bytes(self) -> int:
        """What the pictures beside the archives take."""
        return sum(self.shared_pictures.values())

    @property
    def n_files(self) -> int:
        """Files that have a record."""
        return self.counts.total()

    @property
    def exit_code(self) -> int:
        """The most severe of: 1 gave up, died, a bug or no such path, 75 stopped or locked, 4, 3, 0."""
        codes = {record.exit_code for record in self.problems}
        codes |= {ExitCode.FATAL} if self.gave_up or self.died else set()
        codes |= {ExitCode.STOPPED} if self.stopped else set()
        codes |= {ExitCode.SOME_FAILED for status in self.failing if self.counts[status]}
        return next((code for code in _SEVERITY if code in codes), ExitCode.OK)

    def to_json(self) -> dict[str, object]:
        """Return the JSON object of the summary; every status and every total is there.

        ``means`` is there if files were measured.
        """
        means = self.means
        return {
            "type": "summary",
            "files": self.n_files,
            **{status.value: self.counts[status] for status in FileStatus},
            **self.totals,
            "shared_picture_bytes": self.shared_picture_bytes,
            **({"means": means} if means else {}),
            "coded_s": self.coded_s,
            "warnings": self.n_warnings,
            "below_floor": self.n_below_floor,
            "unread_sound": self.n_unread_sound,
            "undone": self.n_undone,
            "processes": self.n_processes,
            "lost_processes": [vars(lost) for lost in self.lost_processes],
            "elapsed_s": round(self.elapsed_s, 3),
            "exit_code": self.exit_code,
        }
