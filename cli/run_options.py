"""Options that say how a command goes through its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from earzip.batch.shard import Shard
from earzip.cli.options import Function, gathered
from earzip.cli.values import PLAIN_PATH, Count, ParsedBy
from earzip.errors import UsageError


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
        type=ParsedBy(Shard, "shard"),
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
    return gathered("run", RunOptions, {name: _RUN_OPTIONS[name] for name in names})
