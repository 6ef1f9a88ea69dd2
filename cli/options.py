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
from click.core import ParameterSource

from earzip.batch.shard import Shard
from earzip.cli.piping import STDIO
from earzip.errors import UsageError
from earzip.options import QUALITIES, quality_name
from earzip.runtime import AUTOMATIC, DEVICES, PRECISIONS, Runtime

Function = Callable[..., Any]

EXIT_CODES = """\b
Exit codes (the most severe wins):
  0    all done
  1    fatal error
  2    wrong command line
  3    finished, but some files failed
  4    an archive is damaged
  75   stopped early or locked: run again to continue
  130  interrupted twice
"""


class NamedPath(click.Path):
    """A path that is not empty: a variable that a script has not set is not the working directory."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """Return the path. Raises BadParameter."""
        if not os.fspath(value):
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


class PathOrDash(NamedPath):
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
        super().convert(value, param, ctx)
        path = Path(value)
        return path.absolute() if path == STDIO and value not in ("-", STDIO) else path


PATH = PathOrDash()
PLAIN_PATH = NamedPath(path_type=Path)
"""For a path that may not be `STDIO`, or is a file of that name."""


def quality_from_text(text: str) -> str:
    """Return what archives call a quality; BadParameter for what is none."""
    try:
        return quality_name(text)
    except UsageError as error:
        expected = f"{', '.join(QUALITIES)} or a number from 0 to 10"
        raise click.BadParameter(f"{text!r} is not {expected}") from error


def given_bitrate(kbps: float | None) -> float | None:
    """Return the bitrate, None where a quality of the command line is to count instead of it."""
    source = click.get_current_context().get_parameter_source
    given = [source(name) == ParameterSource.COMMANDLINE for name in ("quality", "bitrate")]
    if all(given):
        raise UsageError("--bitrate and --quality exclude each other")
    return None if given[0] else kbps


class Count(click.IntRange):
    """A whole number from 1 up."""

    name = "whole number"

    def __init__(self) -> None:
        super().__init__(min=1)


paths_argument = click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PATH)


def output_option(help_text: str) -> Callable[[Function], Function]:
    """Return the option -o with the help of the command."""
    return click.option("-o", "--output", metavar="OUT", type=PATH, help=help_text)


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


@dataclass(frozen=True)
class RunOptions:
    """How a command goes through its files; see `run_options`. The defaults are for commands without."""

    force: bool = False
    copy_other: bool = False
    dry_run: bool = False
    max_failures: int | None = None
    as_json: bool = False
    verbose: bool = False
    quiet: bool = False
    engine: str = "local"
    processes: int | None = 1
    gpus_per_process: float = 1.0
    shard: Shard | None = None
    no_lock: bool = True
    grace_s: float = 0.0
    metrics: Path | None = None


ENGINES = ("local", "ray")

AMOUNT = ("verbose", "quiet")
"""Names of `run_options` that say how much is printed."""

SCHEDULING = ("engine", "processes", "gpus_per_process", "shard", "grace_s", "metrics")
"""Names of `run_options` for commands that share their files among processes."""


def _unless(other: str) -> Callable[[click.Context, click.Parameter, bool], bool]:
    """Return the callback of a flag that contradicts the flag ``other``; the command line is right."""

    def callback(ctx: click.Context, parameter: click.Parameter, value: bool) -> bool:
        if not (value and ctx.params.get(other)):
            return value
        assert parameter.name is not None
        sources = [ctx.get_parameter_source(name) for name in (parameter.name, other)]
        if sources == [ParameterSource.DEFAULT_MAP, ParameterSource.COMMANDLINE]:
            return False
        raise UsageError(f"--{parameter.name} and --{other} exclude each other")

    return callback


_RUN_OPTIONS = {
    "force": click.option(
        "--force",
        is_flag=True,
        help="Do again what is up to date, and replace files that are in the way, but never a source.",
    ),
    "copy_other": click.option(
        "--copy-other",
        is_flag=True,
        help="Also copy other files (covers, logs, cue sheets) to the output directory.",
    ),
    "dry_run": click.option(
        "--dry-run",
        is_flag=True,
        help="List what would be done, and write nothing. Files are read only where names, sizes and "
        "times do not tell.",
    ),
    "max_failures": click.option(
        "--max-failures",
        metavar="N",
        type=Count(),
        help="Stop with exit code 1 once N files have failed.",
    ),
    "as_json": click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print JSON Lines on stdout: one record a file, then a summary.",
    ),
    "verbose": click.option(
        "-v",
        "--verbose",
        is_flag=True,
        callback=_unless("quiet"),
        help="Name every file of a directory. Those that are up to date, intact or skipped are only "
        "counted otherwise.",
    ),
    "quiet": click.option(
        "-q",
        "--quiet",
        is_flag=True,
        callback=_unless("verbose"),
        help="Print nothing but failures and warnings: no results, summary or progress.",
    ),
    "processes": click.option(
        "--processes",
        metavar="N",
        type=Count(),
        help="Processes that share the files.  [default: one for each GPU, one on the CPU, on Ray as "
        "many as there is room for]",
    ),
    "engine": click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default="local",
        show_default=True,
        help="Where the processes are: on this machine, or on a Ray cluster, which needs the extra ray: "
        "pip install '.[ray]' in the clone of earzip.",
    ),
    "gpus_per_process": click.option(
        "--gpus-per-process",
        metavar="X",
        type=click.FloatRange(min=0, min_open=True, max=1),
        default=1.0,
        show_default=True,
        help="Part of a GPU that a process on Ray takes.",
    ),
    "shard": click.option(
        "--shard",
        metavar="I/N",
        type=_Shard(),
        help="Work on the I-th of N parts of the files, counted from 1; auto takes the part of this "
        "task of a job array (Slurm, AWS Batch and others), auto/N where the scheduler does not tell N "
        "(Kubernetes, LSF, PBS).",
    ),
    "no_lock": click.option(
        "--no-lock",
        is_flag=True,
        help="Run even if another run has locked the directory; skip the files it is writing.",
    ),
    "grace_s": click.option(
        "--grace",
        "grace_s",
        metavar="SECONDS",
        type=click.FloatRange(min=0, max=86_400),
        default=5.0,
        show_default=True,
        help="On SIGTERM, SIGINT or SIGUSR1, give files in progress this many seconds to finish, then "
        "abandon them and exit with 75.",
    ),
    "metrics": click.option(
        "--metrics",
        metavar="FILE",
        type=PLAIN_PATH,
        help="Write Prometheus metrics to FILE every 15 seconds and at the end.",
    ),
}


def run_options(*names: str) -> Callable[[Function], Function]:
    """Add the options of these names to a command, which gets them as ``run``, a `RunOptions`."""
    return _gathered("run", RunOptions, {name: _RUN_OPTIONS[name] for name in names})


_RUNTIME_OPTIONS = {
    "device": click.option(
        "--devices",
        "device",
        metavar="NAMES",
        default="auto",
        show_default=True,
        type=_Devices(),
        help="Where the network runs: auto (every GPU, or the CPU if there is none), cpu, cuda, or "
        "some GPUs as cuda:0,cuda:2.",
    ),
    "precision": click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="float32",
        show_default=True,
        help="Number format of the network. 16 bits are faster where the device supports them, and less "
        "exact; so is tf32, on NVIDIA GPUs since Ampere.",
    ),
    "threads": click.option(
        "--threads",
        metavar="N",
        type=Count(),
        help="CPU threads of each process.  [default: the available cores, shared out]",
    ),
    "batch_size": click.option(
        "--batch-size",
        metavar="N",
        type=Count(),
        help="Windows of audio in one pass on a GPU.  [default: 16, or as many as its memory holds]",
    ),
}
_ONE_DEVICE = {
    **_RUNTIME_OPTIONS,
    "device": click.option(
        "--device",
        metavar="NAME",
        default="auto",
        show_default=True,
        help="Where the network runs: auto, cpu, cuda or cuda:N.",
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


runtime_options = _gathered("runtime", Runtime, _RUNTIME_OPTIONS)
"""Adds --devices, --precision, --threads and --batch-size: ``runtime``, a `Runtime`."""

_DECODING_PRECISION = click.option(
    "--precision",
    type=click.Choice((AUTOMATIC, *PRECISIONS)),
    default=AUTOMATIC,
    show_default=True,
    help="Number format of the network. auto is bfloat16 on a CPU with instructions for it, else "
    "float32. 16 bits are faster where the device supports them, and less exact; so is tf32, on NVIDIA "
    "GPUs since Ampere.",
)
decoding_options = _gathered(
    "runtime", Runtime, {**_RUNTIME_OPTIONS, "precision": _DECODING_PRECISION}
)
"""Adds what `runtime_options` adds, for a command that only decodes."""


def one_device_options(*names: str, decodes: bool = False) -> Callable[[Function], Function]:
    """Add options of these names, fields of `Runtime`, for a command that uses one device.

    ``decodes``: whether it only decodes, as commands with `decoding_options` do.
    """
    options = {name: _ONE_DEVICE[name] for name in names}
    if decodes:
        options["precision"] = _DECODING_PRECISION
    return _gathered("runtime", Runtime, options)


_SECTIONS = {
    "Quality": ("quality", "bitrate", "model", "check", "min_si_sdr", "max_mel", "below_floor"),
    "Input and output": (
        "output", "exclude", "include", "files_from", "where", "container", "form", "dtype",
        "samples_per_shard", "bits", "no_dither", "start", "end", "split", "as_source", "player",
        "copy_other", "with_model", "pictures", "fit_pictures", "truncated", "verify_sources",
        "decode", "subset", "older_than_s", "align", "redundancy", "as_json",
    ),
    "Run": ("force", "prune", "yes", "dry_run", "keep_going", "max_failures", "verbose", "quiet"),
    "Hardware": ("device", "precision", "threads", "batch_size", "processes"),
    "Scheduling": ("engine", "gpus_per_process", "shard", "no_lock", "grace_s", "metrics"),
}  # fmt: skip


class SectionedCommand(click.Command):
    """A command whose help lists its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        rows = {
            parameter.name: row
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and (row := parameter.get_help_record(ctx))
        }
        for title, names in _SECTIONS.items():
            if section := [rows.pop(name) for name in names if name in rows]:
                with formatter.section(title):
                    formatter.write_dl(section)
        with formatter.section("Other"):
            formatter.write_dl(list(rows.values()))


def parse_time(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of a time in a track; an option's callback."""
    return None if value is None else seconds_from_text(value)


def seconds_from_text(value: str) -> float:
    """Return the seconds of a time: ``90.5`` or ``[h:]m:s``; BadParameter for what is none."""
    if len(value) > _MAX_TIME_LENGTH:
        raise click.BadParameter(f"a time has at most {_MAX_TIME_LENGTH} characters")
    found = _TIME.fullmatch(value)
    if not found:
        raise click.BadParameter(f"{value!r} is neither seconds (90.5) nor [h:]m:s (1:30.5)")
    hours, minutes, seconds = found["h"], found["m"], float(found["s"])
    if (minutes and seconds >= 60) or (hours and int(minutes) >= 60):
        raise click.BadParameter(f"{value!r}: minutes and seconds must be below 60")
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + seconds


_MAX_TIME_LENGTH = 32
_TIME = re.compile(r"(?:(?:(?P<h>\d+):)?(?P<m>\d+):)?(?P<s>\d+(?:\.\d*)?|\.\d+)", re.ASCII)
