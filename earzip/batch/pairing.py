"""Pairs of originals and restored files: by the names that compress and restore give.

    earzip evaluate Music Restored     Restored/a.flac or Restored/a.flac.wav -> Music/a.flac
                                       Restored/b.mp3.flac or Restored/b.mp3.earz.flac -> Music/b.mp3
                                       Restored/c.opus -> Music/c.flac, of all that are called c
    earzip evaluate Music Archive      Archive/a.flac.earz -> Music/a.flac
    earzip evaluate Music Music        Music/a.flac.earz -> Music/a.flac

Like all planning, pairing only looks at names and file types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from earzip.batch.filters import ALL, Filters
from earzip.batch.jobs import Job, Plan
from earzip.batch.places import is_folder
from earzip.batch.plan import Selection, plan_batch
from earzip.errors import UsageError
from earzip.formats.names import (
    AUDIO_EXTENSIONS,
    LOSSY_SUFFIXES,
    archive_name,
    is_archive_name,
    name_without_archive_suffix,
    name_without_sound_suffix,
)

_RESTORED_SUFFIXES = {".flac", ".wav"}

_ByStem = Callable[[Path], Mapping[str, list[Path]]]
"""Gives the files of a folder by what they are called without a sound file's extension."""


@dataclass
class Pairing:
    """A plan of restored files, and the original of each."""

    plan: Plan
    originals: dict[Path, Path] = field(default_factory=dict)


def pair(original: Path, restored: Path, filters: Filters = ALL.filters) -> Pairing:
    """Return the pairs of two files, or of the sound files and archives in two mirrored folders.

    A file on either side without a counterpart is refused in the plan. Those of originals that
    ``filters`` leave out are left out. Raises `UsageError` for a folder and a file.
    """
    folders = [path for path in (original, restored) if is_folder(path)]
    if not folders:
        plan = plan_batch([restored], _SOUNDS)
        return Pairing(plan, {job.source: original for job in plan.jobs})
    if len(folders) == 1:
        other = restored if folders == [original] else original
        raise UsageError(
            f"is a directory and {other} is not; give two files or two directories", folders[0]
        )
    pairing = _pair_folders(original, restored)
    _keep_chosen(pairing, original, restored, filters)
    plan = pairing.plan
    if not plan.jobs and not plan.refused:  # a wrong folder, or a disk that is not mounted
        plan.refuse(restored, f"has nothing to compare, nor does {original}")
    return pairing


def _keep_chosen(pairing: Pairing, original: Path, restored: Path, filters: Filters) -> None:
    """Leave out what ``filters`` and ignore files leave out of ``original``."""
    filters = replace(filters, heeds_ignore_files=True)

    def is_chosen(path: Path) -> bool:
        root = original if path.is_relative_to(original) else restored
        parts = path.relative_to(root).parts
        with suppress(OSError):  # an ignore file that cannot be read: what it names is not known
            return not isinstance(filters.down_to(original, parts, is_folder=False), str)
        return True

    plan = pairing.plan
    plan.jobs = [job for job in plan.jobs if is_chosen(pairing.originals[job.source])]
    plan.refused = [record for record in plan.refused if is_chosen(record.source)]


def _pair_folders(original: Path, restored: Path) -> Pairing:
    in_place = _is_same(original, restored)
    # One folder may lie inside the other, but is not part of its tree.
    selection = _ARCHIVES if in_place else _SOUNDS
    pairing = Pairing(plan_batch([restored], selection, output=original))
    plan = pairing.plan
    jobs, plan.jobs = plan.jobs, []
    by_stem = cache(_by_stem)
    for job in jobs:
        try:
            _pair_one(job, original, restored, pairing, by_stem, in_place=in_place)
        except OSError as error:
            reason = f"cannot look for its original: {error.strerror or error}"
            plan.refuse(job.source, reason)
    _refuse_unpaired(original, restored, pairing)
    plan.other_files.clear()
    return pairing


def _pair_one(
    job: Job,
    original: Path,
    restored: Path,
    pairing: Pairing,
    by_stem: _ByStem,
    *,
    in_place: bool,
) -> None:
    """Find the original of ``job``, or refuse it. Raises OSError."""
    plan = pairing.plan
    mirrored = original / job.source.relative_to(restored)
    names = _names_of_sound(mirrored.name)
    candidates = [mirrored.with_name(name) for name in [*names, *map(archive_name, names)]]
    found = next((path for path in candidates if _is_other(path, job.source)), None)
    alike: list[Path] = []  # a lossy file lacks the extension of what it is restored from
    if not found and mirrored.suffix.lower() in LOSSY_SUFFIXES.values():
        alike = by_stem(mirrored.parent).get(mirrored.with_suffix("").name, [])
    if len(alike) == 1:
        found = alike[0]
    if len(alike) > 1:
        listed = ", ".join(path.name for path in alike)
        plan.refuse(
            job.source, f"may be of any of {listed} in {mirrored.parent}; compare two files"
        )
    elif found is None and mirrored.is_file() and not in_place:
        plan.refuse(job.source, f"is the original itself, {mirrored}")
    elif found is None:
        sought = " or ".join(dict.fromkeys(path.name for path in candidates))
        plan.refuse(job.source, f"has no original: {sought} is not in {mirrored.parent}")
    else:
        plan.jobs.append(job)
        pairing.originals[job.source] = found


def _names_of_sound(name: str) -> list[str]:
    """Return the possible names of the original of a restored file or archive of that name."""
    name = name_without_archive_suffix(name)
    inner = Path(name).stem
    if is_archive_name(inner) and _is_sound(name):  # called after its archive
        return [name, name_without_archive_suffix(inner)]
    is_restored = Path(name).suffix.lower() in _RESTORED_SUFFIXES and _is_sound(inner)
    return [name, inner] if is_restored else [name]


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return the sound files of a folder by their names without extensions, and archives of others.

    None for a folder that is not there. Raises OSError.
    """
    found: dict[str, list[Path]] = {}
    paths = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    for path in sorted(paths, key=lambda path: is_archive_name(path.name)):  # archives last
        name = name_without_archive_suffix(path.name)
        alike = found.setdefault(name_without_sound_suffix(name), [])
        if _is_sound(name) and path.with_name(name) not in alike:
            alike.append(path)
    return found


def _is_other(path: Path, than: Path) -> bool:
    """Return whether ``path`` is a file other than ``than``."""
    return path.is_file() and not path.samefile(than)


def _is_any_other(paths: list[Path], than: Path) -> bool:
    """Return whether one of ``paths`` can be told to be a file other than ``than``."""
    with suppress(OSError):
        return any(_is_other(path, than) for path in paths)
    return False


def _is_same(first: Path, second: Path) -> bool:
    """Return whether two folders are one. Raises UsageError where that cannot be told."""
    try:
        return first.samefile(second)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}", error.filename) from error


def _refuse_unpaired(original: Path, restored: Path, pairing: Pairing) -> None:
    """Refuse the originals without a restored file."""
    paired = set(pairing.originals.values())
    plan = plan_batch([original], _SOUNDS, output=restored)
    known = {record.source for record in pairing.plan.refused}  # in place, both are one folder
    pairing.plan.refused += [record for record in plan.refused if record.source not in known]
    for job in plan.jobs:
        source = job.source
        # An archive or a restored file beside its original is not an original.
        beside = [source.with_name(name) for name in _names_of_sound(source.name)]
        if source not in paired | known and not _is_any_other(beside, source):
            folder = restored / source.relative_to(original).parent
            pairing.plan.refuse(source, f"has no restored file or archive in {folder}")


def _is_sound(name: str) -> bool:
    return Path(name).suffix.lower() in AUDIO_EXTENSIONS


_ARCHIVES = Selection(takes=is_archive_name, otherwise="not an archive")
_SOUNDS = Selection(
    takes=lambda name: _is_sound(name) or is_archive_name(name), otherwise="not sound"
)
