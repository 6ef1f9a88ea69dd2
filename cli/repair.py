"""``earzip repair``: damaged and missing archives and shared pictures out of their recovery data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from earzip.batch.jobs import Job
from earzip.cli.help import sectioned_command
from earzip.cli.lost import folders_with_data
from earzip.cli.mending import say_how_to_archive_again
from earzip.cli.options import paths_argument
from earzip.cli.piping import NO_ARCHIVES, PlannedRun, plan_reading
from earzip.cli.run import run as run_task
from earzip.cli.run_options import AMOUNT, RunOptions, run_options
from earzip.errors import EarzipError
from earzip.formats.names import is_shared_picture_name
from earzip.results import FileRecord, FileStatus
from earzip.tasks import RepairTask


@sectioned_command("Repair archives with their recovery data.")
@paths_argument
@run_options("max_failures", "as_json", *AMOUNT, "no_lock")
def repair(*, paths: tuple[Path, ...], run: RunOptions) -> int:
    """Verify archives, and repair those that are damaged or missing with the data of earzip protect.

    PATH is an archive or a directory (searched recursively). Archives and the pictures that they share
    come back as they were when their directory was protected. A damaged one stays until its replacement
    has been verified. What cannot be repaired is named with the reason (4). Needs the program par2
    (par2cmdline).
    """
    damaged: list[Path] = []

    def note(record: FileRecord) -> None:
        if record.status is FileStatus.DAMAGED:
            damaged.append(record.source)

    planning = _with_missing(plan_reading(paths))
    code = run_task(planning, RepairTask(), run, one_by_one=True, noted=note)
    if damaged and not run.quiet:
        say_how_to_archive_again(damaged, paths)
    return code


@contextmanager
def _with_missing(planning: AbstractContextManager[PlannedRun]) -> Iterator[PlannedRun]:
    """Give the plan with a job for each file that is gone, or damaged picture, that has recovery data."""
    with planning as planned:
        plan = planned.plan
        absent = {record.source for record in plan.refused if record.is_absent}
        found = {path for path in absent if path in _lost(path.parent)}
        folders = set(folders_with_data(planned.paths))
        for folder in folders:
            found.update(_lost(folder))
        # Of a directory of which one archive is named all is put back, so its pictures are told of.
        for folder in {job.source.parent for job in plan.jobs} - folders:
            found.update(path for path in _lost(folder) if is_shared_picture_name(path.name))
        found -= {job.source for job in plan.jobs}
        plan.jobs += [Job(path, None, 0) for path in sorted(found)]
        plan.refused = [
            record
            for record in plan.refused
            if not (record.source in found or (found and record.message == NO_ARCHIVES))
        ]
        yield planned


def _lost(folder: Path) -> list[Path]:
    """Return what is gone of what recovery data protects, and its pictures that are damaged."""
    from earzip.formats.archive.recovery import RecoveryData  # noqa: PLC0415  # loads numpy
    from earzip.formats.archive.shared import holds_its_picture  # noqa: PLC0415

    try:
        data = RecoveryData.read(folder)
    except EarzipError:  # whoever needs it will say so
        return []
    if data is None:
        return []
    pictures = (folder / name for name in data.files if is_shared_picture_name(name))
    damaged = {path for path in pictures if not holds_its_picture(path)}
    return sorted(damaged | {folder / name for name in data.gone(folder)})
