"""``earzip verify`` and ``earzip info``: what is said of archives without their model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from earzip.batch.jobs import Job
from earzip.batch.signals import StopRequested, StopSignal
from earzip.cli.info import _form
from earzip.runtime import Placement, Runtime
from earzip.tasks import VerifyTask
from tests.cli.conftest import write_sound


@pytest.fixture(autouse=True)
def _nothing_was_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def archives(earzip, tiny_model: str, tmp_path: Path) -> Path:
    folder = tmp_path / "archives"
    for name in ("a.wav", "b/c.flac"):
        write_sound(tmp_path / "in" / name)
    earzip("compress", "--model", tiny_model, tmp_path / "in", "-o", folder)
    (folder / "cover.jpg").write_bytes(b"picture")
    return folder


def _damage(path: Path, offset: int = -10) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.smoke
@pytest.mark.parametrize("options", [[], ["--decode"]])
def test_whole_archives_are_intact(earzip, archives, options):
    outcome = earzip("verify", archives, "--json", *options)
    assert outcome.exit_code == 0
    assert outcome.statuses() == {"a.wav.earz": "intact", "c.flac.earz": "intact"}


@pytest.mark.parametrize("options", [[], ["--decode"]])
def test_damage_is_named_and_ends_with_4(earzip, archives, options):
    _damage(archives / "a.wav.earz")
    outcome = earzip("verify", archives, "--json", *options)
    assert outcome.exit_code == 4
    assert outcome.statuses() == {"a.wav.earz": "damaged", "c.flac.earz": "intact"}
    (record,) = (record for record in outcome.records if record.get("status") == "damaged")
    (damage,) = record["damages"]
    assert damage == "0:00.37–0:00.50: bytes have changed"
    assert record["lost_segments"] == [1]
    assert (
        f"earzip: damaged: {archives / 'a.wav.earz'}: {damage}; restore --keep-going saves the rest\n"
        in (outcome.stderr)
    )


@pytest.mark.parametrize("options", [[], ["--decode"]])
def test_two_processes_find_what_one_does(earzip, archives, options):
    _damage(archives / "a.wav.earz")
    options = ("verify", archives, "--json", "--devices", "cpu", "--threads", 1, *options)
    one, two = (earzip(*options, "--processes", n) for n in (1, 2))
    assert (one.exit_code, two.exit_code) == (4, 4)
    assert [run.records[-1]["processes"] for run in (one, two)] == [1, 2]

    def files(run):
        apart = ("rank", "elapsed_s")
        records = sorted(run.records[:-1], key=lambda record: record["source"])
        return [{k: v for k, v in record.items() if k not in apart} for record in records]

    assert files(one) == files(two)


@pytest.mark.parametrize("processes", [1, 2])
def test_archives_that_were_checked_lately_are_left_out_and_counted(earzip, archives, processes):
    command = ("verify", archives, "--older-than", "30d", "--processes", processes)
    _damage(archives / "a.wav.earz")
    first = earzip(*command)
    assert first.exit_code == 4
    assert "1 intact, 1 damaged; " in first.stderr
    second = earzip(*command, "--json")
    assert second.exit_code == 4
    assert second.statuses() == {"a.wav.earz": "damaged", "c.flac.earz": "checked_lately"}
    assert second.records[-1]["checked_lately"] == 1
    _damage(archives / "a.wav.earz")  # undone
    earzip("verify", archives / "a.wav.earz")
    third = earzip(*command)
    assert (third.exit_code, third.stdout, third.stderr) == (0, "", "2 checked lately\n")
    assert "checked lately " in earzip(*command, "-v").stdout
    assert "2 intact" in earzip(*command, "--decode").stderr
    assert "2 checked lately" in earzip(*command, "--decode").stderr


def test_a_subset_each_night_is_all_after_a_round(earzip, archives):
    found = [earzip("verify", archives, "--json", "--subset", f"{i}/3") for i in (1, 2, 3)]
    assert [outcome.exit_code for outcome in found] == [0, 0, 0]
    assert sorted(name for outcome in found for name in outcome.statuses()) == [
        "a.wav.earz",
        "c.flac.earz",
    ]
    shown = earzip("verify", archives, "--subset", "auto/1")
    assert shown.stderr.startswith("earzip: info: part 1 of 1: 2 of 2 archives\n2 intact; ")
    quiet = earzip("verify", archives, "--subset", "auto/3", "-q")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")


@pytest.mark.parametrize("age", ["30", "d", "3 d", "1.5d", "-1d", "30m", "2d3h"])
def test_what_is_no_age_is_told_with_what_is_one(earzip, archives, age):
    outcome = earzip("verify", archives, f"--older-than={age}")
    assert outcome.exit_code == 2
    assert (
        f"{age!r} is not an age, expected a whole number of hours, days or weeks" in outcome.stderr
    )


def test_the_summary_says_how_fast_archives_were_read(earzip, archives):
    shown = earzip("verify", archives).stderr
    assert re.fullmatch(r"2 intact; [\d.]+ kB in [\d.]+ s, [\d.]+ [kM]?B/s\n", shown)
    n_bytes = sum(path.stat().st_size for path in archives.rglob("*.earz"))
    assert earzip("verify", archives, "--json").records[-1]["checked_bytes"] == n_bytes


def test_damage_is_told_with_the_command_that_mends_it(earzip, archives, tmp_path):
    _damage(archives / "a.wav.earz")
    anew = "earzip: info: from the sources: earzip compress --verify-sources"
    assert earzip("verify", archives).stderr.endswith(f"\n{anew} SOURCES -o {archives}\n")
    named = earzip("verify", archives / "a.wav.earz")
    assert named.stderr.endswith(f"\n{anew} SOURCES -o ARCHIVES\n")
    assert anew not in earzip("verify", archives, "-q").stderr
    write_sound(archives / "a.wav")
    beside = earzip("verify", archives)
    assert beside.stderr.endswith(f"\n{anew} {archives}\n")
    assert "recovery data" not in beside.stderr
    (archives / ".earzip").mkdir()
    (archives / ".earzip" / "recovery.par2").touch()
    protected = earzip("verify", archives)
    assert f"\nearzip: info: with recovery data: earzip repair {archives}\n" in protected.stderr


def test_much_damage_is_named_in_short_and_in_json_in_full(earzip, tiny_model, tmp_path):
    song = write_sound(tmp_path / "long.wav", 5)
    earzip("compress", "--model", tiny_model, song)
    archive = Path(f"{song}.earz")
    size = archive.stat().st_size
    for offset in range(size // 4, size, size // 40):
        _damage(archive, offset)
    outcome = earzip("verify", archive, "--json")
    n_damages = len(outcome.records[0]["damages"])
    assert n_damages > 6
    assert f"; and {n_damages - 5} more; restore --keep-going saves the rest\n" in outcome.stderr


def test_an_archive_whose_beginning_is_gone_is_damaged(earzip, archives):
    archive = archives / "a.wav.earz"
    archive.write_bytes(bytes(archive.stat().st_size))
    outcome = earzip("verify", archive)
    assert outcome.exit_code == 4
    assert "--keep-going" not in outcome.stderr


def test_info_says_what_saves_the_rest(earzip, archives):
    archive = archives / "a.wav.earz"
    archive.write_bytes(archive.read_bytes()[:-1])
    outcome = earzip("info", archive)
    assert outcome.exit_code != 0
    assert "; restore --keep-going saves the rest\n" in outcome.stderr


def test_something_else_is_a_failure_not_damage(earzip, archives):
    (archives / "z.earz").write_text("text")
    outcome = earzip("verify", archives, "--json")
    assert outcome.exit_code == 3
    assert outcome.statuses()["z.earz"] == "failed"
    assert "z.earz: is not an earzip archive" in outcome.stderr


def test_a_missing_file_is_a_failure_not_damage(earzip, archives):
    assert earzip("verify", archives, archives / "gone.earz").exit_code == 1


def test_decoding_needs_the_model_and_structure_does_not(earzip, archives, monkeypatch):
    monkeypatch.delenv("EARZIP_MODELS")
    assert earzip("verify", archives).exit_code == 0
    outcome = earzip("verify", archives, "--decode")
    assert outcome.exit_code == 3
    assert "needs model 'tiny'" in outcome.stderr


def test_info_shows_the_facts(earzip, archives):
    outcome = earzip("info", archives)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith(
        f"{archives / 'a.wav.earz'}\n  sound     0:00, 22050 samples\n"
    )
    assert "a.wav: WAV, 16 bit, 44100 Hz, 2 channels (stereo), 22050 frames" in (outcome.stdout)
    assert "tiny" in outcome.stdout
    assert "\n  made by   earzip " in outcome.stdout


@pytest.mark.parametrize(
    ("source", "form"),
    [
        (("WAV", "PCM_24", 24, False, True), "WAV, 24 bit"),
        (("WAV", "FLOAT", 32, True, True), "WAV, 32 bit float"),
        (("FLAC", "FLAC", 16, False, True), "FLAC, 16 bit"),
        (("MP4", "ALAC", None, False, True), "MP4 ALAC, lossless"),
        (("MP3", "MPEG_LAYER_III", None, False, False), "MP3 (lossy)"),
        (("OGG", "VORBIS", None, False, False), "Ogg Vorbis (lossy)"),
        (("ASF", "WMAV2", None, False, False), "ASF WMAV2 (lossy)"),
    ],
)
def test_formats_are_called_as_people_call_them(source, form):
    names = ("container", "codec", "bit_depth", "is_float", "lossless")
    assert _form(dict(zip(names, source, strict=True))) == form


def test_info_as_json_has_everything(earzip, archives):
    outcome = earzip("info", archives / "a.wav.earz", "--json")
    record, summary = outcome.records
    assert record["status"] == "read"
    assert record["archive"]["source"]["name"] == "a.wav"
    assert record["archive"]["n_samples"] == 22_050
    assert summary["read"] == 1


@pytest.mark.parametrize("command", ["verify", "info", "restore", "latents", "report -o r.html"])
def test_a_folder_without_archives_is_3_for_every_command(earzip, tmp_path, monkeypatch, command):
    (tmp_path / "notes.txt").write_text("nothing")
    monkeypatch.chdir(tmp_path)
    outcome = earzip(*command.split(), tmp_path, "--json")
    assert (outcome.exit_code, outcome.records[0]["message"]) == (3, "contains no archives")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_signal_is_heeded_between_the_parts_of_an_archive(archives):
    """An archive with an exact copy may have gigabytes."""
    stop = StopSignal()
    parts: list[float] = []

    def on_progress(seconds: float) -> None:
        parts.append(seconds)
        stop.request(0)
        stop.check()

    with VerifyTask().opened(Placement(0, Runtime("cpu"))) as work, pytest.raises(StopRequested):
        work(Job(archives / "a.wav.earz", None, 1), on_progress)
    assert parts == [0]


def test_info_names_what_is_no_archive_and_goes_on(earzip, archives):
    (archives / "z.earz").write_text("text")
    outcome = earzip("info", archives)
    assert outcome.exit_code == 3
    assert outcome.stdout.count("  model     tiny") == 2
    assert f"{archives / 'z.earz'}: is not an earzip archive" in outcome.stderr


def test_info_keeps_hostile_tags_on_their_line(earzip, tiny_model, tmp_path):
    from mutagen.flac import FLAC, Picture  # noqa: PLC0415

    song = write_sound(tmp_path / "song.flac")
    tagged = FLAC(song)
    tagged["title"] = ["\x1b[2Jevil\nline"]
    tagged["lyrics"] = ["la " * 500]
    picture = Picture()
    picture.mime, picture.data = "image/jpeg", b"x" * 2000
    tagged.add_picture(picture)
    tagged.save()
    earzip("compress", "--model", tiny_model, song)
    shown = earzip("info", f"{song}.earz").stdout
    assert "  tag       title: \\x1b[2Jevil\\nline\n" in shown
    assert "… (1500 characters)\n" in shown
    assert "  picture   image/jpeg, 2 kB\n" in shown
    tags = json.loads(earzip("info", "--json", f"{song}.earz").stdout.splitlines()[0])
    assert tags["archive"]["tags"]["fields"]["lyrics"] == ["la " * 500]
