import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import earzip
from earzip.errors import DamagedArchiveError, NotAnArchiveError, UnsupportedArchiveError
from earzip.formats.archive.records import QuantizerRecord
from earzip.transcode.inspect import read_info, verify_archive
from tests.formats.archive.samples import (
    BLOCKS,
    BOOKLET,
    COVER,
    TAGS,
    Pieces,
    sample_header,
    write_sample,
)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.flac.earz"
    write_sample(path)
    return path


@pytest.mark.smoke
def test_info_says_what_the_archive_holds(song: Path) -> None:
    info = read_info(song)
    assert info.path == song
    assert info.format_version == "1.0"
    assert info.header == sample_header()
    assert info.sizes.total == song.stat().st_size
    assert info.tags is not None
    assert info.tags.payload == TAGS
    assert info.picture_bytes == (len(COVER), len(BOOKLET), len(COVER))
    without_pictures = song.stat().st_size - len(COVER) - len(BOOKLET)
    assert info.kbps == pytest.approx(without_pictures * 8 / (8192 / 44_100) / 1000)


def test_info_as_json_names_its_units(song: Path) -> None:
    found = json.loads(json.dumps(read_info(song).to_json(), allow_nan=False))
    assert found["path"] == str(song)
    assert found["duration_s"] == pytest.approx(8192 / 44_100)
    assert (found["n_samples"], found["n_frames"], found["n_segments"]) == (8192, 9, 3)
    assert found["gain_db"] == -1.5
    sizes = found["bytes"]
    parts = ("sound", "overhead", "tags", "pictures")
    assert sizes["total"] == sum(sizes[name] for name in parts) == song.stat().st_size
    assert found["model"] == {
        "name": "mini",
        "sha256": sample_header().model.sha256,
        "n_latents": 8,
    }
    quantizer = sample_header().quantizer
    assert found["quantizer"]["quality"] == "medium"
    runs = found["quantizer"]["step_exponent_runs"]
    assert [e for e, n in runs for _ in range(n)] == list(quantizer.step_exponents)
    assert found["source"]["name"] == "01 - A Song.flac"
    assert found["source"]["mtime_ns"] == 1_700_000_000_123_456_789
    assert found["source"]["truncated"] is None
    assert found["tags"] == TAGS
    assert found["raw_tag_bytes"] == [len(block) for block in BLOCKS]
    assert found["picture_bytes"] == [len(COVER), len(BOOKLET), len(COVER)]


def test_info_as_json_is_short_for_many_latents(tmp_path: Path) -> None:
    header = sample_header(0, n_latents=3000)
    steps = QuantizerRecord("low", (24,) * 2990 + tuple(range(10)))
    write_sample(tmp_path / "a", replace(header, quantizer=steps), tags=None)
    found = read_info(tmp_path / "a").to_json()
    assert found["quantizer"]["step_exponent_runs"] == [[24, 2990], *([i, 1] for i in range(10))]
    assert len(json.dumps(found)) < 2000


def test_info_of_an_empty_track_without_tags(tmp_path: Path) -> None:
    write_sample(tmp_path / "a", sample_header(0), tags=None)
    info = read_info(tmp_path / "a")
    assert (info.kbps, info.tags, info.picture_bytes) == (0.0, None, ())
    assert info.to_json()["tags"] is None


def test_info_does_not_need_whole_segments_and_pictures(song: Path) -> None:
    data = bytearray(song.read_bytes())
    for i in (0, 4):
        data[data.index(Pieces.of(song).parts[i][1])] ^= 1
    song.write_bytes(data)
    assert read_info(song).header == sample_header()


def test_info_of_damaged_tags_is_refused(song: Path) -> None:
    data = bytearray(song.read_bytes())
    data[data.index(Pieces.of(song).parts[3][1])] ^= 1
    song.write_bytes(data)
    with pytest.raises(DamagedArchiveError, match=r"song\.flac\.earz: tags: bytes have changed"):
        read_info(song)


def test_info_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.earz"
    path.write_bytes(b"fLaC" + bytes(200))
    with pytest.raises(NotAnArchiveError, match="is not an earzip archive"):
        read_info(path)


@pytest.mark.smoke
def test_a_whole_archive_verifies(song: Path) -> None:
    result = verify_archive(song)
    assert result.is_whole
    assert result.damages == ()


def test_something_else_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.earz"
    path.write_text("text, more than an archive's prefix takes " * 3)
    with pytest.raises(NotAnArchiveError, match=r"a\.earz: is not an earzip archive"):
        verify_archive(path)


@pytest.mark.parametrize("data", [b"", bytes(40), bytes(4096), bytes(60) + b"x"])
def test_zeros_in_place_of_an_archive_are_damage(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.EARZ").write_bytes(data)
    assert not verify_archive(tmp_path / "a.EARZ").is_whole
    (tmp_path / "a.bin").write_bytes(data)
    with pytest.raises(NotAnArchiveError):
        verify_archive(tmp_path / "a.bin")


def test_damage_is_listed_part_by_part(song: Path) -> None:
    data = bytearray(song.read_bytes())
    for i in (0, 2, 3):
        data[data.index(Pieces.of(song).parts[i][1])] ^= 1
    song.write_bytes(data)
    result = verify_archive(song)
    assert not result.is_whole
    assert result.lost_segments == (0, 2)
    assert [d.part for d in result.damages] == ["0:00.00–0:00.08", "0:00.17–0:00.19", "tags"]
    assert result.saves_rest
    assert [d.segment for d in result.damages] == [0, 2, None]
    assert all(d.message == "bytes have changed" for d in result.damages)


def test_an_archive_for_a_newer_earzip_is_not_called_damaged(song: Path) -> None:
    pieces = Pieces.of(song)
    pieces.major = 2
    pieces.write(song)
    with pytest.raises(UnsupportedArchiveError):
        verify_archive(song)


def test_neither_torch_nor_the_command_line_is_loaded(song: Path) -> None:
    script = (
        "import sys, earzip\n"
        "from earzip.transcode.inspect import verify_archive\n"
        "earzip.read_info(sys.argv[1])\n"
        "assert verify_archive(sys.argv[1]).is_whole\n"
        "heavy = {'torch', 'click', 'tqdm', 'accelerate', 'soundfile', 'mutagen', 'scipy'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script, str(song)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert result.stdout.strip() == ""
    assert earzip.read_info is read_info
