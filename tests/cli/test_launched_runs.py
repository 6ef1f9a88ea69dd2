"""Runs under torchrun, whole: what a launcher's restart finds, and where its processes work."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from earzip.batch.rendezvous import Launch
from earzip.cli.run import _Workers
from earzip.cli.run_options import RunOptions
from earzip.runtime import Runtime
from tests.cli.batch_runs import wait_for, write_music
from tests.conftest import MODELS
from tests.earzip.batch.backends import StandInTask

N_FILES = 10


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_checks_are_remembered_by_the_process_that_plans(tmp_path):
    music = write_music(tmp_path / "music", [0.5] * 4)
    environment = os.environ | {
        "EARZIP_MODELS": str(MODELS),
        "OMP_NUM_THREADS": "1",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }

    def earzip(*arguments: object, launcher: tuple[str, ...] = ()) -> dict[str, Any]:
        command = [sys.executable, *launcher, "-m", "earzip", *map(str, arguments), "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    out = tmp_path / "out"
    earzip("compress", "--model", "tiny", music, "-o", out)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    first = earzip("verify", out, "--older-than", "1d", launcher=torchrun)
    assert (first["processes"], first["intact"]) == (2, 4)
    second = earzip("verify", out, "--older-than", "1d", launcher=torchrun)
    assert (second["intact"], second["checked_lately"]) == (0, 4)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for the processes")
def test_a_list_on_standard_input_is_read_by_one_process(tmp_path):
    """Processes of a launcher share its standard input: each would read a part of the list."""
    music = write_music(tmp_path / "music", [0.5] * 4)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "earzip"]
    words += ["compress", "--model", "tiny", "--files-from", "-", music, "-o", tmp_path / "out"]
    log = tmp_path / "log"
    with log.open("wb") as stdout:
        launcher = subprocess.Popen(
            [sys.executable, *map(str, words), "--json"],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"EARZIP_MODELS": str(MODELS), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
    try:
        wait_for(lambda: _has_gone_on(launcher.pid, rank=1))  # though nothing can be read yet
        listed = "".join(f"{path}\n" for path in sorted(music.rglob("*.flac")))
        launcher.communicate(listed.encode(), timeout=120)
    finally:
        if launcher.poll() is None:
            os.killpg(launcher.pid, signal.SIGKILL)
            launcher.wait()
    summary = json.loads(log.read_text().splitlines()[-1])
    assert (summary["processes"], summary["written"]) == (2, 4)


def _has_gone_on(launcher: int, rank: int) -> bool:
    """Return whether a process of a launcher has come to load torch, as it does to meet the others."""
    for pid in _children(launcher):
        process = Path(f"/proc/{pid}")
        with suppress(OSError):  # it has ended
            if f"\0RANK={rank}\0" in process.joinpath("environ").read_text():
                return "libtorch" in process.joinpath("maps").read_text()
    return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for the processes")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_restart_after_a_killed_process_does_all_the_rest(tmp_path, victim):
    music = write_music(tmp_path / "music", [20.0] * N_FILES)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments: list[object] = [sys.executable, "-m", "torch.distributed.run"]
    arguments += ["--nproc-per-node", 2, "--max-restarts", 1, "--monitor-interval", 0.2]
    arguments += ["--master-port", port, "-m", "earzip", "compress", "--model", "tiny", music]
    arguments += ["-o", tmp_path / "out", "--devices", "cpu", "--json"]
    log = tmp_path / "log"
    with log.open("wb") as stdout:
        launcher = subprocess.Popen(
            list(map(str, arguments)),
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"EARZIP_MODELS": str(MODELS), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
    try:
        wait_for(lambda: len(list(tmp_path.glob("out/*/*.earz"))) >= 2)
        ranks = sorted(_children(launcher.pid))
        assert len(ranks) == 2
        os.kill(ranks[victim], signal.SIGKILL)
        assert launcher.wait(timeout=120) == 0
    finally:
        if launcher.poll() is None:
            os.killpg(launcher.pid, signal.SIGKILL)
            launcher.wait()
    assert len(list(tmp_path.glob("out/*/*.earz"))) == N_FILES
    summary = json.loads(log.read_text().splitlines()[-1])
    assert (summary["exit_code"], summary["undone"]) == (0, 0)
    assert summary["written"] + summary["up_to_date"] == N_FILES
    assert summary["up_to_date"] >= 2


@pytest.mark.parametrize(("devices", "is_named"), [("auto", False), ("cuda:0,cuda:1", True)])
def test_a_launched_process_can_be_done_without_unless_its_gpu_is_named(
    monkeypatch, devices, is_named
):
    monkeypatch.setattr("earzip.runtime.n_gpus", lambda: 4)
    workers = _Workers(StandInTask(), Runtime(devices, threads=1), RunOptions(), one_by_one=False)
    placement = workers._placement(Launch(rank=5, world_size=8, local_rank=1, local_world_size=4))
    assert (placement.rank, placement.runtime.device) == (5, "cuda:1")
    assert placement.is_named is is_named
