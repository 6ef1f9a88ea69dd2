"""A target is written by one run at a time, and a dead run holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from earzip.batch.locks import claim
from earzip.errors import LockedError


def test_a_claim_leaves_nothing_behind(tmp_path):
    with claim(tmp_path / "a"):
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


def test_a_claimed_target_is_locked_for_others_only_while_it_is_held(tmp_path):
    with claim(tmp_path / "a"):
        with pytest.raises(LockedError, match="another run is writing it"), claim(tmp_path / "a"):
            pass
        with claim(tmp_path / "b"):
            pass
    with claim(tmp_path / "a"):
        pass


def test_the_claim_of_a_killed_process_is_taken_over(tmp_path):
    hold = "import sys,time,pathlib; from earzip.batch.locks import claim\n"
    hold += "with claim(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", hold, tmp_path / "a"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    with pytest.raises(LockedError), claim(tmp_path / "a"):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with claim(tmp_path / "a"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_claim_is_not_needed_where_nothing_can_be_written(tmp_path):
    with claim(tmp_path / "no" / "a"):
        assert not list(tmp_path.iterdir())


def test_a_forked_child_does_not_hold_the_claim_of_a_killed_process(tmp_path):
    fork = "import os,sys,time,pathlib; from earzip.batch.locks import claim\n"
    fork += "with claim(pathlib.Path(sys.argv[1])):\n"
    fork += "  if not os.fork(): print(os.getpid(), flush=True)\n"
    fork += "  time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", fork, tmp_path / "a"], stdout=subprocess.PIPE, text=True
    )
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    try:
        with claim(tmp_path / "a"):
            os.kill(child, 0)  # it lives
    finally:
        os.kill(child, signal.SIGKILL)
