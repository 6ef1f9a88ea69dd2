"""What is at a path; and what tells files and folders apart that have several."""

from __future__ import annotations

import os
import stat
from pathlib import Path

FolderId = tuple[int, int]
"""Device and inode."""


def status_of(path: Path) -> os.stat_result | None:
    """Return the status of what is at ``path``; None if it cannot be found."""
    try:
        return path.stat()
    except OSError:  # Path.exists and Path.is_dir let some of these through
        return None


def folder_id(folder: Path) -> FolderId | None:
    """Return what tells a folder from others; None if it cannot be found."""
    status = status_of(folder)
    return None if status is None else (status.st_dev, status.st_ino)


def is_folder(path: Path) -> bool:
    """Return whether ``path`` is an accessible folder. Raises nothing."""
    status = status_of(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


class Places:
    """File paths with the links to their folders resolved."""

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """Return the path of ``path`` with the links before its last part resolved."""
        folder = self._folders.get(path.parent)
        if folder is None:
            folder = self._folders[path.parent] = os.path.realpath(path.parent)
        return f"{folder}/{path.name}"
