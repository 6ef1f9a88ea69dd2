"""``--engine ray`` on a cluster of several nodes: what a person or a script sees of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import tones
from tests.ray_settings import Cluster, ray_cluster

pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with ray_cluster(monkeypatch) as cluster:
        yield cluster


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    for i in range(6):
        soundfile.write(folder / f"{i}.flac", tones(30_000 + 10_000 * i, seed=i).T, 44_100)
    (folder / "text.flac").write_text("no music")
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``earzip compress --engine ray --json`` on the CPUs of the cluster."""
    started: list[subprocess.Popen[str]] = []

    def start_compress(source: Path, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "earzip", "compress", str(source)]
        command += ["-o", str(tmp_path / "out"), "--model", "tiny", "--devices", "cpu", "--json"]
        errors = (tmp_path / f"errors.{len(started)}").open("w")
        started.append(
            subprocess.Popen(
                [*command, "--engine", "ray", *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        )
        return started[-1]

    yield start_compress
    for process in started:
        process.kill()
        process.communicate()


def _ended(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    """Return the exit code, the records and the summary; every line is one of these."""
    output, _ = process.communicate(timeout=120)
    *records, summary = [json.loads(line) for line in output.splitlines()]
    assert {record["type"] for record in records} <= {"file"}
    assert summary["type"] == "summary"
    return process.returncode, records, summary


def _wait(until: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + 90
    while not (found := until()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def _actors_at_work() -> list[Any]:
    names = [(process, process.info["cmdline"]) for process in psutil.process_iter(["cmdline"])]
    return [process for process, words in names if words and words[0].startswith("ray::Actor.do")]


def test_a_run_waits_for_a_node_and_keeps_others_away(cluster, library, start, tmp_path):
    first = start(library)
    said = tmp_path / "errors.0"
    _wait(
        lambda: "the Ray cluster has no place yet for any of 1 process" in said.read_text(), first
    )
    second = start(library)
    assert second.wait(timeout=60) == 75
    assert "locked by another compress run" in (tmp_path / "errors.1").read_text()
    cluster.add_node()
    code, records, summary = _ended(first)
    assert (code, len(records), summary["written"], summary["failed"]) == (3, 7, 6, 1)
    again = start(library)
    code, records, summary = _ended(again)
    assert (code, summary["up_to_date"], summary["failed"]) == (3, 6, 1)


def test_processes_and_nodes_that_die_cost_no_file(cluster, start, tmp_path):
    """And nothing but records comes on standard output, whatever Ray has to say."""
    library = tmp_path / "long"
    library.mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        noise = rng.integers(-9000, 9000, (44_100 * 60, 2), dtype=np.int16)
        soundfile.write(library / f"{i}.wav", noise, 44_100)
    cluster.add_node()
    run = start(library)
    _wait(lambda: len(_actors_at_work()) == 1, run)
    cluster.add_node()  # it joins a run that has begun
    _wait(lambda: len(_actors_at_work()) == 2, run)
    _actors_at_work()[0].kill()
    _wait(lambda: len(_actors_at_work()) == 2, run)
    cluster.kill_node()
    code, records, summary = _ended(run)
    assert {record["status"] for record in records} == {"written"}
    assert (code, len(records), summary["written"]) == (0, 8, 8)
    assert len(list((tmp_path / "out").iterdir())) == 8
    assert summary["lost_processes"]


def test_restore_verify_and_evaluate_run_on_a_cluster_too(cluster, library, tmp_path):
    (library / "text.flac").unlink()
    cluster.add_node()
    archives, restored = tmp_path / "archives", tmp_path / "restored"
    for words, status in (
        (["compress", library, "-o", archives, "--model", "tiny"], "written"),
        (["verify", archives, "--decode"], "intact"),
        (["restore", archives, "-o", restored], "written"),
        (["evaluate", library, restored], "evaluated"),
    ):
        command = [sys.executable, "-m", "earzip", *map(str, words), "--devices", "cpu", "--json"]
        done = subprocess.run(
            [*command, "--engine", "ray"], capture_output=True, text=True, check=False
        )
        *records, summary = [json.loads(line) for line in done.stdout.splitlines()]
        assert (done.returncode, summary[status]) == (0, 6), done.stderr
        assert {record["status"] for record in records} == {status}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_in_good_order(cluster, start, tmp_path, number):
    library = tmp_path / "long"
    library.mkdir()
    noise = np.random.default_rng(0).integers(-9000, 9000, (44_100 * 240, 2), dtype=np.int16)
    for i in range(2):
        soundfile.write(library / f"{i}.wav", noise, 44_100)
    cluster.add_node()
    run = start(library, "--grace", "0")
    _wait(_actors_at_work, run)
    os.kill(run.pid, number)
    code, records, summary = _ended(run)
    assert (code, records, summary["undone"]) == (75, [], 2)
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-", "-o", "x.earz"], "--engine ray needs files that all machines of the cluster see"),
        (["x.wav", "--devices", "cuda:1"], "Ray assigns the GPUs"),
        (["x.wav", "--gpus-per-process", "0"], "0.0 is not in the range 0<x<=1"),
    ],
)
def test_what_ray_cannot_do_is_a_usage_error(earzip, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    soundfile.write("x.wav", np.zeros(4410), 44_100)
    outcome = earzip("compress", *options, "--engine", "ray")
    assert outcome.exit_code == 2
    assert message in outcome.stderr
