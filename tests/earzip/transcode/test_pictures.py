"""How pictures are stored: `compress` embeds, shares, scales or drops them, and changes its mind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import mutagen.flac
import mutagen.id3
import pytest
import soundfile

import earzip
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.verify import verify_structure
from earzip.formats.tags.read import read_tags
from earzip.options import CompressOptions, Floor, RestoreOptions
from earzip.transcode.archive_settings import ArchiveSettings
from earzip.transcode.compress import compress_file
from earzip.transcode.inspect import read_info
from earzip.transcode.restore import restore_file
from earzip.transcode.state import standing_of
from tests.conftest import tones
from tests.earzip.transcode.covers import COVER, NAME, compress, cover, pictures, segments, tagged

pytestmark = pytest.mark.usefixtures("tiny_model")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tagged(tmp_path / "Music" / "song.flac", COVER)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "Archive" / "song.flac.earz"


def state(source: Path, archive: Path, **options: object) -> tuple[str, str | None]:
    wanted = CompressOptions("tiny", **options)
    standing = standing_of(source, archive, wanted, ArchiveSettings.of(wanted))
    return standing.state, standing.message


def test_pictures_are_embedded_unless_somebody_asks(source: Path, archive: Path) -> None:
    result = compress(source, archive)
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    assert result.picture_bytes == len(COVER)
    assert result.shared_pictures == {}
    assert read_info(archive).format_version == "1.4"
    assert pictures(archive) == [COVER]
    lone = archive.parent.parent / "lone.earz"
    archive.rename(lone)
    assert pictures(lone) == [COVER]


def test_a_shared_picture_is_stored_once(tmp_path: Path) -> None:
    names = [f"{i}.flac" for i in range(3)]
    for i, name in enumerate(names):
        result = compress(
            tagged(tmp_path / "Music" / name, COVER, seed=i),
            tmp_path / "Archive" / f"{name}.earz",
            pictures="share",
        )
    folder = tmp_path / "Archive"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [NAME, *(f"{name}.earz" for name in names)]
    )
    assert (folder / NAME).read_bytes() == COVER
    assert result.picture_bytes == 0
    assert result.shared_pictures == {str(folder / NAME): len(COVER)}
    assert all(path.stat().st_size < len(COVER) / 2 for path in folder.glob("*.earz"))
    assert all(pictures(path) == [COVER] for path in folder.glob("*.earz"))


def test_a_directory_can_be_moved(source: Path, archive: Path, tmp_path: Path) -> None:
    compress(source, archive, pictures="share")
    archive.parent.rename(tmp_path / "Elsewhere")
    moved = tmp_path / "Elsewhere" / archive.name
    assert pictures(moved) == [COVER]
    assert verify_structure(moved) == []


@pytest.mark.parametrize("before", [{}, {"pictures": "share"}, {"pictures": "drop"}])
@pytest.mark.parametrize(
    "after",
    [
        {"pictures": "embed"},
        {"pictures": "share"},
        {"pictures": "drop"},
        {"fit_pictures": 100},
        {"pictures": "share", "fit_pictures": 100},
    ],
)
def test_other_storage_does_not_encode_again(
    before: dict[str, object], after: dict[str, object], source: Path, archive: Path, tmp_path: Path
) -> None:
    """Archives are what they would have been, to the byte, had they been made so at once."""
    compress(source, archive, **before)
    sound = segments(archive)
    if "pictures" not in after:  # where they are is left as it is, unless they are nowhere
        place = before.get("pictures", "embed")
        after_all = after | {"pictures": "embed" if place == "drop" else place}
    else:
        after_all = after
    is_same = {"pictures": "embed"} | before == after_all
    result = compress(source, archive, **after)
    assert result.status == ("up_to_date" if is_same else "repictured")
    assert segments(archive) == sound
    fresh = tmp_path / "Fresh" / archive.name
    compress(source, fresh, **after_all)
    assert archive.read_bytes() == fresh.read_bytes()
    assert archive.stat().st_mtime_ns == source.stat().st_mtime_ns
    assert compress(source, archive, **after).status == "up_to_date"
    assert compress(source, archive).status == "up_to_date"  # it stays as it is
    assert verify_structure(archive) == []


def test_a_source_need_not_be_read_whole_to_store_its_pictures_otherwise(
    source: Path, archive: Path
) -> None:
    compress(source, archive)
    seen: list[float] = []
    compress_file(
        source, archive, CompressOptions("tiny", pictures="share"), on_progress=seen.append
    )
    with ArchiveReader(archive) as reader:
        assert len(seen) == reader.n_segments


def test_without_options_new_tags_keep_the_storage(source: Path, archive: Path) -> None:
    for options in ({"pictures": "share"}, {"pictures": "drop"}, {"fit_pictures": 100}):
        compress(source, archive, **options)
        header = read_info(archive).header
        tags = mutagen.flac.FLAC(source)
        tags["title"] = f"title of {options}"
        tags.save()
        assert compress(source, archive).status == "retagged"
        info = read_info(archive)
        assert info.tags.payload["fields"]["title"] == [f"title of {options}"]
        assert (info.header.pictures, info.header.shared) == (header.pictures, header.shared)


def test_another_quality_keeps_the_storage(source: Path, archive: Path) -> None:
    compress(source, archive, pictures="share", quality="low")
    assert compress(source, archive, quality="high").status == "written"
    assert read_info(archive).picture_files == (NAME,)


def test_an_exact_copy_is_kept(source: Path, archive: Path) -> None:
    compress(source, archive, floor=Floor(min_si_sdr_db=200, below="lossless"))
    with ArchiveReader(archive) as reader:
        before = reader.exact_copy().read()
    assert compress(source, archive, pictures="share").status == "repictured"
    with ArchiveReader(archive) as reader:
        assert reader.exact_copy().read() == before
    assert verify_structure(archive) == []


def test_dropped_pictures_leave_all_other_tags(source: Path, archive: Path, tmp_path: Path) -> None:
    compress(source, archive, pictures="drop")
    info = read_info(archive)
    assert info.header.pictures == "dropped"
    assert info.tags.payload["fields"] == {"title": ["Song"]}
    assert "pictures" not in info.tags.payload
    restore_file(archive, tmp_path / "out.flac")
    assert mutagen.flac.FLAC(tmp_path / "out.flac")["title"] == ["Song"]
    assert mutagen.flac.FLAC(tmp_path / "out.flac").pictures == []


def test_a_missing_picture_is_left_out_of_what_is_restored(
    source: Path, archive: Path, tmp_path: Path
) -> None:
    compress(source, archive, pictures="share")
    beside = archive.with_name(NAME)
    beside.rename(tmp_path / NAME)
    target = tmp_path / "out.flac"
    result = restore_file(archive, target)
    assert result.status == "written"
    assert result.is_incomplete
    assert result.missing_pictures == (NAME,)
    assert result.warnings == (f"picture 1 is left out: {NAME} is not beside the archive",)
    assert mutagen.flac.FLAC(target)["title"] == ["Song"]
    assert mutagen.flac.FLAC(target).pictures == []
    # When it is back, so is the picture.
    (tmp_path / NAME).rename(beside)
    assert restore_file(archive, target).missing_pictures == ()
    assert [picture.data for picture in mutagen.flac.FLAC(target).pictures] == [COVER]


def test_a_damaged_picture_is_damage(source: Path, archive: Path, tmp_path: Path) -> None:
    compress(source, archive, pictures="share")
    archive.with_name(NAME).write_bytes(COVER[:-1] + b"x")
    with pytest.raises(earzip.DamagedArchiveError, match="--keep-going restores the sound"):
        restore_file(archive, tmp_path / "out.flac")
    result = restore_file(archive, tmp_path / "out.flac", RestoreOptions(keep_going=True))
    assert result.lost_pictures == (0,)
    with earzip.open(archive) as track, pytest.raises(earzip.DamagedArchiveError):
        list(track.pictures())


@pytest.mark.parametrize("damage", ["missing", "short", "damaged"])
def test_compress_puts_a_shared_picture_back(damage: str, source: Path, archive: Path) -> None:
    compress(source, archive, pictures="share")
    beside = archive.with_name(NAME)
    if damage == "missing":
        beside.unlink()
    else:
        beside.write_bytes(COVER[:-1] if damage == "short" else COVER[:-1] + b"x")
    options = {"verify_sources": damage == "damaged"}
    why = "damaged" if damage == "damaged" else "missing"
    assert state(source, archive, **options) == ("pictures", f"a shared picture is {why}")
    assert compress(source, archive, **options).status == "repictured"
    assert beside.read_bytes() == COVER
    assert state(source, archive, **options) == ("up_to_date", None)


def test_what_compress_would_do_with_pictures_is_said(source: Path, archive: Path) -> None:
    compress(source, archive)
    assert state(source, archive) == ("up_to_date", None)
    assert state(source, archive, pictures="share") == ("pictures", "pictures: embed → share")
    expected = "pictures: embed → embed, to fit 100 pixels"
    assert state(source, archive, fit_pictures=100) == ("pictures", expected)
    sources = {"pictures": "drop", "verify_sources": True}
    assert state(source, archive, **sources) == ("pictures", "pictures: embed → drop")


def test_a_track_without_pictures_has_them_in_any_way(tmp_path: Path) -> None:
    source, archive = tagged(tmp_path / "Music" / "a.flac"), tmp_path / "a.earz"
    compress(source, archive)
    for options in ({"pictures": "share"}, {"pictures": "drop"}, {"fit_pictures": 100}):
        assert compress(source, archive, **options).status == "up_to_date"


@pytest.mark.parametrize("is_there", [True, False])
def test_the_archive_of_a_moved_source_takes_its_pictures_along(
    is_there: bool, source: Path, archive: Path, tmp_path: Path
) -> None:
    compress(source, archive, pictures="share")
    if not is_there:
        archive.with_name(NAME).unlink()
    moved = tmp_path / "Music" / "moved.flac"
    source.rename(moved)
    target = tmp_path / "Other" / "moved.flac.earz"
    result = compress_file(moved, target, CompressOptions("tiny"), found=[archive])
    assert result.status == "moved"
    assert segments(target) == segments(archive)
    assert target.with_name(NAME).read_bytes() == COVER
    assert verify_structure(target) == []


def test_a_moved_source_may_have_its_pictures_stored_otherwise(
    source: Path, archive: Path, tmp_path: Path
) -> None:
    compress(source, archive)
    target = tmp_path / "Other" / "song.flac.earz"
    options = CompressOptions("tiny", pictures="share")
    result = compress_file(source, target, options, found=[archive])
    assert result.status == "moved"
    assert read_info(target).picture_files == (NAME,)


def test_a_new_cover_leaves_the_old_one_to_the_other_tracks(tmp_path: Path) -> None:
    sources = [tagged(tmp_path / "Music" / f"{i}.flac", COVER, seed=i) for i in range(2)]
    archives = [tmp_path / f"{i}.earz" for i in range(2)]
    for source, archive in zip(sources, archives, strict=True):
        compress(source, archive, pictures="share")
    tags = mutagen.flac.FLAC(sources[0])
    picture = tags.pictures[0]
    picture.data = cover(seed=9)
    tags.clear_pictures()
    tags.add_picture(picture)
    tags.save()
    assert compress(sources[0], archives[0]).status == "retagged"
    assert pictures(archives[0]) == [cover(seed=9)]
    assert pictures(archives[1]) == [COVER]


def test_pictures_are_as_private_as_their_sources(source: Path, archive: Path) -> None:
    source.chmod(0o600)
    compress(source, archive, pictures="share")
    assert archive.with_name(NAME).stat().st_mode & 0o077 == 0


def test_an_mp3_keeps_its_tag_without_the_picture(tmp_path: Path) -> None:
    source, archive = tmp_path / "a.mp3", tmp_path / "a.earz"
    soundfile.write(source, tones(20_000).T, 44_100, format="MP3")
    tags = mutagen.id3.ID3()
    tags.add(mutagen.id3.TIT2(3, "Song"))
    tags.add(mutagen.id3.PRIV(owner="me", data=b"only in the tag"))
    tags.add(mutagen.id3.APIC(3, "image/png", 3, "", COVER))
    tags.save(source)
    before = source.read_bytes()
    assert compress(source, archive, fit_pictures=100).warnings == ()
    restore_file(archive, tmp_path / "out.wav")
    restored = read_tags(tmp_path / "out.wav")
    assert restored.fields["title"] == ["Song"]
    assert len(restored.pictures) == 1
    assert len(restored.pictures[0].data) < len(COVER)
    (block,) = restored.raw_bytes("id3v2")
    assert b"only in the tag" in block
    assert source.read_bytes() == before


_KILLED = """
import os, signal, sys
from earzip.formats import atomic
from earzip.options import CompressOptions
from earzip.transcode.compress import compress_file
named = 0
sync_folder = atomic._sync_folder

def sync_and_die(folder):
    global named
    named += 1
    if named == int(sys.argv[3]):  # a file has just got its name
        os.kill(os.getpid(), signal.SIGKILL)
    sync_folder(folder)

atomic._sync_folder = sync_and_die
compress_file(sys.argv[1], sys.argv[2], CompressOptions("tiny", pictures="share"))
"""


@pytest.mark.parametrize(("n_named", "left"), [(1, [NAME]), (2, [NAME, "song.flac.earz"])])
def test_a_kill_leaves_no_archive_without_its_picture(
    n_named: int, left: list[str], source: Path, archive: Path
) -> None:
    command = [sys.executable, "-c", _KILLED, source, archive, str(n_named)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert sorted(path.name for path in archive.parent.glob("[!.]*")) == sorted(left)
    expected = "written" if n_named == 1 else "up_to_date"
    assert compress(source, archive, pictures="share").status == expected
    assert verify_structure(archive) == []
