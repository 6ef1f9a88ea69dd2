"""One library, shared out in every way there is: its archives are the same to the byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.cli.batch_runs import contents
from tests.conftest import tones
from tests.ray_settings import ray_cluster

pytest.importorskip("ray")

ACCELERATE = ("-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu")
ACCELERATE += ("--num_processes", "2", "--mixed_precision", "no", "--dynamo_backend", "no")
N_FILES, N_SHARDS = 9, 3


def _library(root: Path) -> Path:
    """Return a folder of tracks of several lengths, rates, formats and folders."""
    for i in range(N_FILES):
        path = root / f"disc {i % 2}" / f"{i}.{'wav' if i % 4 == 3 else 'flac'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = 48_000 if i % 5 == 4 else 44_100
        soundfile.write(path, tones(20_000 + 9_000 * i, i).T, rate, subtype="PCM_24")
    return root


def _compress(
    library: Path, out: Path, *options: str, launcher: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Compress in processes of their own; return the summary."""
    command = [sys.executable, *launcher, "-m", "earzip", "compress", str(library), "-o", str(out)]
    command += ["--model", "tiny", "--devices", "cpu", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


def test_a_library_becomes_the_same_archives_however_it_is_shared_out(
    tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))  # no configuration of accelerate
    library = _library(tmp_path / "library")
    out = {way: tmp_path / way for way in ("one", "local", "launched", "ray", "shards")}
    summaries = {
        "one": _compress(library, out["one"]),
        "local": _compress(library, out["local"], "--processes", "2"),
        "launched": _compress(library, out["launched"], launcher=ACCELERATE),
    }
    with ray_cluster(monkeypatch) as cluster:
        for _ in range(2):
            cluster.add_node()
        options = ("--engine", "ray", "--processes", "2")
        summaries["ray"] = _compress(library, out["ray"], *options)
    shards = [
        _compress(library, out["shards"], "--shard", f"{i + 1}/{N_SHARDS}") for i in range(N_SHARDS)
    ]
    assert {way: (s["written"], s["processes"]) for way, s in summaries.items()} == {
        "one": (N_FILES, 1),
        "local": (N_FILES, 2),
        "launched": (N_FILES, 2),
        "ray": (N_FILES, 2),
    }
    assert all(0 < shard["written"] < N_FILES for shard in shards)
    expected = contents(out["one"])
    assert len(expected) == N_FILES
    assert {way: contents(folder) == expected for way, folder in out.items()} == dict.fromkeys(
        out, True
    )
