"""``--engine ray`` on a cluster of several nodes: what a person or a script sees of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests import ray_settings
from tests.conftest import tones

pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")


_CLUSTER = """
import sys
from ray.cluster_utils import Cluster

memory = {"object_store_memory": 80 << 20}
head = {"num_cpus": 0, "include_dashboard": False, **memory}
cluster = Cluster(initialize_head=True, head_node_args=head)
print("ADDRESS", cluster.address, flush=True)
nodes = []
for line in sys.stdin:
    if line == "add\\n":
        nodes.append(cluster.add_node(num_cpus=1, wait=False, **memory))
    else:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
cluster.shutdown()
"""
"""A process of its own: Ray remembers the token of the first cluster that a process knows."""


class Cluster:
    """A cluster of this machine, whose first node does no work."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def add_node(self) -> None:
        """Start a node of one CPU."""
        self._say("add")

    def kill_node(self) -> None:
        """Kill the node that came last."""
        self._say("kill")

    def _say(self, word: str) -> None:
        assert self._process.stdin
        print(word, file=self._process.stdin, flush=True)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    ray_settings.set_up(monkeypatch)
    # A short name: the paths of sockets have an end, at 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        Path(folder, "ray").mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", _CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin
        assert process.stdout
        try:
            while not (line := process.stdout.readline()).startswith("ADDRESS "):
                assert line, "no cluster"
            monkeypatch.setenv("RAY_ADDRESS", line.split()[1])
            yield Cluster(process)
        finally:
            process.stdin.close()
            process.wait(timeout=60)
            process.stdout.close()


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
    cluster.add_node()
    run = start(library)
    _wait(lambda: len(_actors_at_work()) == 2, run)
    _actors_at_work()[0].kill()
    _wait(lambda: len(_actors_at_work()) == 2, run)
    cluster.kill_node()
    code, records, summary = _ended(run)
    assert {record["status"] for record in records} == {"written"}
    assert (code, len(records), summary["written"]) == (0, 8, 8)
    assert len(list((tmp_path / "out").iterdir())) == 8
    assert summary["lost_processes"]


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
