"""``earzip compress`` from its arguments to its archives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from earzip import read_info
from tests.cli.conftest import write_sound

pytestmark = pytest.mark.usefixtures("tiny_model")

ARCHIVES = ["album/three.mp3.earz", "album/two.wav.earz", "one.flac.earz"]


def _files_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def compress_tiny(earzip, *arguments: object, **options: bytes):
    return earzip("compress", "--model", "tiny", *arguments, **options)


@pytest.mark.smoke
def test_a_folder_becomes_a_mirrored_tree_of_archives(earzip, music, tmp_path):
    outcome = compress_tiny(earzip, music, "-o", tmp_path / "out", "--json")
    assert outcome.exit_code == 3
    assert _files_below(tmp_path / "out") == ARCHIVES
    assert outcome.statuses() == {
        "one.flac": "written",
        "three.mp3": "written",
        "two.wav": "written",
        "text.flac": "failed",
        "cover.jpg": "skipped",
    }
    record = next(r for r in outcome.records if r["source"] == str(music / "one.flac"))
    archive = tmp_path / "out" / "one.flac.earz"
    assert record["archive_bytes"] == archive.stat().st_size
    assert record["source_bytes"] == (music / "one.flac").stat().st_size
    assert (record["duration_s"], record["truncated"]) == (0.5, None)
    assert archive.stat().st_mtime_ns == (music / "one.flac").stat().st_mtime_ns
    summary = outcome.records[-1]
    assert (summary["written"], summary["failed"], summary["skipped"]) == (3, 1, 1)
    assert "earzip: failed: " in outcome.stderr
    assert "text.flac" in outcome.stderr


@pytest.mark.parametrize("options", [(), ("--verify-sources",)])
def test_what_changed_behind_its_size_and_time_is_seen(earzip, tmp_path, options):
    source = write_sound(tmp_path / "a.wav")
    assert compress_tiny(earzip, source).exit_code == 0
    time_ns = source.stat().st_mtime_ns
    source.write_bytes(source.read_bytes()[:-1] + b"\x55")
    os.utime(source, ns=(time_ns, time_ns))
    outcome = compress_tiny(earzip, source, *options)
    assert outcome.exit_code == 3
    assert "made from an earlier version of this source" in outcome.stderr


def test_what_is_up_to_date_is_skipped(earzip, music, tmp_path):
    (music / "album" / "text.flac").unlink()
    assert compress_tiny(earzip, music, "-o", tmp_path / "out").exit_code == 0
    before = {p: (tmp_path / "out" / p).stat().st_mtime_ns for p in ARCHIVES}
    outcome = compress_tiny(earzip, music, "-o", tmp_path / "out", "--json")
    assert outcome.exit_code == 0
    assert outcome.records[-1]["up_to_date"] == 3
    assert before == {p: (tmp_path / "out" / p).stat().st_mtime_ns for p in ARCHIVES}


def test_another_quality_writes_the_archives_anew(earzip, music, tmp_path):
    song, archive = music / "one.flac", tmp_path / "one.flac.earz"
    compress_tiny(earzip, song, "-o", tmp_path)
    command = (earzip, song, "-o", tmp_path, "--json", "--quality")
    assert compress_tiny(*command, "high").records[0]["status"] == "written"
    assert read_info(archive).header.quantizer.quality == "high"
    assert compress_tiny(*command, "low").records[0]["status"] == "failed"
    assert compress_tiny(*command, "low", "--force").records[0]["status"] == "written"
    assert read_info(archive).header.quantizer.quality == "low"


def test_a_foreign_file_is_not_replaced_without_force(earzip, music, tmp_path):
    archive = tmp_path / "one.flac.earz"
    archive.write_bytes(b"precious")
    outcome = compress_tiny(earzip, music / "one.flac", "-o", tmp_path)
    assert (outcome.exit_code, archive.read_bytes()) == (3, b"precious")
    assert compress_tiny(earzip, music / "one.flac", "-o", tmp_path, "--force").exit_code == 0
    assert read_info(archive).header.n_samples == 22_050


def test_one_file_may_name_its_archive(earzip, music, tmp_path):
    target = tmp_path / "new" / "x.earz"
    assert compress_tiny(earzip, music / "one.flac", "-o", target).exit_code == 0
    assert read_info(target).header.source.name == "one.flac"


def test_sidecars_are_copied_on_request(earzip, music, tmp_path):
    compress_tiny(earzip, music, "-o", tmp_path / "out", "--copy-other")
    assert (tmp_path / "out" / "album" / "cover.jpg").read_bytes() == b"\xff\xd8picture"
    assert "text.flac" not in _files_below(tmp_path / "out")


def test_copies_need_a_folder(earzip, music):
    outcome = compress_tiny(earzip, music, "--copy-other")
    assert outcome.exit_code == 2
    assert "-o DIR" in outcome.stderr


def test_a_missing_model_is_fatal_before_any_file(earzip, music, tmp_path):
    outcome = earzip("compress", music, "-o", tmp_path / "out", "--model", "none", "--json")
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "no model 'none' is installed; installed: " in outcome.stderr


def test_a_missing_model_is_told_of_in_a_dry_run(earzip, music, tmp_path):
    outcome = earzip("compress", music, "-o", tmp_path, "--model", "nosuch", "--dry-run")
    assert outcome.exit_code == 1
    assert "no model 'nosuch' is installed" in outcome.stderr


def test_a_device_that_is_not_there_is_a_usage_error(earzip, music):
    outcome = compress_tiny(earzip, music, "--devices", "cuda:99")
    assert outcome.exit_code == 2
    assert "device 'cuda:99' cannot be used" in outcome.stderr


def test_the_precision_is_recorded_and_does_not_make_archives_anew(earzip, music, tmp_path):
    one, target = music / "one.flac", tmp_path / "one.earz"
    assert compress_tiny(earzip, one, "-o", target, "--precision", "bfloat16").exit_code == 0
    assert read_info(target).header.encoder.dtype == "bfloat16"
    again = compress_tiny(earzip, one, "-o", target, "--json")
    assert again.statuses() == {"one.flac": "up_to_date"}
    for command in (["restore", "-o", tmp_path / "x.flac"], ["verify", "--decode"]):
        assert earzip(*command, target, "--precision", "bfloat16").exit_code == 0


def test_a_precision_that_is_none_is_a_usage_error(earzip, music):
    outcome = compress_tiny(earzip, music, "--precision", "int8")
    assert outcome.exit_code == 2
    assert "'float32', 'bfloat16', 'float16'" in outcome.stderr


def test_nothing_to_do_is_no_failure(earzip, tmp_path):
    """But may be a disk that is not mounted."""
    outcome = compress_tiny(earzip, tmp_path)
    warning = f"earzip: warning: nothing to compress in {tmp_path}\n"
    assert (outcome.exit_code, outcome.stderr) == (0, warning + "nothing to do\n")


def test_the_same_sound_gives_the_same_bytes_on_any_number_of_threads(earzip, tmp_path):
    song = write_sound(tmp_path / "song.flac", 3)
    for threads in (1, 2):
        compress_tiny(earzip, song, "-o", tmp_path / f"{threads}", "--threads", threads)
    one, two = (tmp_path / f"{threads}" / "song.flac.earz" for threads in (1, 2))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("name", ["x.mp3", "x.flac"])
def test_an_output_named_as_another_kind_of_file_is_a_usage_error(earzip, music, tmp_path, name):
    outcome = compress_tiny(earzip, music / "one.flac", "-o", tmp_path / name)
    assert outcome.exit_code == 2
    assert outcome.stderr == (
        f"earzip: {tmp_path / name}: an output file must end in .earz; "
        "there is no directory of this name\n"
    )
    (tmp_path / name).mkdir()
    assert compress_tiny(earzip, music / "one.flac", "-o", tmp_path / name).exit_code == 0
    assert (tmp_path / name / "one.flac.earz").is_file()


@pytest.mark.parametrize("name", ["both.earz", "song.WAV", "x.npy", "y.safetensors", "z.dsf"])
@pytest.mark.parametrize("sources", [("one.flac", "album/two.wav"), ("album",)])
def test_no_directory_is_made_of_a_name_that_a_file_has(earzip, music, tmp_path, name, sources):
    target = tmp_path / name
    paths = [music / source for source in sources]
    outcome = compress_tiny(earzip, *paths, "-o", target)
    assert (outcome.exit_code, target.exists()) == (2, False)
    assert outcome.stderr == (
        f"earzip: {target}: is named like a file, which holds the result of one source; "
        "there is no directory of this name\n"
    )
    target.mkdir()
    compress_tiny(earzip, *paths, "-o", target)
    assert (target / "two.wav.earz").is_file()


@pytest.mark.parametrize("others", [(), ("one.flac",), ("one.flac", "album/cover.jpg")])
def test_a_path_that_is_not_there_is_fatal_and_the_others_are_done(earzip, music, tmp_path, others):
    """For a nightly job: a whole disk may be missing, which is more than some files that failed."""
    out = tmp_path / "out"
    paths = [music / name for name in others]
    for command in (("--model", "tiny"), ("--model", "tiny", "--dry-run")):
        outcome = earzip("compress", *command, *paths, music / "usb", "-o", out, "--json")
        assert outcome.exit_code == 1
        assert outcome.records[-1]["exit_code"] == 1
        assert f"earzip: failed: {music / 'usb'}: No such file or directory\n" in outcome.stderr
    assert [path.name for path in out.glob("*")] == ["one.flac.earz"][: len(others)]


@pytest.mark.parametrize("command", ["restore", "verify", "info", "latents", "status"])
def test_a_path_that_is_not_there_is_fatal_for_every_command(earzip, tmp_path, command):
    outcome = earzip(command, tmp_path / "gone")
    assert outcome.exit_code == 1
    assert "No such file or directory" in outcome.stderr


def test_a_dot_in_the_name_of_a_directory_makes_no_file_of_it(earzip, music, tmp_path):
    for name in ("Vol. 2", "St.Anger", "2024.11"):
        assert compress_tiny(earzip, music / "one.flac", "-o", tmp_path / name).exit_code == 0
        assert (tmp_path / name / "one.flac.earz").is_file()


def test_two_directories_of_one_name_do_not_become_one_in_silence(earzip, tmp_path):
    one, two = tmp_path / "A" / "Music", tmp_path / "B" / "Music"
    write_sound(one / "x" / "a.wav", seconds=0.1)
    write_sound(two / "x" / "b.wav", seconds=0.1)
    outcome = compress_tiny(earzip, one, two, "-o", tmp_path / "Out")
    assert outcome.exit_code == 0
    assert outcome.stderr.startswith(
        f"earzip: warning: {one} and {two} become one tree, {tmp_path / 'Out'}: "
    )
    assert _files_below(tmp_path / "Out") == ["x/a.wav.earz", "x/b.wav.earz"]
    for paths in ([one, one], [one, one / ".." / "Music"], [one, tmp_path / "B"], [one]):
        assert "one tree" not in compress_tiny(earzip, *paths, "-o", tmp_path / "Out").stderr


def test_a_bug_in_one_file_does_not_end_the_run(earzip, music, tmp_path, monkeypatch):
    def compress_file(source: Path, *_: object, **__: object) -> None:
        raise ValueError(f"\x1b{source.name}")

    monkeypatch.setattr("earzip.transcode.compress.compress_file", compress_file)
    outcome = compress_tiny(earzip, music, "-o", tmp_path / "out", "--json")
    assert outcome.exit_code == 1
    assert outcome.records[-1]["failed"] == 4
    assert "one.flac: internal error: ValueError: \\x1bone.flac\nTraceback " in outcome.stderr


# ---- signals


def _start(source: Path, target: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "earzip", "compress", source, "-o", target, "--model", "tiny"]
    return subprocess.Popen(
        [*map(str, command), "--threads", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_interrupt_stops_a_run_without_half_files_and_a_second_run_ends_it(earzip, tmp_path):
    write_sound(tmp_path / "in" / "1.wav", 0.2)
    long = write_sound(tmp_path / "in" / "2.wav", 600, 8_000, 1)
    process = _start(tmp_path / "in", tmp_path / "out")
    assert process.stdout
    assert "1.wav.earz" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75
    stopping = "earzip: stopping; files in progress have 5 s; press Ctrl-C again to exit at once"
    stopped = "earzip: stopped with 1 file left; run again to continue"
    assert -1 < errors.find(stopping) < errors.find(stopped)
    assert _files_below(tmp_path / "out") == ["1.wav.earz"]
    write_sound(long, 0.2)
    outcome = compress_tiny(earzip, tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert outcome.statuses() == {"1.wav": "up_to_date", "2.wav": "written"}


def test_a_killed_run_leaves_nothing_that_a_second_run_does_not_clear(earzip, tmp_path):
    write_sound(tmp_path / "in" / "1.wav", 0.2)
    long = write_sound(tmp_path / "in" / "2.wav", 600, 8_000, 1)
    process = _start(tmp_path / "in", tmp_path / "out")
    assert process.stdout
    process.stdout.readline()
    time.sleep(0.3)
    process.kill()
    process.communicate()
    assert not (tmp_path / "out" / "2.wav.earz").exists()
    write_sound(long, 0.2)
    assert compress_tiny(earzip, tmp_path / "in", "-o", tmp_path / "out").exit_code == 0
    assert _files_below(tmp_path / "out") == ["1.wav.earz", "2.wav.earz"]


def test_two_runs_over_one_folder_share_the_work(tmp_path):
    for i in range(12):
        write_sound(tmp_path / "in" / f"{i:02}.flac", 1)
    runs = [_start(tmp_path / "in", tmp_path / "out") for _ in range(2)]
    outputs = [run.communicate(timeout=120) for run in runs]
    assert {run.returncode for run in runs} <= {0, 75}
    lines = [line for out, _ in outputs for line in out.splitlines()]
    assert sum(line.startswith("written") for line in lines) == 12
    assert len(_files_below(tmp_path / "out")) == 12


def test_a_fifo_does_not_hang_a_run(earzip, tmp_path):
    os.mkfifo(tmp_path / "x.flac")
    timer = threading.Timer(20, os.kill, (os.getpid(), signal.SIGALRM))
    timer.start()
    outcome = compress_tiny(earzip, tmp_path)
    timer.cancel()
    assert outcome.exit_code == 3
    assert "is not a regular file" in outcome.stderr


def test_problems_are_repeated_as_far_as_a_screen_holds_them(earzip, tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(30):
        (tmp_path / "in" / f"{i:02}.flac").write_bytes(b"")
    lines = compress_tiny(earzip, tmp_path / "in", "-o", tmp_path / "out").stderr.splitlines()
    assert sum(line.startswith("earzip: failed: ") for line in lines) == 30 + 20
    assert "earzip: and 10 more, listed above" in lines
