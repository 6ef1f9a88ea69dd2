"""``earzip evaluate``: how closely restored tracks match their originals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from earzip.batch.filters import Filters
from earzip.batch.pairing import pair
from earzip.cli.choice import filter_options
from earzip.cli.help import sectioned_command
from earzip.cli.output import Table
from earzip.cli.piping import PlannedRun
from earzip.cli.run import run as run_task
from earzip.cli.run_options import SCHEDULING, RunOptions, run_options
from earzip.cli.runtime_options import decoding_options
from earzip.cli.values import PATH
from earzip.errors import count
from earzip.metrics import require_eval, require_zimtohrli
from earzip.runtime import Runtime
from earzip.tasks import EvaluateTask


@sectioned_command("Measure restored files against their originals.")
@click.argument("original", metavar="ORIGINAL", type=PATH)
@click.argument("restored", metavar="RESTORED", type=PATH)
@click.option(
    "--align",
    is_flag=True,
    help="Find the lag of each track, up to 5 s, and compare where both have sound.",
)
@click.option(
    "--perceptual",
    is_flag=True,
    help="Add measures that follow listeners: Zimtohrli, the 2f-model, noise-to-mask ratio, tonality and "
    "pre-echo. Takes one core about 7 s per minute of sound.",
)
@filter_options
@run_options("max_failures", "as_json", *SCHEDULING)
@decoding_options
def evaluate(
    *,
    original: Path,
    restored: Path,
    align: bool,
    perceptual: bool,
    filters: Filters,
    run: RunOptions,
    runtime: Runtime,
) -> int:
    """Measure RESTORED against ORIGINAL: two files, or two directories with the same tree.

    Both may be archives or contain them; archives are decoded while they are read. A file or archive in
    a directory is compared with the original of its name: song.flac.earz and song.flac with song.flac,
    song.mp3.flac with song.mp3. Everything is compared as 44.1 kHz stereo, on every process and GPU.

    The table lists SI-SDR in dB (higher is better), mel and STFT distances (lower is better), phase
    coherence within channels (ICPC) and between them (CCPC), the difference of true peaks (dBTP), and
    loudness (LUFS) and its range (LRA) of the original and of the restored track. --perceptual adds
    Zimtohrli's distance (lower is better), the score of the 2f-model (0 to 100, higher is better), the
    noise-to-mask ratio in dB (NMR, lower is better), and by how many dB tones became noise and onsets
    are preceded by more energy than in the original (0 is best).
    """
    require_eval()
    if perceptual:
        require_zimtohrli()
    task = EvaluateTask(original, restored, align, perceptual)
    table = Table(_MEASURES + (_PERCEPTUAL if perceptual else "") + _LOUDNESS, _row)
    return run_task(
        _planned(original, restored, filters),
        task,
        run,
        runtime,
        one_by_one=True,
        keeps_results=False,
        table=table,
    )


@contextmanager
def _planned(original: Path, restored: Path, filters: Filters) -> Iterator[PlannedRun]:
    yield PlannedRun(pair(original, restored, filters).plan, (restored, original))


_MEASURES = " SI-SDR    mel   STFT  ICPC %  CCPC %   dBTP"
_PERCEPTUAL = "  Zimt.    2f    NMR  tones   echo"
_LOUDNESS = "  LUFS                LRA            file"


def _row(figures: Mapping[str, Any], name: str) -> str:
    measures, loudness = figures.get("measures") or {}, figures.get("loudness") or {}

    def percent(coherence: str) -> str:
        return _number(100 * measures[coherence] if measures else None)

    columns = [
        f"{_number(measures.get('si_sdr_db')):>7} {_number(measures.get('mel')):>6}",
        f"{_number(measures.get('stft')):>6} {percent('icpc'):>7} {percent('ccpc'):>7}",
        f"{_number(measures.get('dbtp')):>6}",
        *_perceptual_columns(figures.get("perceptual")),
        f" {_change(loudness, 'lufs'):<18}  {_change(loudness, 'lra'):<13} ",
        name,
    ]
    lag = figures.get("lag_samples")
    return " ".join(columns) + (f" (lag {count(lag, 'sample')})" if lag else "")


def _perceptual_columns(measures: Mapping[str, float | None] | None) -> list[str]:
    """Return nothing if they were not requested."""
    if measures is None:
        return []
    return [
        f"{_number(measures.get('zimtohrli'), 4):>6} {_number(measures.get('two_f'), 1):>5}",
        f"{_number(measures.get('nmr_db')):>6} {_number(measures.get('tonality_db'), 1):>6}",
        f"{_number(measures.get('pre_echo_db'), 1):>6}",
    ]


def _change(loudness: Mapping[str, float | None], figure: str) -> str:
    before, after = (loudness.get(f"{figure}_{track}") for track in ("original", "restored"))
    return f"{_number(before, 1)} → {_number(after, 1)}"


def _number(value: float | None, decimals: int = 2) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
