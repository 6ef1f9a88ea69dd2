"""Results that a file system takes for one: of Song.flac and song.flac on exFAT, SMB or macOS."""

from __future__ import annotations

import os
import secrets
import unicodedata
from contextlib import suppress
from pathlib import Path

from earzip.batch.jobs import Job, OtherFile, Plan
from earzip.errors import EarzipError
from earzip.formats.atomic import TEMPORARY_SUFFIX, make_folder

_PROBED = 50  # characters of a name, from where two differ; all of it may have no room


def refuse_same_names(plan: Plan, *, copies: bool) -> None:
    """Refuse the jobs of ``plan``, and with ``copies`` the other files, whose targets are one file.

    They would replace each other. Names that differ in case or in the form of their accents alone are
    suspects; the file system is asked, by a temporary file, only if there are such.
    """
    others = plan.other_files if copies else []
    found: list[Job | OtherFile] = [*plan.jobs, *others]
    rivals = _rivals([each.target for each in found if each.target is not None])
    for each in found:
        if each.target in rivals:
            rival = rivals[each.target]
            reason = f"its target is one file with {rival}: this disk does not tell the names apart"
            plan.refuse(each.source, reason, each.target)
    if rivals:
        plan.jobs = [job for job in plan.jobs if job.target not in rivals]
        plan.other_files = [other for other in plan.other_files if other.target not in rivals]


def _rivals(targets: list[Path]) -> dict[Path, Path]:
    """Return for each target that is one file with another that other one."""
    first_of: dict[str, Path] = {}  # most names have no other like them
    alike: dict[str, list[Path]] = {}
    for target in targets:
        name = _folded(str(target))
        first = first_of.setdefault(name, target)
        if target != first and target not in (known := alike.setdefault(name, [first])):
            known.append(target)
    rivals: dict[Path, Path] = {}
    for group in alike.values():
        for i, second in enumerate(group):
            earlier = next((path for path in group[:i] if _are_one(path, second)), None)
            if earlier is not None:
                rivals[second] = earlier
                rivals.setdefault(earlier, second)
    return rivals


def _folded(name: str) -> str:
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _are_one(first: Path, second: Path) -> bool:
    """Return whether two paths that differ in spelling are one file for their file system."""
    names = list(zip(first.parts, second.parts, strict=True))
    at = next(i for i, (one, other) in enumerate(names) if one != other)
    mark = f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"  # so that what a kill leaves is removed
    begin = max(0, len(os.path.commonprefix(names[at])) - 1)  # noqa: RUF071  # of characters
    ours, theirs = (f".{name[begin:][:_PROBED]}{mark}" for name in names[at])
    probe, other = (Path(*first.parts[:at], name) for name in (ours, theirs))
    try:
        make_folder(probe)
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except (OSError, EarzipError):  # the jobs themselves will say so
        return False
    try:
        os.close(descriptor)
        return probe.samefile(other)
    except OSError:  # there is no other
        return False
    finally:
        with suppress(OSError):
            probe.unlink()
