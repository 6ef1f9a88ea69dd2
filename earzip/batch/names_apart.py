"""Names of their own for results of archives that would be called like that of another archive.

song.mp3.flac.earz    ->    song.mp3.flac         the name of what was archived is its own
song.mp3.earz         ->    song.mp3.earz.flac    instead of song.mp3.flac
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from earzip.batch.places import Places
from earzip.formats.names import archive_name, name_without_archive_suffix

FurtherNames = Callable[[str, str], Iterator[str]]
"""Gives other names for a result, without end, from those of its archive and of the result itself."""


def targets_apart(
    ends: Iterable[tuple[Path, Path]], further_names: FurtherNames
) -> dict[tuple[Path, Path], Path]:
    """Return other targets for those of ``ends``, archives and their targets, that give theirs up.

    An archive whose source had the name of its target keeps it. Any other gives it up to an archive of
    another name that has the same target, or that lies beside it and would keep it, whether it is in
    ``ends`` or not. So a name follows from the archives, and neither from their order nor from what was
    restored before.
    """
    places = Places()
    ends = list(ends)
    wanting: dict[str, str] = {}  # there may be a million
    contested: set[str] = set()
    for source, target in ends:
        if wanting.setdefault(place := places.of(target), source.name) != source.name:
            contested.add(place)
    found = {}
    for source, target in ends:
        if name_without_archive_suffix(source.name) == target.name:
            continue
        if places.of(target) in contested or _is_kept_beside(source, target.name):
            names = further_names(source.name, target.name)
            found[source, target] = next(
                path
                for path in map(target.with_name, names)
                if places.of(path) not in wanting and not _is_kept_beside(source, path.name)
            )
    return found


def _is_kept_beside(archive: Path, name: str) -> bool:
    """Return whether an archive beside ``archive`` is of a source of that name."""
    return os.path.isfile(archive.with_name(archive_name(name)))  # noqa: PTH113  # raises nothing
