"""A file that cannot be read is an error at whatever byte: never a shorter sound, or one without tags."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from earzip.errors import ArchiveError, EarzipError, TargetError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.verify import verify_structure
from earzip.formats.audio.source import open_source_file
from earzip.formats.audio.write import AudioWriter
from earzip.formats.tags.provenance import read_provenance, write_provenance
from earzip.formats.tags.read import read_tags
from tests.formats.archive.samples import write_sample
from tests.formats.audio.audio_files import encode, music, write_wav
from tests.formats.faulty_files import EIO, buffered, opened_faultily, raw_of
from tests.formats.tags.tag_files import MAKERS
from tests.formats.tags.unread_files import PIPED_MAKERS, UNREAD_MAKERS

T = TypeVar("T")

ALL_MAKERS = MAKERS | UNREAD_MAKERS | PIPED_MAKERS
_SUFFIXES = ("wav", "flac", "mp3", "ogg", "opus", "aiff")
_OF_PYAV = ("m4a", "wma")


def _sound(tmp_path: Path, suffix: str) -> Path:
    wav = write_wav(tmp_path / "a.wav", music(30_000))
    return wav if suffix == "wav" else encode(wav, tmp_path / f"a.{suffix}")


def _tried(work: Callable[[], T]) -> tuple[T | None, str | None]:
    """Return what ``work`` returns, and the message of the error that it raises."""
    try:
        return work(), None
    except EarzipError as error:
        return None, error.message


@pytest.mark.parametrize("suffix", [*_SUFFIXES, *_OF_PYAV])
def test_sound_that_cannot_be_read_is_an_error_at_every_byte(tmp_path: Path, suffix: str) -> None:
    if suffix in _OF_PYAV:
        pytest.importorskip("av")
    path = _sound(tmp_path, suffix)
    n_bytes = path.stat().st_size

    def read(file: BinaryIO) -> NDArray[np.float32]:
        with open_source_file(file, n_bytes, str(path)) as reader:
            return np.concatenate(list(reader.blocks()), axis=1)

    whole = read(path.open("rb"))
    for nth in count(1):
        file = buffered(path, nth)
        sound, message = _tried(partial(read, file))
        assert message == (f"cannot be read: {EIO}" if raw_of(file).has_failed else None), nth
        if sound is not None:
            np.testing.assert_array_equal(sound, whole)
            break
    assert nth > 10


@pytest.mark.parametrize("make", ALL_MAKERS)
def test_tags_that_cannot_be_read_are_an_error_at_every_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: str
) -> None:
    path = ALL_MAKERS[make](tmp_path / f"a.{make}")
    whole = read_tags(path)
    for nth in count(1, step=3):
        with opened_faultily(monkeypatch, path, nth) as has_failed:
            tags, message = _tried(lambda: read_tags(path))
            assert message == (f"its tags cannot be read: {EIO}" if has_failed() else None), nth
        if tags is not None:
            assert (tags, tags.problems) == (whole, whole.problems)
            break
    assert nth > 3


@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_an_origin_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path, digest = _sound(tmp_path, suffix), bytes(range(16))
    write_provenance(path, digest)
    for nth in count(1):
        with opened_faultily(monkeypatch, path, nth) as has_failed:
            found, message = _tried(lambda: read_provenance(path, TargetError))
            assert message == (f"cannot be read: {EIO}" if has_failed() else None), nth
        if found is not None:
            assert found == digest
            break
    assert nth > 1


def test_reads_that_give_less_than_there_is_are_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As network file systems may, and an interrupted read."""
    path = tmp_path / "a.earz"
    write_sample(path)
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda file, n, offset: real(file, min(n, 7), offset))
    assert verify_structure(path) == []
    with ArchiveReader(path) as reader:
        assert reader.segment(0)


def test_an_archive_that_cannot_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.earz"
    write_sample(path)
    real = os.pread

    def fail_behind(file: int, n_bytes: int, offset: int) -> bytes:
        if offset > 60:
            raise OSError(5, EIO)
        return real(file, n_bytes, offset)

    monkeypatch.setattr(os, "pread", fail_behind)
    with pytest.raises(ArchiveError, match=f"cannot be read: {EIO}") as caught:
        verify_structure(path)
    assert type(caught.value) is ArchiveError


class _LosesPosition(io.FileIO):
    """A file of which the call number ``nth`` to move in it, or to say where it stands, fails."""

    def __init__(self, path: Path, nth: int) -> None:
        super().__init__(path, "w+")
        self.left = nth

    def _count(self) -> None:
        self.left -= 1
        if not self.left:
            raise OSError(5, EIO)

    def tell(self) -> int:
        self._count()
        return super().tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._count()
        return super().seek(offset, whence)


def _write_flac(path: Path) -> None:
    facts: dict[str, Any] = {"container": "flac", "sample_rate": 44_100, "channels": 2, "bits": 16}
    with AudioWriter(path, **facts, dither=False, n_samples=30_000) as writer:
        writer.write(music(30_000))


def test_a_flac_whose_file_loses_its_position_is_an_error_and_not_a_wrong_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_flac(tmp_path / "whole.flac")
    path = tmp_path / "a.flac"
    for nth in count(1):
        raw = _LosesPosition(path, nth)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", lambda _self, _mode, file=raw: io.BufferedWriter(file))
            _, message = _tried(lambda: _write_flac(path))
        if message is None:  # of what is not needed a failure is no harm
            assert path.read_bytes() == (tmp_path / "whole.flac").read_bytes(), nth
            if raw.left > 0:
                break
        else:
            assert message == EIO
    assert nth > 2
