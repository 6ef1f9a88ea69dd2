"""``earzip evaluate``: rows, records and what cannot be compared."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.cli.batch_runs import run
from tests.cli.conftest import write_sound
from tests.conftest import MODELS, tones
from tests.earzip.tiny_archives import damage_segment

pytest.importorskip("auraloss")


@pytest.fixture
def original(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    for i, name in enumerate(("a.flac", "sub/b.wav")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tones(90_000, seed=i).T, 44_100)
    (folder / "cover.jpg").write_bytes(b"picture")
    return folder


@pytest.fixture
def archives(earzip, tiny_model: str, original: Path, tmp_path: Path) -> Path:
    earzip("compress", "--model", tiny_model, original, "-o", tmp_path / "archive")
    return tmp_path / "archive"


@pytest.mark.smoke
def test_a_folder_of_archives_is_a_table_with_a_mean(earzip, original, archives):
    outcome = earzip("evaluate", original, archives)
    assert outcome.exit_code == 0
    heading, a, b, mean = outcome.stdout.splitlines()
    assert heading.split()[:3] == ["SI-SDR", "mel", "STFT"]
    assert a.endswith(f"  {archives / 'a.flac.earz'}")
    assert b.endswith(f"  {archives / 'sub' / 'b.wav.earz'}")
    assert mean.endswith("  mean of 2 files")
    assert float(mean.split()[1]) == pytest.approx(
        (float(a.split()[1]) + float(b.split()[1])) / 2, abs=0.011
    )
    assert outcome.stderr.startswith("2 evaluated; 0:04 of audio; ")


def test_records_have_all_figures_and_the_summary_their_means(earzip, original, archives):
    outcome = earzip("evaluate", "--json", original, archives)
    a, b, summary = outcome.records
    assert (a["status"], a["source"]) == ("evaluated", str(archives / "a.flac.earz"))
    assert a["original"] == str(original / "a.flac")
    assert (a["n_samples"], a["lag_samples"]) == (90_000, None)
    assert list(a["measures"]) == ["si_sdr_db", "mel", "stft", "icpc", "ccpc", "dbtp"]
    assert list(a["loudness"]) == [
        "lufs_original", "lufs_restored", "lra_original", "lra_restored",
    ]  # fmt: skip
    for group in ("measures", "loudness"):
        for name, value in a[group].items():
            mean = (value + b[group][name]) / 2
            assert summary["means"][group][name] == pytest.approx(mean)
    assert 0 < a["measures"]["icpc"] < 1
    assert summary["evaluated"] == 2


def test_perceptual_measures_are_taken_where_they_are_asked_for(earzip, original, archives):
    pytest.importorskip("zimtohrli")
    a, b, summary = earzip("evaluate", "--perceptual", "--json", original, archives).records
    names = ["zimtohrli", "two_f", "nmr_db", "odg", "tonality_db", "pre_echo_db"]
    assert list(a["perceptual"]) == [*names, "pre_echo_original_db", "n_onsets"]
    for name in names[:4]:
        mean = (a["perceptual"][name] + b["perceptual"][name]) / 2
        assert summary["means"]["perceptual"][name] == pytest.approx(mean)
    heading, *_, mean = earzip("evaluate", "--perceptual", original, archives).stdout.splitlines()
    assert heading.split()[8:13] == ["Zimt.", "2f", "NMR", "tones", "echo"]
    assert float(mean.split()[6]) == pytest.approx(
        summary["means"]["perceptual"]["zimtohrli"], abs=1e-4
    )
    without = earzip("evaluate", "--json", original, archives).records[0]
    assert without["perceptual"] is None


def test_equal_tracks_are_in_no_mean_of_perceptual_measures(earzip, original, archives, tmp_path):
    pytest.importorskip("zimtohrli")
    mixed = shutil.copytree(original, tmp_path / "mixed")
    shutil.copy(archives / "sub" / "b.wav.earz", mixed / "sub")
    (mixed / "sub" / "b.wav").unlink()
    records = earzip("evaluate", "--perceptual", "--json", original, mixed).records
    same, other = records[0]["perceptual"], records[1]["perceptual"]
    assert same["nmr_db"] < -100
    assert records[-1]["means"]["perceptual"]["nmr_db"] == other["nmr_db"]


def test_perceptual_measures_without_their_package_say_what_installs_it(
    earzip, original, archives, monkeypatch
):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "earzip.metrics.find_spec", lambda name: None if name == "zimtohrli" else find_spec(name)
    )
    outcome = earzip("evaluate", "--perceptual", original, archives)
    assert outcome.exit_code == 2
    assert "pip install zimtohrli" in outcome.stderr
    assert earzip("evaluate", original, archives).exit_code == 0


def test_restored_files_measure_as_their_archives_do(earzip, original, archives, tmp_path):
    restored = tmp_path / "restored"
    earzip("restore", archives, "-o", restored, "--format", "wav", "--bits", "float")
    mine, theirs = (earzip("evaluate", "--json", original, x).records for x in (restored, archives))
    assert {Path(record["source"]).name for record in mine[:2]} == {"a.flac.wav", "b.wav"}
    assert mine[-1]["means"] == theirs[-1]["means"]


def test_files_without_their_like_fail_by_name_and_the_others_go_on(earzip, original, archives):
    write_sound(original / "only.flac")
    shutil.copy(archives / "a.flac.earz", archives / "new.flac.earz")
    outcome = earzip("evaluate", "--json", original, archives)
    assert outcome.exit_code == 3
    assert outcome.statuses() == {
        "a.flac.earz": "evaluated",
        "b.wav.earz": "evaluated",
        "new.flac.earz": "failed",
        "only.flac": "failed",
    }
    assert "new.flac.earz: has no original: new.flac or new.flac.earz is not in" in outcome.stderr
    assert f"only.flac: has no restored file or archive in {archives}" in outcome.stderr


def test_lengths_that_differ_fail_and_align_compares(earzip, original, tmp_path):
    sound, rate = soundfile.read(original / "a.flac")
    cut = tmp_path / "cut.flac"
    soundfile.write(cut, sound[700:], rate)
    outcome = earzip("evaluate", original / "a.flac", cut)
    assert outcome.exit_code == 3
    assert "has 89300 samples at 44.1 kHz" in outcome.stderr
    outcome = earzip("evaluate", "--align", original / "a.flac", cut)
    assert outcome.exit_code == 0
    assert outcome.stdout.endswith("cut.flac (lag -700 samples)\n")
    (record, _summary) = earzip("evaluate", "--align", "--json", original / "a.flac", cut).records
    assert (record["lag_samples"], record["n_samples"]) == (-700, 89_300)


def test_silence_has_no_measures_and_no_nan(earzip, tmp_path):
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, 0 * tones(50_000).T, 44_100)
    outcome = earzip("evaluate", "--json", silent, silent)
    assert outcome.exit_code == 0
    assert "NaN" not in outcome.stdout
    assert "Infinity" not in outcome.stdout
    record, summary = outcome.records
    assert record["measures"] is record["loudness"]["lufs_original"] is None
    assert record["warnings"] == ["has no measures: the original is digital silence"]
    assert "means" not in summary
    row = earzip("evaluate", silent, silent).stdout.splitlines()[1]
    assert row.split()[:6] == ["-"] * 6


def test_damaged_archives_and_files_that_are_none_fail(earzip, original, archives):
    damage_segment(archives / "a.flac.earz", 1)
    (archives / "sub" / "b.wav.earz").write_text("text")
    outcome = earzip("evaluate", original, archives)
    assert outcome.exit_code == 3
    assert "0:00.37–0:00." in outcome.stderr
    assert "b.wav.earz: is not an earzip archive" in outcome.stderr
    assert not outcome.stdout


def test_a_run_gives_up_after_so_many_failures(earzip, original, tmp_path):
    (tmp_path / "empty").mkdir()
    outcome = earzip("evaluate", "--max-failures", 1, original, tmp_path / "empty")
    assert outcome.exit_code == 3  # nothing was left to give up
    write_sound(tmp_path / "empty" / "a.flac", 0.2)
    outcome = earzip("evaluate", "--max-failures", 1, original, tmp_path / "empty")
    assert outcome.exit_code == 1


def test_a_folder_and_a_file_are_a_wrong_command_line(earzip, original):
    assert earzip("evaluate", original, original / "a.flac").exit_code == 2


def test_missing_packages_are_a_wrong_command_line(earzip, original, monkeypatch):
    monkeypatch.setattr("earzip.metrics.find_spec", lambda _name: None)
    outcome = earzip("evaluate", original, original)
    assert outcome.exit_code == 2
    assert "pip install '.[eval]'" in outcome.stderr


def test_a_process_of_its_own_says_the_same(original, archives):
    run = subprocess.run(
        [sys.executable, "-m", "earzip", "evaluate", "--json", original, archives],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "EARZIP_MODELS": str(MODELS)},
    )
    assert run.returncode == 0, run.stderr
    assert [json.loads(line)["type"] for line in run.stdout.splitlines()] == [
        "file", "file", "summary",
    ]  # fmt: skip
    assert run.stderr.startswith("2 evaluated; ")
    assert len(run.stderr.splitlines()) == 1


def test_two_processes_measure_what_one_does(original, archives, tmp_path):
    options = ("evaluate", original, archives, "--devices", "cpu", "--threads", 1)
    one, two = (run(tmp_path, *options, "--processes", n) for n in (1, 2))
    assert (one.exit_code, two.exit_code) == (0, 0)
    assert [ended.summary["processes"] for ended in (one, two)] == [1, 2]
    assert one.summary["means"] == two.summary["means"]

    def files(ended):
        apart = ("rank", "elapsed_s")
        records = sorted(ended.records, key=lambda record: record["source"])
        return [{k: v for k, v in record.items() if k not in apart} for record in records]

    assert files(one) == files(two)


def test_shards_measure_every_file_once(earzip, original, archives):
    runs = [earzip("evaluate", "--json", original, archives, "--shard", f"{i}/2") for i in (1, 2)]
    sources = [record["source"] for run in runs for record in run.records[:-1]]
    assert sorted(sources) == sorted(map(str, archives.rglob("*.earz")))


@pytest.mark.parametrize("arguments", [[], ["a"], ["a", "b", "c"], ["a", "b", "-o", "c.png"]])
def test_two_paths_are_wanted(earzip, arguments):
    assert earzip("evaluate", *arguments).exit_code == 2


def test_an_interrupt_says_that_another_run_begins_anew(original, archives):
    program = (
        "import os, signal\n"
        "from earzip.evaluate import files\n"
        "add = files.LoudnessMeter.add\n"
        "def stop(self, block):\n"
        "    files.LoudnessMeter.add = add\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    add(self, block)\n"
        "files.LoudnessMeter.add = stop\n"
        "from earzip.cli.main import main; main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, "evaluate", original, archives],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert run.returncode == 75, run.stderr
    assert run.stderr.splitlines()[-1] == (
        "earzip: stopped with 1 file left; only what is printed is kept: another run begins anew"
    )
