"""``earzip train run``: one training run, started or resumed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earzip.batch.locks import claim
from earzip.batch.signals import StopSignal
from earzip.cli.help import EXIT_CODES
from earzip.cli.streams import printable
from earzip.cli.values import PLAIN_PATH, Count
from earzip.errors import ExitCode, UsageError
from earzip.formats.atomic import make_folder, reap_stale
from earzip.runtime import has_unused_gpu
from earzip.training.config import PARTS

if TYPE_CHECKING:
    from earzip.training.config import TrainingConfig
    from earzip.training.trainer import OnStep

_SHOWN = ("log_magnitude", "kbps", "norm")
_UNUSED_GPU = (
    "training runs on the CPU: this machine has an NVIDIA GPU, but this PyTorch is built without CUDA; "
    "install its default build"
)


@click.command(epilog=EXIT_CODES, short_help="Train a model, or resume its training.")
@click.argument("config", metavar="CONFIG")
@click.option(
    "-m",
    "--music",
    metavar="DIR",
    required=True,
    type=PLAIN_PATH,
    help="Directory of the music pools that CONFIG names, made by `earzip train prepare`.",
)
@click.option(
    "-o",
    "--output",
    metavar="RUN",
    required=True,
    type=PLAIN_PATH,
    help="Directory of the run. A run with a checkpoint is resumed.",
)
@click.option(
    "--start",
    metavar="RUN|WEIGHTS",
    type=PLAIN_PATH,
    help="Start from an earlier run, as a second stage does, or from weights (.safetensors).",
)
@click.option(
    "--without",
    metavar="PART",
    multiple=True,
    type=click.Choice(list(PARTS)),
    help=f"Disable a part: {', '.join(PARTS)}. Repeatable.",
)
@click.option(
    "--set",
    "changes",
    metavar="NAME=VALUE",
    multiple=True,
    help="Change a value of CONFIG, as in steps=200 or loss.mel=0.5 (JSON). Repeatable.",
)
@click.option(
    "--threads",
    metavar="N",
    type=Count(),
    default=1,
    show_default=True,
    help="CPU threads of each process.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Processes that prepare crops in advance.",
)
@click.option(
    "--log-every",
    metavar="N",
    type=Count(),
    default=100,
    show_default=True,
    help="Steps between log records.",
)
@click.option(
    "--checkpoint-every",
    metavar="N",
    type=Count(),
    default=500,
    show_default=True,
    help="Steps between checkpoints.",
)
def run(
    *,
    config: str,
    music: Path,
    output: Path,
    start: Path | None,
    without: tuple[str, ...],
    changes: tuple[str, ...],
    threads: int,
    workers: int,
    log_every: int,
    checkpoint_every: int,
) -> int:
    """Train a model as CONFIG says, or resume the run in RUN at the exact step where it stopped.

    CONFIG is a JSON file, or the name of one that comes with earzip: mini, mini-round-2, levels, ear,
    ear-stage-2. RUN gets config.json, checkpoint.safetensors, log.jsonl, curves.png and, at the end,
    weights.safetensors. Ctrl-C and SIGTERM save the state and exit with 75. For several GPUs, or
    several processes without a GPU:

        accelerate launch --multi_gpu --num_processes N -m earzip train run CONFIG ...
    """
    _require_extra()
    loaded = _load_config(config, changes, without)
    # Loads torch: only after the command line is checked.
    from earzip.training.processes import (  # noqa: PLC0415
        errors_told,
        join_processes,
        leave_processes,
    )
    from earzip.training.trainer import CHECKPOINT, Trainer  # noqa: PLC0415

    is_main, n_processes, device = join_processes(threads)
    if device == "cpu" and has_unused_gpu():
        _say(f"warning: {_UNUSED_GPU}", is_main)
    make_folder(output, is_folder=True)
    with ExitStack() as stack, errors_told(loaded, n_processes):
        if is_main:
            stack.enter_context(claim(output / CHECKPOINT))
            reap_stale(output)
        stop = stack.enter_context(StopSignal(lambda: _say("stopping after this step", is_main)))
        begins = start is None and not (output / CHECKPOINT).exists()
        if begins and loaded.architecture != "ear":
            _say("measuring the music", is_main)
        trainer = Trainer(loaded, music, output, start=start, workers=workers)
        begun = f"resuming at step {trainer.step} of" if trainer.step else "training for"
        processes = "1 process" if n_processes == 1 else f"{n_processes} processes"
        shared = f"{loaded.batch_size} crops a step, {processes} on {device}"
        _say(f"{begun} {loaded.steps} steps, {shared}", is_main)
        on_step = stack.enter_context(_progress(trainer.step, loaded.steps, shown=is_main))
        finished = trainer.run(log_every, checkpoint_every, on_step, lambda: stop.requested)
        leave_processes()
    run_name = printable(str(output))
    if finished:
        _say(f"finished; install it: earzip models import {run_name} --music PATH", is_main)
        return ExitCode.OK
    _say(
        f"{run_name}: saved at step {trainer.step} of {loaded.steps}; run again to continue",
        is_main,
    )
    return ExitCode.STOPPED


def _require_extra() -> None:
    if find_spec("matplotlib") is None:
        raise UsageError(
            "training needs more packages; in the clone of earzip: pip install '.[train]'"
        )


def _load_config(name: str, changes: Sequence[str], parts: Sequence[str]) -> TrainingConfig:
    """Return the configuration in a file of that name, else the one that comes with earzip."""
    from earzip.training.config import TrainingConfig  # noqa: PLC0415

    path = Path(name)
    if not path.is_file():
        embedded = {
            item.name.removesuffix(".json"): Path(str(item))
            for item in files("earzip.training").joinpath("configs").iterdir()
        }
        if name not in embedded:
            known = ", ".join(sorted(embedded))
            raise UsageError(
                f"there is no such file, nor a configuration of that name: {known}", name
            )
        path = embedded[name]
    config = TrainingConfig.load(path)
    try:
        if changes:
            config = TrainingConfig.from_json(config.to_json(), dict(map(_change, changes)))
        return config.without(parts)
    except ValueError as error:
        told = [f"--set {change}" for change in changes] + [f"--without {part}" for part in parts]
        raise UsageError(f"{' '.join(told)}: {error}") from error


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--set {text}: expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value  # a word needs no quotes


def _say(text: str, is_main: bool) -> None:
    if is_main:
        click.echo(f"earzip: {text}", err=True)


@contextmanager
def _progress(first: int, last: int, *, shown: bool) -> Iterator[OnStep]:
    """Return the callback of each step: it moves a bar on a terminal, or prints each record."""
    from tqdm import tqdm  # noqa: PLC0415

    is_terminal = sys.stderr.isatty()
    with tqdm(
        total=last,
        initial=first,
        unit="step",
        dynamic_ncols=True,
        disable=not (shown and is_terminal),
    ) as bar:
        told: dict[str, float | None] = {}

        def on_step(step: int, values: dict[str, float | None]) -> None:
            nonlocal told
            bar.update()
            if values is told or not values:  # no new record of the log
                return
            told = values
            short = {name: f"{values[name]:.3g}" for name in _SHOWN if values.get(name) is not None}
            bar.set_postfix(short, refresh=False)
            if not is_terminal:
                text = ", ".join(f"{name} {value}" for name, value in short.items())
                _say(f"step {step} of {last}: {text}", shown)

        yield on_step
