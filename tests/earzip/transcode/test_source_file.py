"""What a restored file may replace, and when it is up to date."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import mutagen.flac
import numpy as np
import pytest
import soundfile

from earzip.errors import TargetError
from earzip.formats.atomic import atomic_path
from earzip.options import CompressOptions, RestoreOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file
from tests.conftest import tones
from tests.earzip.tiny_archives import TINY, damage_segment

pytestmark = pytest.mark.usefixtures("tiny_model")


def test_an_existing_target_is_kept(archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.flac"
    other.write_bytes(b"mine")
    with pytest.raises(TargetError, match="to replace it, restore this archive alone with --force"):
        restore_file(archive, other)
    assert other.read_bytes() == b"mine"


def test_a_second_restore_is_up_to_date_and_other_bits_are_not(
    archive: Path, tmp_path: Path
) -> None:
    target = tmp_path / "o.flac"
    assert restore_file(archive, target).status == "written"
    state = target.stat().st_ino, target.stat().st_mtime_ns
    assert restore_file(archive, target).status == "up_to_date"
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == state
    with pytest.raises(TargetError):
        restore_file(archive, target, RestoreOptions(bits=16))
    assert restore_file(archive, target, RestoreOptions(bits=16, force=True)).status == "written"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("touched", [False, True])
def test_the_source_is_not_replaced_even_by_force(
    archive: Path, song: Path, force: bool, touched: bool
) -> None:
    before = song.read_bytes()
    if touched:
        os.utime(song, ns=(1, 1))
    with pytest.raises(TargetError, match="is the source of this archive and is never") as refused:
        restore_file(archive, song, RestoreOptions(force=force))
    assert "--force" not in refused.value.message
    assert song.read_bytes() == before


@pytest.mark.parametrize("force", [False, True])
def test_a_source_whose_tags_were_edited_is_not_replaced_even_by_force(
    archive: Path, song: Path, force: bool
) -> None:
    tagged = mutagen.flac.FLAC(song)
    tagged["title"] = "edited since"
    tagged.save()
    before = song.read_bytes()
    with pytest.raises(TargetError, match="may be the source of this archive with other tags"):
        restore_file(archive, song, RestoreOptions(force=force))
    assert song.read_bytes() == before


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_source_of_another_archive_is_not_replaced_even_by_force(
    song: Path, tmp_path: Path, force: bool, elsewhere: bool
) -> None:
    """The restored file of song.mp3 has the name of another source, song.mp3.flac."""
    archives = tmp_path / "archives" if elsewhere else tmp_path
    mp3 = tmp_path / "song.mp3"
    soundfile.write(mp3, tones(20_000).T, 44_100)
    source = song.rename(tmp_path / "song.mp3.flac")
    before = source.read_bytes()
    of_flac = compress_file(source, archives / "song.mp3.flac.earz", TINY).target
    of_mp3 = compress_file(mp3, archives / "song.mp3.earz", TINY).target
    with pytest.raises(TargetError, match=r"is the source of .* and is never over") as refused:
        restore_file(of_mp3, source, RestoreOptions(force=force))
    assert str(of_flac) in refused.value.message
    assert "--force" not in refused.value.message
    assert source.read_bytes() == before


@pytest.mark.parametrize("force", [False, True])
def test_nobody_is_told_to_replace_a_directory_by_force(
    archive: Path, song: Path, tmp_path: Path, force: bool
) -> None:
    folder = tmp_path / "taken.flac"
    folder.mkdir()
    with pytest.raises(TargetError, match="cannot be written: it is a directory"):
        restore_file(archive, folder, RestoreOptions(force=force))
    with pytest.raises(TargetError, match="cannot be written: it is a directory"):
        compress_file(song, folder, replace(TINY, force=force))


def test_what_cannot_be_the_source_is_replaced_by_force(archive: Path, song: Path) -> None:
    n_bytes = song.stat().st_size
    song.write_bytes(bytes(n_bytes))  # no sound, of the same size
    assert restore_file(archive, song, RestoreOptions(force=True)).status == "written"
    soundfile.write(song, tones(70_002).T, 44_100, subtype="PCM_24")
    assert restore_file(archive, song, RestoreOptions(force=True)).status == "written"
    # What earzip wrote has the source's format and length too, and is known by its origin.
    retagged = mutagen.flac.FLAC(song)
    retagged["title"] = "edited since"
    retagged.save()
    assert restore_file(archive, song, RestoreOptions(force=True)).status == "written"


def test_what_could_not_be_restored_whole_is_tried_again(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    damage_segment(archive, 2)
    target, keep_going = tmp_path / "o.flac", RestoreOptions(keep_going=True)
    for _ in range(2):
        result = restore_file(archive, target, keep_going)
        assert (result.status, result.lost_segments) == ("written", (2,))
    archive.write_bytes(whole)
    assert restore_file(archive, target).is_incomplete is False
    assert restore_file(archive, target, keep_going).status == "up_to_date"


def test_a_restored_file_that_was_cut_is_not_up_to_date(archive: Path, tmp_path: Path) -> None:
    for name, refusal in (("o.flac", "may be the source"), ("o.wav", "with other content")):
        target = tmp_path / name
        restore_file(archive, target)
        assert restore_file(archive, target).status == "up_to_date"
        os.truncate(target, target.stat().st_size - 100)
        with pytest.raises(TargetError, match=refusal):
            restore_file(archive, target)


def test_only_what_was_asked_for_of_this_archive_is_up_to_date(
    archive: Path, song: Path, tmp_path: Path
) -> None:
    target = tmp_path / "o.wav"
    options = RestoreOptions(container="wav", start_s=0.1, end_s=0.3)
    restore_file(archive, target, options)
    assert restore_file(archive, target, options).status == "up_to_date"
    for other in (
        replace(options, start_s=0.2, end_s=0.4),
        replace(options, bits=16),
        replace(options, as_source=True),
    ):
        with pytest.raises(TargetError, match="--force"):
            restore_file(archive, target, other)
    low = compress_file(song, tmp_path / "low.earz", CompressOptions("tiny", "low")).target
    with pytest.raises(TargetError, match="--force"):
        restore_file(low, target, options)


def test_an_empty_track_is_up_to_date_too(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros((0, 2)), 44_100)
    archive = compress_file(tmp_path / "s.wav", tmp_path / "s.earz", TINY).target
    for status in ("written", "up_to_date"):
        assert restore_file(archive, tmp_path / "o.flac").status == status


def test_a_target_that_comes_meanwhile_is_kept(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "o.flac"

    def late(path: Path, **options):  # type: ignore[no-untyped-def]
        path.write_bytes(b"mine")
        return atomic_path(path, **options)

    monkeypatch.setattr("earzip.transcode.restore.atomic_path", late)
    with pytest.raises(TargetError, match="already exists"):
        restore_file(archive, target)
    assert target.read_bytes() == b"mine"
