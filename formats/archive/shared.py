"""Pictures that archives of a folder share: each a file of its own, named by its SHA-256, beside them.

`keep_shared` and `read_shared` are an inverse pair. What such a file is called says what it must hold:
whatever else is there is damage, and is replaced by who has the picture.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from earzip.errors import DamagedArchiveError, MissingPictureError
from earzip.formats.archive.header import SharedPicture
from earzip.formats.atomic import atomic_write, look_again


def keep_shared(folder: Path, image: bytes, mode: int = 0o666) -> None:
    """Put a picture into ``folder``, unless it is there; ``mode``: its permissions, less the umask.

    Any number of runs may do so at once. Raises `TargetError`.
    """
    picture = SharedPicture.of(image)
    path = folder / picture.name

    def put() -> None:
        if _read(path, picture) != image:
            with atomic_write(path, mode=mode) as file:
                file.write(image)

    look_again(put)


def read_shared(archive: Path, picture: SharedPicture) -> bytes:
    """Return the picture that ``archive`` shares, checked.

    Raises `DamagedArchiveError` where its file holds another, and `MissingPictureError`, a kind of that,
    where there is no file; both without a path.
    """
    is_there = False
    for path in shared_paths(archive, picture):
        found = _read(path, picture)
        if found is not None:
            return found
        is_there = is_there or path.exists()
    if is_there:
        raise DamagedArchiveError(f"{picture.name} beside it is damaged")
    raise MissingPictureError(f"{picture.name} is not beside it")


def is_there(archive: Path, picture: SharedPicture) -> bool:
    """Return whether a picture that ``archive`` shares is where it belongs, as far as its size tells."""
    for path in shared_paths(archive, picture):
        try:
            status = path.stat()
        except OSError:
            continue
        return stat.S_ISREG(status.st_mode) and status.st_size == picture.n_bytes
    return False


def shared_paths(archive: Path, picture: SharedPicture) -> Iterator[Path]:
    """Yield where a picture that ``archive`` shares may be: beside it, or where a link leads to."""
    yield archive.with_name(picture.name)
    real = Path(os.path.realpath(archive))
    if real.parent != archive.parent:
        yield real.with_name(picture.name)


def _read(path: Path, picture: SharedPicture) -> bytes | None:
    """Return what ``path`` holds if it is ``picture``, else None."""
    try:
        # NONBLOCK: opening a pipe must not wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # it is open already
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size != picture.n_bytes:
                return None  # before anything is allocated
            image = file.read()
    except OSError:
        return None
    return image if hashlib.sha256(image).hexdigest() == picture.sha256 else None
