"""Tagged and untagged sound files for fuzzing, by the makers of the tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from earzip.formats.tags.read import PARSERS, read_tags
from tests.formats.audio.audio_files import encode, music, write_wav
from tests.formats.tags.tag_files import MAKERS, tag_ape
from tests.formats.tags.unread_files import PIPED_MAKERS, UNREAD_MAKERS

_NEED_NOTHING = ("flac", "wav", "aiff", "au", "mp3")
_SUBTYPES = {
    "wav": "PCM_16", "rf64": "PCM_24", "w64": "FLOAT", "aiff": "PCM_24", "au": "ULAW", "caf": "ALAC_16",
    "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III", "opus": "OPUS",
}  # fmt: skip
_BY_FFMPEG = ("m4a", "wma", "wv", "mka", "tta", "ac3", "mp2", "spx", "aac")
_SHORT = 3000  # samples


def sounds(folder: Path) -> Iterator[bytes]:
    """Yield short sound files of every format that libsndfile writes, and ffmpeg where there is one."""
    for extension, subtype in _SUBTYPES.items():
        path, form = folder / f"a.{extension}", {"opus": "OGG"}.get(extension)
        rate = 48_000 if extension == "opus" else 44_100
        write_wav(path, music(_SHORT), rate, subtype, format=form)
        yield path.read_bytes()
    if shutil.which("ffmpeg"):
        source = write_wav(folder / "source.wav", music(_SHORT), 44_100)
        for extension in _BY_FFMPEG:
            yield from _made(lambda path: encode(source, path), folder / f"b.{extension}")


def tagged(folder: Path) -> Iterator[bytes]:
    """Yield tagged files of every family, and files whose tags are not read or that were piped."""
    for name, make in (MAKERS | UNREAD_MAKERS | PIPED_MAKERS).items():
        if name in _NEED_NOTHING or shutil.which("ffmpeg"):
            yield from _made(make, folder / f"tagged.{name}")
    if shutil.which("ffmpeg"):
        source = write_wav(folder / "source.wav", music(_SHORT), 44_100)

        def with_ape(path: Path) -> None:
            tag_ape(encode(source, path))

        yield from _made(with_ape, folder / "tagged.wv")


def blocks(folder: Path) -> Iterator[bytes]:
    """Yield each tag block of these files behind the number of its kind, as `kind_and_block` takes it."""
    kinds = sorted(PARSERS)
    for number, data in enumerate(tagged(folder)):
        path = folder / f"blocks-{number}"
        path.write_bytes(data)
        for raw in read_tags(path).raw:
            yield bytes([kinds.index(raw.kind)]) + raw.data[: 1 << 16]
    for number in range(len(kinds)):
        yield bytes([number])


def kind_and_block(data: bytes) -> tuple[str, bytes]:
    """Return a tag block and its kind."""
    kinds = sorted(PARSERS)
    return kinds[(data[0] if data else 0) % len(kinds)], data[1:]


def _made(make: Callable[[Path], object], path: Path) -> Iterator[bytes]:
    """Yield what ``make`` writes to ``path``; nothing where an encoder is missing."""
    try:
        make(path)
    except (OSError, RuntimeError, pytest.skip.Exception):
        return
    yield path.read_bytes()
