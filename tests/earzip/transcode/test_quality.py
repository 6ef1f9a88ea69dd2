"""The check of new archives, and the floor under it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earzip.errors import BelowFloorError, UsageError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.verify import verify_structure
from earzip.metrics.measures import measure
from earzip.options import Floor, RestoreOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.inspect import read_info
from earzip.transcode.restore import restore_file
from tests.conftest import tones
from tests.earzip.tiny_archives import HIGH, TINY, damage_segment, exact, pcm, with_floor
from tests.formats.audio.audio_files import write_wav

pytestmark = pytest.mark.usefixtures("tiny_model")

CHECKED = replace(TINY, check=True)
AS_SOURCE = RestoreOptions(as_source=True)


def test_measures_are_those_of_the_restored_file(song: Path, tmp_path: Path) -> None:
    result = compress_file(song, tmp_path / "a.earz", CHECKED)
    restore_file(tmp_path / "a.earz", tmp_path / "a.wav", RestoreOptions(bits="float"))
    restored, original = pcm(tmp_path / "a.wav")[0], pcm(song)[0]
    expected = vars(measure(restored, original))
    assert result.measures == pytest.approx(expected, abs=1e-4)
    info = read_info(tmp_path / "a.earz").to_json()
    assert (info["checked"], info["measures"]) == (True, result.measures)
    assert verify_structure(tmp_path / "a.earz") == []


def test_a_check_changes_nothing_but_the_header(song: Path, tmp_path: Path) -> None:
    compress_file(song, tmp_path / "a.earz", TINY)
    compress_file(song, tmp_path / "b.earz", CHECKED)
    with ArchiveReader(tmp_path / "a.earz") as a, ArchiveReader(tmp_path / "b.earz") as b:
        assert [a.segment(i) for i in range(a.n_segments)] == [
            b.segment(i) for i in range(b.n_segments)
        ]
        assert replace(b.header, check=None) == a.header
        assert a.tags == b.tags
    assert (tmp_path / "b.earz").stat().st_mtime_ns == song.stat().st_mtime_ns


def test_silence_and_a_few_samples_have_no_measures_and_are_not_below_a_floor(
    tmp_path: Path,
) -> None:
    for name, n_samples in (("silence.wav", 44_100), ("short.wav", 1000), ("empty.wav", 0)):
        source = write_wav(tmp_path / name, np.zeros((2, n_samples), np.float32))
        result = compress_file(source, tmp_path / f"{name}.earz", with_floor("fail"))
        assert (result.measures, result.below_floor) == (None, ())
        assert compress_file(source, tmp_path / f"{name}.earz", CHECKED).status == "up_to_date"
        # Where a floor is promised, they are kept exactly.
        result = compress_file(source, tmp_path / f"{name}.earz", with_floor("lossless"))
        assert (result.status, bool(result.exact_bytes)) == ("written", True)
        restored = restore_file(tmp_path / f"{name}.earz", tmp_path / f"{name}.flac", AS_SOURCE)
        assert restored.n_samples == n_samples


@pytest.mark.parametrize("floor", [Floor(min_si_sdr_db=HIGH), Floor(max_mel=0.0), Floor(HIGH, 0.0)])
def test_a_track_below_the_floor_is_kept_and_named(
    song: Path, tmp_path: Path, floor: Floor
) -> None:
    options = replace(TINY, floor=floor)
    for status in ("written", "up_to_date"):
        result = compress_file(song, tmp_path / "a.earz", options)
        assert (result.status, result.exact_bytes) == (status, 0)
        assert len(result.below_floor) == (floor.min_si_sdr_db is not None) + (
            floor.max_mel is not None
        )
    reached = replace(TINY, floor=Floor(min_si_sdr_db=-HIGH, max_mel=100))
    assert compress_file(song, tmp_path / "a.earz", reached).below_floor == ()


def test_a_track_that_fails_leaves_what_was_there(song: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.earz"
    with pytest.raises(BelowFloorError, match=r"^is below the floor: SI-SDR is .*; no archive was"):
        compress_file(song, target, with_floor("fail"))
    assert [path.name for path in tmp_path.iterdir()] == [song.name]
    compress_file(song, target, replace(CHECKED, quality="low"))
    before = target.read_bytes()
    with pytest.raises(BelowFloorError):
        compress_file(song, target, with_floor("fail"))
    with pytest.raises(BelowFloorError):  # up to date, and no better for that
        compress_file(song, target, replace(with_floor("fail"), quality="low"))
    assert target.read_bytes() == before


def test_a_checked_archive_is_up_to_date_and_one_without_is_made_anew(
    song: Path, tmp_path: Path
) -> None:
    target = tmp_path / "a.earz"
    compress_file(song, target, TINY)
    (warning,) = compress_file(song, target, CHECKED).warnings
    assert warning == "replaced the archive made without a check"
    assert compress_file(song, target, CHECKED).status == "up_to_date"
    assert compress_file(song, target, TINY).status == "up_to_date"
    (warning,) = compress_file(song, target, with_floor("lossless")).warnings
    assert warning.startswith("replaced the archive, which is below the floor")
    # More than is asked for is not thrown away.
    for options in (TINY, CHECKED, with_floor("lossless"), with_floor("keep")):
        result = compress_file(song, target, options)
        assert (result.status, bool(result.exact_bytes)) == ("up_to_date", True)


@pytest.mark.parametrize(
    "arguments", [{}, {"min_si_sdr_db": float("nan")}, {"max_mel": 1.0, "below": "shred"}]
)
def test_a_floor_that_says_nothing_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Floor(**arguments)  # type: ignore[arg-type]


def test_without_the_packages_of_measures_a_check_says_what_to_install(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earzip.metrics.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=r"pip install '\.\[eval\]'"):
        compress_file(song, tmp_path / "a.earz", CHECKED)


def test_tones_are_below_no_floor_that_they_reach(tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    soundfile.write(source, tones(60_000).T, 44_100)
    measures = compress_file(source, tmp_path / "a.earz", CHECKED).measures
    assert measures is not None
    # By the archive's own four places, to the last of them.
    at = with_floor("fail", measures["si_sdr_db"])
    assert compress_file(source, tmp_path / "a.earz", at).below_floor == ()
    above = with_floor("fail", measures["si_sdr_db"] + 0.0001)
    with pytest.raises(BelowFloorError):
        compress_file(source, tmp_path / "a.earz", above)


def test_an_archive_keeps_its_exact_copy_whatever_later_runs_ask_for(
    song: Path, tmp_path: Path
) -> None:
    archive = exact(song, tmp_path / "x.earz")
    other = compress_file(song, archive, replace(TINY, quality="high"))
    assert (other.status, bool(other.exact_bytes), other.measures) == ("written", True, None)
    damage_segment(archive, 0)
    mended = compress_file(song, archive, replace(TINY, quality="high", verify_sources=True))
    assert (mended.warnings, bool(mended.exact_bytes)) == (("replaced a damaged archive",), True)
    # It meets every floor.
    failing = replace(with_floor("fail"), quality="high")
    result = compress_file(song, archive, failing)
    assert (result.status, bool(result.exact_bytes)) == ("written", True)
    assert compress_file(song, archive, failing).status == "up_to_date"
