"""``earzip status``: whether archives are a true mirror of their sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from earzip.batch.filters import Choice
from earzip.cli.choice import choice_options
from earzip.cli.help import sectioned_command
from earzip.cli.mirror import Mirror, planned_orphans
from earzip.cli.options import given_bitrate, output_option, picture_options, quality_options
from earzip.cli.piping import STDIO, PlannedRun, plan_run
from earzip.cli.run import run as run_task
from earzip.cli.run_options import AMOUNT, RunOptions, run_options
from earzip.cli.stores import takes_urls
from earzip.cli.streams import log
from earzip.errors import UsageError
from earzip.formats.names import ARCHIVE_SUFFIX
from earzip.options import CompressOptions, Pictures
from earzip.results import FileRecord, FileStatus, Report
from earzip.tasks import StatusTask, sources_to_compress


@sectioned_command("Compare sources with their archives.")
@choice_options
@output_option("Directory of the archives.  [default: beside each source]")
@quality_options(
    quality="Quality that the archives should have.",
    bitrate="Rate that the archives should have been made for, instead of a quality.",
    model="Model that the archives should be made with.",
)
@picture_options(
    pictures="Where the pictures of the archives should be.  [default: where they are]",
    fit="Square of pixels that their pictures should fit.",
)
@run_options("as_json", *AMOUNT)
@takes_urls
def status(
    *,
    paths: tuple[Path, ...],
    choice: Choice,
    output: Path | None,
    quality: str,
    bitrate: float | None,
    model: str,
    pictures: Pictures | None,
    fit_pictures: int | None,
    run: RunOptions,
) -> int:
    """Tell how archives stand to their sources, and what `earzip compress` would do.

    Lists sources that are new, moved, or changed in their tags or their sound, and archives that are
    damaged, made with other settings, or without a source. PATH is an audio file or a directory
    (searched recursively). In the configuration file, status goes by what [compress] says, unless
    [status] says otherwise. Nothing is written. Ends with 0 if the archives are a true mirror of the
    sources, with 3 if not, with 4 if one is damaged. `earzip verify` reads archives in full.
    """
    if STDIO in (*paths, output):
        raise UsageError("status needs files, not standard input or output")
    options = CompressOptions(
        model=model,
        quality=quality,
        bitrate_kbps=given_bitrate(bitrate),
        pictures=pictures,
        fit_pictures=fit_pictures,
    )
    mirror = Mirror(prunes=False, asks=False, dry_run=True)
    planning = mirror.watched(
        plan_run(paths, output, sources_to_compress(), {ARCHIVE_SUFFIX}, choice)
    )
    n_up_to_date = 0

    def afterwards(planned: PlannedRun, report: Report) -> Iterator[FileRecord]:
        nonlocal n_up_to_date
        n_up_to_date = report.counts[FileStatus.UP_TO_DATE]
        yield from _orphaned(planned, report)

    code = run_task(
        planning,
        StatusTask(options),
        run,
        one_by_one=True,
        keeps_results=False,
        afterwards=afterwards,
        failing=frozenset({FileStatus.PLANNED, FileStatus.ORPHANED}),
    )
    if n_up_to_date and not (run.quiet or run.as_json):
        log("info", "sound was not checked; earzip verify does")
    return code


def _orphaned(planned: PlannedRun, report: Report) -> Iterable[FileRecord]:
    if not (planned.plan.jobs or report.problems):
        raise UsageError("no source was found; is a disk not mounted?")
    found = planned_orphans(planned)
    yield from found.unseen
    for orphan in found.found:
        yield FileRecord(FileStatus.ORPHANED, orphan.path, None, "its source is gone")
