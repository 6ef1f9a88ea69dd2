"""Pictures that archives of a folder share: each a file of its own, named by its SHA-256, beside them.

`keep_shared` and `read_shared` are an inverse pair. What such a file is called says what it must hold:
whatever else is there is damage, and is replaced by who has the picture.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from earzip.errors import DamagedArchiveError, MissingPictureError
from earzip.formats.atomic import atomic_write, look_again
from earzip.formats.checked import SHA256, Checked, Key, Range
from earzip.formats.names import shared_picture_name
from earzip.formats.tag_payload import MAX_PICTURES

_MAY_READ = 0o444
_MAX_BYTES = 128 << 20


@dataclass(frozen=True)
class SharedPicture(Checked):
    """A picture of the tags in a file of its own, beside this archive and others that have it."""

    sha256: Annotated[str, SHA256]
    n_bytes: Annotated[int, Range(0, _MAX_BYTES), Key("bytes")]

    @property
    def name(self) -> str:
        """What the file is called."""
        return shared_picture_name(self.sha256)

    @classmethod
    def of(cls, image: bytes) -> SharedPicture:
        """Return the record of an image file."""
        return cls(hashlib.sha256(image).hexdigest(), len(image))


def require_shared(shared: tuple[SharedPicture, ...]) -> None:
    """Refuse a list of pictures that is empty, too long, or names one twice. Raises `ValueError`."""
    if not 1 <= len(shared) <= MAX_PICTURES:
        raise ValueError(f"shared has {len(shared)} pictures, expected 1 to {MAX_PICTURES}")
    if len({each.sha256 for each in shared}) != len(shared):
        raise ValueError("shared has a picture twice")


def keep_shared(folder: Path, image: bytes, mode: int = 0o666) -> None:
    """Put a picture into ``folder``, unless it is there; ``mode``: its permissions, less the umask.

    Who may read by ``mode`` may then read one that was there too. Any number of runs may do so at once.
    Raises `TargetError`.
    """
    picture = SharedPicture.of(image)
    path = folder / picture.name

    def put() -> None:
        if _read(path, picture) != image:
            with atomic_write(path, mode=mode) as file:
                file.write(image)

    look_again(put)
    with suppress(OSError):  # it is another user's, or has gone again
        before = stat.S_IMODE(path.stat().st_mode)
        if more := mode & ~before & _MAY_READ:
            path.chmod(before | more)


def read_shared(archive: Path, picture: SharedPicture) -> bytes:
    """Return the picture that ``archive`` shares, checked.

    Raises `DamagedArchiveError` where its file holds another, and `MissingPictureError`, a kind of that,
    where there is no file; both without a path.
    """
    for path in shared_paths(archive, picture):
        found = _read(path, picture)
        if found is not None:
            return found
    path = shared_path(archive, picture)
    if path.exists():
        raise DamagedArchiveError(f"{picture.name} beside it {fault_of(path)}")
    raise MissingPictureError(f"{picture.name} is not beside it")


def fault_of(path: Path) -> str:
    """Return in words what is wrong with the file of a shared picture, which does not hold it."""
    if not path.exists():
        return "is missing"
    return "is damaged" if os.access(path, os.R_OK) else "cannot be read"


def holds_its_picture(path: Path) -> bool:
    """Return whether the file of a shared picture has the SHA-256 that it is called by."""
    image = _content(path, range(_MAX_BYTES + 1))
    return image is not None and SharedPicture.of(image).name == path.name


def is_there(archive: Path, picture: SharedPicture) -> bool:
    """Return whether a picture that ``archive`` shares is where it belongs, as far as its size tells."""
    for path in shared_paths(archive, picture):
        try:
            status = path.stat()
        except OSError:
            continue
        return stat.S_ISREG(status.st_mode) and status.st_size == picture.n_bytes
    return False


def shared_path(archive: Path, picture: SharedPicture) -> Path:
    """Return where the file of a picture that ``archive`` shares is, or if it is missing, belongs."""
    paths = list(shared_paths(archive, picture))
    return next((path for path in paths if path.exists()), paths[0])


def shared_paths(archive: Path, picture: SharedPicture) -> Iterator[Path]:
    """Yield where a picture that ``archive`` shares may be: beside it, or where a link leads to."""
    yield archive.with_name(picture.name)
    real = Path(os.path.realpath(archive))
    if real.parent != archive.parent:
        yield real.with_name(picture.name)


def _read(path: Path, picture: SharedPicture) -> bytes | None:
    """Return what ``path`` holds if it is ``picture``, else None."""
    image = _content(path, range(picture.n_bytes, picture.n_bytes + 1))
    return image if image is not None and SharedPicture.of(image) == picture else None


def _content(path: Path, sizes: range) -> bytes | None:
    """Return what a regular file of one of these sizes holds, None for anything else."""
    try:
        # NONBLOCK: opening a pipe must not wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # it is open already
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size not in sizes:
                return None  # before anything is allocated
            return file.read()
    except OSError:
        return None
