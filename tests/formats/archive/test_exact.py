from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import pytest

from earzip.errors import DamagedArchiveError, SourceError, TargetError, UnsupportedArchiveError
from earzip.formats.archive.header import Header
from earzip.formats.archive.layout import MAX_EXACT_PART_BYTES
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.records import CheckRecord
from earzip.formats.archive.verify import verify_structure
from earzip.formats.archive.writer import PIECE_BYTES, ArchiveWriter, ExactPieces
from tests.formats.archive.samples import (
    BLOCKS,
    PICTURES,
    TAGS,
    Pieces,
    flip_bit,
    sample_header,
    write_sample,
)

MEASURES = {"si_sdr_db": -3.25, "mel": 0.4312, "stft": 1.5, "icpc": 0.98765, "ccpc": 1.0, "dbtp": 0}
# 8,192 samples of two channels of 16 bits at 44,100 Hz, as the sample header says.
STREAMINFO = bytes(10) + (44_100 << 44 | 1 << 41 | 15 << 36 | 8192).to_bytes(8, "big") + bytes(16)
SOURCE = b"fLaC\x80\0\0\x22" + STREAMINFO + bytes(range(256)) * 10


def exact_header(source: bytes, form: str = "file", n_samples: int | None = None) -> Header:
    header = sample_header() if n_samples is None else sample_header(n_samples)
    sha256 = hashlib.sha256(source).hexdigest()
    record = replace(header.source, sha256=sha256, n_bytes=len(source))
    return replace(header, source=record, exact=form)


def write_exact(
    path: Path, source: bytes = SOURCE, form: str = "file", piece_bytes: int = PIECE_BYTES
) -> None:
    header = exact_header(source, form)
    content = {"tags": TAGS, "blocks": BLOCKS, "pictures": PICTURES, "exact": io.BytesIO(source)}
    write_sample(path, header, piece_bytes, **content)


@pytest.mark.parametrize("form", ["file", "flac"])
def test_an_exact_copy_comes_back_in_pieces_behind_everything_else(
    tmp_path: Path, form: str
) -> None:
    write_exact(tmp_path / "a", form=form, piece_bytes=1000)
    assert [kind for kind, _ in Pieces.of(tmp_path / "a").parts][-4:] == [3, 4, 4, 4]
    with ArchiveReader(tmp_path / "a") as reader:
        assert (reader.header.exact, reader.prefix.minor) == (form, 2)
        assert reader.sizes.exact == len(SOURCE)
        assert reader.sizes.total == (tmp_path / "a").stat().st_size
        assert reader.pictures() == PICTURES
        copy = reader.exact_copy()
    with copy:  # it outlives the reader
        copy.seek(1000)
        assert copy.read(300) == SOURCE[1000:1300]
        copy.seek(-6, io.SEEK_END)
        assert copy.read() == SOURCE[-6:]
    assert verify_structure(tmp_path / "a") == []


def test_every_piece_is_checked_before_the_copy_is_used(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_exact(path, piece_bytes=1000)
    flip_bit(path, path.stat().st_size - len(SOURCE) + 1500, 3)
    with ArchiveReader(path) as reader:
        with pytest.raises(DamagedArchiveError, match="a: exact copy, piece 2: bytes"):
            reader.exact_copy()
        assert reader.segment(0)
    assert [damage.part for damage in verify_structure(path)] == ["exact copy, piece 2"]


def test_a_copy_of_a_file_must_be_that_file(tmp_path: Path) -> None:
    write_exact(tmp_path / "a")
    pieces = Pieces.of(tmp_path / "a")
    pieces.change_part(4, SOURCE[::-1])
    path = pieces.write(tmp_path / "b")
    with (
        ArchiveReader(path) as reader,
        pytest.raises(DamagedArchiveError, match="b: exact copy: its SHA-256 is"),
    ):
        reader.exact_copy()
    assert [damage.part for damage in verify_structure(path)] == ["exact copy"]
    pieces.change_part(4, SOURCE[:-1] + b"?")
    pieces.change_header("exact", "flac")  # of which the header has no checksum
    assert verify_structure(pieces.write(tmp_path / "c")) == []


def test_a_piece_that_is_too_long_to_hold_is_refused(tmp_path: Path) -> None:
    source = bytes(MAX_EXACT_PART_BYTES + 1)
    write_exact(tmp_path / "a", source, piece_bytes=len(source))
    with pytest.raises(DamagedArchiveError, match=f"a piece of the exact copy is {len(source)}"):
        ArchiveReader(tmp_path / "a")


def test_an_archive_can_be_read_and_written_anew_before_it_gets_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with ArchiveWriter(path) as writer:
        writer.write(exact_header(SOURCE, n_samples=0), exact=io.BytesIO(SOURCE))
        with ArchiveReader(writer.temporary) as reader, reader.exact_copy() as copy:
            assert copy.read() == SOURCE
        sizes = writer.write(sample_header(0))  # shorter: nothing of the first is left
        assert not path.exists()
        writer.commit()
    assert path.stat().st_size == sizes.total
    assert verify_structure(path) == []


def test_a_copy_that_changes_while_it_is_read_makes_no_archive(tmp_path: Path) -> None:
    source = tmp_path / "song.mp3"
    source.write_bytes(SOURCE)

    class Changing(io.FileIO):
        def seek(self, offset: int, whence: int = 0) -> int:
            times.append(offset)
            if len(times) == 2:
                source.write_bytes(SOURCE[::-1])
            return super().seek(offset, whence)

    times: list[int] = []
    header = replace(sample_header(0), exact="file")
    with (
        pytest.raises(SourceError, match=r"song\.mp3: changed while it was copied"),
        Changing(source) as file,
        ArchiveWriter(tmp_path / "a") as writer,
    ):
        writer.write(header, exact=file)
    assert [each.name for each in tmp_path.iterdir()] == ["song.mp3"]


def test_a_copy_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="a: the exact copy has more than 2000 bytes"):
        ExactPieces(io.BytesIO(SOURCE), tmp_path / "a", piece_bytes=1000, max_pieces=2)


def test_header_and_index_must_agree_on_the_copy(tmp_path: Path) -> None:
    write_exact(tmp_path / "a")
    pieces = Pieces.of(tmp_path / "a")
    pieces.change_header("exact", ...)
    with pytest.raises(DamagedArchiveError, match="1 parts of an exact copy, the header says none"):
        ArchiveReader(pieces.write(tmp_path / "b"))
    pieces.change_header("exact", "flac")
    del pieces.parts[-1]
    with pytest.raises(DamagedArchiveError, match="0 parts of an exact copy, the header says flac"):
        ArchiveReader(pieces.write(tmp_path / "b"))
    pieces.parts.append((4, b""))
    with pytest.raises(DamagedArchiveError, match="a part of 0 bytes"):
        ArchiveReader(pieces.write(tmp_path / "b"))


def test_an_unknown_form_needs_a_newer_earzip(tmp_path: Path) -> None:
    write_exact(tmp_path / "a")
    pieces = Pieces.of(tmp_path / "a")
    pieces.change_header("exact", "wavpack")
    with pytest.raises(UnsupportedArchiveError, match="'wavpack' needs a newer earzip"):
        ArchiveReader(pieces.write(tmp_path / "b"))
    for wrong in (None, 1, ["file"]):
        pieces.change_header("exact", wrong)
        with pytest.raises(DamagedArchiveError, match="exact is"):
            ArchiveReader(pieces.write(tmp_path / "b"))


def test_measures_come_back_to_four_places(tmp_path: Path) -> None:
    write_sample(tmp_path / "a", replace(sample_header(), check=CheckRecord.of(MEASURES)))
    with ArchiveReader(tmp_path / "a") as reader:
        assert reader.prefix.minor == 2
        assert reader.header.check is not None
        assert reader.header.check.measures == {**MEASURES, "icpc": 0.9876}


def test_a_check_without_measures_is_told_from_none(tmp_path: Path) -> None:
    write_sample(tmp_path / "a", replace(sample_header(), check=CheckRecord.of(None)))
    with ArchiveReader(tmp_path / "a") as reader:
        assert reader.header.check == CheckRecord()
        assert reader.header.check.measures is None


def test_measures_beyond_the_format_are_cut_off() -> None:
    assert CheckRecord.of({**MEASURES, "si_sdr_db": 1e9}).si_sdr_db == 10**7
    assert CheckRecord.of({**MEASURES, "si_sdr_db": -1e9}).si_sdr_db == -(10**7)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("check", None),
        ("check", [1]),
        ("check.mel", ...),
        ("check.mel", None),
        ("check.mel", True),
        ("check.si_sdr_db", 10**7 + 1),
    ],
)
def test_half_a_check_is_damage(tmp_path: Path, key: str, value: object) -> None:
    write_sample(tmp_path / "a", replace(sample_header(), check=CheckRecord.of(MEASURES)))
    pieces = Pieces.of(tmp_path / "a")
    pieces.change_header(key, value)
    with pytest.raises(DamagedArchiveError, match="check"):
        ArchiveReader(pieces.write(tmp_path / "b"))
