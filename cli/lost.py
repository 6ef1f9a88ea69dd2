"""What recovery data protects that is gone from its directories."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from earzip.batch.places import is_folder
from earzip.errors import EarzipError
from earzip.formats.names import MODEL_FOLDER, is_archive_name
from earzip.results import FileRecord, FileStatus
from earzip.tasks.recovery import told_of_gone


def folders_with_data(paths: Iterable[Path]) -> list[Path]:
    """Return the folders, in those of ``paths`` that are some, that may have recovery data."""
    found = set()
    for root in filter(is_folder, paths):
        for at, inner, _ in os.walk(root):
            if MODEL_FOLDER in inner:
                found.add(Path(at))
            inner[:] = [name for name in inner if name[0] != "."]  # as no run looks into those
    return sorted(found)


def lost_archives(paths: Iterable[Path]) -> list[FileRecord]:
    """Return a record, as of a damaged one, of each archive that is gone from the folders of ``paths``.

    Not of those in the trash. Recovery data that cannot be read tells of none.
    """
    from earzip.formats.archive.recovery import RecoveryData  # noqa: PLC0415  # loads numpy

    records = []
    for folder in folders_with_data(paths):
        try:
            data = RecoveryData.read(folder)
        except EarzipError:  # whoever needs it will say so
            continue
        gone = data.gone(folder) if data else []
        for name in filter(is_archive_name, gone):
            assert data is not None  # it has told what is gone
            message = told_of_gone(data, gone)
            records.append(FileRecord(FileStatus.DAMAGED, folder / name, message=message))
    return records
