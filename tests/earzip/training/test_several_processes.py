"""Two processes of a run, with gloo and without a launcher that would end the one for the other."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from earzip.training.processes import ANSWER
from earzip.training.run_state import read_facts
from tests.earzip.training.conftest import (
    SPECTRAL,
    check_alike,
    command,
    records,
    slowly,
    wait_for,
    write_config,
)

Started = list[subprocess.Popen[str]]
Start = Callable[..., Started]

_CODE = """
import os, sys
from datetime import timedelta
from earzip.cli.main import main
from earzip.training import processes
rank = int(os.environ["RANK"])
{code}
main()
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Return what starts two processes with a command line, after ``code``; both are gone at the end."""
    started: Started = []

    def start_two(words: list[str], code: str = "") -> Started:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for rank in range(2):
            of_rank = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
            place = of_rank | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            started.append(
                subprocess.Popen(
                    [sys.executable, "-c", _CODE.format(code=code), *words],
                    env=os.environ | {name: str(value) for name, value in place.items()},
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        return started[-2:]

    yield start_two
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def arguments(config: Path, music: Path, run: Path, *options: object) -> list[str]:
    return command(config, music, run, *options)[2:]


@pytest.mark.parametrize("victim", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_process_that_dies_ends_the_other_and_the_run_goes_on(
    victim: int, start: Start, music: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = write_config(tmp_path, SPECTRAL)
    words = arguments(config, music, run, "--checkpoint-every", 4)
    processes = start(words)
    wait_for(run / "checkpoint.safetensors", processes[0])
    processes[victim].kill()
    other = processes[1 - victim]
    _, told = other.communicate(timeout=60)
    assert other.returncode == 1
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("earzip: another process of this run has ended, or ")
    processes[victim].wait()

    for process in start(words):
        _, told = process.communicate(timeout=100)
        assert process.returncode == 0, told
    whole = arguments(config, music, tmp_path / "whole", "--checkpoint-every", 4)
    for process in start(whole):
        process.communicate(timeout=100)
    assert records(run) == records(tmp_path / "whole")
    weights = [(path / "weights.safetensors").read_bytes() for path in (run, tmp_path / "whole")]
    assert weights[0] == weights[1]


def test_a_process_that_stands_still_ends_the_other(
    start: Start, music: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = write_config(tmp_path, {**SPECTRAL, "steps": 100_000})
    main, other = start(
        arguments(config, music, run, "--checkpoint-every", 4),
        "processes.ANSWER = timedelta(seconds=6)",
    )
    wait_for(run / "checkpoint.safetensors", main)
    other.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    _, told = main.communicate(timeout=ANSWER.total_seconds() / 10)
    assert main.returncode == 1
    assert time.monotonic() - began > 3
    assert "given no answer for 0.1 minutes; run again" in told.splitlines()[-1]


def test_a_checkpoint_that_takes_long_is_waited_for_and_processes_leave_at_the_end(
    start: Start, music: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = write_config(tmp_path, {**SPECTRAL, "steps": 4})
    slow = """
from earzip.training import trainer
import atexit, time, torch
atexit.register(lambda: print("communicates:", torch.distributed.is_initialized(), file=sys.stderr))
save = trainer.save_state
def save_slowly(state, path):
    assert rank == 0
    time.sleep(3)
    save(state, path)
trainer.save_state = save_slowly
"""
    for process in start(arguments(config, music, run, "--checkpoint-every", 2), slow):
        _, told = process.communicate(timeout=100)
        assert process.returncode == 0, told
        assert told.splitlines()[-1] == "communicates: False"
    assert read_facts(run / "checkpoint.safetensors")["step"] == 4


def test_processes_that_see_different_runs_are_refused(
    start: Start, music: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, {**SPECTRAL, "steps": 8})
    run = tmp_path / "0"
    for process in start(arguments(config, music, run)):
        process.communicate(timeout=100)
    apart = f"sys.argv[sys.argv.index({str(run)!r})] = {str(tmp_path)!r} + f'/{{rank}}'"
    for process in start(arguments(config, music, run), apart):
        _, told = process.communicate(timeout=60)
        assert process.returncode == 2, told
        assert "process 1 has a state of the run other than that of process 0" in told
    other = "sys.argv += ['--set', f'seed={rank}']"
    for process in start(arguments(config, music, tmp_path / "new"), other):
        _, told = process.communicate(timeout=60)
        assert process.returncode == 2, told
        assert "process 1 has a configuration other than that of process 0" in told


def test_a_signal_to_one_process_stops_both_at_one_step(
    start: Start, music: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = write_config(tmp_path, {**SPECTRAL, "steps": 100_000})
    processes = start(arguments(config, music, run))
    wait_for(run / "log.jsonl", processes[0])
    while not records(run):
        time.sleep(0.05)
    processes[1].terminate()
    told = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [75, 75]
    step = read_facts(run / "checkpoint.safetensors")["step"]
    assert records(run)[-1]["step"] == step
    assert told[0].splitlines()[-1] == (
        f"earzip: {run}: saved at step {step} of 100000; run again to continue"
    )
    assert told[1] == ""


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_with_one(start: Start, music: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, {**slowly("spectral"), "steps": 16})
    stop_at = """
from earzip.training.trainer import Trainer
train = Trainer.run
Trainer.run = lambda self, *rest: train(self, *rest[:3], lambda: self.step == 6)
"""
    run, whole = tmp_path / "run", tmp_path / "whole"
    for process in start(arguments(config, music, run), stop_at):
        process.communicate(timeout=100)
        assert process.returncode == 75
    assert read_facts(run / "checkpoint.safetensors")["step"] == 6
    for folder in (run, whole):
        subprocess.run([sys.executable, *command(config, music, folder)], check=True, timeout=100)
    check_alike(run, whole, 16)
