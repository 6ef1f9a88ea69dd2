"""The metrics file of a run, kept up to date while it goes on."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from earzip.batch.shard import Shard
from earzip.cli.output import log
from earzip.errors import TargetError
from earzip.prometheus import MetricsFile
from earzip.report import Report

_EVERY_S = 15.0  # as often as Prometheus scrapes as a rule


class MetricsWriter:
    """Writes the figures of a run to ``path``; does nothing if it is None.

    A context manager: the figures of a run that an error ends say that it has ended. Raises TargetError
    if ``path`` cannot be written. What fails later, as on a full disk, is warned of once: a run does not
    end for it.
    """

    def __init__(
        self, path: Path | None, command: str, output: Path | None, shard: Shard | None
    ) -> None:
        self._file = None
        if path is not None:
            self._file = MetricsFile(path, command, output, str(shard) if shard else None)
            self._file.prepare()
        self._written_at = float("-inf")
        self._has_warned = False
        self._going_on: Report | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._going_on is not None:
            self._going_on.died = True
            self.finish(self._going_on)

    def tick(self, report: Report) -> None:
        """Write the figures so far, if it is time to."""
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
                log("warning", str(error))
            self._has_warned = True
