"""Runs that are killed at any moment leave nothing half-written, and a rerun completes them."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.batch_runs import (
    Run,
    assert_whole,
    contents,
    run,
    stale_files,
    wait_for,
    write_music,
)
from tests.cli.conftest import Earzip

N_FILES = 40
N_KILLS = 6
N_SLOW_KILLS = 200
VICTIMS = ("parent", "group", "rank")


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lengths_s = [random.Random(i).choice((0.1, 0.3, 1.0, 2.0)) for i in range(N_FILES)]
    return write_music(tmp_path_factory.mktemp("kills") / "music", lengths_s)


@pytest.fixture(scope="module")
def archives(music: Path) -> Path:
    """Return what an undisturbed run makes of `music`."""
    folder = music.parent / "archives"
    assert run(music.parent, "compress", "--model", "tiny", music, "-o", folder).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def restored(archives: Path) -> Path:
    """Return what an undisturbed run makes of `archives`."""
    folder = archives.parent / "restored"
    assert run(archives.parent, "restore", archives, "-o", folder).exit_code == 0
    return folder


Again = Callable[..., tuple[int, dict[str, Any]]]
"""Runs `earzip` with these arguments to its end; gives the exit code and the summary."""


@pytest.fixture
def again(earzip: Earzip, tiny_model: str) -> Again:
    """Run in this process, which has loaded torch: a fourth of the time."""

    def run_here(*arguments: object) -> tuple[int, dict[str, Any]]:
        outcome = earzip(*arguments, "--processes", 1, "--json")
        return outcome.exit_code, outcome.records[-1]

    return run_here


def _kill_at_random(job: Run, victim: str, moment: random.Random) -> str:
    """Kill some of a run at a moment of its work, or of its beginning; return what was met."""
    if moment.random() < 0.8:
        n_records = moment.randrange(N_FILES)
        wait_for(lambda: job.n_records >= n_records or job.is_over)
        time.sleep(moment.uniform(0, 0.05))
    else:
        time.sleep(moment.uniform(0, 4.0))
    ranks = job.ranks()
    if job.is_over:
        return "over"
    if victim == "group":
        job.kill_all()
        return victim
    if victim == "rank" and ranks:
        os.kill(moment.choice(ranks), signal.SIGKILL)
        return victim
    job.signal(signal.SIGKILL)
    return "parent"


def _torture(
    folder: Path,
    again: Again,
    command: tuple[object, ...],
    expected: dict[str, str],
    n_kills: int,
    seed: int,
) -> Counter[str]:
    """Kill runs of ``command`` and do them ``again``; return what was killed how often, and met."""
    met: Counter[str] = Counter()
    for i in range(n_kills):
        moment = random.Random(f"{seed} {i}")
        out = folder / f"out {i}"
        job = Run(folder / "logs", *command, "-o", out)
        killed = _kill_at_random(job, VICTIMS[i % len(VICTIMS)], moment)
        n_whole = assert_whole(out, expected)
        ended = job.wait()
        assert_whole(out, expected)
        if killed == "rank":
            assert (ended.exit_code, len(ended.names("written"))) == (0, N_FILES), ended.stderr
            assert all("SIGKILL" in lost["cause"] for lost in ended.summary["lost_processes"])
        elif killed == "over":
            assert ended.exit_code == 0
        else:
            assert ended.exit_code == -signal.SIGKILL
            assert "Traceback" not in ended.stderr
        met[killed] += 1
        met["none done yet"] += n_whole == 0
        met["half done"] += 0 < n_whole < N_FILES
        met["left something"] += bool(stale_files(out))

        exit_code, summary = again(*command, "-o", out)
        assert (exit_code, summary["undone"]) == (0, 0)
        assert summary["written"] + summary["up_to_date"] == N_FILES
        assert contents(out) == expected  # and nothing else: no temporary, no claim, no lock
        for path in sorted(out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    return met


def test_killed_runs_leave_nothing_half_written_and_run_again_to_the_end(
    music, archives, tmp_path, again
):
    command = ("compress", "--model", "tiny", music, "--processes", 2, "--devices", "cpu")
    met = _torture(tmp_path, again, command, contents(archives), N_KILLS, seed=1)
    assert met["half done"] > 0


@pytest.mark.slow
def test_many_killed_runs_leave_nothing_half_written(music, archives, tmp_path, again):
    command = ("compress", "--model", "tiny", music, "--processes", 2, "--devices", "cpu")
    met = _torture(tmp_path, again, command, contents(archives), N_SLOW_KILLS, seed=2)
    print(dict(met))
    assert met["half done"] > N_SLOW_KILLS / 2


@pytest.mark.slow
def test_many_killed_runs_of_restore_leave_nothing_half_written(
    archives, restored, tmp_path, again
):
    command = ("restore", archives, "--processes", 2, "--devices", "cpu")
    met = _torture(tmp_path, again, command, contents(restored), N_SLOW_KILLS // 4, seed=3)
    print(dict(met))
    assert met["half done"] > 0
