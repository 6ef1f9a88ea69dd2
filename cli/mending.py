"""What users are told who have damaged archives."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from earzip.batch.places import is_folder
from earzip.cli.stores import stand_ins
from earzip.cli.streams import log
from earzip.formats.names import name_without_archive_suffix

_SHOWN_PATHS = 3


def say_how_to_repair(damaged: Sequence[Path], paths: Sequence[Path]) -> None:
    """Name the command for ``damaged`` archives, found in ``paths``, if they have recovery data."""
    from earzip.formats.archive.recovery import recovery_path  # noqa: PLC0415  # loads numpy

    if not stand_ins() and any(recovery_path(path.parent).exists() for path in damaged):
        log("info", f"with recovery data: earzip repair {_given(paths)}")


def say_how_to_archive_again(damaged: Sequence[Path], paths: Sequence[Path]) -> None:
    """Name the command that makes ``damaged`` files, found in ``paths``, from their sources."""
    command = "from the sources: earzip compress --verify-sources"
    if any(path.with_name(name_without_archive_suffix(path.name)).exists() for path in damaged):
        log("info", f"{command} {_given(paths)}")
    else:
        is_tree = len(paths) == 1 and is_folder(paths[0])
        log("info", f"{command} SOURCES -o {_given(paths) if is_tree else 'ARCHIVES'}")


def _given(paths: Sequence[Path]) -> str:
    return shlex.join(map(str, paths)) if len(paths) <= _SHOWN_PATHS else "ARCHIVES"
