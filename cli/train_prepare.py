"""``earzip train prepare``: music chosen for training, in one flat file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earzip.batch.jobs import Job
from earzip.batch.places import is_folder
from earzip.batch.signals import StopRequested, StopSignal
from earzip.cli.help import EXIT_CODES
from earzip.cli.progress import ProgressBar
from earzip.cli.run_options import RunOptions, run_options
from earzip.cli.streams import printable
from earzip.cli.values import PLAIN_PATH, Count
from earzip.errors import ExitCode, SourceError, UsageError, count
from earzip.formats.geometry import clock

if TYPE_CHECKING:
    from earzip.training.filtering import Limits
    from earzip.training.preparation import Preparation, TrackReport


def _limit(
    name: str, unit: str, default: float, low: float, high: float, help_text: str
) -> Callable[[Any], Any]:
    """Return an option for a number from ``low`` to ``high``; None for ``off``."""

    def parse(_ctx: click.Context, _parameter: click.Parameter, value: str) -> float | None:
        if value == "off":
            return None
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise click.BadParameter(f"{value!r} is neither {low:g} to {high:g} nor off")
        return number

    return click.option(
        name,
        metavar=unit,
        default=f"{default:g}",
        show_default=True,
        callback=parse,
        help=help_text,
    )


@click.command(epilog=EXIT_CODES, short_help="Select and convert music for training.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PLAIN_PATH)
@click.option(
    "-o",
    "--output",
    metavar="DIR/NAME",
    required=True,
    type=PLAIN_PATH,
    help="The pool: NAME.s16, NAME.json and NAME.report.jsonl in DIR.",
)
@_limit("--min-length", "SECONDS", 10, 0, 1e6, "Minimum duration.")
@_limit("--min-bandwidth", "KHZ", 18, 0, 22.05, "Minimum bandwidth of the music.")
@_limit(
    "--max-clipping",
    "PERCENT",
    0.02,
    0,
    100,
    "Maximum share of samples in runs of 3 at full scale.",
)
@_limit("--max-silence", "PERCENT", 20, 0, 100, "Maximum share of 400 ms blocks below -60 dBFS.")
@_limit(
    "--min-stereo",
    "DB",
    -40,
    -120,
    120,
    "Minimum side-to-mid energy. Also rejects inverted channels and a channel 20 dB softer.",
)
@_limit(
    "--min-level",
    "DBFS",
    -50,
    -120,
    20,
    "Minimum RMS level without pauses; a full-scale sine has -3.",
)
@_limit("--max-level", "DBFS", -8, -120, 20, "Maximum RMS level, for loud masters.")
@click.option("--keep-all", is_flag=True, help="Also keep tracks outside the limits: only convert.")
@click.option(
    "--jobs",
    metavar="N",
    type=Count(),
    help="Tracks decoded at a time.  [default: the available cores]",
)
@run_options("force", "as_json")
def prepare(
    *,
    paths: tuple[Path, ...],
    output: Path,
    keep_all: bool,
    jobs: int | None,
    run: RunOptions,
    **limits: float | None,
) -> int:
    """Measure audio files, and collect those within the limits in a pool for `train run`.

    PATH is an audio file that `compress` can read, or a directory (searched recursively). The word off
    disables a limit. The report has a line for each track: its measures, and each reason against it. The
    pool is 44.1 kHz 16-bit stereo, 635 MB an hour; tracks that peak above full scale are attenuated.
    """
    from earzip.training.preparation import (  # noqa: PLC0415  # loads numpy and the decoders
        PreparationOptions,
        find_tracks,
        pool_paths,
    )
    from earzip.training.preparation import prepare as prepare_pool  # noqa: PLC0415

    if not output.name or is_folder(output):
        raise UsageError("is a directory; expected DIR/NAME for the pool", output)
    plan = find_tracks(paths)
    if not plan.jobs and not plan.refused:
        raise SourceError("contains no audio files", paths[0])
    options = PreparationOptions(
        limits=_limits(limits),
        keep_all=keep_all,
        jobs=jobs or len(os.sched_getaffinity(0)),
        force=run.force,
    )
    n_bytes = sum(job.n_bytes for job in plan.jobs)
    with StopSignal() as stop, ProgressBar(len(plan.jobs), n_bytes) as bar:

        def on_track(track: TrackReport, job: Job | None) -> None:
            with bar.aside():
                _print_track(track, as_json=run.as_json)
            if job is not None:
                bar.file_done(job.n_bytes)

        def on_progress(seconds: float) -> None:
            stop.check()
            bar.advance(seconds)

        try:
            done = prepare_pool(plan, output, options, on_track, on_progress)
        except StopRequested:
            click.echo("earzip: stopped; nothing was written", err=True)
            return ExitCode.STOPPED
    code = ExitCode.SOME_FAILED if done.n_failed else ExitCode.OK
    code = code if done.n_kept else ExitCode.FATAL
    _print_summary(done, code, as_json=run.as_json)
    samples, _, report = pool_paths(output)
    text = f"{samples}: written; {report} lists every track"
    if not done.n_kept:
        text = f"{samples}: not written, because no track was kept; see {report}"
    click.echo(f"earzip: {printable(text)}", err=True)
    return code


def _limits(given: dict[str, float | None]) -> Limits:
    """Return the limits in the units of `earzip.training.filtering.Limits`."""
    from earzip.training.filtering import Limits  # noqa: PLC0415

    def scaled(name: str, scale: float) -> float | None:
        value = given[name]
        return None if value is None else value * scale

    stereo = given["min_stereo"] is not None
    return Limits(
        min_duration_s=given["min_length"],
        min_bandwidth_hz=scaled("min_bandwidth", 1000),
        max_clipping=scaled("max_clipping", 0.01),
        max_silence=scaled("max_silence", 0.01),
        min_side_mid_db=given["min_stereo"],
        max_side_mid_db=Limits.max_side_mid_db if stereo else None,
        max_balance_db=Limits.max_balance_db if stereo else None,
        min_level_db=given["min_level"],
        max_level_db=given["max_level"],
    )


def _print_track(track: TrackReport, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"type": "file", **track.to_json()}))
    notes = [reason.sentence for reason in track.reasons]
    if track.measures is None:
        click.echo(f"earzip: failed: {printable(f'{track.path}: {notes[0]}')}", err=True)
    elif not as_json:
        if track.kept:
            notes.insert(0, clock(track.measures.duration_s))
        word = "kept" if track.kept else "rejected"
        click.echo(printable(f"{word:<12}{track.path} ({'; '.join(notes)})"))


def _print_summary(done: Preparation, exit_code: int, *, as_json: bool) -> None:
    if as_json:
        summary = {
            "type": "summary",
            "kept": done.n_kept,
            "kept_s": round(done.kept_s, 3),
            "rejected": done.n_rejected,
            "failed": done.n_failed,
            "reasons": dict(done.reasons.most_common()),
            "exit_code": exit_code,
        }
        click.echo(json.dumps(summary))
    text = f"kept {count(done.n_kept, 'track')} ({done.kept_s / 3600:.2f} h)"
    text += f", rejected {done.n_rejected}"
    if done.reasons:
        by_kind = ", ".join(f"{n} {kind}" for kind, n in done.reasons.most_common())
        text += f"; reasons: {by_kind}"
    click.echo(text, err=True)
