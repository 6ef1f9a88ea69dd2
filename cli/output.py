"""Records and summaries as text for people or as JSON Lines for programs.

Results go to stdout; failures, warnings and the summary to stderr, in both forms.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earzip.batch.events import Opened, Waiting
from earzip.cli.lines import fitted
from earzip.cli.lost_pictures import LostPictures, is_told_by_its_picture
from earzip.cli.streams import echo, log, printable, tell
from earzip.errors import count
from earzip.formats.geometry import clock
from earzip.results import UNREAD_SOUND, FileRecord, FileStatus, LostProcess, Report

Describe = Callable[[FileRecord], Iterator[str]]
"""Gives the lines that stand indented under a record's own."""

_TELLING_S = 10  # of audio: with less, loading the network takes longer than the work
_REPEAT_PROBLEMS_AFTER = 20  # lines below the first: then it has left the screen
_REPEAT_LOSSES_AFTER = 20  # files
_REPEATED_PROBLEMS = 20  # and the last lines of a log still have the summary
_NOTHING_KEPT = "only what is printed is kept: another run begins anew"
_STATUS_WORDS = {status: status.value.replace("_", " ") for status in FileStatus}
_ON_STDERR = {FileStatus.FAILED, FileStatus.DAMAGED, FileStatus.LOCKED}  # have their line on stderr


def size(n_bytes: float) -> str:
    """Return a size in decimal units: ``812 B``, ``3.42 MB``."""
    if n_bytes < 1000:
        return f"{n_bytes:.0f} B"
    for unit in ("kB", "MB", "GB"):
        n_bytes /= 1000
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
    return f"{n_bytes / 1000:.3g} TB"


@dataclass(frozen=True)
class Table:
    """Rows for evaluated files, and those that are listed, in place of a line each."""

    heading: str
    row: Callable[[Mapping[str, Any], str], str]
    """Gives the row of a file's figures, or of the means, under what it is called."""
    counted: str = ""
    """What listed files are called in the summary; without it the last row has the means."""


@dataclass
class Printer:
    """Prints a run's records in the requested form."""

    as_json: bool
    describe: Describe | None = None
    table: Table | None = None
    results_to_stderr: bool = False
    """stdout carries the result itself."""
    counts_only: Callable[[FileRecord], bool] = lambda _record: False
    """Tells of a result whether it has no line of its own; see `usual_in`."""
    quiet: bool = False
    """Only problems and warnings are printed; JSON is complete all the same."""
    aside: Callable[[], AbstractContextManager[object]] = nullcontext
    """Entered around each print: takes the progress bar out of the way."""
    names_ranks: bool = False
    """Several processes share the work: lines on stderr say which of them they are about."""
    keeps_results: bool = True
    """A run that was stopped has done a part of the work, and the next one does the rest."""
    how_on_gpu: str = ""
    """How the network runs on a GPU, after the GPU's name; empty if nobody wants to know."""
    _n_rows: int = field(default=0, init=False)
    _n_below_problem: int | None = field(default=None, init=False)
    """Lines since the first problem; None before it."""
    _models: set[str] = field(default_factory=set, init=False)
    _pictures: LostPictures = field(default_factory=LostPictures, init=False)

    def record(self, record: FileRecord) -> None:
        """Print the record of one file."""
        self._pictures.add(record)
        has_line = record.exit_code and not is_told_by_its_picture(record)
        with self.aside():
            n_lines = int(self._result(record)) + len(record.warnings)
            if has_line:
                self._problem(record)
            for line in (record.traceback or "").splitlines():
                echo(printable(line), err=True)
            for warning in record.warnings:
                log("warning", warning, self._rank_of(record), record.source)
        if self._n_below_problem is not None:
            self._n_below_problem += n_lines + bool(has_line)
        elif has_line:
            self._n_below_problem = 0

    def process(self, process: Opened | Waiting | LostProcess) -> None:
        """Print which GPU a process works on, once of each kind, that one is lost, or that none works."""
        with self.aside():
            if isinstance(process, LostProcess):
                log("warning", str(process), process.rank)
            elif isinstance(process, Waiting):
                log("warning", process.what_for)
            elif self.quiet or not (self.how_on_gpu and process.model):
                return
            elif process.model not in self._models:
                self._models.add(process.model)
                log("info", f"the network runs on {process.model} {self.how_on_gpu}")

    def summary(self, report: Report) -> None:
        """Print the counts; and the problems once more if other lines have followed them."""
        if self.as_json:
            echo(json.dumps(report.to_json()))
        elif self.table and not self.table.counted and self._n_rows > 1:  # none if quiet
            echo(self.table.row(report.means, self._mean_of_what(report)))
        if not self.quiet and (self._n_below_problem or 0) > _REPEAT_PROBLEMS_AFTER:
            problems = [each for each in report.problems if not is_told_by_its_picture(each)]
            echo(f"{count(len(problems), 'problem')} in this run:", err=True)
            for record in problems[:_REPEATED_PROBLEMS]:
                self._problem(record)
            if (left_out := len(problems) - _REPEATED_PROBLEMS) > 0:
                tell(f"and {left_out} more, listed above")
        for path, what in self._pictures.lines():
            log(_STATUS_WORDS[FileStatus.DAMAGED], what, path=path)
        unbegun = not report.counts and report.n_undone  # the reason is printed below
        counted = self.table.counted if self.table else ""
        is_told = counted or set(report.counts) != {FileStatus.READ}
        if is_told and not (unbegun or self.quiet):
            echo(fitted("", _summary(report, counted, self._pictures)), err=True)
        if not self.quiet and report.n_files > _REPEAT_LOSSES_AFTER:
            for lost in report.lost_processes:
                log("warning", str(lost), lost.rank)
        if report.stopped:
            kept = "run again to continue" if self.keeps_results else _NOTHING_KEPT
            tell(f"stopped with {count(report.n_undone, 'file')} left; {kept}")
        if report.died:
            log("error", f"no worker process is left; {count(report.n_undone, 'file')} not done")
        if report.gave_up:
            tell(f"too many failures: stopped with {count(report.n_undone, 'file')} left")

    def _problem(self, record: FileRecord) -> None:
        word = _STATUS_WORDS[record.status]
        log(word, record.message or "", self._rank_of(record), record.source)

    def _rank_of(self, record: FileRecord) -> int | None:
        # Without elapsed time no process of the run has worked on the file.
        return record.rank if self.names_ranks and record.elapsed_s else None

    def _mean_of_what(self, report: Report) -> str:
        n_measured = report.averaged["measures"]["mel"].n
        others = self._n_rows - n_measured
        left_out = f" ({others} identical, silent or not measured)" if others else ""
        return f"mean of {count(n_measured, 'file')}{left_out}"

    def _result(self, record: FileRecord) -> bool:
        """Print what became of a file, unless it is a problem or only counted; return whether it did."""
        if self.as_json:
            echo(json.dumps(record.to_json()))
        elif self.quiet:
            return False
        elif self.table and record.status in (FileStatus.EVALUATED, FileStatus.READ):
            if not self._n_rows:
                echo(self.table.heading)
            self._n_rows += 1
            echo(printable(self.table.row(record.figures, str(record.source))))
        elif record.status not in _ON_STDERR and not self.counts_only(record):
            shown: Path | str = record.source if record.target is None else record.target
            if self.results_to_stderr and record.target is not None:
                shown = "standard output"
            reason = record.message if record.status is not FileStatus.INCOMPLETE else None
            note = f" ({reason})" if reason else _note(record.figures)
            word = f"{_STATUS_WORDS[record.status]:<11} "
            if record.status is FileStatus.READ:
                word = ""  # what is read follows
            echo(printable(f"{word}{shown}{note}"), err=self.results_to_stderr)
            for detail in self.describe(record) if self.describe else ():
                indent = " " * (len(word) or 2)
                echo(indent + printable(detail), err=self.results_to_stderr)
        else:
            return False
        return True


USUAL = frozenset({
    FileStatus.UP_TO_DATE,
    FileStatus.INTACT,
    FileStatus.CHECKED_LATELY,
    FileStatus.SKIPPED,
})  # fmt: skip
"""Of files with which nothing had to be done."""


def usual_in(
    named: Collection[Path], usual: Collection[FileStatus] = USUAL
) -> Callable[[FileRecord], bool]:
    """Return what tells whether a file is one of many in a directory of which nothing is to be told.

    Of the files ``named`` one by one people want to know what became of each.
    """
    return lambda record: record.status in usual and record.source not in named


def rate(kbps: float, duration_s: float, decimals: int = 1) -> list[str]:
    """Return ``12.3 kbps``, or nothing for less than a second: that is mostly overhead."""
    return [f"{kbps:.{decimals}f} kbps"] if duration_s >= 1 else []


def measures_text(measures: Mapping[str, float]) -> str:
    """Return the measures of a track, by the names of `earzip.metrics.measures.Measures`, on a line."""
    return (
        f"SI-SDR {measures['si_sdr_db']:.2f} dB, mel {measures['mel']:.3f}, "
        f"STFT {measures['stft']:.3f}, ICPC {100 * measures['icpc']:.2f} %, "
        f"CCPC {100 * measures['ccpc']:.2f} %, true peak {measures['dbtp']:.2f} dB off"
    )


def _note(figures: Mapping[str, object]) -> str:
    """Return in brackets the figures that every command calls the same."""
    notes = []
    seconds = figures.get("duration_s")
    if isinstance(seconds, int | float):
        notes.append(clock(seconds))
    if isinstance(n_bytes := figures.get("archive_bytes"), int):
        pictures = figures.get("picture_bytes", 0)
        assert isinstance(pictures, int)
        beside = f" and {size(pictures)} of pictures" if pictures else ""
        notes.append(size(n_bytes - pictures) + beside)
        if isinstance(shared := figures.get("shared_pictures"), Mapping) and shared:
            notes.append(f"shares {size(sum(shared.values()))} of pictures")
    if isinstance(kbps := figures.get("kbps"), int | float) and isinstance(seconds, int | float):
        notes += rate(kbps, seconds)
    return f" ({', '.join(notes)})" if notes else ""


def _summary(report: Report, counted: str, pictures: LostPictures) -> str:
    left = report.counts - Counter({FileStatus.DAMAGED: pictures.n_archives})
    counts = [f"{left[s]} {_STATUS_WORDS[s]}" for s in FileStatus if left[s]]
    if pictures.n_archives:
        counts.append(pictures.counted())
    if counted and (n_read := report.counts[FileStatus.READ]):
        counts[counts.index(f"{n_read} read")] = count(n_read, counted)
    if report.n_unread_sound:
        skipped = f"{report.counts[FileStatus.SKIPPED]} {_STATUS_WORDS[FileStatus.SKIPPED]}"
        told = f"{skipped} ({report.n_unread_sound} of them {UNREAD_SOUND})"
        counts[counts.index(skipped)] = told
    parts = [", ".join(counts) or "nothing to do"]
    totals = report.totals
    if totals["duration_s"]:
        # What is planned has figures of its own, below.
        whose = " up to date" if report.counts[FileStatus.PLANNED] else ""
        parts.append(f"{clock(totals['duration_s'])} of audio{whose}")
    if totals["archive_bytes"]:
        parts.append(_sizes(totals, report.shared_picture_bytes))
    if totals["to_encode_s"]:
        to_encode = f"about {clock(totals['to_encode_s'])} of audio to encode"
        n_bytes = totals["to_encode_bytes"]
        into = f", into {size(n_bytes)} without pictures" if n_bytes else ""
        parts.append(to_encode + into)
    if report.n_below_floor:
        parts.append(f"{count(report.n_below_floor, 'archive')} below the quality floor")
    if totals["recovery_bytes"]:
        parts.append(f"{size(totals['recovery_bytes'])} of recovery data")
    if totals["checked_bytes"] and report.elapsed_s and not report.coded_s:
        n_bytes = totals["checked_bytes"]
        a_second = size(n_bytes / report.elapsed_s)
        parts.append(f"{size(n_bytes)} in {_took(report.elapsed_s)}, {a_second}/s")
    if report.coded_s and report.elapsed_s:
        parts.append(_speed(report.coded_s, report.elapsed_s, totals["duration_s"]))
    return "; ".join(parts)


def _speed(coded_s: float, took_s: float, total_s: float) -> str:
    """Return how long the work took, and its rate; and how much work it was, if not all of the audio."""
    text = _took(took_s)
    if coded_s < _TELLING_S:
        return text
    text += f" at {coded_s / took_s:.3g} × real time"
    if not total_s or abs(coded_s - total_s) < 1:
        return text
    return f"{clock(coded_s)} {'of it ' if coded_s < total_s else ''}done in {text}"


def _took(seconds: float) -> str:
    return clock(seconds) if seconds >= 60 else f"{seconds:.1f} s"


def _sizes(totals: dict[str, float], shared: int) -> str:
    """Return what went in and what came out, with and without pictures; ``shared``: those beside it."""
    source, archive = totals["source_bytes"], totals["archive_bytes"]
    pictures, exact = totals["picture_bytes"], totals["exact_bytes"]
    text = f"{size(source)} → {size(archive + shared)}"
    if pictures or shared:
        text += f" with pictures, {size(archive - pictures)} without"
    if exact:
        text += f", {size(exact)} of it exact copies"
    if duration_s := totals["duration_s"]:
        kbps = 8 * (archive - pictures) / duration_s / 1000
        text += "".join(f" ({each})" for each in rate(kbps, duration_s))
    return text
