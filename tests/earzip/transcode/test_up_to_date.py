"""What makes an archive up to date without a look at the sound: its source's name, size and time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from earzip.errors import BelowFloorError, SourceError, TargetError
from earzip.formats.archive.layout import PREFIX_BYTES
from earzip.models.store import find_model
from earzip.options import CompressOptions, Floor
from earzip.transcode.archive_settings import ArchiveSettings
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file
from earzip.transcode.state import standing_of
from earzip.transcode.up_to_date import _changed_since, compressed_already
from tests.conftest import MODELS
from tests.earzip.tiny_archives import (
    TINY,
    change_behind_its_time,
    damage_segment,
    exact,
    wait_for_the_next_time,
    with_floor,
)
from tests.formats.audio.audio_files import music, write_wav

pytestmark = pytest.mark.usefixtures("tiny_model")

CLOSELY = replace(TINY, verify_sources=True)
LOW = -100.0
"""An SI-SDR that every track reaches, dB."""


def test_the_result_is_that_of_reading_all(song: Path, archive: Path) -> None:
    done = compressed_already(song, archive, TINY)
    assert done is not None
    assert done == compress_file(song, archive, TINY) == compress_file(song, archive, CLOSELY)
    assert done.status == "up_to_date"
    settings = ArchiveSettings(find_model("tiny"), "medium")
    assert compressed_already(song, archive, TINY, settings=settings) == done


def test_the_result_of_an_exact_copy_is_that_of_reading_all(song: Path, tmp_path: Path) -> None:
    pytest.importorskip("auraloss")
    archive = exact(song, tmp_path / "x.earz")
    options = with_floor("fail")  # it meets every floor
    done = compressed_already(song, archive, options)
    assert done is not None
    assert done.exact_bytes
    assert done.below_floor
    assert done == compress_file(song, archive, replace(options, verify_sources=True))


def test_other_bytes_of_the_same_size_and_time_are_noticed(song: Path, archive: Path) -> None:
    before = archive.read_bytes()
    change_behind_its_time(song)
    for options in (TINY, CLOSELY):
        assert compressed_already(song, archive, options) is None
        with pytest.raises(SourceError, match="is damaged after"):
            compress_file(song, archive, options)
    assert archive.read_bytes() == before


def test_another_file_of_the_same_name_size_and_time_is_noticed(song: Path, archive: Path) -> None:
    other = song.with_name("other.flac")
    wait_for_the_next_time()
    other.write_bytes(song.read_bytes()[:-1] + b"\0")
    times = song.stat()
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(song)
    assert compressed_already(song, archive, TINY) is None
    with pytest.raises(SourceError, match="is damaged after"):
        compress_file(song, archive, TINY)


def test_a_source_that_only_seems_to_have_changed_is_read_once(song: Path, archive: Path) -> None:
    before = archive.read_bytes(), archive.stat().st_mtime_ns
    wait_for_the_next_time()
    song.chmod(0o600)
    assert compressed_already(song, archive, TINY) is None
    wait_for_the_next_time()
    assert compress_file(song, archive, TINY).status == "up_to_date"
    assert compressed_already(song, archive, TINY) is not None
    assert (archive.read_bytes(), archive.stat().st_mtime_ns) == before


def test_a_file_system_without_times_of_change_costs_no_reading() -> None:
    """As exFAT, which shows the time of modification in their place."""

    def times(changed: int, modified: int) -> os.stat_result:
        return os.stat_result((0,) * 10, {"st_ctime_ns": changed, "st_mtime_ns": modified})

    of_change, without = times(changed=9, modified=2), times(changed=2, modified=2)
    assert _changed_since(of_change, times(changed=5, modified=2))
    assert not _changed_since(of_change, times(changed=9, modified=2))
    assert not _changed_since(of_change, without)
    assert not _changed_since(without, times(changed=1, modified=0))


def test_with_force_nothing_is_up_to_date(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.wav", music(20_000), subtype="PCM_16")
    archive = compress_file(source, tmp_path / "a.earz", TINY).target
    before, data = archive.stat().st_ino, archive.read_bytes()
    forced = replace(TINY, force=True)
    assert compressed_already(source, archive, forced) is None
    result = compress_file(source, archive, forced)
    assert (result.status, result.warnings) == ("written", ())
    assert archive.stat().st_ino != before
    assert archive.read_bytes() == data
    standing = standing_of(source, archive, forced, ArchiveSettings.of(forced))
    assert (standing.state, standing.message) == ("replaced", "an archive that is up to date")
    change_behind_its_time(source)
    assert compress_file(source, archive, forced).status == "written"


def test_a_touched_source_is_compared_by_its_bytes(song: Path, archive: Path) -> None:
    os.utime(song, ns=(1, 1))
    assert compressed_already(song, archive, TINY) is None
    assert compress_file(song, archive, TINY).status == "up_to_date"


def test_a_source_of_another_size_and_the_same_time_has_changed(song: Path, archive: Path) -> None:
    time_ns = song.stat().st_mtime_ns
    samples, rate = soundfile.read(song)
    soundfile.write(song, samples[:-1], rate, subtype="PCM_24")
    os.utime(song, ns=(time_ns, time_ns))
    assert compressed_already(song, archive, TINY) is None
    with pytest.raises(TargetError, match="made from an earlier version"):
        compress_file(song, archive, TINY)


def test_a_moved_tree_is_up_to_date(song: Path, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    moved = [path.rename(tmp_path / "moved" / path.name) for path in (song, archive)]
    assert compressed_already(moved[0], moved[1], TINY) is not None


def test_a_source_of_another_name_is_compared_by_its_bytes(
    song: Path, archive: Path, tmp_path: Path
) -> None:
    """Where all times are one, as in a checkout, tracks of one length differ in nothing else."""
    renamed = song.rename(tmp_path / "renamed.flac")
    assert compressed_already(renamed, archive, TINY) is None
    assert compress_file(renamed, archive, TINY).status == "up_to_date"
    change_behind_its_time(renamed)
    with pytest.raises(TargetError, match=r"archive of another file, 'song\.flac'"):
        compress_file(renamed, archive, TINY)


@pytest.mark.parametrize(
    "options", [CompressOptions("tiny", "high"), CompressOptions("tiny-transform")]
)
def test_other_settings_are_not_up_to_date(
    song: Path, archive: Path, options: CompressOptions
) -> None:
    assert compressed_already(song, archive, options) is None
    assert compress_file(song, archive, options).status == "written"
    assert compressed_already(song, archive, options) is not None


def test_an_archive_without_the_check_that_is_asked_for_is_not_up_to_date(
    song: Path, archive: Path
) -> None:
    pytest.importorskip("auraloss")
    checked = replace(TINY, check=True)
    assert compressed_already(song, archive, checked) is None
    assert compress_file(song, archive, checked).status == "written"
    for options in (checked, TINY, with_floor("keep"), with_floor("fail", LOW)):
        done = compressed_already(song, archive, options)
        assert done == compress_file(song, archive, replace(options, verify_sources=True))


def test_a_floor_that_an_archive_does_not_reach_is_left_to_the_work(
    song: Path, tmp_path: Path
) -> None:
    pytest.importorskip("auraloss")
    archive = compress_file(song, tmp_path / "x.earz", replace(TINY, check=True)).target
    assert compressed_already(song, archive, with_floor("fail")) is None
    with pytest.raises(BelowFloorError, match="the existing archive stays"):
        compress_file(song, archive, with_floor("fail"))
    assert compressed_already(song, archive, with_floor("lossless")) is None
    kept = compressed_already(song, archive, with_floor("keep"))
    assert kept is not None
    assert kept.below_floor
    mel_only = replace(TINY, floor=Floor(max_mel=0.0, below="fail"))
    assert compressed_already(song, archive, mel_only) is None


@pytest.mark.parametrize("change", [-1, 1])
def test_an_archive_of_another_length_than_its_index_says_is_not_up_to_date(
    song: Path, archive: Path, change: int
) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-1] if change < 0 else whole + b"\0")
    assert compressed_already(song, archive, TINY) is None
    with pytest.raises(TargetError, match="is too damaged"):
        compress_file(song, archive, TINY)


def test_a_damaged_header_or_index_is_not_up_to_date(song: Path, archive: Path) -> None:
    whole = archive.read_bytes()
    header_end = PREFIX_BYTES + int.from_bytes(whole[12:16], "little")
    for offset in (0, 20, PREFIX_BYTES + 9, header_end + 1):
        damaged = bytearray(whole)
        damaged[offset] ^= 1
        archive.write_bytes(damaged)
        assert compressed_already(song, archive, TINY) is None, offset


def test_rot_in_the_sound_is_seen_by_reading_it(song: Path, archive: Path) -> None:
    damage_segment(archive, 0)
    assert compressed_already(song, archive, TINY) is not None
    assert compress_file(song, archive, CLOSELY).warnings == ("replaced a damaged archive",)


def test_a_source_that_came_through_a_pipe_is_compared_by_its_bytes(
    song: Path, tmp_path: Path
) -> None:
    target = tmp_path / "x.earz"
    compress_file(song, target, TINY, source_name="song.flac")
    assert compressed_already(song, target, TINY) is None
    again = compress_file(song, target, TINY, source_name="song.flac")
    assert again.status == "up_to_date"


def test_files_that_are_odd_or_not_there_are_left_to_the_work(
    song: Path, archive: Path, tmp_path: Path
) -> None:
    folder, pipe, loop, link = (tmp_path / name for name in ("folder", "pipe", "loop", "link"))
    folder.mkdir()
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    link.symlink_to("nowhere")
    (tmp_path / "text").write_text("no archive" * 99)
    odd = [folder, pipe, loop, link, tmp_path / "text", tmp_path / "not there", song / "below"]
    for path in [*odd, song]:
        assert compressed_already(song, path, TINY) is None
    for path in [*odd, archive]:
        assert compressed_already(path, archive, TINY) is None


def test_links_are_followed(song: Path, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    source, target = tmp_path / "links" / song.name, tmp_path / "links" / archive.name
    source.symlink_to(song)
    target.symlink_to(archive)
    assert compressed_already(source, target, TINY) is not None


def test_torch_is_not_loaded_for_what_is_up_to_date(
    song: Path, archive: Path, tmp_path: Path
) -> None:

    restore_file(archive, tmp_path / "x.flac")
    program = (
        "import sys; from pathlib import Path; from earzip import *\n"
        "from earzip.transcode.restore import restored_already\n"
        "from earzip.transcode.up_to_date import compressed_already\n"
        "song, archive, restored = map(Path, sys.argv[1:])\n"
        "options = CompressOptions(model='tiny')\n"
        "assert compressed_already(song, archive, options)\n"
        "assert compress_file(song, archive, options).status == 'up_to_date'\n"
        "assert restored_already(archive, restored)\n"
        "sys.exit('torch is loaded' if 'torch' in sys.modules else 0)"
    )
    command = [sys.executable, "-c", program, song, archive, tmp_path / "x.flac"]
    environment = os.environ | {"EARZIP_MODELS": str(MODELS)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
