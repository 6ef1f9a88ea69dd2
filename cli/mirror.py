"""What `compress` does so that its archives stay a mirror of the sources: moved ones, and those gone."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from earzip.batch.mirror import find_moved, lacks_archive, orphans, prune
from earzip.cli.output import log, printable
from earzip.cli.piping import PlannedRun
from earzip.errors import UsageError, count
from earzip.results import FileRecord

_NAMED = 10
"""Archives that the question names."""
_FEW = 10
"""So many archives may be pruned unasked, whatever part of all they are."""


def planned_orphans(planned: PlannedRun) -> list[Path]:
    """Return the archives without a source; none if only a part of the sources is in the plan."""
    if planned.choice.is_from_list:
        return []
    filters = planned.choice.filters
    return orphans(planned.plan, planned.folders, planned.paths, filters)


@dataclass
class Mirror:
    """The archives without a source of a run over directories.

    ``prunes``: whether they go to the trash at its end; ``asks``: whether the user is asked first.
    """

    prunes: bool
    asks: bool
    dry_run: bool
    _orphaned: list[Path] = field(default_factory=list)

    @contextmanager
    def watched(self, planning: AbstractContextManager[PlannedRun]) -> Iterator[PlannedRun]:
        """Give the plan, in which jobs know of archives that may be theirs. Raises UsageError."""
        with planning as planned:
            if self.prunes and planned.choice.is_from_list:
                raise UsageError("--prune and --files-from exclude each other")
            if planned.folders and (self.prunes or any(map(lacks_archive, planned.plan.jobs))):
                self._orphaned = planned_orphans(planned)
                find_moved(planned.plan, self._orphaned)
            if self.prunes:
                self._require_sources(planned)
            yield planned

    def _require_sources(self, planned: PlannedRun) -> None:
        """Refuse to prune where sources may only be out of sight; ask."""
        if not planned.folders:
            raise UsageError("--prune needs a directory of sources")
        n, n_sources = len(self._orphaned), len(planned.plan.jobs)
        if not n_sources:
            raise UsageError("no source was found, so nothing is pruned; is a disk not mounted?")
        if not n or self.dry_run:
            return
        if not self.asks:
            if n > max(_FEW, n_sources):
                raise UsageError(
                    f"{n} archives have no source, and only {n_sources} have one; is a disk not "
                    "mounted? Run without --yes to be asked"
                )
            return
        if not (sys.stdin and sys.stdin.isatty()):
            raise UsageError("--prune asks first, and there is no terminal; add --yes")
        for path in self._orphaned[:_NAMED]:
            click.echo(f"  {printable(str(path))}", err=True)
        if n > _NAMED:
            click.echo(f"  and {n - _NAMED} more", err=True)
        question = f"{count(n, 'archive')} without a source. Move to the trash?"
        self.prunes = click.confirm(question, err=True)

    def pruned(self, planned: PlannedRun) -> Iterable[FileRecord]:
        """Move what has no source into the trash; yield a record of each."""
        if not self.prunes:
            return
        if planned.plan.refused:
            n = count(len(planned.plan.refused), "path")
            log("warning", f"nothing is pruned: {n} could not be looked at")
            return
        waiting = {job.found for job in planned.plan.jobs if lacks_archive(job)}
        gone = (path for path in self._orphaned if self.dry_run or path not in waiting)
        yield from prune(gone, planned.folders, dry_run=self.dry_run)
