"""``earzip compress`` over sources of many kinds: which are taken, and what is said of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earzip import read_info
from tests.cli.conftest import write_sound
from tests.formats.audio.dsd_files import modulate, write_dff, write_dsf

pytestmark = pytest.mark.usefixtures("tiny_model")

SOUND = ".spx .mpga .mp1 .mpa .ogx .fla .m4r .mp4 .asf .webm .weba .mpp .mp+ .3ga .ec3 .adts"


def _compress(earzip, *arguments: object):
    return earzip("compress", "--model", "tiny", "--json", *arguments)


def test_rarer_names_of_sound_files_are_taken(earzip, tmp_path):
    wav = write_sound(tmp_path / "a.wav", 0.1)
    folder = tmp_path / "music"
    folder.mkdir()
    for extension in SOUND.split():
        shutil.copy(wav, folder / f"song{extension}")
        shutil.copy(wav, folder / f"LOUD{extension.upper()}")
    outcome = _compress(earzip, folder)
    assert outcome.exit_code == 0
    assert outcome.statuses() == dict.fromkeys(
        [f"{name}" for e in SOUND.split() for name in (f"song{e}", f"LOUD{e.upper()}")], "written"
    )


def test_sound_that_earzip_does_not_read_is_counted(earzip, tmp_path):
    write_sound(tmp_path / "a.wav", 0.1)
    for name in ("b.shn", "C.OFS", "d.ofr", "notes.txt"):
        (tmp_path / name).write_bytes(b"OFR \x1c\0\0\0")
    outcome = _compress(earzip, tmp_path, "-o", tmp_path / "out")
    assert outcome.exit_code == 0
    messages = {Path(r["source"]).name: r["message"] for r in outcome.records[:-1]}
    unread = "sound that earzip does not read"
    assert messages == {
        "a.wav": None,
        "b.shn": unread,
        "C.OFS": unread,
        "d.ofr": unread,
        "notes.txt": "not sound",
    }
    assert (outcome.records[-1]["skipped"], outcome.records[-1]["unread_sound"]) == (4, 3)
    assert "1 written, 4 skipped (3 of them sound that earzip does not read); " in outcome.stderr
    named = _compress(earzip, tmp_path / "b.shn")
    assert (named.exit_code, named.records[0]["message"]) == (3, unread)


@pytest.mark.parametrize("name", ["a.dsf", "a.dff"])
def test_dsd_is_archived(earzip, tmp_path, name):
    pytest.importorskip("av")
    write = {"a.dsf": write_dsf, "a.dff": write_dff}[name]
    write(tmp_path / name, 2 * [modulate(0.3 * np.sin(np.arange(8_820) / 7))])
    assert _compress(earzip, tmp_path).records[0]["status"] == "written"
    header = read_info(tmp_path / f"{name}.earz").header
    assert (header.n_samples, header.source.sample_rate) == (8_820, 352_800)
    assert f"{name}: {name[2:].upper()} DSD, 352800 Hz, " in earzip("info", tmp_path).stdout
    assert earzip("restore", tmp_path, "-o", tmp_path / "out").exit_code == 0
    assert soundfile.info(tmp_path / "out" / f"{name}.flac").frames == 8_820


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("codec", ["libopus", "libvorbis"])
def test_the_sound_of_webm_is_archived(earzip, tmp_path, codec):
    pytest.importorskip("av")
    source = write_sound(tmp_path / "in" / "a.wav", 1.0, rate=48_000)
    command = ["ffmpeg", "-v", "error", "-i", str(source), "-c:a", codec, str(tmp_path / "a.webm")]
    subprocess.run(command, check=True)
    outcome = _compress(earzip, tmp_path / "a.webm")
    assert outcome.records[0]["status"] == "written"
    assert read_info(tmp_path / "a.webm.earz").header.duration_s == pytest.approx(1.0, abs=0.02)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.webm", "libvpx")])
def test_a_film_without_sound_is_skipped(earzip, tmp_path, name, codec):
    pytest.importorskip("av")
    pictures = ["-f", "lavfi", "-i", "testsrc=d=1:s=32x32:r=5"]
    command = ["ffmpeg", "-v", "error", *pictures, "-c:v", codec, str(tmp_path / name)]
    subprocess.run(command, check=True)
    outcome = _compress(earzip, tmp_path, "-o", tmp_path / "out")
    assert outcome.exit_code == 0
    (record, _) = outcome.records
    assert (record["status"], record["message"]) == ("skipped", "holds no sound")
    assert not (tmp_path / "out" / f"{name}.earz").exists()


def test_a_source_without_samples_is_a_warning(earzip, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((0, 2)), 44_100)
    outcome = _compress(earzip, path)
    assert outcome.exit_code == 0
    assert outcome.records[0]["warnings"] == ["it has no samples; the archive is empty"]


def test_the_checksums_of_a_source_are_on_record(earzip, tmp_path):
    flac = write_sound(tmp_path / "a.flac")
    assert _compress(earzip, flac).records[0]["source_checksums"] == "right"
    assert _compress(earzip, flac).records[0]["source_checksums"] is None  # not read
    data = bytearray(flac.read_bytes())
    data[26] ^= 1
    wrong = tmp_path / "wrong.flac"
    wrong.write_bytes(data)
    outcome = _compress(earzip, wrong)
    assert (outcome.exit_code, outcome.records[0]["source_checksums"]) == (0, "wrong")
    assert len(outcome.records[0]["warnings"]) == 1
    assert "the MD5 in its header is not that of its sound" in outcome.stderr
    wav = write_sound(tmp_path / "a.wav")
    assert _compress(earzip, wav).records[0]["source_checksums"] is None


def test_a_flac_that_is_cut_short_is_archived_on_request(earzip, tmp_path):
    source = write_sound(tmp_path / "a.flac", seconds=4)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    archive = tmp_path / "a.flac.earz"
    run = ("compress", "--model", "tiny", source, "--json")
    for options in ((), ("--truncated", "fail")):
        refused = earzip(*run, *options)
        assert (refused.exit_code, archive.exists()) == (3, False)
    kept = earzip(*run, "--truncated", "keep")
    assert kept.exit_code == 0
    (record, _summary) = kept.records
    (warning,) = record["warnings"]
    assert warning == f"cut short, archived as far as it decodes: {record['truncated']}"
    header = read_info(archive).header
    assert header.source.truncated == record["truncated"]
    assert 1 < header.duration_s < 3
    assert header.source.n_frames == header.n_samples
    assert earzip(*run).records[0]["status"] == "up_to_date"
    assert earzip("restore", archive, "-o", tmp_path / "out").exit_code == 0


def test_a_wav_that_is_cut_short_is_refused_on_request(earzip, tmp_path):
    source = write_sound(tmp_path / "a.wav")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    refused = earzip("compress", "--model", "tiny", source, "--truncated", "fail")
    assert refused.exit_code == 3
    assert f"{source}: is cut short: " in refused.stderr
    assert not (tmp_path / "a.wav.earz").exists()


def test_a_header_that_promises_too_little_is_a_warning(earzip, tmp_path):
    path = write_sound(tmp_path / "a.wav")
    data = bytearray(path.read_bytes())
    data[40:44] = (4_000).to_bytes(4, "little")
    path.write_bytes(data)
    (record, _) = _compress(earzip, path).records
    assert record["warnings"] == [
        "its header promises 4000 bytes of sound, 88200 are there; all are archived"
    ]
    assert (record["duration_s"], record["truncated"]) == (0.5, None)
    assert read_info(tmp_path / "a.wav.earz").header.source.n_frames == 22_050
