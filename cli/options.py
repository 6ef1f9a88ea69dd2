"""Arguments and options that several commands share, and the times that users write."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from earzip.batch.shard import Shard
from earzip.cli.piping import STDIO
from earzip.errors import UsageError
from earzip.runtime import DEVICES, PRECISIONS, Runtime

Function = Callable[..., Any]

EXIT_CODES = """\b
Exit codes (the most severe wins):
  0    all done
  1    fatal error
  2    the command line is wrong
  3    finished, but some files failed
  4    verify found damage
  75   stopped early or locked: run again to go on
  130  interrupted for the second time
"""


class PathOrDash(click.Path):
    """A path; only ``-`` as it stands is `STDIO`: ``./-`` is a file of that name."""

    def __init__(self) -> None:
        super().__init__(allow_dash=True, path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Return the path; an absolute one where it would be taken for `STDIO`."""
        path = Path(value)
        super().convert(value, param, ctx)
        return path.absolute() if path == STDIO and value not in ("-", STDIO) else path


PATH = PathOrDash()


class Count(click.IntRange):
    """A whole number from 1 up."""

    name = "whole number"

    def __init__(self) -> None:
        super().__init__(min=1)


paths_argument = click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PATH)


def output_option(help_text: str) -> Callable[[Function], Function]:
    """Return the option -o, of which each command says what it means."""
    return click.option("-o", "--output", metavar="OUT", type=PATH, help=help_text)


@dataclass(frozen=True)
class RunOptions:
    """How a command goes through its files; see `run_options`."""

    force: bool = False
    copy_other: bool = False
    dry_run: bool = False
    max_failures: int | None = None
    as_json: bool = False


_RUN_OPTIONS = {
    "force": click.option(
        "--force", is_flag=True, help="Replace files that are in the way. Never a source."
    ),
    "copy_other": click.option(
        "--copy-other",
        is_flag=True,
        help="Copy files that are not worked on (covers, logs, cue sheets) into the tree of -o.",
    ),
    "dry_run": click.option(
        "--dry-run", is_flag=True, help="Say what would be worked on; read and write no file."
    ),
    "max_failures": click.option(
        "--max-failures",
        metavar="N",
        type=Count(),
        help="Give up with exit code 1 once N files have failed.",
    ),
    "as_json": click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print JSON Lines on stdout: one record a file, then a summary.",
    ),
}


def run_options(*names: str) -> Callable[[Function], Function]:
    """Add the options of these names to a command, which gets them as ``run``, a `RunOptions`."""
    return _gathered("run", RunOptions, {name: _RUN_OPTIONS[name] for name in names})


device_option = click.option(
    "--device",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="Where the network runs: auto, cpu, cuda or cuda:N.",
)
"""Adds --device alone: ``device``, a name for `earzip.runtime.choose_device`."""

precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="What the network computes in. Fewer bits: faster where the device has them, and less exact.",
)
"""Adds --precision alone, one of `earzip.runtime.PRECISIONS`."""

_NETWORK_OPTIONS = {
    "device": device_option,
    "precision": precision_option,
    "threads": click.option(
        "--threads",
        metavar="N",
        type=Count(),
        help="CPU threads.  [default: the cores this process may use]",
    ),
    "batch_size": click.option(
        "--batch-size",
        metavar="N",
        type=Count(),
        help="Windows of sound in one pass on a GPU.",
    ),
}


def _gathered(
    name: str, record: type, options: Mapping[str, Callable[[Function], Function]]
) -> Callable[[Function], Function]:
    """Return a decorator that adds ``options`` to a command and passes them on as one record."""

    def decorate(command: Function) -> Function:
        @wraps(command)
        def with_record(**arguments: Any) -> Any:
            values = {option: arguments.pop(option) for option in options}
            return command(**{name: record(**values)}, **arguments)

        decorated: Function = with_record
        for add_option in reversed(list(options.values())):
            decorated = add_option(decorated)
        return decorated

    return decorate


network_options = _gathered("runtime", Runtime, _NETWORK_OPTIONS)
"""Adds --device, --precision, --threads and --batch-size: ``runtime``, a `Runtime`."""


@dataclass(frozen=True)
class BatchOptions:
    """How a command shares its files out and goes about its run; see `batch_options`."""

    devices: str = "auto"
    processes: int | None = None
    threads: int | None = None
    precision: str = "float32"
    batch_size: int | None = None
    shard: Shard | None = None
    no_lock: bool = False
    grace_s: float = 5.0
    metrics: Path | None = None

    @property
    def runtime(self) -> Runtime:
        """Where and how the network runs in all processes together."""
        return Runtime(self.devices, self.precision, self.threads, self.batch_size)


class _Devices(click.ParamType[str]):
    name = "devices"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not DEVICES.fullmatch(value):
            self.fail(f"{value!r} is not auto, cpu, cuda or cuda:N[,cuda:M...]", param, ctx)
        return value


class _Shard(click.ParamType[Shard]):
    name = "shard"

    def convert(
        self, value: str | Shard, param: click.Parameter | None, ctx: click.Context | None
    ) -> Shard:
        try:
            return value if isinstance(value, Shard) else Shard.parse(value)
        except UsageError as error:
            self.fail(error.message, param, ctx)


_BATCH_OPTIONS = {
    "devices": click.option(
        "--devices",
        "--device",
        "devices",
        metavar="NAMES",
        default="auto",
        show_default=True,
        type=_Devices(),
        help="Where the network runs: auto (every GPU, or the CPU if there is none), cpu, cuda, or some "
        "GPUs as cuda:0,cuda:2.",
    ),
    "processes": click.option(
        "--processes",
        metavar="N",
        type=Count(),
        help="Processes that share the files.  [default: one for each GPU, one on the CPU]",
    ),
    "threads": click.option(
        "--threads",
        metavar="N",
        type=Count(),
        help="CPU threads of each process.  [default: the cores it may use, shared out]",
    ),
    "precision": precision_option,
    "batch_size": _NETWORK_OPTIONS["batch_size"],
    "shard": click.option(
        "--shard",
        metavar="I/N",
        type=_Shard(),
        help="Work on the I-th of N parts of the files, counted from 1; auto: the part of this task of a "
        "Slurm job array.",
    ),
    "no_lock": click.option(
        "--no-lock",
        is_flag=True,
        help="Work on a folder even if another run is at work on it; files in its hands are left to it.",
    ),
    "grace_s": click.option(
        "--grace",
        "grace_s",
        metavar="SECONDS",
        type=click.FloatRange(min=0, max=86_400),
        default=5.0,
        show_default=True,
        help="Upon SIGTERM, SIGINT or SIGUSR1 files in hand may be finished for so long; then they are "
        "given up, and the run ends with 75.",
    ),
    "metrics": click.option(
        "--metrics",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Write the figures of the run to FILE for Prometheus, now and then and at the end.",
    ),
}

batch_options = _gathered("batch", BatchOptions, _BATCH_OPTIONS)
"""Adds what a run over many files can be told: ``batch``, a `BatchOptions`."""


def parse_time(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of a time in a track: ``90.5`` or ``[h:]m:s``; an option's callback."""
    if value is None:
        return None
    if len(value) > _MAX_TIME_LENGTH:
        raise click.BadParameter(f"a time has at most {_MAX_TIME_LENGTH} characters")
    found = _TIME.fullmatch(value)
    if not found:
        raise click.BadParameter(f"{value!r} is neither seconds (90.5) nor [h:]m:s (1:30.5)")
    hours, minutes, seconds = found["h"], found["m"], float(found["s"])
    if (minutes and seconds >= 60) or (hours and int(minutes) >= 60):
        raise click.BadParameter(f"{value!r} has 60 or more after a larger unit")
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + seconds


_MAX_TIME_LENGTH = 32
_TIME = re.compile(r"(?:(?:(?P<h>\d+):)?(?P<m>\d+):)?(?P<s>\d+(?:\.\d*)?|\.\d+)", re.ASCII)
