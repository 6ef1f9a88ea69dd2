"""Pictures beside archives: written before them, found and checked by their names, never half there."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from earzip.errors import (
    DamagedArchiveError,
    MissingPictureError,
    TargetError,
    UnsupportedArchiveError,
)
from earzip.formats.archive.header import Header
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.shared import SharedPicture, read_shared
from earzip.formats.archive.verify import verify_structure
from earzip.formats.archive.writer import ArchiveWriter
from earzip.formats.names import is_shared_picture_name, shared_picture_name
from tests.formats.archive.samples import (
    BLOCKS,
    BOOKLET,
    COVER,
    PICTURES,
    TAGS,
    Pieces,
    flip_bit,
    pieces_of,
    sample_header,
    write_sample,
)

NAME = hashlib.sha256(COVER).hexdigest() + ".earzpic"


def sharing_header(*images: bytes) -> Header:
    return replace(sample_header(), shared=tuple(map(SharedPicture.of, images or (COVER,))))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive that has the booklet, and shares the cover."""
    path = tmp_path / "song.earz"
    write_sample(path, sharing_header(), tags=TAGS, blocks=BLOCKS, pictures=PICTURES)
    return path


def test_a_shared_picture_is_a_file_of_its_own_named_by_its_sha256(archive: Path) -> None:
    beside = archive.with_name(NAME)
    assert beside.read_bytes() == COVER
    assert sorted(path.name for path in archive.parent.iterdir()) == sorted([NAME, "song.earz"])
    data = archive.read_bytes()
    assert COVER not in data
    assert BOOKLET in data
    with ArchiveReader(archive) as reader:
        assert reader.prefix.minor == 5
        assert reader.pictures() == PICTURES
        assert reader.picture_sizes() == [len(picture) for picture in PICTURES]
        assert reader.picture_checksum(1) == hashlib.sha256(COVER).digest()[:8]
        assert reader.sizes.pictures == len(BOOKLET)
        assert reader.sizes.total == len(data)
    assert verify_structure(archive) == []


def test_all_pictures_may_be_shared(tmp_path: Path) -> None:
    header = sharing_header(BOOKLET, COVER)
    path = tmp_path / "song.earz"
    sizes = write_sample(path, header, tags=TAGS, blocks=BLOCKS, pictures=PICTURES)
    assert sizes.pictures == 0
    with ArchiveReader(path) as reader:
        assert reader.pictures() == PICTURES


def test_a_picture_that_is_there_is_not_written_again(archive: Path) -> None:
    before = archive.with_name(NAME).stat()
    other = archive.with_name("other.earz")
    write_sample(other, sharing_header(), tags=TAGS, blocks=BLOCKS, pictures=PICTURES)
    after = archive.with_name(NAME).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("content", [b"", COVER[:-1], COVER + b"x", bytes(len(COVER))])
def test_a_damaged_picture_is_found_and_replaced_by_who_has_it(
    content: bytes, archive: Path
) -> None:
    archive.with_name(NAME).write_bytes(content)
    (damage,) = verify_structure(archive)
    assert damage.part == "picture 2"
    assert not damage.costs_all
    with ArchiveReader(archive) as reader, pytest.raises(DamagedArchiveError) as caught:
        reader.pictures()
    assert caught.value.message == f"picture 2: {NAME} beside it is damaged"
    assert not isinstance(caught.value, MissingPictureError)
    assert verify_structure(archive, with_shared=False) == []
    write_sample(archive, sharing_header(), tags=TAGS, blocks=BLOCKS, pictures=PICTURES)
    assert verify_structure(archive) == []


def test_every_changed_bit_of_a_shared_picture_is_found(archive: Path) -> None:
    for byte in range(len(COVER)):
        for bit in (0, 7):
            flip_bit(archive.with_name(NAME), byte, bit)
            assert len(verify_structure(archive)) == 1, (byte, bit)
            flip_bit(archive.with_name(NAME), byte, bit)
    assert verify_structure(archive) == []


def test_a_missing_picture_is_named(archive: Path) -> None:
    archive.with_name(NAME).unlink()
    with ArchiveReader(archive) as reader:
        assert reader.picture(0) == BOOKLET
        with pytest.raises(MissingPictureError, match=f"picture 2: {NAME} is not beside it"):
            reader.picture(1)
        assert reader.tags is not None
    assert [damage.part for damage in verify_structure(archive)] == ["picture 2"]


def test_what_is_no_file_is_no_picture(archive: Path) -> None:
    beside = archive.with_name(NAME)
    beside.unlink()
    os.mkfifo(beside)  # opening it must not wait
    with pytest.raises(DamagedArchiveError):
        read_shared(archive, SharedPicture.of(COVER))
    beside.unlink()
    beside.symlink_to(beside.name)
    with pytest.raises(MissingPictureError):
        read_shared(archive, SharedPicture.of(COVER))


def test_an_archive_reached_by_a_link_has_the_pictures_of_both_directories(
    archive: Path, tmp_path: Path
) -> None:
    """As git-annex keeps files; pictures may lie beside the link, or where it leads to."""
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "song.earz"
    link.symlink_to(archive)
    assert verify_structure(link) == []
    archive.with_name(NAME).rename(link.with_name(NAME))
    assert verify_structure(link) == []
    assert len(verify_structure(archive)) == 1


def test_no_archive_appears_without_its_picture(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()  # no file can take its place
    with pytest.raises(TargetError):
        write_sample(tmp_path / "song.earz", sharing_header(), tags=TAGS, blocks=BLOCKS,
                     pictures=PICTURES)  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_picture_that_is_pruned_before_an_archive_names_it_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = sharing_header()
    with ArchiveWriter(tmp_path / "song.earz") as writer:
        for i in range(header.n_segments):
            writer.add_segment(*pieces_of(header, i))
        writer.write(header, tags=TAGS, blocks=BLOCKS, pictures=PICTURES)
        appear = writer._target.close

        def pruned_first() -> None:
            (tmp_path / NAME).unlink()
            appear()

        monkeypatch.setattr(writer._target, "close", pruned_first)
        writer.commit()
    assert verify_structure(tmp_path / "song.earz") == []


def test_what_was_not_committed_leaves_no_picture(tmp_path: Path) -> None:
    header = sharing_header()
    with ArchiveWriter(tmp_path / "song.earz") as writer:
        for i in range(header.n_segments):
            writer.add_segment(*pieces_of(header, i))
        writer.write(header, tags=TAGS, blocks=BLOCKS, pictures=PICTURES)
    assert list(tmp_path.iterdir()) == []


_WRITE = """
import sys
from pathlib import Path
from earzip.formats.archive.shared import keep_shared
sys.stdin.readline()
for i in range(40):
    image = bytes([i]) * 300_000
    keep_shared(Path(sys.argv[1]), image)
"""


def test_processes_that_write_the_same_pictures_at_once(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITE, tmp_path], stdin=subprocess.PIPE)
        for _ in range(4)
    ]
    for writer in writers:
        writer.stdin.write(b"\n")  # all are loaded, or will be: they begin at about the same time
        writer.stdin.close()
    assert [writer.wait(60) for writer in writers] == [0] * 4
    found = sorted(path.name for path in tmp_path.iterdir())
    expected = sorted(SharedPicture.of(bytes([i]) * 300_000).name for i in range(40))
    assert found == expected
    for path in tmp_path.iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def test_a_picture_is_as_private_as_the_least_private_archive_that_has_it(tmp_path: Path) -> None:
    def write(name: str, mode: int) -> int:
        header = sharing_header()
        with ArchiveWriter(tmp_path / name, mode=mode) as writer:
            for i in range(header.n_segments):
                writer.add_segment(*pieces_of(header, i))
            writer.write(header, tags=TAGS, blocks=BLOCKS, pictures=PICTURES)
            writer.commit()
        return (tmp_path / NAME).stat().st_mode & 0o777

    before = os.umask(0o027)
    try:
        assert write("private.earz", 0o600) == 0o600
        assert write("public.earz", 0o666) == 0o640
        assert write("private again.earz", 0o600) == 0o640
    finally:
        os.umask(before)


def test_a_picture_that_nobody_may_read_is_told_apart(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid():
        archive.with_name(NAME).chmod(0)
    else:  # who may read everything
        archive.with_name(NAME).write_bytes(b"")
        monkeypatch.setattr(os, "access", lambda *_: False)
    (damage,) = verify_structure(archive)
    assert damage.message == f"{NAME} beside it cannot be read"


def test_a_reader_that_does_not_know_of_shared_pictures_refuses_the_archive(archive: Path) -> None:
    """The header calls them critical: one that took the tags for damaged would say what is wrong."""
    assert b'"critical":["shared"]' in Pieces.of(archive).header
    pieces = Pieces.of(archive)
    pieces.change_header("critical", ["shared", "shared2"])
    with pytest.raises(UnsupportedArchiveError, match="'shared2' needs a newer earzip"):
        ArchiveReader(pieces.write(archive))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (NAME, True),
        (NAME.upper(), False),
        (f"x{NAME}", False),
        (NAME[1:], False),
        (f"{NAME}.earz", False),
        (f".{NAME}.0123456789abcdef.earzip-tmp", False),
    ],
)
def test_names_of_shared_pictures(name: str, expected: bool) -> None:
    assert is_shared_picture_name(name) is expected
    assert shared_picture_name(NAME[:64]) == NAME
