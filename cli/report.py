"""``earzip report``: one HTML page about archives. What a run counts is in `earzip.results`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from earzip.batch.events import Work
from earzip.batch.filters import Choice
from earzip.batch.jobs import Job, Plan
from earzip.batch.places import is_folder
from earzip.batch.plan import Selection, plan_batch
from earzip.cli.choice import choice_options
from earzip.cli.help import EXIT_CODES
from earzip.cli.output import USUAL, size
from earzip.cli.piping import PlannedRun, plan_reading
from earzip.cli.run import run as run_task
from earzip.cli.run_options import AMOUNT, RunOptions, run_options
from earzip.cli.runtime_options import one_device_options
from earzip.cli.streams import echo, printable
from earzip.cli.values import PLAIN_PATH, NamedPath
from earzip.cli.where import Query, matching, where_option
from earzip.errors import EarzipError, TargetError, UsageError, count
from earzip.formats.names import is_archive_name
from earzip.metrics import require_eval
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement, Runtime
from earzip.tasks import InfoTask
from earzip.tasks.always import AlwaysToDo

if TYPE_CHECKING:
    from earzip.page.builder import PageBuilder
    from earzip.page.facts import TrackFacts
    from earzip.page.rows import TrackEntry

_SUFFIXES = (".html", ".htm")


@click.command(epilog=EXIT_CODES, short_help="One HTML page about archives.")
@choice_options
@where_option
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    type=PLAIN_PATH,
    help="The page to write, ending in .html.",
)
@click.option(
    "--originals",
    metavar="DIR",
    type=NamedPath(exists=True, file_okay=False, path_type=Path),
    help="Directory of the sources, with the same tree as the archives, to compare with.",
)
@click.option(
    "--audio",
    is_flag=True,
    help="Embed 20 s from the middle of each track, to hear and to test blindly: about 5 MB a track.",
)
@run_options("force", "as_json", *AMOUNT)
@one_device_options("device", "precision", "threads", "batch_size", decodes=True)
def report(
    *,
    paths: tuple[Path, ...],
    choice: Choice,
    where: Query | None,
    output: Path,
    originals: Path | None,
    audio: bool,
    run: RunOptions,
    runtime: Runtime,
) -> int:
    """Write one HTML page about archives: totals, a table, and pictures of their sound.

    PATH is an archive or a directory (searched recursively). The page works offline and takes at most
    3 MB without --audio: in a large library as many tracks get pictures as fit, and only those are
    decoded. Needs the extra report: pip install '.[report]' in the clone of earzip.
    """
    _require_extra()
    plan = plan_batch(
        paths, Selection(takes=is_archive_name, otherwise="not an archive"), choice=choice
    )
    plan.other_files.clear()
    if where:
        where.keep_matching(plan)
    if not plan.jobs and not plan.refused:
        return run_task(
            matching(plan_reading(paths, choice), where), InfoTask(), run, one_by_one=True
        )
    _require_replaceable(output, plan, force=run.force)
    try:
        return _write_page(paths, plan, output, originals, audio, run, runtime)
    except KeyboardInterrupt:  # before the first sound, or after the last
        _say_not_written(output)
        raise


def _say_not_written(output: Path) -> None:
    stays = "; the one that was there stays" if output.exists() else ""
    echo(f"earzip: {printable(str(output))}: was not written{stays}", err=True)


def _require_extra() -> None:
    """Raise `UsageError` unless the packages of the extra ``report`` are there; none is loaded."""
    if find_spec("PIL") is None:
        raise UsageError(
            "report needs Pillow, which is not installed; "
            "in the clone of earzip: pip install '.[report]'"
        )
    require_eval()


def _require_replaceable(output: Path, plan: Plan, *, force: bool) -> None:
    """Refuse a page that would take the place of anything but a page, archives even by ``force``."""
    if output.suffix.lower() not in _SUFFIXES:
        raise UsageError("the page must end in .html", output)
    if is_folder(output):
        raise UsageError("is a directory; expected a file for the page", output)
    try:
        if not output.exists():
            return
        if not output.is_file():  # opening a pipe would block
            raise UsageError("is not a regular file; expected one for the page", output)
        if any(output.samefile(job.source) for job in plan.jobs):
            raise UsageError("is one of the archives, which are never overwritten", output)
        from earzip.page.assembly import is_report  # noqa: PLC0415  # loads numpy

        if not (force or is_report(output)):
            raise TargetError(
                "already exists and is not an earzip page; add --force to replace it", output
            )
    except OSError as error:
        raise TargetError(f"cannot read: {error.strerror or error}", output) from error


def _write_page(
    paths: tuple[Path, ...],
    plan: Plan,
    output: Path,
    originals: Path | None,
    audio: bool,
    run: RunOptions,
    runtime: Runtime,
) -> int:
    from earzip.formats.atomic import atomic_write, reap_stale  # noqa: PLC0415  # below, numpy
    from earzip.models.pool import CodecPool  # noqa: PLC0415
    from earzip.page.builder import PageBuilder  # noqa: PLC0415
    from earzip.page.originals import Originals  # noqa: PLC0415
    from earzip.page.rows import TrackEntry, names_below  # noqa: PLC0415

    reap_stale(output.parent)  # what a killed run has left
    facts = _read_all_facts(plan)
    names = names_below([*facts, *(record.source for record in plan.refused)])
    entries = {path: TrackEntry(names[path], each, each.check) for path, each in facts.items()}
    problems = [
        {"path": names[record.source], "message": record.message or ""} for record in plan.refused
    ]
    with atomic_write(output) as file, CodecPool(runtime).checked() as codecs:
        builder = PageBuilder(
            list(entries.values()),
            codecs,
            problems,
            originals=Originals(originals, paths) if originals else None,
            with_audio=audio,
        )
        exit_code, is_complete = _look_at_all(plan, entries, builder, run)
        if is_complete:
            made = f"{date.today().strftime('%-d %B %Y')}, earzip {version('earzip')}"
            builder.write(file, made)
            n_bytes = file.tell()
        else:
            file.discard()
    if not is_complete:
        _say_not_written(output)
        return exit_code
    if not run.quiet:
        echo(f"earzip: {printable(str(output))}: {_described(builder, n_bytes)}", err=True)
    return exit_code


def _read_all_facts(plan: Plan) -> dict[Path, TrackFacts]:
    """Return the facts of each archive; those that cannot be read are refused in the plan."""
    from earzip.page.facts import read_facts  # noqa: PLC0415  # loads numpy

    facts: dict[Path, TrackFacts] = {}
    jobs = []
    seen: set[str] = set()
    for job in plan.jobs:
        place = os.path.realpath(job.source)
        if place in seen:  # named twice
            continue
        seen.add(place)
        try:
            facts[job.source] = read_facts(job.source)
            jobs.append(job)
        except EarzipError as error:
            plan.refuse(job.source, error.message)
    plan.jobs = jobs
    return facts


@dataclass
class _PageTask(AlwaysToDo):
    """Looks at the sound of archives for the page, in this process."""

    builder: PageBuilder
    entries: dict[Path, TrackEntry]
    n_done: int = 0
    name: ClassVar[str] = "report"

    @contextmanager
    def opened(self, _placement: Placement) -> Iterator[Work]:
        """Give the work."""
        numbers = {path: i for i, path in enumerate(self.entries)}
        yield lambda job, on_progress: self._look_at(job, numbers[job.source], on_progress)

    def _look_at(self, job: Job, number: int, on_progress: Progress) -> FileRecord:
        entry = self.entries[job.source]
        try:
            self.builder.look_at(number, on_progress)
        except Exception as error:  # the run records it, and still writes the page
            entry.is_undecoded = True
            entry.add_problem(f"internal error: {type(error).__name__}: {error}")
            self.n_done += 1
            raise
        self.n_done += 1
        return _record(entry)


def _look_at_all(
    plan: Plan, entries: dict[Path, TrackEntry], builder: PageBuilder, run: RunOptions
) -> tuple[int, bool]:
    """Return the exit code, and whether every archive was looked at."""
    jobs = plan.jobs
    plan.jobs = [jobs[i] for i in builder.by_need()]
    task = _PageTask(builder, entries)
    exit_code = run_task(
        nullcontext(PlannedRun(plan)),
        task,
        run,
        one_by_one=True,
        usual=USUAL | {FileStatus.READ},
        keeps_results=False,
    )
    return exit_code, task.n_done == len(jobs)


def _record(entry: TrackEntry) -> FileRecord:
    facts = entry.facts
    return FileRecord(
        FileStatus.INCOMPLETE if entry.problem else FileStatus.READ,
        facts.path,
        message=entry.problem_in_full,
        warnings=tuple(entry.notes),
        figures={
            "duration_s": facts.duration_s,
            "source_bytes": facts.source_bytes,
            "archive_bytes": facts.archive_bytes,
            "picture_bytes": facts.picture_bytes,
            "kbps": round(facts.kbps, 3),
            "has_pictures": entry.view is not None,
            "measures": entry.measures,
        },
    )


def _described(builder: PageBuilder, n_bytes: int) -> str:
    parts = [size(n_bytes), count(len(builder.entries), "track")]
    parts.append(f"{len(builder.views)} with pictures")
    if builder.with_audio:
        parts.append(f"{builder.n_with_audio} to listen to")
    return ", ".join(parts)
