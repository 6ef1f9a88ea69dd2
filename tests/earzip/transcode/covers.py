"""Pictures, sources that have them, and what their archives hold."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import mutagen.flac
import mutagen.id3
import numpy as np
import pytest
import soundfile

import earzip
from earzip.formats.archive.reader import ArchiveReader
from earzip.options import CompressOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.results import CompressResult
from tests.conftest import tones

pytest.importorskip("PIL")


def cover(size: int = 400, form: str = "PNG", seed: int = 0) -> bytes:
    """A picture of some detail, so that it is smaller when it is scaled."""
    from PIL import Image  # noqa: PLC0415

    small = np.random.default_rng(seed).integers(0, 256, (size // 4, size // 4, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(small).resize((size, size)).save(file, form)
    return file.getvalue()


COVER = cover()
NAME = hashlib.sha256(COVER).hexdigest() + ".earzpic"


def tagged(path: Path, *images: bytes, seed: int = 0, title: str = "Song") -> Path:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, tones(20_000, seed=seed).T, 44_100, subtype="PCM_16")
    tags = mutagen.flac.FLAC(path)
    tags["title"] = title
    for image in images:
        picture = mutagen.flac.Picture()
        picture.type, picture.mime, picture.data = 3, "image/png", image
        tags.add_picture(picture)
    tags.save()
    return path


def compress(source: Path, archive: Path, **options: object) -> CompressResult:
    return compress_file(source, archive, CompressOptions("tiny", **options))


def segments(archive: Path) -> list[bytes]:
    with ArchiveReader(archive) as reader:
        return reader.segment_checksums()


def pictures(archive: Path) -> list[bytes]:
    with earzip.open(archive) as track:
        return [picture.data for picture in track.pictures()]
