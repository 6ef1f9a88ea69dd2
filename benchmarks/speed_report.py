"""What `benchmarks.speed` found: rows, ratios of pairs, JSON and a Markdown table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.processes import Usage, medians


@dataclass(frozen=True)
class Row:
    """One command on one file, or on one folder of files."""

    task: str
    """compress or restore."""
    coder: str
    file: str
    duration_s: float
    """Of all its sound."""
    against: str | None
    """The coder that it is paired with, on the same file and task."""
    runs: tuple[Usage, ...]
    """In turn with those of the other rows of the file: run i of one beside run i of another."""

    @property
    def usage(self) -> Usage:
        """The median of each figure."""
        return medians(self.runs)

    @property
    def real_time(self) -> float:
        """Seconds of sound in a second of CPU time."""
        return self.duration_s / self.usage.cpu_s


@dataclass(frozen=True)
class Stages:
    """CPU seconds of one run by stage."""

    task: str
    file: str
    seconds: dict[str, float]


@dataclass(frozen=True)
class Report:
    """All that was measured, on what and how."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    rows: tuple[Row, ...]
    stages: tuple[Stages, ...]

    def ratios(self, row: Row) -> list[float]:
        """Return the CPU time of each run over that of its pair; nothing for a row without one.

        Raises ValueError if there is no such pair, or it has more or fewer runs.
        """
        if row.against is None:
            return []
        place = (row.task, row.file, row.against)
        pairs = [other for other in self.rows if (other.task, other.file, other.coder) == place]
        if len(pairs) != 1:
            raise ValueError(f"{len(pairs)} rows of {place}, expected one")
        return [a.cpu_s / b.cpu_s for a, b in zip(row.runs, pairs[0].runs, strict=True)]

    def to_json(self) -> str:
        """Return all of it, every run."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Return what `to_json` wrote."""
        members = json.loads(text)
        rows = tuple(
            Row(**{**row, "runs": tuple(Usage(**usage) for usage in row["runs"])})
            for row in members["rows"]
        )
        stages = tuple(Stages(**each) for each in members["stages"])
        return cls(members["machine"], members["settings"], rows, stages)

    def to_markdown(self) -> str:
        """Return the tables: what each command took, and the stages."""
        about = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        chosen = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        lines = [f"{about}; {chosen}", "", *self._rows_table()]
        if self.stages:
            lines += ["", "CPU seconds by stage:", "", *_stages_table(self.stages)]
        return "\n".join(lines) + "\n"

    def _rows_table(self) -> Iterator[str]:
        yield from _head(
            ("task", "with", "file", "minutes"),
            ("wall s", "CPU s", "× real time a core", "peak MB", "CPU time beside its pair's"),
        )
        for row in self.rows:
            usage = row.usage
            yield _line(
                row.task,
                row.coder,
                row.file,
                f"{row.duration_s / 60:.3g}",
                f"{usage.wall_s:.2f}",
                f"{usage.cpu_s:.2f}",
                f"{row.real_time:.3g}",
                f"{usage.peak_mb:.0f}",
                _spread(self.ratios(row), row.against),
            )


def _spread(ratios: Sequence[float], against: str | None) -> str:
    """Return median, smallest and largest of ``ratios`` in words; nothing of none."""
    if not ratios:
        return ""
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) × {against}"


def _stages_table(stages: Sequence[Stages]) -> Iterator[str]:
    names = list(stages[0].seconds)
    yield from _head(("task", "file"), (*names, "all"))
    for each in stages:
        seconds = [each.seconds[name] for name in names]
        yield _line(each.task, each.file, *(f"{s:.2f}" for s in (*seconds, sum(seconds))))


def _head(words: Sequence[str], numbers: Sequence[str]) -> Iterator[str]:
    yield _line(*words, *numbers)
    yield _line(*["---"] * len(words), *["---:"] * len(numbers))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
