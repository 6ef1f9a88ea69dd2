"""Which restored files are up to date before any work is begun."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import mutagen.flac
import pytest

from earzip.errors import TargetError
from earzip.options import RestoreOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file, restored_already
from tests.earzip.tiny_archives import TINY, damage_segment, exact
from tests.formats.audio.audio_files import music, write_wav

pytestmark = pytest.mark.usefixtures("tiny_model")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.flac", RestoreOptions()),
        ("x.wav", RestoreOptions(bits="float")),
        ("x.flac", RestoreOptions(bits=16, start_s=0.5, end_s=1)),
        ("x.wav", RestoreOptions(as_source=True, keep_going=True)),
    ],
)
def test_the_result_is_that_of_restoring(
    archive: Path, tmp_path: Path, name: str, options: RestoreOptions
) -> None:
    target = tmp_path / name
    assert restored_already(archive, target, options) is None
    restore_file(archive, target, options)
    done = restored_already(archive, target, options)
    assert done is not None
    assert done == restore_file(archive, target, options)
    assert done.status == "up_to_date"


def test_a_plan_that_warns_has_the_result_of_restoring(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "surround.wav", music(20_000, 6), subtype="PCM_16")
    archive = compress_file(source, tmp_path / "x.earz", TINY).target
    options = RestoreOptions(as_source=True)
    assert restore_file(archive, tmp_path / "x.wav", options).warnings
    done = restored_already(archive, tmp_path / "x.wav", options)
    assert done is not None
    assert done == restore_file(archive, tmp_path / "x.wav", options)


def test_other_options_and_other_archives_are_not_up_to_date(
    song: Path, archive: Path, tmp_path: Path
) -> None:
    target = tmp_path / "x.flac"
    restore_file(archive, target)
    assert restored_already(archive, target, RestoreOptions(bits=16)) is None
    assert restored_already(archive, target, RestoreOptions(force=True)) is None
    assert restored_already(archive, target, RestoreOptions(start_s=99)) is None
    compress_file(song, archive, replace(TINY, quality="high"))
    assert restored_already(archive, target) is None


def test_edited_tags_leave_a_file_up_to_date_and_lost_sound_does_not(
    archive: Path, tmp_path: Path
) -> None:
    target = tmp_path / "x.flac"
    restore_file(archive, target)
    file = mutagen.flac.FLAC(target)
    file["title"] = "Another"
    file.save()
    assert restored_already(archive, target) is not None
    target.write_bytes(target.read_bytes()[:-1])
    assert restored_already(archive, target) is None


def test_what_damage_has_cost_is_tried_again(archive: Path, tmp_path: Path) -> None:
    target, options = tmp_path / "x.flac", RestoreOptions(keep_going=True)
    damage_segment(archive, 0)
    assert restore_file(archive, target, options).is_incomplete
    assert restored_already(archive, target, options) is None


@pytest.mark.parametrize("keep_going", [False, True])
def test_an_archive_that_was_cut_since_gives_what_restoring_gives(
    archive: Path, tmp_path: Path, keep_going: bool
) -> None:
    target, options = tmp_path / "x.flac", RestoreOptions(keep_going=keep_going)
    restore_file(archive, target, options)
    archive.write_bytes(archive.read_bytes()[:-1])
    done = restored_already(archive, target, options)
    assert done == (restore_file(archive, target, options) if keep_going else None)


def test_the_source_file_itself_is_left_to_the_work(tmp_path: Path) -> None:
    pytest.importorskip("auraloss")
    source = write_wav(tmp_path / "a.ogg", music(30_000), subtype="VORBIS")
    archive = exact(source, tmp_path / "a.ogg.earz")
    target, options = tmp_path / "b.ogg", RestoreOptions(as_source=True)
    restore_file(archive, target, options)
    assert restored_already(archive, target, options) is None
    assert restore_file(archive, target, options).status == "up_to_date"


def test_files_that_are_odd_or_not_there_are_left_to_the_work(
    archive: Path, tmp_path: Path
) -> None:
    folder, pipe, loop = (tmp_path / name for name in ("folder.flac", "pipe.flac", "loop.flac"))
    folder.mkdir()
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    (tmp_path / "text.flac").write_text("fLaC" + 99 * "no sound")
    odd = [folder, pipe, loop, tmp_path / "text.flac", tmp_path / "not there", archive]
    for path in odd:
        assert restored_already(archive, path) is None
    target = tmp_path / "x.flac"
    restore_file(archive, target)
    for path in [*odd[:-1], target]:
        assert restored_already(path, target) is None
    other_kind = target.rename(tmp_path / "x.ogg")
    assert restored_already(archive, other_kind) is None
    with pytest.raises(TargetError, match="would be FLAC"):
        restore_file(archive, other_kind)
