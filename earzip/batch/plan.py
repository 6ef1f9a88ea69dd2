"""Which files a run works on, and where each result goes: the tree of the sources, mirrored.

    earzip compress Music -o Archive       Music/Artist/song.flac -> Archive/Artist/song.flac.earz
    earzip compress Music/Artist/song.flac    the result goes beside the source

Planning only looks at names and file types, and writes nothing. It opens a file only if the name of
its result depends on its contents.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from earzip.batch.filters import ALL, IGNORE_FILE, Choice, Filters, Parts
from earzip.batch.jobs import Job, OtherFile, Plan
from earzip.batch.names_apart import FurtherNames, targets_apart
from earzip.batch.places import FolderId, Places, folder_id, is_folder, status_of
from earzip.errors import UsageError
from earzip.formats.atomic import TEMPORARY_SUFFIX
from earzip.formats.names import (
    MODEL_FOLDER,
    archive_name,
    is_junk,
    is_shared_picture_name,
)
from earzip.results import FileRecord, FileStatus

CLAIM_SUFFIX = ".earzip-claim"
"""Ends the names of the lock files beside a target that a run is writing."""

RUN_LOCK_SUFFIX = ".earzip-lock"
"""Ends the names of the files that hold a run's lock on a folder; see `earzip.batch.locks`."""

_NOWHERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_JUNK = "made by a system for itself"


@dataclass(frozen=True)
class Selection:
    """The files of a folder that a command works on, and the names of its results.

    ``takes`` decides by name about files in folders. A file that the user names is always taken,
    unless ``refuses`` gives a reason.
    """

    takes: Callable[[str], bool]
    otherwise: str
    """Why other files are skipped, in a few words."""
    target_name: Callable[[Path], str] | None = None
    """Returns the name of a file's result."""
    further_names: FurtherNames | None = None
    """Gives other names for results of archives, where several would have one name."""
    refuses: Callable[[str], str | None] = lambda _name: None
    passes_over: Callable[[str], bool] = lambda _name: False
    """Tells of files in folders that are a part of others, and no file of their own, by name."""
    heeds_ignore_files: bool = False
    """Whether it passes over what the `IGNORE_FILE` of a directory names."""


def plan_batch(
    paths: Iterable[Path], selection: Selection, output: Path | None = None, choice: Choice = ALL
) -> Plan:
    """Return the plan for ``paths``: files and folders, which are walked recursively.

    Results go under the folder ``output``, in the same tree as their sources, or beside each source
    if it is None. What ``choice`` leaves out is an other file. Unusable files are refused in the plan;
    raises only `UsageError` if ``output`` is a file.
    """
    if output is not None and status_of(output) and not is_folder(output):
        raise UsageError("is a file; expected a directory for the results", output)
    plan = Plan()
    filters = replace(choice.filters, heeds_ignore_files=selection.heeds_ignore_files)
    if choice.listed is not None:
        paths = tuple(paths)
        for path in choice.listed:
            _take_listed(path, paths, selection, output, plan, filters)
        paths = ()
    for path in paths:
        if is_folder(path):
            _Walk(selection, output, plan).run(path, filters)
        else:
            _take_named(path, selection, output, plan, filters)
    if selection.further_names:
        _name_apart(plan, selection.further_names)
    _refuse_shared_targets(plan)
    return plan


def is_output_file(paths: Sequence[Path], output: Path, suffixes: Iterable[str]) -> bool:
    """Return whether ``output`` names the result of the only file, not a folder for results."""
    only_file = len(paths) == 1 and not is_folder(paths[0])
    return only_file and output.suffix.lower() in suffixes and not is_folder(output)


def _take_listed(
    path: Path,
    roots: Sequence[Path],
    selection: Selection,
    output: Path | None,
    plan: Plan,
    filters: Filters,
) -> None:
    """Plan a file or folder that a list names, at its place in that of ``roots`` which it is below."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100  # a link is a name in the tree
    tops = {root: Path(os.path.abspath(root)) for root in roots}  # noqa: PTH100
    root = next((root for root, top in tops.items() if whole.is_relative_to(top)), None)
    if root is None:
        return plan.refuse(path, "is in none of the directories that are named")
    parts = whole.relative_to(tops[root]).parts
    path = root.joinpath(*parts)
    goes_on = is_folder(path)
    try:
        found = filters.down_to(root, parts, is_folder=goes_on)
    except OSError as error:
        return plan.refuse(path.parent, _unreadable(error))
    if isinstance(found, str):
        plan.other_files.append(OtherFile(path, None, found))
    elif goes_on:
        target = output and output.joinpath(*parts)
        _Walk(selection, target, plan, output).run(path, found, parts)
    else:
        folder = output and output.joinpath(*parts[:-1])
        _take_named(path, selection, folder, plan, Filters())
    return None


def _unreadable(error: OSError) -> str:
    return f"{IGNORE_FILE} cannot be read: {error.strerror or error}"


def _take_named(
    path: Path, selection: Selection, output: Path | None, plan: Plan, filters: Filters
) -> None:
    found = filters.met((path.name,), is_folder=False)
    if isinstance(found, str):
        plan.other_files.append(OtherFile(path, None, found))
        return None
    try:
        status = path.stat()
    except OSError as error:
        archive = path.with_name(archive_name(path.name)) if path.name else path
        meant = selection.takes(archive.name) and status_of(archive) is not None
        hint = f"; did you mean {archive}?" if meant else ""
        message = f"{error.strerror or error}{hint}"
        plan.refused.append(FileRecord(FileStatus.FAILED, path, None, message, is_absent=True))
        return None
    if not stat.S_ISREG(status.st_mode):
        return plan.refuse(path, "is not a regular file")
    reason = selection.refuses(path.name)
    if reason is not None:
        return plan.refuse(path, reason)
    target = _target(selection, path.parent if output is None else output, path)
    plan.jobs.append(Job(path, target, status.st_size))
    return None


def _target(selection: Selection, folder: Path, source: Path) -> Path | None:
    return None if selection.target_name is None else folder / selection.target_name(source)


@dataclass(frozen=True)
class _Folder:
    """A folder to visit: where its results go, and the folders above it."""

    path: Path
    target: Path
    id: FolderId
    above: frozenset[FolderId]
    hidden: bool
    filters: Filters
    parts: Parts
    """Its path below the one that the user named."""


class _Walk:
    """The files under one folder, in the order of their names.

    Links to folders are followed last, and each folder is visited once: under its own name if it
    has one here. Otherwise folders that link to each other would be walked in every order.
    """

    def __init__(
        self, selection: Selection, output: Path | None, plan: Plan, top: Path | None = None
    ) -> None:
        self._selection = selection
        self._output = output
        self._output_id = None if output is None else folder_id(top or output)
        self._plan = plan
        # Hidden folders apart: a folder skipped there is visited under a visible name.
        self._visited: dict[tuple[FolderId, bool], Path] = {}

    def run(self, root: Path, filters: Filters, parts: Parts = ()) -> None:
        """Plan what is in ``root``, which is at ``parts`` below the folder that was named."""
        target = root if self._output is None else self._output
        root_id = folder_id(root)
        if root_id is None:
            self._plan.refuse(root, "cannot be found any more")
            return
        # A stack, because folders may be nested deeper than Python calls can be.
        first = _Folder(root, target, root_id, frozenset(), False, filters, parts)
        stack = deque([first])
        while stack:
            folder = stack.pop()
            known_as = self._visited.setdefault((folder.id, folder.hidden), folder.path)
            if known_as != folder.path:
                reason = f"already visited as {known_as}"
                self._plan.other_files.append(OtherFile(folder.path, None, reason))
                continue
            try:
                with os.scandir(folder.path) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                reason = error.strerror or str(error)
                self._plan.refuse(folder.path, f"cannot list the directory: {reason}")
                continue
            if any(entry.name == IGNORE_FILE for entry in entries):
                try:
                    filters = folder.filters.entered(folder.path, len(folder.parts))
                except OSError as error:
                    self._plan.refuse(folder.path, _unreadable(error))
                    continue
                folder = replace(folder, filters=filters)
            links: list[_Folder] = []
            own: list[_Folder] = []
            for entry in entries:
                if subfolder := self._visit(folder, entry):
                    (links if entry.is_symlink() else own).append(subfolder)
            stack.extend(reversed(own))
            stack.extendleft(links)

    def _visit(self, folder: _Folder, entry: os.DirEntry[str]) -> _Folder | None:
        """Plan ``entry``; return it if it is a folder to visit."""
        path = folder.path / entry.name
        of_run = (TEMPORARY_SUFFIX, CLAIM_SUFFIX, RUN_LOCK_SUFFIX)  # in progress, or killed
        is_none = entry.name == MODEL_FOLDER or entry.name.endswith(of_run)
        if is_none or self._selection.passes_over(entry.name):
            return None
        hidden = folder.hidden or entry.name.startswith(".")
        if is_junk(entry.name):
            self._plan.other_files.append(OtherFile(path, None, _JUNK))
            return None
        try:
            status = entry.stat()
        except OSError as error:
            leads_nowhere = error.errno in _NOWHERE  # a link; what else it may be is not known
            if leads_nowhere and (hidden or not self._selection.takes(entry.name)):
                self._leave_aside(folder, path, hidden, copyable=False)
            else:
                self._plan.refuse(path, error.strerror or str(error))
            return None
        goes_on = stat.S_ISDIR(status.st_mode)
        parts = (*folder.parts, entry.name)
        filters = folder.filters.met(parts, is_folder=goes_on)
        if isinstance(filters, str):
            self._plan.other_files.append(OtherFile(path, None, filters))
            return None
        if goes_on:
            inner = self._enter(folder, path, (status.st_dev, status.st_ino), hidden)
            return inner and replace(inner, filters=filters, parts=parts)
        regular = stat.S_ISREG(status.st_mode)
        if hidden or not self._selection.takes(entry.name):
            self._leave_aside(folder, path, hidden, copyable=regular)
        elif regular:
            target = _target(self._selection, folder.target, path)
            self._plan.jobs.append(Job(path, target, status.st_size))
        else:
            self._plan.refuse(path, "is not a regular file")
        return None

    def _enter(
        self, folder: _Folder, path: Path, folder_id: FolderId, hidden: bool
    ) -> _Folder | None:
        if folder_id == self._output_id:
            self._plan.other_files.append(OtherFile(path, None, "the output directory"))
            return None
        above = folder.above | {folder.id}
        if folder_id in above:
            self._plan.other_files.append(OtherFile(path, None, "a link to a parent directory"))
            return None
        target = folder.target / path.name
        return replace(folder, path=path, target=target, id=folder_id, above=above, hidden=hidden)

    def _leave_aside(self, folder: _Folder, path: Path, hidden: bool, *, copyable: bool) -> None:
        if self._output is None and is_shared_picture_name(path.name):
            return  # a part of the archives here
        refused = self._selection.refuses(path.name)
        reason = "hidden" if hidden else refused or self._selection.otherwise
        target = folder.target / path.name if copyable and self._output is not None else None
        self._plan.other_files.append(OtherFile(path, target, reason))


def _name_apart(plan: Plan, further_names: FurtherNames) -> None:
    """Give jobs other targets where archives would have one and the same: `targets_apart`."""
    ends = ((job.source, job.target) for job in plan.jobs if job.target)
    others = targets_apart(ends, further_names)
    plan.jobs = [
        replace(job, target=others[job.source, job.target])
        if job.target and (job.source, job.target) in others
        else job
        for job in plan.jobs
    ]


def _refuse_shared_targets(plan: Plan) -> None:
    """Keep one of equal jobs; refuse all different jobs that share a target."""
    places = Places()
    by_target: dict[str, Job] = {}  # the first of each, as most are alone
    sharing: dict[str, list[Job]] = {}
    free: list[Job] = []
    for job in plan.jobs:
        if job.target is None:
            free.append(job)
            continue
        place = places.of(job.target)
        first = by_target.setdefault(place, job)
        if first is not job:
            sharing.setdefault(place, [first]).append(job)
    plan.jobs = free
    for place, first in by_target.items():
        jobs = sharing.get(place, [])
        other = next((j for j in jobs if places.of(j.source) != places.of(first.source)), None)
        if other is None:
            plan.jobs.append(first)
            continue
        for job in jobs:
            rival = other if job is first else first
            reason = f"has the same target as {rival.source}: {job.target}"
            plan.refuse(job.source, f"{reason}; do each alone, with its own -o", job.target)
    plan.other_files = [
        _without_taken_target(other, places, by_target)
        for other in plan.other_files
        # Left out: results of an earlier run beside the source.
        if places.of(other.source) not in by_target
    ]


def _without_taken_target(other: OtherFile, places: Places, by_target: Container[str]) -> OtherFile:
    """Drop the target of a copy if a result has the same one, such as a new archive."""
    if other.target is None or places.of(other.target) not in by_target:
        return other
    reason = f"{other.reason}; it has the name of a file to be written"
    return replace(other, target=None, reason=reason)
