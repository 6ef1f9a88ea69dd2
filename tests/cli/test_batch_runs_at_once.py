"""Several runs on one folder: beside each other, one at a time, or each with a part of it."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.batch_runs import (
    Ended,
    Run,
    contents,
    run,
    stale_files,
    wait_for,
    write_music,
    write_silence,
)

N_SHARDS = 3


def _command(music: Path, tmp_path: Path, *options: object) -> tuple[object, ...]:
    one = ("--threads", 1, "--devices", "cpu")
    return ("compress", "--model", "tiny", music, "-o", tmp_path / "out", *one, *options)


# ---- beside each other


def _beside_each_other(tmp_path: Path, n_runs: int, n_files: int) -> None:
    """Check that ``n_runs`` at once archive every one of ``n_files``, and (nearly) none twice."""
    music = write_music(tmp_path / "music", [0.1] * n_files)
    jobs = [
        Run(tmp_path / f"logs {i}", *_command(music, tmp_path, "--no-lock")) for i in range(n_runs)
    ]
    ended = [job.wait() for job in jobs]
    # A file that is still in the hands of another run at the end is left to it, with 75.
    assert {one.exit_code for one in ended} <= {0, 75}
    for one in ended:
        assert (one.exit_code == 75) is bool(one.names("locked"))
        assert (one.summary["failed"], one.summary["undone"]) == (0, 0)
        assert len(one.records) == n_files
    written = Counter(name for one in ended for name in one.names("written"))
    assert len(written) == n_files
    n_twice = sum(written.values()) - n_files
    print(f"{n_runs} runs: {[len(one.names('written')) for one in ended]} written, {n_twice} twice")
    assert n_twice <= n_files // 100
    assert stale_files(tmp_path / "out") == []
    again = run(tmp_path / "logs", *_command(music, tmp_path))
    assert (again.exit_code, again.summary["up_to_date"]) == (0, n_files)
    assert run(tmp_path / "logs", "verify", tmp_path / "out").exit_code == 0
    alone = tmp_path / "alone"
    run(tmp_path / "logs", "compress", "--model", "tiny", music, "-o", alone)
    assert contents(tmp_path / "out") == contents(alone)


def test_runs_without_a_lock_share_a_folder(tmp_path):
    _beside_each_other(tmp_path, n_runs=4, n_files=40)


@pytest.mark.slow
def test_many_runs_without_a_lock_share_a_folder(tmp_path):
    _beside_each_other(tmp_path, n_runs=8, n_files=200)


# ---- one at a time


def test_a_second_run_is_told_who_is_at_work(tmp_path):
    music = write_music(tmp_path / "music", [0.1] * 3)
    long = write_silence(music / "long.wav", 900.0)
    first = Run(tmp_path / "logs 1", *_command(music, tmp_path, "--grace", 0))
    wait_for((tmp_path / "out" / ".compress.earzip-lock").exists)
    wait_for(lambda: long in first.open_files())
    for options in ((), ("--processes", 2), ("--shard", "1/2")):
        second = run(tmp_path / "logs 2", *_command(music, tmp_path, *options))
        assert (second.exit_code, second.names("locked")) == (75, ["out"])
        assert second.summary["exit_code"] == 75
        assert second.summary["files"] == second.summary["locked"] == 1
        assert second.summary["undone"] > 0
        who = f"process {first.process.pid} on {socket.gethostname()} since 2"
        assert "locked by another compress run" in second.stderr
        assert options == ("--shard", "1/2") or who in second.stderr
        assert "--no-lock" in second.stderr
    # What it is at work on is claimed: another that is let in does the rest.
    beside = run(tmp_path / "logs 2", *_command(music, tmp_path, "--no-lock"))
    assert (beside.exit_code, beside.names("locked")) == (75, ["long.wav"])
    assert len(beside.names("written")) + len(beside.names("up_to_date")) == 3
    # Restoring from the folder, or into another one, is another matter.
    assert (
        run(tmp_path / "logs 3", "restore", tmp_path / "out", "-o", tmp_path / "r").exit_code == 0
    )
    first.signal(signal.SIGTERM)
    assert first.wait().exit_code == 75
    assert stale_files(tmp_path / "out") == []


def test_the_lock_of_a_killed_run_is_nobodys(tmp_path):
    music = write_music(tmp_path / "music", [0.1] * 3)
    long = write_silence(music / "long.wav", 900.0)
    killed = Run(tmp_path / "logs 1", *_command(music, tmp_path))
    wait_for(lambda: long in killed.open_files())
    killed.kill_all()
    assert (tmp_path / "out" / ".compress.earzip-lock").exists()
    write_silence(long, 0.1)
    again = run(tmp_path / "logs 2", *_command(music, tmp_path))
    assert (again.exit_code, again.summary["written"] + again.summary["up_to_date"]) == (0, 4)
    assert stale_files(tmp_path / "out") == []


@pytest.mark.parametrize("n_runs", [4])
def test_of_runs_that_begin_at_once_one_works_and_none_is_lost(tmp_path, n_runs):
    music = write_music(tmp_path / "music", [0.5] * 8)
    jobs = [Run(tmp_path / f"logs {i}", *_command(music, tmp_path)) for i in range(n_runs)]
    ended = [job.wait() for job in jobs]
    codes = Counter(one.exit_code for one in ended)
    assert set(codes) <= {0, 75}
    assert codes[0] >= 1
    written = [name for one in ended if one.exit_code == 0 for name in one.names("written")]
    assert len(written) == len(set(written)) == 8
    assert stale_files(tmp_path / "out") == []


# ---- shards


def _shards(music: Path, tmp_path: Path, count: int) -> list[Ended]:
    """Return what the runs of all shards leave, begun at once."""
    jobs = [
        Run(tmp_path / f"logs {i}", *_command(music, tmp_path, "--shard", f"{i}/{count}"))
        for i in range(1, count + 1)
    ]
    return [job.wait() for job in jobs]


def test_shards_that_run_at_once_are_the_library_without_overlap(tmp_path):
    music = write_music(tmp_path / "music", [0.1] * 24)
    ended = _shards(music, tmp_path, N_SHARDS)
    assert [one.exit_code for one in ended] == [0] * N_SHARDS, [one.stderr for one in ended]
    names = [name for one in ended for name in one.names("written")]
    assert sorted(names) == sorted(path.name for path in music.rglob("*.flac"))
    assert all(one.names("written") for one in ended)
    assert stale_files(tmp_path / "out") == []
    assert len(contents(tmp_path / "out")) == 24


def test_marks_of_shards_go_when_all_are_done_even_if_some_are_empty(tmp_path):
    music = write_music(tmp_path / "music", [0.1])
    ended = _shards(music, tmp_path, N_SHARDS)
    assert [one.exit_code for one in ended] == [0] * N_SHARDS
    assert sorted(len(one.records) for one in ended) == [0, 0, 1]
    assert stale_files(tmp_path / "out") == []


def test_another_number_of_shards_skips_what_is_done(tmp_path):
    music = write_music(tmp_path / "music", [0.1] * 12)
    for shard in ("1/3", "1/2", "2/2"):
        ended = run(tmp_path / "logs", *_command(music, tmp_path, "--shard", shard))
        assert ended.exit_code == 0
        assert stale_files(tmp_path / "out") == []
    assert ended.summary["written"] + ended.summary["up_to_date"] == ended.summary["files"] > 0
    whole = run(tmp_path / "logs", *_command(music, tmp_path))
    assert (whole.exit_code, whole.summary["up_to_date"]) == (0, 12)


def test_another_number_of_shards_waits_for_one_that_is_at_work(tmp_path):
    music = tmp_path / "music"
    long = write_silence(music / "long.wav", 900.0)
    options = ("--grace", 0, "--shard")
    jobs = [
        Run(tmp_path / f"logs {i}", *_command(music, tmp_path, *options, f"{i}/2")) for i in (1, 2)
    ]
    at_work = wait_for(lambda: [job for job in jobs if long in job.open_files()])[0]
    number = jobs.index(at_work) + 1
    thirds = [
        run(tmp_path / "logs", *_command(music, tmp_path, "--shard", f"{i}/3")) for i in (1, 2, 3)
    ]
    (refused,) = [third for third in thirds if third.exit_code]
    assert refused.exit_code == 75
    assert f"locked by shard {number}/2 (" in refused.stderr
    assert "use the same N, or wait" in refused.stderr
    for other in thirds:  # which have none of the files, and so nothing to lock
        assert other is refused or '"files": 0' in other.stdout
    same = run(tmp_path / "logs", *_command(music, tmp_path, "--shard", f"{number}/2"))
    assert same.exit_code == 75
    assert f"process {at_work.process.pid} on {socket.gethostname()}" in same.stderr
    whole = run(tmp_path / "logs", *_command(music, tmp_path))
    assert whole.exit_code == 75
    at_work.signal(signal.SIGTERM)
    assert at_work.wait().exit_code == 75
    os.truncate(long, 44)
