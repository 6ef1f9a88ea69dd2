"""Several processes share the files of a run, and leave what one would have left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.batch_runs import contents, run, write_music
from tests.conftest import MODELS

LENGTHS_S = [3.0, 0.2, 0.1, 1.3, 0.4, 0.2, 2.1, 0.1, 0.7]


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_music(tmp_path_factory.mktemp("processes") / "music", LENGTHS_S)


@pytest.fixture(scope="module")
def by_one(music: Path) -> tuple[Path, Path]:
    """Return the archives that one process makes, and what it restores from them."""
    archives, restored = music.parent / "archives", music.parent / "restored"
    logs = music.parent / "logs"
    assert run(logs, "compress", "--model", "tiny", music, "-o", archives).exit_code == 0
    assert run(logs, "restore", archives, "-o", restored).exit_code == 0
    return archives, restored


@pytest.mark.parametrize("n", [2, 4])
def test_several_processes_write_the_bytes_that_one_writes(music, by_one, tmp_path, n):
    archives, restored = by_one
    options = ("--processes", n, "--devices", "cpu")
    made = run(tmp_path, "compress", "--model", "tiny", music, "-o", tmp_path / "a", *options)
    assert (made.exit_code, made.summary["written"]) == (0, len(LENGTHS_S))
    assert contents(tmp_path / "a") == contents(archives)
    back = run(tmp_path, "restore", archives, "-o", tmp_path / "r", *options)
    assert (back.exit_code, back.summary["written"]) == (0, len(LENGTHS_S))
    assert contents(tmp_path / "r") == contents(restored)
    for ended in (made, back):
        assert ended.summary["processes"] == n
        assert {record["rank"] for record in ended.records} <= set(range(n))
        assert all(record["elapsed_s"] > 0 for record in ended.records)


def test_there_are_no_more_processes_than_files_to_work_on(music, by_one, tmp_path):
    archives, _ = by_one
    options = ("--model", "tiny", "--processes", 4)
    one = music / "disc 0" / "track 001.flac"
    ended = run(tmp_path, "compress", one, "-o", tmp_path / "a", *options)
    assert (ended.exit_code, ended.summary["processes"]) == (0, 1)
    ended = run(tmp_path, "compress", music, "-o", archives, *options)
    assert (ended.exit_code, ended.summary["processes"]) == (0, 1)
    assert ended.summary["up_to_date"] == len(LENGTHS_S)


def test_lines_on_stderr_name_the_rank_that_they_are_about(tmp_path):
    music = write_music(tmp_path / "music", [0.1, 0.1])
    (music / "broken.flac").write_bytes(b"no music")
    options = ("--model", "tiny", "--processes", 2)
    ended = run(tmp_path, "compress", music, "-o", tmp_path / "a", *options)
    (failed,) = (record for record in ended.records if record["status"] == "failed")
    assert (ended.exit_code, ended.summary["written"]) == (3, 2)
    assert f"earzip: rank {failed['rank']}: failed: {failed['source']}: " in ended.stderr
    assert "2 processes on the CPU, 1 thread each" in ended.stderr or os.cpu_count() != 2


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(tmp_path, n, closed):
    music = write_music(tmp_path / "music", [0.1, 0.1])
    command: list[object] = [sys.executable, "-m", "earzip", "compress", "--model", "tiny"]
    command += [music, "-o", tmp_path / "a", "--devices", "cpu", "--processes", str(n)]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *map(str, command)],
        check=False,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"EARZIP_MODELS": str(MODELS), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0
    assert len(contents(tmp_path / "a")) == 2


def test_a_model_that_is_not_there_ends_the_run_before_any_process_is_started(music, tmp_path):
    ended = run(tmp_path, "compress", "--model", "none", music, "-o", tmp_path / "a")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "none" in ended.stderr
    assert not (tmp_path / "a").exists()


def test_weights_that_are_damaged_end_the_run_of_several_processes(music, tmp_path):
    for name in ("tiny.json", "tiny.safetensors"):
        (tmp_path / name).write_bytes((MODELS / name).read_bytes())
    weights = bytearray((tmp_path / "tiny.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "tiny.safetensors").write_bytes(weights)
    options = ("--model", tmp_path / "tiny.json", "--processes", 2)
    ended = run(tmp_path, "compress", music, "-o", tmp_path / "a", *options)
    assert ended.exit_code == 1
    assert "tiny.safetensors" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [path for path in (tmp_path / "a").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("has_gpu", "n_files", "devices", "is_told"),
    [
        (True, 2, "auto", True),
        (True, 1, "auto", False),
        (True, 2, "cpu", False),
        (False, 2, "auto", False),
    ],
)
def test_a_gpu_that_this_pytorch_cannot_use_is_told_of(
    earzip, tmp_path, monkeypatch, tiny_model, has_gpu, n_files, devices, is_told
):
    music = write_music(tmp_path / "music", [0.1] * n_files)
    monkeypatch.setattr("earzip.runtime._has_nvidia_driver", lambda: has_gpu)
    monkeypatch.setattr("torch.version.cuda", None)
    arguments = ("--model", tiny_model, music, "-o", tmp_path / "a", "--devices", devices)
    outcome = earzip("compress", *arguments)
    assert outcome.exit_code == 0
    assert ("this PyTorch is built without CUDA" in outcome.stderr) is is_told


def test_a_process_has_the_threads_of_its_share(tmp_path):
    """Torch's own default is a thread for each core of the machine, in every process."""
    program = (
        "from earzip.batch.processes import _share_cores\n"
        "from earzip.runtime import Placement, Runtime\n"
        "_share_cores(Placement(0, Runtime('cpu', threads=1)))\n"
        "import torch; print(torch.get_num_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
