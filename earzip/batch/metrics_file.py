"""A run's figures for Prometheus: a file that node_exporter's textfile collector picks up.

The format is Prometheus' text exposition format, version 0.0.4
(https://prometheus.io/docs/instrumenting/exposition_formats/), the names follow
https://prometheus.io/docs/practices/naming/. The collector reads every ``*.prom`` in its folder
whenever it is scraped, so the file is replaced as a whole.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from earzip.batch.shard import Shard
from earzip.errors import TargetError
from earzip.formats.atomic import atomic_write, reap_stale
from earzip.results import FileStatus, Report

Sample = tuple[Mapping[str, str], float]
"""Labels beside those of the run, and a value."""
_EVERY_S = 15.0  # as often as Prometheus usually scrapes


@dataclass(frozen=True)
class MetricsFile:
    """The file of a run's figures, and the labels that identify the run.

    Series of the same name and labels in two files make node_exporter's scrape fail, hence
    ``output``: no two runs hold the lock of one folder. Labels that are None are left out.
    """

    path: Path
    command: str
    output: Path | None = None
    """The folder or file that the run writes to; None: beside each source."""
    shard: str | None = None
    """``i/N``."""
    started_at: float = field(default_factory=time.time)
    """Seconds since 1970, UTC."""

    def prepare(self) -> None:
        """Check now, before hours of work, that the file can be written.

        Temporary files of killed runs are removed. Raises `TargetError` if the folder is missing or not
        writable, or if the name is that of anything but a regular file.
        """
        try:
            if not stat.S_ISREG(self.path.lstat().st_mode):
                # /dev/null and /dev/stdout would be replaced by a file, and so would a link.
                raise TargetError("cannot be written: it is not a regular file", self.path)
        except FileNotFoundError:
            pass  # the folder is checked below
        except OSError as error:
            raise TargetError(f"cannot be written: {error.strerror}", self.path) from error
        folder = self.path.parent
        if not folder.is_dir():
            raise TargetError("cannot be written: its directory does not exist", self.path)
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            raise TargetError("cannot be written: its directory is not writable", self.path)
        reap_stale(folder)

    def write(self, report: Report, *, running: bool) -> None:
        """Replace the file by the figures of ``report``, in one step. Raises `TargetError`.

        ``running``: the run goes on, and its exit code is not known.
        """
        labels = {"command": self.command}
        if self.output is not None:
            labels["output"] = str(self.output)
        if self.shard is not None:
            labels["shard"] = self.shard
        text = exposition(
            report,
            labels=labels,
            started_at=self.started_at,
            updated_at=time.time(),
            running=running,
        )
        with atomic_write(self.path) as file:
            file.write(text.encode())


def exposition(
    report: Report,
    *,
    labels: Mapping[str, str],
    started_at: float,
    updated_at: float,
    running: bool,
) -> str:
    """Return the figures of ``report`` in the text exposition format, each with ``labels``.

    Times are seconds since 1970, UTC. Every status is there, those without files as 0; elapsed time
    and exit code only of a run that has ended.
    """
    lines: list[str] = []
    for name, help_text, samples in _gauges(report, started_at, updated_at, running=running):
        lines += [f"# HELP {name} {help_text}", f"# TYPE {name} gauge"]
        lines += [f"{name}{_label_set({**labels, **own})} {value!r}" for own, value in samples]
    return "\n".join(lines) + "\n"


def _gauges(
    report: Report, started_at: float, updated_at: float, *, running: bool
) -> Iterator[tuple[str, str, list[Sample]]]:
    """Yield the name, the help and the samples of each metric.

    Gauges, because the next run begins at 0 again, where a counter would count over all runs.
    """
    by_status: list[Sample] = [
        ({"status": status.value}, report.counts[status]) for status in FileStatus
    ]
    yield "earzip_run_files", "Files that the run has finished, by status.", by_status
    totals = report.totals
    figures = {
        "files_undone": ("Planned files that are not done.", report.n_undone),
        "files_below_floor": (
            "Archives of tracks below the quality floor.",
            report.n_below_floor,
        ),
        "warnings": ("Warnings about files.", report.n_warnings),
        "lost_processes": (
            "Worker processes that died or whose device failed.",
            len(report.lost_processes),
        ),
        "audio_seconds": ("Duration of the audio in the files.", totals["duration_s"]),
        "coded_audio_seconds": (
            "Duration of the audio that this run coded or checked.",
            report.coded_s,
        ),
        "source_bytes": ("Size of the sources.", totals["source_bytes"]),
        "archive_bytes": ("Size of their archives.", totals["archive_bytes"]),
        "picture_bytes": ("Size of the pictures in the archives.", totals["picture_bytes"]),
        "shared_picture_bytes": (
            "Size of the pictures beside the archives, each counted once.",
            report.shared_picture_bytes,
        ),
        "exact_copy_bytes": (
            "Size of the exact copies in the archives.",
            totals["exact_bytes"],
        ),
        "start_timestamp_seconds": ("When the run started.", started_at),
        "last_update_timestamp_seconds": ("When these figures were written.", updated_at),
        "running": ("1 while the run is in progress, 0 once it has ended.", int(running)),
    }
    if not running:
        figures |= {
            "elapsed_seconds": ("Duration of the run.", report.elapsed_s),
            "exit_code": ("Exit code of the run, 0 if all is well.", int(report.exit_code)),
        }
    for name, (help_text, value) in figures.items():
        yield f"earzip_run_{name}", help_text, [({}, value)]


def _label_set(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    """Return a label's value, escaped; bytes of a name that are not text are spelt out."""
    text = value.encode(errors="backslashreplace").decode()
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class MetricsWriter:
    """Writes the figures of a run to ``path``; does nothing if it is None.

    A context manager, so that the figures of a failed run also say that it has ended. Raises TargetError
    if ``path`` cannot be written. Later errors, as on a full disk, only cause one warning.
    """

    def __init__(
        self,
        path: Path | None,
        command: str,
        output: Path | None,
        shard: Shard | None,
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._warn = warn
        self._file = None
        if path is not None:
            self._file = MetricsFile(path, command, output, str(shard) if shard else None)
            self._file.prepare()
        self._written_at = float("-inf")
        self._has_warned = False
        self._going_on: Report | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._going_on is not None:
            self._going_on.died = True
            self.finish(self._going_on)

    def tick(self, report: Report) -> None:
        """Write the figures so far, if they are due."""
        self._going_on = report
        now = time.monotonic()
        if now - self._written_at >= _EVERY_S:
            self._written_at = now
            self._write(report, running=True)

    def finish(self, report: Report) -> None:
        """Write the figures of the run, which has ended."""
        self._going_on = None
        self._write(report, running=False)

    def _write(self, report: Report, *, running: bool) -> None:
        if self._file is None:
            return
        try:
            self._file.write(report, running=running)
        except TargetError as error:
            if not self._has_warned:
                self._warn(str(error))
            self._has_warned = True
