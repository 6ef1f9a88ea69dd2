"""Runs of several processes that are asked to end, lose a process, or lose all of them."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.batch_runs import (
    Run,
    contents,
    run,
    stale_files,
    wait_for,
    write_music,
    write_silence,
)

TWO = ("--processes", 2, "--devices", "cpu", "--threads", 1)
N_SHORT = 6
LONG_S = 150.0
"""Of a track that takes some seconds to archive."""
VERY_LONG_S = 900.0
"""Of a track that is in hand for as long as a test takes."""


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return a folder of short tracks."""
    return write_music(tmp_path / "music", [0.1] * N_SHORT)


def _start(music: Path, tmp_path: Path, *options: object) -> Run:
    arguments = ("compress", "--model", "tiny", music, "-o", tmp_path / "out", *options)
    return Run(tmp_path / "logs", *arguments)


@contextmanager
def _both_in_hand(job: Run, long: list[Path]) -> Iterator[list[int]]:
    """Give the two ranks while each has one of the two ``long`` tracks in hand, and is stopped there."""

    def holding() -> list[int]:
        return [pid for track in long for pid in job.holders(track)]

    def stop_one() -> int:
        """Return a rank that is stopped with its track open; 0 if it has just closed it."""
        found = wait_for(holding)[0]
        os.kill(found, signal.SIGSTOP)
        if found in holding():
            return found
        os.kill(found, signal.SIGCONT)
        return 0

    # It may not get to the end of its track before the other has begun with its own.
    first = wait_for(stop_one)
    # Found once: asked again, the second may just be between two openings of its track.
    ranks = wait_for(lambda: found if len(found := holding()) == 2 else [])
    try:
        yield ranks
    finally:
        if first in job.ranks():
            os.kill(first, signal.SIGCONT)


def _add_two(music: Path, seconds: float) -> list[Path]:
    return [write_silence(music / f"long {name}.wav", seconds) for name in ("a", "b")]


def _run_again(music: Path, tmp_path: Path, n_files: int) -> None:
    """Check that a rerun completes what was left, and leaves archives and nothing else."""
    command = ("compress", "--model", "tiny", music, "-o", tmp_path / "out")
    ended = run(tmp_path / "logs", *command)
    assert (ended.exit_code, ended.summary["undone"]) == (0, 0)
    assert ended.summary["written"] + ended.summary["up_to_date"] == n_files
    names = contents(tmp_path / "out")
    assert len(names) == n_files
    assert all(name.endswith(".earz") for name in names)
    assert run(tmp_path / "logs", "verify", tmp_path / "out").exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_without_grace_the_files_in_hand_are_given_up(music, tmp_path, number):
    long = _add_two(music, VERY_LONG_S)
    job = _start(music, tmp_path, *TWO, "--grace", 0)
    with _both_in_hand(job, long):
        job.signal(number)
    ended = job.wait()
    assert (ended.exit_code, ended.records) == (75, [])
    assert (ended.summary["undone"], ended.summary["exit_code"]) == (N_SHORT + 2, 75)
    assert f"stopped with {N_SHORT + 2} files left; run again to continue" in ended.stderr
    assert contents(tmp_path / "out") == {}  # the claims, temporaries and lock are gone as well
    if number == signal.SIGTERM:
        _add_two(music, 1.0)
        _run_again(music, tmp_path, N_SHORT + 2)


def test_within_the_grace_files_in_hand_are_finished_and_no_other_is_begun(music, tmp_path):
    long = _add_two(music, LONG_S)
    job = _start(music, tmp_path, *TWO, "--grace", 300)
    with _both_in_hand(job, long):
        job.signal(signal.SIGTERM)
    ended = job.wait()
    assert ended.exit_code == 75
    assert sorted(ended.names("written")) == ["long a.wav", "long b.wav"]
    assert {record["rank"] for record in ended.records} == {0, 1}
    assert (ended.summary["written"], ended.summary["undone"]) == (2, N_SHORT)
    assert "files in progress have 300 s; press Ctrl-C again" in ended.stderr
    assert stale_files(tmp_path / "out") == []
    _run_again(music, tmp_path, N_SHORT + 2)


def test_files_that_outlast_the_grace_are_given_up(music, tmp_path):
    long = _add_two(music, VERY_LONG_S)
    job = _start(music, tmp_path, *TWO, "--grace", 0.5)
    with _both_in_hand(job, long):
        job.signal(signal.SIGTERM)
    ended = job.wait()
    assert (ended.exit_code, ended.records) == (75, [])
    assert ended.summary["undone"] == N_SHORT + 2
    assert contents(tmp_path / "out") == {}


def test_a_signal_to_every_process_of_a_job_is_one_request(music, tmp_path):
    """As Ctrl-C in a terminal, and what systemd and Slurm send."""
    long = _add_two(music, LONG_S)
    job = _start(music, tmp_path, *TWO, "--grace", 300)
    with _both_in_hand(job, long):
        os.killpg(job.process.pid, signal.SIGINT)
    ended = job.wait()
    assert ended.exit_code == 75
    assert sorted(ended.names("written")) == ["long a.wav", "long b.wav"]
    assert (ended.summary["failed"], ended.summary["undone"]) == (0, N_SHORT)
    assert "Traceback" not in ended.stderr


def test_a_second_signal_ends_every_process_at_once(music, tmp_path):
    long = _add_two(music, VERY_LONG_S)
    job = _start(music, tmp_path, *TWO, "--grace", 300)
    with _both_in_hand(job, long):
        job.signal(signal.SIGTERM)
    time.sleep(1.2)  # what comes sooner is the same request
    assert not job.is_over
    job.signal(signal.SIGTERM)
    ended = job.wait()
    assert ended.exit_code == 130
    assert "Traceback" not in ended.stderr
    _add_two(music, 1.0)
    _run_again(music, tmp_path, N_SHORT + 2)


def test_a_signal_while_processes_are_started_ends_the_run(music, tmp_path):
    job = _start(music, tmp_path, *TWO)
    wait_for(job.ranks)
    job.signal(signal.SIGTERM)
    ended = job.wait()
    assert (ended.exit_code, ended.summary["undone"]) == (75, N_SHORT)
    assert "Traceback" not in ended.stderr
    _run_again(music, tmp_path, N_SHORT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_rank_that_is_still_being_started_holds_signals_back(music, tmp_path, number):
    """Python there knows of nothing yet: it would end with a traceback, or die."""
    job = _start(music, tmp_path, *TWO)
    rank = wait_for(job.ranks)[0]
    # The last of them that it handles: by then it holds none back.
    assert number in _signals(rank, "SigBlk") or signal.SIGUSR1 in _signals(rank, "SigCgt")
    os.killpg(job.process.pid, number)
    ended = job.wait()
    assert (ended.exit_code, ended.summary["undone"]) == (75, N_SHORT)
    assert "Traceback" not in ended.stderr


def _signals(pid: int, which: str) -> set[int]:
    """Return the signals that the process blocks (``SigBlk``) or handles (``SigCgt``)."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = re.findall(rf"^{which}:\s*(\w+)$", status, re.MULTILINE)
    return {number for number in range(1, 64) if int(mask, 16) >> (number - 1) & 1}


def test_when_all_processes_are_killed_what_is_left_is_not_done_and_has_not_failed(music, tmp_path):
    long = _add_two(music, VERY_LONG_S)
    job = _start(music, tmp_path, *TWO, "--grace", 0)
    with _both_in_hand(job, long) as (first, second):
        os.kill(first, signal.SIGKILL)
    wait_for(lambda: first not in job.survivors())
    os.kill(second, signal.SIGKILL)
    ended = job.wait()
    assert ended.records == []
    assert (ended.exit_code, ended.summary["undone"]) == (1, N_SHORT + 2)
    assert f"no worker process is left; {N_SHORT + 2} files not done" in ended.stderr
    killed = [{"rank": rank, "device": "cpu", "cause": "was killed by SIGKILL"} for rank in (0, 1)]
    assert sorted(ended.summary["lost_processes"], key=lambda lost: lost["rank"]) == killed
    _add_two(music, 1.0)
    _run_again(music, tmp_path, N_SHORT + 2)


def test_when_one_of_two_is_killed_the_other_does_the_rest(music, tmp_path):
    long = write_silence(music / "long.wav", LONG_S)
    job = _start(music, tmp_path, *TWO)
    (holder,) = wait_for(lambda: job.holders(long))
    os.kill(holder, signal.SIGKILL)
    ended = job.wait()
    assert ended.exit_code == 0
    assert (ended.summary["written"], ended.summary["undone"]) == (N_SHORT + 1, 0)
    (again,) = (record for record in ended.records if record["warnings"])
    rank = 1 - again["rank"]
    assert again["source"] == str(long)
    assert again["warnings"] == [f"done again, since rank {rank} was lost while it worked on it"]
    assert (
        ended.stderr.count(
            f"earzip: rank {rank}: warning: the worker process was killed by SIGKILL"
        )
        == 1
    )
    assert [lost["rank"] for lost in ended.summary["lost_processes"]] == [rank]
    _run_again(music, tmp_path, N_SHORT + 1)


def test_a_process_that_is_lost_before_it_has_a_file_is_told(music, tmp_path):
    job = _start(music, tmp_path, *TWO)
    ranks = wait_for(lambda: len(job.ranks()) == 2 and job.ranks())
    assert ranks
    os.kill(ranks[1], signal.SIGSTOP)  # in the midst of its imports
    wait_for(lambda: job.n_records == N_SHORT)
    os.kill(ranks[1], signal.SIGKILL)
    ended = job.wait()
    assert (ended.exit_code, ended.summary["written"]) == (0, N_SHORT)
    assert "earzip: rank 1: warning: the worker process was killed by SIGKILL" in ended.stderr
