"""A whole archive of each kind that rules and bombs are made of, with tags and pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from earzip.options import CompressOptions
from earzip.transcode.compress import compress_file
from tests.conftest import MODELS, tones
from tests.earzip.tiny_archives import with_floor
from tests.formats.archive.rules import tags
from tests.formats.archive.rules.registry import (
    CONTEXT,
    FILE,
    FLAC,
    KINDS,
    LEVELS,
    PACKED,
    PICTURE,
    SHORT,
    TAGS,
)
from tests.formats.archive.samples import BOOKLET, COVER, Pieces

_MODELS = {PACKED: "tiny", CONTEXT: "tiny-transform", LEVELS: "tiny-levels"}


def write_wholes(folder: Path) -> dict[str, Path]:
    """Write an archive of each of `KINDS` to ``folder``, by the tiny models."""
    folder.mkdir(exist_ok=True)
    audio = tones(70_000).T
    soundfile.write(folder / "song.wav", audio, 44_100, subtype="PCM_24")
    soundfile.write(folder / "float.wav", audio, 44_100, subtype="FLOAT")
    soundfile.write(folder / "short.wav", audio[:63], 44_100)
    sources = dict.fromkeys(KINDS, "song.wav") | {FILE: "float.wav", SHORT: "short.wav"}
    archives = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARZIP_MODELS", str(MODELS))
        for kind, source in sources.items():
            options = CompressOptions(model=_MODELS.get(kind, "tiny"))
            if kind in (FLAC, FILE):
                options = with_floor("lossless")
            archives[kind] = folder / f"{kind}.earz"
            compress_file(folder / source, archives[kind], options)
            pieces = Pieces.of(archives[kind])
            pieces.parts += [(TAGS, b""), (PICTURE, COVER), (PICTURE, BOOKLET)]
            pieces.parts.sort(key=lambda part: part[0])
            tags.put(pieces, tags.good())
            pieces.write(archives[kind])
    return archives
