"""What `compress` does so that its archives stay a mirror of the sources: moved ones, and those gone."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import click

from earzip.batch.mirror import (
    Orphans,
    Trash,
    find_moved,
    lacks_archive,
    orphans,
    prune,
    prune_pictures,
)
from earzip.cli.piping import PlannedRun
from earzip.cli.stores import stand_ins
from earzip.cli.streams import log, printable
from earzip.errors import UsageError, count
from earzip.results import FileRecord, Report

_NAMED = 10
"""Archives that the question names."""
_FEW = 10
"""So many archives may be pruned unasked, whatever part of all they are."""


def planned_orphans(planned: PlannedRun) -> Orphans:
    """Return the archives without a source; none if only a part of the sources is in the plan."""
    if planned.choice.is_from_list:
        return Orphans([], [])
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
    quiet: bool = False
    """Whether nothing is said of archives without a source that stay."""
    _orphaned: Orphans = field(default_factory=lambda: Orphans([], []))
    _n_staying: int = 0
    """Archives that have a source, when the run was planned."""
    _is_declined: bool = False
    """The user was asked, and wants none of them moved."""

    @contextmanager
    def watched(self, planning: AbstractContextManager[PlannedRun]) -> Iterator[PlannedRun]:
        """Give the plan, in which jobs know of archives that may be theirs. Raises UsageError."""
        with planning as planned:
            if self.prunes and planned.choice.is_from_list:
                raise UsageError("--prune and --files-from exclude each other")
            n_missing = sum(map(lacks_archive, planned.plan.jobs))
            self._n_staying = len(planned.plan.jobs) - n_missing
            if planned.folders and (self.prunes or n_missing):
                self._orphaned = planned_orphans(planned)
                find_moved(planned.plan, self._orphaned.found)
            if self.prunes:
                self._require_sources(planned)
            yield planned

    def _require_sources(self, planned: PlannedRun) -> None:
        """Refuse to prune where sources may only be out of sight, or nobody can be asked."""
        if not planned.folders:
            raise UsageError("--prune needs a directory of sources")
        if not planned.plan.jobs:
            raise UsageError("no source was found, so nothing is pruned; is a disk not mounted?")
        if not self._orphaned.found or self.dry_run:
            return
        if self.asks and not (sys.stdin and sys.stdin.isatty()):
            raise UsageError("--prune asks first, and there is no terminal; add --yes")
        moved = {path for job in planned.plan.jobs for path in job.found}
        n = sum(each.path not in moved for each in self._orphaned.found)
        if not self.asks and n > max(_FEW, self._n_staying):
            raise UsageError(
                f"{n} archives have no source, and only {self._n_staying} have one; is a disk not "
                "mounted? Run without --yes to be asked"
            )

    def ask(self) -> None:
        """Ask whether to prune, if that is to be asked. Call it when no other run can come between."""
        n = len(self._orphaned.found)
        if not (self.prunes and self.asks and n) or self.dry_run:
            return
        for orphan in self._orphaned.found[:_NAMED]:
            click.echo(f"  {printable(str(orphan.path))}", err=True)
        if n > _NAMED:
            click.echo(f"  and {n - _NAMED} more", err=True)
        question = f"{count(n, 'archive')} without a source. Move to the trash?"
        self.prunes = click.confirm(question, err=True)
        if not self.prunes:
            log("info", "nothing was moved to the trash")
            self._is_declined = True

    def pruned(self, planned: PlannedRun, report: Report) -> Iterable[FileRecord]:
        """Move what has no source, and pictures of no archive, into the trash, if nothing has failed.

        Yield a record of each.
        """
        orphaned = self._orphaned.found
        if not self.prunes:
            if orphaned and not (self.quiet or self._is_declined):
                n = count(len(orphaned), "archive")
                stays, them = ("stays", "it") if len(orphaned) == 1 else ("stay", "them")
                # In a store nothing is pruned.
                hint = "" if stand_ins() else f"; --prune moves {them} to the trash"
                log("info", f"{n} without a source {stays}{hint}")
            return
        n_unseen = len(planned.plan.refused) + len(self._orphaned.unseen)
        if n_unseen:
            log("warning", f"nothing is pruned: {count(n_unseen, 'path')} could not be looked at")
        elif report.problems:
            log("warning", f"nothing is pruned: {count(len(report.problems), 'file')} failed")
        else:
            roots = [path for path in planned.paths if path.is_dir()]
            trash = Trash(planned.folders)
            yield from prune(orphaned, trash, roots, dry_run=self.dry_run)
            gone = {orphan.path for orphan in orphaned} if self.dry_run else set()
            yield from prune_pictures(trash, gone, dry_run=self.dry_run)
