"""The metrics file of runs that go on, are stopped, refused, killed, or ended by an error."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cli.batch_runs import Run, contents, run, wait_for, write_music, write_silence
from tests.conftest import MODELS

TWO = ("--processes", 2, "--devices", "cpu", "--threads", 1)


def _values(path: Path) -> dict[str, float]:
    """Return the samples of a metrics file by their names, those of a status by ``files NAME``."""
    found = {}
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            name, _, labels = name.partition("{")
            status = labels.partition('status="')[2].rstrip('"}')
            found[f"files {status}" if status else name.removeprefix("earzip_run_")] = float(value)
    return found


@pytest.mark.parametrize("options", [TWO, ("--threads", 1)])
def test_figures_are_there_while_the_run_goes_on_and_when_it_has_been_stopped(tmp_path, options):
    music = write_music(tmp_path / "music", [0.1] * 3)
    long = write_silence(music / "long.wav", 900.0)
    path = tmp_path / "metrics" / "earzip.prom"
    path.parent.mkdir()
    command = ("compress", "--model", "tiny", music, "-o", tmp_path / "out", "--grace", 0)
    job = Run(tmp_path / "logs", *command, *options, "--metrics", path)
    wait_for(lambda: job.holders(long) or long in job.open_files())
    wait_for(path.exists)
    during = _values(path)
    assert during["running"] == 1
    assert "exit_code" not in during
    assert during["files_undone"] + during["files written"] == 4
    # A run that is refused leaves the figures of the one at work alone.
    assert run(tmp_path / "logs 2", *command, "--metrics", path).exit_code == 75
    assert _values(path)["start_timestamp_seconds"] == during["start_timestamp_seconds"]
    job.signal(signal.SIGTERM)
    ended = job.wait()
    after = _values(path)
    assert (after["running"], after["exit_code"]) == (0, 75)
    assert after["files_undone"] == ended.summary["undone"] > 0
    assert after["files written"] == ended.summary["written"]
    assert list(path.parent.iterdir()) == [path]


def test_figures_of_a_run_that_an_error_ends_say_so(tmp_path):
    music = write_music(tmp_path / "music", [0.1] * 3)
    for name in ("tiny.json", "tiny.safetensors"):
        (tmp_path / name).write_bytes((MODELS / name).read_bytes())
    os.truncate(tmp_path / "tiny.safetensors", 1000)
    path = tmp_path / "earzip.prom"
    command = ("compress", "--model", tmp_path / "tiny.json", music, "-o", tmp_path / "out")
    assert run(tmp_path / "logs", *command, *TWO, "--metrics", path).exit_code == 1
    after = _values(path)
    assert (after["running"], after["exit_code"], after["files_undone"]) == (0, 1, 3)


def test_figures_of_a_killed_run_are_replaced_by_the_next(tmp_path):
    music = write_music(tmp_path / "music", [0.1] * 3)
    long = write_silence(music / "long.wav", 900.0)
    path = tmp_path / "earzip.prom"
    command = ("compress", "--model", "tiny", music, "-o", tmp_path / "out", "--metrics", path)
    job = Run(tmp_path / "logs", *command, *TWO)
    wait_for(path.exists)
    job.kill_all()
    assert _values(path)["running"] == 1  # and a last update that grows old
    write_silence(long, 0.1)
    assert run(tmp_path / "logs", *command).exit_code == 0
    after = _values(path)
    assert (after["running"], after["exit_code"], after["files_undone"]) == (0, 0, 0)
    assert after["files written"] + after["files up_to_date"] == 4


@pytest.mark.parametrize("name", ["no folder/earzip.prom", "music", "pipe"])
def test_a_file_that_cannot_be_written_is_told_before_any_work(tmp_path, name):
    music = write_music(tmp_path / "music", [0.1])
    os.mkfifo(tmp_path / "pipe")
    command = ("compress", "--model", "tiny", music, "-o", tmp_path / "out")
    ended = run(tmp_path / "logs", *command, *TWO, "--metrics", tmp_path / name)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert f"{tmp_path / name}: cannot be written: " in ended.stderr
    assert contents(tmp_path / "out") == {}
