"""The plan of a command line, with ``-`` for standard input and output.

Readers and writers of sound and archives seek, so what is piped goes through a temporary file, in
the folder that TMPDIR names.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from earzip.batch.plan import Job, Plan, Selection, is_folder, is_output_file, plan_batch
from earzip.errors import TargetError, UsageError
from earzip.formats.names import ARCHIVE_SUFFIX, AUDIO_EXTENSIONS

STDIO = Path("-")


@dataclass(frozen=True)
class PlannedRun:
    """A plan; ``piped`` gives the temporary files in it the name that the user knows them by."""

    plan: Plan
    piped: Mapping[Path, Path] = field(default_factory=dict)

    @property
    def to_stdout(self) -> bool:
        """Whether a result goes to standard output."""
        return any(job.target in self.piped for job in self.plan.jobs)

    def fetch(self) -> None:
        """Read standard input to its end, if it is a source. Only for a run that does its work."""
        for job in self.plan.jobs:
            if job.source in self.piped:
                _spool_stdin(job.source)


@contextmanager
def plan_run(
    paths: Sequence[Path],
    output: Path | None,
    selection: Selection,
    output_suffixes: Collection[str],
) -> Iterator[PlannedRun]:
    """Give the plan for ``paths``, and when the block is done write to stdout what goes there.

    ``output`` is the folder of the results; or the only result, if there is one source and
    ``output`` ends in one of ``output_suffixes`` or is ``-``. Raises `UsageError`.
    """
    if STDIO not in (*paths, output):
        yield PlannedRun(_plan_files(paths, output, selection, output_suffixes))
        return
    _require_one_of_one(paths, output, output_suffixes)
    assert output is not None
    piped: dict[Path, Path] = {}
    with TemporaryDirectory(prefix="earzip-") as folder:
        source, target = paths[0], output
        if target == STDIO:
            target = Path(folder, "out", "stdout")
            piped[target] = STDIO
        if source == STDIO:
            source = Path(folder, "stdin")
            piped[source] = STDIO
            plan = Plan([Job(source, target, 0)])
        else:
            plan = plan_batch([source], selection, target.parent)
            plan.jobs = [Job(job.source, target, job.n_bytes) for job in plan.jobs]
        yield PlannedRun(plan, piped)
        if output == STDIO and target.exists():
            _write_stdout(target)


def _plan_files(
    paths: Sequence[Path], output: Path | None, selection: Selection, suffixes: Collection[str]
) -> Plan:
    if output is None or not is_output_file(paths, output, suffixes):
        if output is not None and is_output_file(paths, output, _sound_suffixes()):
            endings = " or ".join(sorted(suffixes))
            raise UsageError(
                f"a file for the result ends in {endings}; a folder of this name must be there",
                output,
            )
        return plan_batch(paths, selection, output)
    plan = plan_batch(paths, selection, output.parent)
    plan.jobs = [Job(job.source, output, job.n_bytes) for job in plan.jobs]
    return plan


def _sound_suffixes() -> Collection[str]:
    return {*AUDIO_EXTENSIONS, ARCHIVE_SUFFIX}


def _require_one_of_one(
    paths: Sequence[Path], output: Path | None, suffixes: Collection[str]
) -> None:
    if len(paths) != 1 or is_folder(paths[0]):
        raise UsageError("- stands for one file: give one PATH that is no folder")
    if output is None or not (output == STDIO or is_output_file(paths, output, suffixes)):
        endings = " or ".join(sorted(suffixes))
        raise UsageError(f"standard input needs -o FILE, ending in {endings}, or -o -")
    if paths[0] == STDIO and sys.stdin is None:
        raise UsageError("standard input is closed")
    if output == STDIO and sys.stdout is None:
        raise UsageError("standard output is closed")
    if output == STDIO and sys.stdout.isatty():
        raise UsageError("the result is binary and standard output is a terminal; redirect it")


def _spool_stdin(path: Path) -> None:
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise TargetError(f"standard input cannot be kept: {error.strerror}", path) from error


def _write_stdout(path: Path) -> None:
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # whoever read it has had enough: click ends the process quietly
        raise
    except OSError as error:
        raise TargetError(f"standard output cannot be written: {error.strerror}") from error
