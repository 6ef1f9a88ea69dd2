"""``earzip restore`` from its arguments to its sound files."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from mutagen.flac import FLAC, Picture

from earzip.formats.archive.records import ModelRecord
from earzip.transcode.results import RestoreResult
from tests.cli.conftest import write_sound
from tests.formats.archive.samples import sample_header, write_sample

pytestmark = pytest.mark.usefixtures("tiny_model")


@pytest.fixture
def archives(earzip, music: Path, tmp_path: Path) -> Path:
    """Return a folder with archives of what `music` holds."""
    tagged = FLAC(music / "one.flac")
    tagged["title"] = ["Eins", "One"]
    tagged.save()
    (music / "album" / "text.flac").unlink()
    folder = tmp_path / "archives"
    earzip("compress", "--model", "tiny", music, "-o", folder, "--copy-other")
    return folder


def _files_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.smoke
def test_a_folder_of_archives_becomes_a_folder_of_sounds(earzip, archives, music, tmp_path):
    outcome = earzip("restore", archives, "-o", tmp_path / "out", "--json")
    assert outcome.exit_code == 0
    assert _files_below(tmp_path / "out") == [
        "album/three.mp3.flac", "album/two.wav.flac", "one.flac",
    ]  # fmt: skip
    restored = tmp_path / "out" / "one.flac"
    info = soundfile.info(restored)
    assert (info.frames, info.samplerate, info.channels) == (22_050, 44_100, 2)
    assert FLAC(restored)["title"] == ["Eins", "One"]
    assert restored.stat().st_mtime_ns == (music / "one.flac").stat().st_mtime_ns
    record = next(r for r in outcome.records if r["target"] == str(restored))
    assert (record["status"], record["n_samples"], record["tag_losses"]) == ("written", 22_050, [])
    assert outcome.statuses()["cover.jpg"] == "skipped"


def test_an_archive_of_an_absent_model_is_named_and_the_others_go_on(earzip, archives, tmp_path):
    absent = replace(sample_header(), model=ModelRecord("ear-vae-44k", "0" * 64, 8))
    write_sample(archives / "other.earz", absent)
    outcome = earzip("restore", archives, "-o", tmp_path / "out", "--json")
    assert outcome.exit_code == 3
    assert outcome.statuses()["other.earz"] == "failed"
    assert outcome.records[-1]["written"] == 3
    assert f"needs model 'ear-vae-44k' with SHA-256 {'0' * 64}" in outcome.stderr
    assert "`earzip models fetch ear-vae-44k --music PATH` installs" in outcome.stderr


def test_sidecars_come_back(earzip, archives, tmp_path):
    earzip("restore", archives, "-o", tmp_path / "out", "--copy-other")
    assert (tmp_path / "out" / "album" / "cover.jpg").read_bytes() == b"\xff\xd8picture"


def test_what_is_restored_already_is_skipped(earzip, archives, tmp_path):
    earzip("restore", archives, "-o", tmp_path / "out")
    outcome = earzip("restore", archives, "-o", tmp_path / "out", "--json")
    assert (outcome.exit_code, outcome.records[-1]["up_to_date"]) == (0, 3)


def test_the_source_is_never_replaced(earzip, music, tmp_path):
    song = music / "one.flac"
    before = song.read_bytes()
    earzip("compress", "--model", "tiny", song)
    assert earzip("restore", f"{song}.earz").exit_code == 3
    assert song.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "one.flac PCM_24"),
        ("--bits 16", "one.flac PCM_16"),
        ("--format wav", "one.flac.wav PCM_24"),
        ("--format wav --bits float --no-dither", "one.flac.wav FLOAT"),
    ],
)
def test_formats_and_sample_formats(earzip, archives, tmp_path, options, expected):
    archive = archives / "one.flac.earz"
    earzip("restore", archive, "-o", tmp_path / "out", *options.split())
    (restored,) = (tmp_path / "out").iterdir()
    assert f"{restored.name} {soundfile.info(restored).subtype}" == expected


def test_the_name_of_the_output_chooses_the_format(earzip, archives, tmp_path):
    target = tmp_path / "new" / "x.WAV"
    assert earzip("restore", archives / "one.flac.earz", "-o", target).exit_code == 0
    assert soundfile.info(target).format == "WAV"


def test_as_source_gives_rate_frames_and_mono_back(earzip, archives, music, tmp_path):
    earzip("restore", archives / "album", "-o", tmp_path / "out", "--as-source")
    info = soundfile.info(tmp_path / "out" / "two.wav.flac")
    assert (info.samplerate, info.frames, info.channels) == (48_000, 14_400, 1)


def test_a_range_is_cut_from_the_whole(earzip, archives, tmp_path):
    archive = archives / "one.flac.earz"
    earzip("restore", archive, "-o", tmp_path / "all.wav")
    earzip("restore", archive, "-o", tmp_path / "part.wav", "--start", "0:00.1", "--end", "0.25")
    whole, _ = soundfile.read(tmp_path / "all.wav")
    part, _ = soundfile.read(tmp_path / "part.wav")
    assert (part == whole[4410:11_025]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bits", "float"], "FLAC holds integers"),
        (["--format", "wav", "-o", "x.flac"], "--format wav contradicts the name of the output"),
        (["--start", "2", "--end", "1"], "are not a range"),
        (["--start", "soon"], "'soon' is neither seconds (90.5) nor [h:]m:s (1:30.5)"),
        (["--copy-other"], "--copy-other needs an output directory"),
    ],
)
def test_contradictions_are_usage_errors(earzip, archives, arguments, message):
    outcome = earzip("restore", archives / "one.flac.earz", *arguments)
    assert outcome.exit_code == 2
    assert message in outcome.stderr


def test_an_archive_of_a_model_that_is_not_installed_says_which(earzip, archives, monkeypatch):
    monkeypatch.delenv("EARZIP_MODELS")
    outcome = earzip("restore", archives / "one.flac.earz", "--force")
    assert outcome.exit_code == 3
    assert "needs model 'tiny' with SHA-256 " in outcome.stderr


def test_damage_fails_a_file_or_becomes_silence_by_request(earzip, tmp_path):
    song = write_sound(tmp_path / "song.wav", 3)
    earzip("compress", "--model", "tiny", song, "-o", tmp_path)
    archive = tmp_path / "song.wav.earz"
    data = bytearray(archive.read_bytes())
    data[-20] ^= 1  # in the last segment: the sound has no tags
    archive.write_bytes(data)
    outcome = earzip("restore", archive, "-o", tmp_path / "x.wav")
    assert outcome.exit_code == 3
    assert not (tmp_path / "x.wav").exists()
    outcome = earzip("restore", archive, "-o", tmp_path / "x.wav", "--keep-going", "--json")
    record = outcome.records[0]
    assert (outcome.exit_code, record["status"]) == (3, "incomplete")
    assert len(record["lost_segments"]) == 1
    assert ": damaged: silence in place of 0:02.97–0:03.00\n" in outcome.stderr
    sound, _ = soundfile.read(tmp_path / "x.wav")
    assert len(sound) == 3 * 44_100
    assert abs(sound[:44_100]).max() > 0.1
    assert abs(sound[-1000:]).max() == 0


def test_a_damaged_picture_makes_a_file_incomplete(earzip, archives, music, tmp_path):
    tagged = FLAC(music / "one.flac")
    picture = Picture()
    picture.data, picture.mime, picture.type = b"\x07" * 3000, "image/png", 3
    tagged.add_picture(picture)
    tagged.save()
    archive = tmp_path / "one.earz"
    earzip("compress", "--model", "tiny", music / "one.flac", "-o", archive)
    data = bytearray(archive.read_bytes())
    data[-1] ^= 1  # pictures come last
    archive.write_bytes(data)
    target = tmp_path / "x.flac"
    outcome = earzip("restore", archive, "-o", target, "--keep-going", "--json")
    record = outcome.records[0]
    assert (outcome.exit_code, record["status"]) == (3, "incomplete")
    assert (record["lost_pictures"], record["lost_tags"]) == ([0], False)
    assert record["message"] == "damaged: 1 picture lost"
    assert FLAC(target)["title"] == ["Eins", "One"]


def test_overs_and_lost_tags_are_listed_with_their_file(earzip, archives, tmp_path, monkeypatch):
    def restore_file(archive: Path, target: Path, *_: object, **__: object) -> RestoreResult:
        losses = ("a picture is lost",)
        return RestoreResult("written", archive, target, 1.0, 44_100, 7, tag_losses=losses)

    monkeypatch.setattr("earzip.transcode.restore.restore_file", restore_file)
    archive, target = archives / "one.flac.earz", tmp_path / "x.wav"
    lines = earzip("restore", archive, "-o", target).stdout.splitlines()
    assert lines == [
        f"written     {target} (0:01)",
        "            level: 7 samples beyond full scale, saturated; "
        "--format wav --bits float keeps them",
        "            tags: a picture is lost",
    ]
    lines = earzip("restore", archive, "-o", target, "--bits", "float").stdout.splitlines()
    assert lines[1] == "            level: 7 samples beyond full scale, kept"


# ---- pipes


def test_a_full_disk_behind_standard_output_is_named(archives):
    command = [sys.executable, "-m", "earzip", "restore", archives / "one.flac.earz", "-o", "-"]
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        "earzip: cannot write to standard output: No space left on device"
    )


def test_an_archive_comes_from_standard_input(earzip, archives, tmp_path):
    data = (archives / "one.flac.earz").read_bytes()
    assert earzip("restore", "-", "-o", tmp_path / "x.wav", stdin=data).exit_code == 0
    assert soundfile.info(tmp_path / "x.wav").frames == 22_050


def test_sources_beside_their_archives_are_no_failures(earzip, tiny_model, tmp_path):
    folder = tmp_path / "music"
    write_sound(folder / "a.flac")
    assert earzip("compress", folder, "--model", tiny_model).exit_code == 0
    restored = earzip("restore", folder, "-o", tmp_path / "out", "--max-failures", 1, "--json")
    assert restored.exit_code == 0
    assert restored.statuses() == {"a.flac.earz": "written", "a.flac": "skipped"}
    again = earzip("compress", folder, "-o", tmp_path / "arc", "--model", tiny_model, "--json")
    assert again.exit_code == 0
    assert again.statuses() == {"a.flac": "written", "a.flac.earz": "skipped"}


@pytest.fixture
def rivals(earzip, tmp_path: Path) -> Path:
    """Return a folder of archives of `song.mp3` and of another song, `song.mp3.flac`."""
    write_sound(tmp_path / "songs" / "song.mp3", 0.5)
    write_sound(tmp_path / "songs" / "song.mp3.flac", 0.25)
    earzip("compress", "--model", "tiny", tmp_path / "songs", "-o", tmp_path / "rivals")
    return tmp_path / "rivals"


def test_an_archive_whose_name_another_one_keeps_is_restored_after_its_own(
    earzip, rivals, tmp_path
):
    command = ("restore", rivals, "-o", tmp_path / "out")
    planned = earzip(*command, "--dry-run")
    why = "name: after its archive, since another archive is restored to the usual one"
    assert f"planned     {tmp_path}/out/song.mp3.earz.flac\n            {why}\n" in planned.stdout
    done = earzip(*command, "--processes", "2")
    assert done.exit_code == 0
    assert done.stdout.count(why) == 1
    n_frames = {path.name: soundfile.info(path).frames for path in (tmp_path / "out").iterdir()}
    assert n_frames == {"song.mp3.earz.flac": 22_050, "song.mp3.flac": 11_025}
    assert "2 up to date" in earzip(*command).stderr
    alone = earzip("restore", rivals / "song.mp3.earz", "-o", tmp_path / "out")
    assert alone.stdout.startswith(f"up to date  {tmp_path}/out/song.mp3.earz.flac")


def test_an_archive_without_the_suffix_is_called_as_usual(earzip, rivals, tmp_path):
    archive = (rivals / "song.mp3.earz").rename(tmp_path / "song")
    outcome = earzip("restore", archive, "-o", tmp_path / "out")
    assert outcome.stdout == f"written     {tmp_path}/out/song.flac (0:00)\n"


def test_shards_find_the_same_names(earzip, rivals, tmp_path):
    for part in ("1/2", "2/2"):
        assert earzip("restore", rivals, "-o", tmp_path / "out", "--shard", part).exit_code == 0
    assert _files_below(tmp_path / "out") == ["song.mp3.earz.flac", "song.mp3.flac"]


def test_what_is_called_after_its_archive_is_evaluated_with_its_source(earzip, rivals, tmp_path):
    earzip("restore", rivals, "-o", tmp_path / "out")
    outcome = earzip("evaluate", tmp_path / "songs", tmp_path / "out", "--json")
    assert outcome.exit_code == 0
    assert outcome.statuses() == {"song.mp3.earz.flac": "evaluated", "song.mp3.flac": "evaluated"}


def test_a_file_that_is_in_the_way_of_a_name_stays(earzip, rivals, tmp_path):
    taken = tmp_path / "out" / "song.mp3.earz.flac"
    taken.parent.mkdir()
    taken.write_bytes(b"mine")
    outcome = earzip("restore", rivals, "-o", tmp_path / "out")
    assert (outcome.exit_code, taken.read_bytes()) == (3, b"mine")
    assert f"{taken}" in outcome.stderr
    assert (tmp_path / "out" / "song.mp3.flac").exists()
