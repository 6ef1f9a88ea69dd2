"""What an archive says of itself and whether its bytes are whole, without a network and torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from earzip.errors import DamagedArchiveError, NotAnArchiveError
from earzip.formats.archive.header import Header
from earzip.formats.archive.layout import ArchiveSizes
from earzip.formats.archive.reader import ArchiveFile, ArchiveReader
from earzip.formats.archive.shared import is_there
from earzip.formats.archive.tag_part import TagPart
from earzip.formats.archive.verify import Damage, verify_structure
from earzip.formats.names import is_archive_name
from earzip.results import kbps

SAVES_REST = "restore --keep-going saves the rest"
"""What a user can do where damage costs only a part."""


@dataclass(frozen=True)
class ArchiveInfo:
    """Everything about an archive but its sound, its raw tag blocks and its pictures' data."""

    path: Path
    format_version: str  # "1.0"
    header: Header
    sizes: ArchiveSizes
    tags: TagPart | None
    picture_bytes: tuple[int, ...]
    """The size of each picture that the tags describe; a picture used twice is stored once."""
    picture_files: tuple[str | None, ...] = ()
    """The name of the file beside the archive that holds each of these, None for one in the archive."""
    missing_files: tuple[str, ...] = ()
    """Those of them that are not there."""

    @property
    def kbps(self) -> float:
        """Kilobits per second of everything but pictures; 0 for an empty track."""
        return kbps(self.sizes.total - self.sizes.pictures, self.header.duration_s)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that json.dumps takes; names carry their units.

        ``step_exponent_runs``: for latents in order the exponent of their step, and how many have it.
        """
        header = self.header
        return {
            "path": os.fspath(self.path),
            "format_version": self.format_version,
            "duration_s": header.duration_s,
            "n_samples": header.n_samples,
            "n_frames": header.n_frames,
            "n_segments": header.n_segments,
            "kbps": round(self.kbps, 3),
            "bytes": {"total": self.sizes.total, **asdict(self.sizes)},
            "encoder": asdict(header.encoder),
            "model": asdict(header.model),
            "geometry": asdict(header.geometry),
            "quantizer": {
                "quality": header.quantizer.quality,
                "step_exponent_runs": [
                    [exponent, len(list(run))]
                    for exponent, run in groupby(header.quantizer.step_exponents)
                ],
            },
            "symbols": header.symbols,
            "gain_db": header.gain_centibels / 10,
            "settings": header.settings,
            "checked": header.check is not None,
            "measures": header.check.measures if header.check else None,
            "exact": header.exact,
            "source": asdict(header.source),
            "tags": self.tags.payload if self.tags else None,
            "raw_tag_bytes": [len(block) for block in self.tags.blocks] if self.tags else [],
            "pictures": header.pictures,
            "picture_bytes": list(self.picture_bytes),
            "picture_files": list(self.picture_files),
            "missing_files": list(self.missing_files),
        }


@dataclass(frozen=True)
class VerifyResult:
    """What `verify_archive` found."""

    path: Path
    damages: tuple[Damage, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong with the archive's bytes."""
        return not self.damages

    @property
    def saves_rest(self) -> bool:
        """Whether damage costs a part only: ``restore --keep-going`` saves the rest."""
        return bool(self.damages) and not any(damage.costs_all for damage in self.damages)

    @property
    def lost_segments(self) -> tuple[int, ...]:
        """Numbers of the segments whose sound is lost; the rest can be restored."""
        return tuple(d.segment for d in self.damages if d.segment is not None)


def read_info(path: str | os.PathLike[str]) -> ArchiveInfo:
    """Return what the archive at ``path`` says of itself. Sound and pictures are not read.

    Raises `ArchiveError`, or the kind of it that says why the file cannot be used.
    """
    with ArchiveReader(path, salvage=True) as reader:
        try:
            if reader.wrong_length:
                raise DamagedArchiveError(reader.wrong_length, reader.path)
            tags = reader.tags
        except DamagedArchiveError as error:
            raise DamagedArchiveError(f"{error.message}; {SAVES_REST}", error.path) from error
        return info_of(reader, tags)


def info_of(reader: ArchiveReader, tags: TagPart | None) -> ArchiveInfo:
    """Return what an open archive says of itself; ``tags`` are the reader's."""
    shared = [reader.shared_picture(number) for number in tags.pictures] if tags else []
    return ArchiveInfo(
        path=reader.path,
        format_version=f"{reader.prefix.major}.{reader.prefix.minor}",
        header=reader.header,
        sizes=reader.sizes,
        tags=tags,
        picture_bytes=tuple(reader.picture_sizes()),
        picture_files=tuple(each.name if each else None for each in shared),
        missing_files=tuple(
            each.name for each in reader.header.shared or () if not is_there(reader.path, each)
        ),
    )


def verify_archive(
    path: str | os.PathLike[str], *, on_part: Callable[[], None] = lambda: None
) -> VerifyResult:
    """Return what is wrong with the bytes of the archive at ``path``, every part checked.

    Raises `ArchiveError` for a file that cannot be read, `NotAnArchiveError` for one that is something
    else, and `UnsupportedArchiveError` for one that needs a newer earzip. A file with an archive's name
    that is empty or begins with zeros counts as damaged: a full disk or a crash leaves such files.
    ``on_part`` is called before each part is read, and may raise.
    """
    path = Path(path)
    with ArchiveFile(path) as file, suppress(DamagedArchiveError):
        try:
            with file.blamed():
                file.read_prefix()
        except NotAnArchiveError:
            if not (is_archive_name(path.name) and file.begins_with_zeros()):
                raise
    return VerifyResult(path, tuple(verify_structure(path, on_part)))
