"""The plan of a command line, with ``-`` for standard input and output.

Readers of sound and archives seek, and so do writers of archives, so what is piped goes through a
temporary file, in the folder that TMPDIR names. Restored sound leaves as it is decoded.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from earzip.batch.filters import ALL, EXCLUDED, NOT_INCLUDED, Choice
from earzip.batch.jobs import Job, Plan
from earzip.batch.places import is_folder
from earzip.batch.plan import Selection, is_output_file, plan_batch
from earzip.cli.streams import log
from earzip.errors import TargetError, UsageError
from earzip.formats.names import is_archive_name, is_file_name

STDIO = Path("-")
NO_ARCHIVES = "contains no archives"


_LOOK_S = 0.2


class StdoutError(BaseException):
    """Standard output takes no more. Not an Exception: it ends the run, not one file among others."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True)
class StandardOutput:
    """Standard output as a stream, without a buffer.

    While its reader takes nothing, as a player that pauses, ``on_wait`` is called several times a second,
    and may raise to give up.
    """

    on_wait: Callable[[], None]

    def write(self, data: bytes) -> None:
        """Write all of ``data``. Raises `StdoutError`."""
        left = memoryview(data)
        try:
            descriptor = sys.stdout.fileno()
            while left:
                if select.select([], [descriptor], [], _LOOK_S)[1]:
                    # So much a pipe takes at once that has room: writing more could wait for its reader.
                    left = left[os.write(descriptor, left[: select.PIPE_BUF]) :]
                else:
                    self.on_wait()
        except OSError as error:
            raise StdoutError(error) from error


@dataclass(frozen=True)
class PlannedRun:
    """A plan, and the paths that the user gave."""

    plan: Plan
    paths: Sequence[Path] = ()
    output: Path | None = None
    choice: Choice = ALL
    piped: Mapping[Path, Path] = field(default_factory=dict)
    """Temporary files in the plan, and the names that the user knows them by."""
    is_part: bool = False
    """Some archives are left out on purpose: there may be nothing left to do."""

    @property
    def folders(self) -> list[Path]:
        """The directories that a run locks: none if it is not over a directory."""
        folders = [path for path in self.paths if is_folder(path)]
        return [self.output] if folders and self.output is not None else folders

    @property
    def named(self) -> frozenset[Path]:
        """The files and directories that the user gave one by one."""
        return frozenset() if self.choice.is_from_list else frozenset(self.paths)

    @property
    def to_stdout(self) -> bool:
        """Whether a result goes to standard output."""
        return any(job.target in self.piped for job in self.plan.jobs)

    def deliver(self, target: Path | None) -> None:
        """Send ``target``, which is complete, to standard output if it goes there. Raises TargetError."""
        if target is not None and target in self.piped and target.exists():
            _write_stdout(target)

    def fetch(self) -> None:
        """Read standard input to its end, if it is a source. Only for a run that does its work."""
        for job in self.plan.jobs:
            if job.source in self.piped:
                _spool_stdin(job.source)


@contextmanager
def plan_reading(paths: Sequence[Path], choice: Choice = ALL) -> Iterator[PlannedRun]:
    """Give the plan of a command that reads the archives of ``paths`` and writes nothing.

    Without an archive each path fails.
    """
    selection = Selection(takes=is_archive_name, otherwise="not an archive")
    plan = plan_batch(paths, selection, choice=choice)
    _require_some(plan, paths, NO_ARCHIVES)
    plan.other_files.clear()
    yield PlannedRun(plan, paths, choice=choice)


def _require_some(plan: Plan, paths: Sequence[Path], if_empty: str) -> None:
    if not (plan.jobs or plan.refused):
        chosen = {other.reason for other in plan.other_files} & {EXCLUDED, NOT_INCLUDED}
        for path in paths:
            plan.refuse(path, if_empty + (", or none that you include" if chosen else ""))


@contextmanager
def plan_run(
    paths: Sequence[Path],
    output: Path | None,
    selection: Selection,
    output_suffixes: Collection[str],
    choice: Choice = ALL,
    *,
    stdin_name: str = "",
    with_others: bool = True,
    if_empty: str | None = None,
) -> Iterator[PlannedRun]:
    """Give the plan for ``paths``.

    ``output`` is the directory of the results; or the only result, if there is one source and
    ``output`` ends in one of ``output_suffixes`` or is ``-``. ``stdin_name``: what standard input is
    called as a source; ``with_others``: other files are in the plan. Without a file to work on each
    path fails with ``if_empty``, unless it is None. Raises `UsageError`.
    """
    if STDIO not in (*paths, output):
        plan = _plan_files(paths, output, selection, output_suffixes, choice)
        if if_empty:
            _require_some(plan, paths, if_empty)
        if not with_others:
            plan.other_files.clear()
        yield PlannedRun(plan, paths, output, choice)
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
            plan = Plan([Job(source, target, 0, stdin_name)])
        else:
            plan = plan_batch([source], selection, target.parent)
            plan.jobs = [Job(job.source, target, job.n_bytes) for job in plan.jobs]
        try:
            yield PlannedRun(plan, paths, output, choice, piped)
        except StdoutError as error:
            raise _stdout_error(error.cause) from error


def _plan_files(
    paths: Sequence[Path],
    output: Path | None,
    selection: Selection,
    suffixes: Collection[str],
    choice: Choice,
) -> Plan:
    if output is None or not is_output_file(paths, output, suffixes):
        if output is not None:
            _refuse_file_name(paths, output, suffixes)
            _warn_of_merging(paths, output)
        return plan_batch(paths, selection, output, choice)
    plan = plan_batch(paths, selection, output.parent, choice)
    plan.jobs = [Job(job.source, output, job.n_bytes) for job in plan.jobs]
    return plan


def _refuse_file_name(paths: Sequence[Path], output: Path, suffixes: Collection[str]) -> None:
    """Refuse to make a directory of a name that a file has: the user expects a file there."""
    if is_folder(output) or not is_file_name(output.name):
        return
    if len(paths) == 1 and not is_folder(paths[0]):
        reason = f"an output file must end in {' or '.join(sorted(suffixes))}"
    else:
        reason = "is named like a file, which holds the result of one source"
    raise UsageError(f"{reason}; there is no directory of this name", output)


def _warn_of_merging(paths: Sequence[Path], output: Path) -> None:
    """Say that directories of one name, which look like two trees to come, become one."""
    named: dict[str, Path] = {}
    for path in filter(is_folder, paths):
        before = named.setdefault(path.resolve().name, path)
        if before.resolve() != path.resolve():
            log(
                "warning",
                f"{before} and {path} become one tree, {output}: the contents of a directory go "
                "there, not the directory; run once for each, with an -o of its own, to keep them apart",
            )


def _require_one_of_one(
    paths: Sequence[Path], output: Path | None, suffixes: Collection[str]
) -> None:
    if len(paths) != 1 or is_folder(paths[0]):
        raise UsageError("- needs exactly one PATH, which is not a directory")
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
        raise TargetError(f"cannot store standard input: {error.strerror}", path) from error


def _write_stdout(path: Path) -> None:
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise _stdout_error(error) from error


def _stdout_error(error: OSError) -> Exception:
    if isinstance(
        error, BrokenPipeError
    ):  # the reader has closed it: click ends the process quietly
        return error
    return TargetError(f"cannot write to standard output: {error.strerror}")
