"""Tags and pictures of restored files, from whole archives and from damaged ones."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import mutagen.flac
import pytest

from earzip.errors import DamagedArchiveError
from earzip.formats.archive.frames import compress_frame, decompress_frame
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.tag_part import pack_tag_part, unpack_tag_part
from earzip.formats.archive.verify import verify_structure
from earzip.formats.tags.provenance import read_provenance
from earzip.options import RestoreOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file
from tests.conftest import tones
from tests.earzip.tiny_archives import TINY, snr_db, sound
from tests.formats.archive.samples import Pieces

pytestmark = pytest.mark.usefixtures("tiny_model")


def test_tags_and_time_come_back(song: Path, tmp_path: Path) -> None:
    tags = mutagen.flac.FLAC(song)
    tags["artist"] = ["Ada", "Grace"]
    tags["title"] = "Größe 大"
    picture = mutagen.flac.Picture()
    picture.data, picture.mime, picture.type = b"\xff\xd8\xff\xe0 not really", "image/jpeg", 3
    tags.add_picture(picture)
    tags.save()
    os.utime(song, ns=(10**18, 10**18))
    archive = compress_file(song, tmp_path / "s.earz", TINY).target
    result = restore_file(archive, tmp_path / "s.flac")
    got = mutagen.flac.FLAC(tmp_path / "s.flac")
    assert list(got.tags) == list(tags.tags)
    assert [p.data for p in got.pictures] == [picture.data]
    assert result.tag_losses == ()
    assert (tmp_path / "s.flac").stat().st_mtime_ns == 10**18


@pytest.fixture
def illustrated(song: Path, tmp_path: Path) -> Path:
    """Return an archive with a title, a front cover and a back cover."""
    tags = mutagen.flac.FLAC(song)
    tags["title"] = "Eins"
    for kind in (3, 4):
        picture = mutagen.flac.Picture()
        picture.data, picture.mime, picture.type = bytes([kind]) * 3000, "image/png", kind
        tags.add_picture(picture)
    tags.save()
    return compress_file(song, tmp_path / "i.earz", TINY).target


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_a_damaged_picture_costs_that_picture_alone(
    illustrated: Path, song: Path, tmp_path: Path
) -> None:
    flip(illustrated, illustrated.read_bytes().index(b"\3" * 3000) + 9)
    with pytest.raises(DamagedArchiveError, match="picture 1: bytes have changed; --keep-going"):
        restore_file(illustrated, tmp_path / "o.flac")
    result = restore_file(illustrated, tmp_path / "o.flac", RestoreOptions(keep_going=True))
    assert (result.lost_pictures, result.lost_tags, result.is_incomplete) == ((0,), False, True)
    got = mutagen.flac.FLAC(tmp_path / "o.flac")
    assert (got["title"], [p.type for p in got.pictures]) == (["Eins"], [4])
    whole = compress_file(song, tmp_path / "whole.earz", TINY).target
    restore_file(whole, tmp_path / "whole.flac")
    marks = [read_provenance(tmp_path / name) for name in ("o.flac", "whole.flac")]
    assert marks[0] not in (None, marks[1])


def test_a_picture_that_is_named_often_is_read_once(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crafted archive of 1 MB could else take gigabytes."""
    tags = mutagen.flac.FLAC(song)
    for kind in (3, 4, 5):
        picture = mutagen.flac.Picture()
        picture.data, picture.mime, picture.type = bytes(3000), "image/png", kind
        tags.add_picture(picture)
    tags.save()
    archive = compress_file(song, tmp_path / "i.earz", TINY).target
    read: list[int] = []
    read_picture = ArchiveReader.picture

    def counted(self: ArchiveReader, i: int) -> bytes:
        read.append(i)
        return read_picture(self, i)

    monkeypatch.setattr(ArchiveReader, "picture", counted)
    restore_file(archive, tmp_path / "o.flac", RestoreOptions(keep_going=True))
    assert read == [0]
    assert [p.type for p in mutagen.flac.FLAC(tmp_path / "o.flac").pictures] == [3, 4, 5]


def test_damaged_tags_cost_no_sound(illustrated: Path, tmp_path: Path) -> None:
    flip(illustrated, illustrated.read_bytes().index(b"\3" * 3000) - 9)
    result = restore_file(illustrated, tmp_path / "o.flac", RestoreOptions(keep_going=True))
    assert (result.lost_tags, result.is_incomplete, result.lost_segments) == (True, True, ())
    assert snr_db(sound(tmp_path / "o.flac"), tones(70_001)) > 15


def test_tags_of_a_later_version_are_restored_as_far_as_they_are_known(
    illustrated: Path, tmp_path: Path
) -> None:
    pieces = Pieces.of(illustrated)
    raw = decompress_frame(dict(pieces.parts)[2], max_bytes=1 << 20, dictionary=True)
    sizes = [len(stored) for kind, stored in pieces.parts if kind == 3]
    part = unpack_tag_part(raw, sizes)
    payload = json.loads(json.dumps(part.payload).replace("vorbis", "caf"))
    payload["raw"] = [{"kind": "caf-info", "new": 1} for _ in payload["raw"]]
    payload["new"] = {"x": 1}
    raw = pack_tag_part(replace(part, payload=payload), sizes)
    pieces.change_part(2, compress_frame(raw, dictionary=True))
    archive = pieces.write(tmp_path / "later.earz")
    assert verify_structure(archive) == []
    result = restore_file(archive, tmp_path / "o.flac")
    assert (result.lost_tags, result.is_incomplete) == (False, False)
    (warning,) = result.warnings
    assert "does not know tags of kind 'caf', 'caf-info'" in warning
    got = mutagen.flac.FLAC(tmp_path / "o.flac")
    assert (got["title"], [p.type for p in got.pictures]) == (["Eins"], [3, 4])
