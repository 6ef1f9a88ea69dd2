"""``earzip evaluate``: how near restored tracks come to their originals."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from earzip.batch.events import Work
from earzip.batch.plan import Job, is_folder
from earzip.cli.options import (
    EXIT_CODES,
    PATH,
    RunOptions,
    network_options,
    output_option,
    run_options,
)
from earzip.cli.output import Table
from earzip.cli.piping import PlannedRun
from earzip.cli.run import run_command
from earzip.errors import TargetError, UsageError
from earzip.metrics import require_eval
from earzip.models.store import find_model, verify_model
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Runtime

_SUFFIX = ".png"


@click.command(epilog=EXIT_CODES, short_help="Measure restored files against their originals.")
@click.argument("paths", metavar="ORIGINAL RESTORED", nargs=-1, type=PATH)
@click.option(
    "--align",
    is_flag=True,
    help="Find by how much each track is early or late, up to 5 s, and compare what both have.",
)
@click.option(
    "--thd",
    "model",
    metavar="MODEL",
    help="Instead of files, measure what this model makes of a sine of 997 Hz: distortion and noise "
    "(THD+N) at each quality. A name of `earzip models list`, or a .json file.",
)
@output_option("With --thd: a picture of the spectra, FILE.png.")
@run_options("force", "max_failures", "as_json")
@network_options
def evaluate(
    *,
    paths: tuple[Path, ...],
    align: bool,
    model: str | None,
    output: Path | None,
    run: RunOptions,
    runtime: Runtime,
) -> int:
    """Measure RESTORED against ORIGINAL: two files, or two folders of the same tree.

    Either may be an archive, or hold some; they are decoded as they are read. A file or archive
    in a folder is compared with the original of its name: song.flac.earz and song.flac with
    song.flac, song.mp3.flac with song.mp3. All is compared as 44.1 kHz stereo.

    The table has SI-SDR in dB (more is better), the mel and STFT distances (less is better), phase
    coherence within channels (ICPC) and between them (CCPC), the difference of true peaks (dBTP), and
    loudness (LUFS) and its range (LRA) of the original and of the restored track.

    With --thd there are no files: a model is measured.
    """
    _require_one_task(paths, align, model, output)
    require_eval()
    if model is not None:
        return evaluate_model(model, output, run, runtime)
    original, restored = paths
    return _evaluate_files(original, restored, align, run, runtime)


def _require_one_task(
    paths: tuple[Path, ...], align: bool, model: str | None, output: Path | None
) -> None:
    if model is None:
        if len(paths) != 2:
            raise UsageError("give two paths, ORIGINAL and RESTORED, or --thd MODEL")
        if output is not None:
            raise UsageError("-o is where --thd draws a picture; a table goes to standard output")
    elif paths or align:
        raise UsageError("--thd measures a model; it goes with no files and not with --align")


def _evaluate_files(
    original: Path, restored: Path, align: bool, run: RunOptions, runtime: Runtime
) -> int:
    from earzip.batch.pairing import pair  # noqa: PLC0415  # loads soundfile

    pairing = pair(original, restored)

    @contextmanager
    def open_work() -> Iterator[Work]:
        from earzip.evaluate.files import evaluate_pair  # noqa: PLC0415
        from earzip.models.pool import CodecPool  # noqa: PLC0415  # loads numpy

        with CodecPool(runtime.checked()) as codecs:

            def work(job: Job, on_progress: Progress) -> FileRecord:
                original = pairing.originals[job.source]
                found = evaluate_pair(
                    original, job.source, align=align, codecs=codecs, on_progress=on_progress
                )
                return FileRecord(
                    FileStatus.EVALUATED,
                    job.source,
                    warnings=found.warnings,
                    figures=found.to_json(),
                )

            yield work

    return run_command(PlannedRun(pairing.plan), open_work, run, table=Table(_HEADING, _row))


_HEADING = " SI-SDR    mel   STFT  ICPC %  CCPC %   dBTP  LUFS                LRA            file"


def _row(figures: Mapping[str, Any], name: str) -> str:
    measures, loudness = figures.get("measures") or {}, figures.get("loudness") or {}

    def percent(coherence: str) -> str:
        return _number(100 * measures[coherence] if measures else None)

    columns = [
        f"{_number(measures.get('si_sdr_db')):>7} {_number(measures.get('mel')):>6}",
        f"{_number(measures.get('stft')):>6} {percent('icpc'):>7} {percent('ccpc'):>7}",
        f"{_number(measures.get('dbtp')):>6}",
        f" {_change(loudness, 'lufs'):<18}  {_change(loudness, 'lra'):<13} ",
        name,
    ]
    lag = figures.get("lag_samples")
    return " ".join(columns) + (f" (lag {lag} samples)" if lag else "")


def _change(loudness: Mapping[str, float | None], figure: str) -> str:
    before, after = (loudness.get(f"{figure}_{track}") for track in ("original", "restored"))
    return f"{_number(before, 1)} → {_number(after, 1)}"


def _number(value: float | None, decimals: int = 2) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def evaluate_model(model: str, output: Path | None, run: RunOptions, runtime: Runtime) -> int:
    """Print a row, or a JSON object, for each quality of ``model`` and level of the tone."""
    _require_picture(output, force=run.force)
    verify_model(find_model(model))
    from earzip.evaluate.tones import evaluate_tones  # noqa: PLC0415
    from earzip.models.pool import CodecPool  # noqa: PLC0415  # loads numpy

    tones = []
    with CodecPool(runtime.checked()) as codecs:
        if not run.as_json:
            click.echo("quality  sine dBFS  restored dBFS  THD+N dB  THD+N %")
        for found in evaluate_tones(model, codecs=codecs):
            tones.append(found)
            if run.as_json:
                click.echo(json.dumps(found.to_json()))
                continue
            click.echo(
                f"{found.quality:<7}  {found.level_dbfs:9.1f}  {found.thd_n.level_dbfs:13.2f}  "
                f"{found.thd_n.db:8.1f}  {found.thd_n.percent:7.3g}"
            )
    if output is not None:
        from earzip.evaluate.tones_plot import draw_tones  # noqa: PLC0415  # loads matplotlib

        draw_tones(tones, output, replace=run.force)
    return 0


def _require_picture(output: Path | None, *, force: bool) -> None:
    """Raise before the work if ``output`` is no picture that can be written."""
    if output is None:
        return
    if output.suffix.lower() != _SUFFIX:
        raise UsageError(f"a picture is written to a file that ends in {_SUFFIX}", output)
    if is_folder(output):
        raise UsageError("is a folder, expected a file for the picture", output)
    if not is_folder(output.parent):
        raise TargetError("its folder is not there", output)
    if not force and os.path.lexists(output):
        raise TargetError("exists; --force replaces it", output)
