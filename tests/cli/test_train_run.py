from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from earzip.batch.locks import claim
from tests.cli.conftest import Earzip
from tests.earzip.training.conftest import (
    SPECTRAL,
    accelerate_begins_anew,
    write_config,
    write_pool,
)

__all__ = ["accelerate_begins_anew"]  # a fixture for these tests too


@pytest.fixture
def pools(tmp_path: Path) -> Path:
    return write_pool(tmp_path / "pools", "music")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, {**SPECTRAL, "steps": 2})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_a_run_is_trained_imported_and_archives(
    earzip: Earzip, config: Path, pools: Path, run: Path, song: Path, tmp_path: Path
) -> None:
    trained = earzip("train", "run", config, "-m", pools, "-o", run)
    assert trained.exit_code == 0
    said = trained.stderr.splitlines()
    assert said[:2] == [
        "earzip: measuring the music",
        "earzip: training for 2 steps, 4 crops a step, 1 process on cpu",
    ]
    assert said[2].startswith("earzip: step 2 of 2: log_magnitude ")
    assert said[3:] == [f"earzip: finished; install it: earzip models import {run} --music PATH"]
    names = (
        "checkpoint.safetensors config.json curves.png log.jsonl weights.json weights.safetensors"
    )
    assert sorted(path.name for path in run.iterdir()) == names.split()
    assert earzip("models", "import", run, "--music", song, "--name", "ours").exit_code == 0
    assert earzip("compress", song, "-o", tmp_path, "--model", "ours").exit_code == 0
    assert earzip("verify", "--decode", tmp_path / "song.flac.earz").exit_code == 0


def test_a_finished_run_is_left_as_it_is(
    earzip: Earzip, config: Path, pools: Path, run: Path
) -> None:
    earzip("train", "run", config, "-m", pools, "-o", run)
    weights = (run / "weights.safetensors").read_bytes()
    again = earzip("train", "run", config, "-m", pools, "-o", run)
    assert again.exit_code == 0
    assert again.stderr.startswith("earzip: resuming at step 2 of 2 steps, ")
    assert (run / "weights.safetensors").read_bytes() == weights


def test_values_are_set_and_parts_switched_off(
    earzip: Earzip, config: Path, pools: Path, run: Path
) -> None:
    changes = [
        "--set",
        "steps=1",
        "--set",
        "loss.phase_channels=mslr",
        "--set",
        "optimiser.ema=0.5",
    ]
    parts = ["--without", "k-weighting", "--without", "rate"]
    assert earzip("train", "run", config, "-m", pools, "-o", run, *changes, *parts).exit_code == 0
    written = json.loads((run / "config.json").read_text())
    assert written["steps"] == 1
    assert written["optimiser"]["ema"] == 0.5
    assert (written["loss"]["phase_channels"], written["loss"]["k_weighting"]) == ("mslr", False)
    assert written["bottleneck"]["target_kbps"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "stepz=3"], "earzip: --set stepz=3: stepz is unknown"),
        (["--set", "model.widht=3"], "model: widht is unknown"),
        (["--set", "steps"], "--set steps: expected NAME=VALUE"),
        (["--set", "=3"], "--set =3: expected NAME=VALUE"),
        (["--set", "steps=many"], "steps is 'many', expected an integer 1 to 1000000000"),
        (["--without", "transformer"], "the spectral network has no transformer"),
        (["--without", "phases"], "'phases' is not one of"),
        (["--start", "no.safetensors"], "no.safetensors: not weights of this configuration"),
        (["--set", "accumulation=3"], "batch_size 4 cannot be split evenly"),
        (
            ["--set", "voices=speech"],
            "the pools music, speech; missing from this directory: speech (it has: music)",
        ),
    ],
)
def test_a_wrong_command_line_is_named_and_ends_with_2(
    earzip: Earzip, config: Path, pools: Path, run: Path, options: list[str], message: str
) -> None:
    outcome = earzip("train", "run", config, "-m", pools, "-o", run, *options)
    assert outcome.exit_code == 2
    assert message in outcome.stderr
    assert not (run / "config.json").exists()


@pytest.mark.parametrize("name", ["maxi", "mini.json", "./mini"])
def test_a_configuration_that_is_not_there_is_named(
    earzip: Earzip, pools: Path, run: Path, name: str
) -> None:
    outcome = earzip("train", "run", name, "-m", pools, "-o", run)
    assert outcome.exit_code == 2
    assert (
        f"{name}: there is no such file, nor a configuration of that name: ear, " in outcome.stderr
    )


def test_a_folder_does_not_hide_a_configuration_of_its_name(
    earzip: Earzip, pools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    outcome = earzip("train", "run", "mini", "-m", pools, "-o", "mini")
    assert outcome.exit_code == 2
    assert (
        "the pools train, midi, tones, voices; missing from this directory: train, midi, tones, voices"
        in outcome.stderr
    )


def test_another_attempt_at_a_run_must_start_from_the_same(
    earzip: Earzip, config: Path, pools: Path, run: Path, tmp_path: Path
) -> None:
    assert earzip("train", "run", config, "-m", pools, "-o", run).exit_code == 0
    second = tmp_path / "second"
    command = ["train", "run", config, "-m", pools, "-o", second]
    assert earzip(*command, "--start", run).exit_code == 0
    for again in ([], ["--start", run]):
        assert earzip(*command, *again).exit_code == 0
    outcome = earzip(*command, "--start", tmp_path / "elsewhere")
    assert outcome.exit_code == 2
    assert f"second: the run did not start from {tmp_path}/elsewhere" in outcome.stderr


def test_what_a_killed_run_has_left_goes(
    earzip: Earzip, config: Path, pools: Path, run: Path
) -> None:
    run.mkdir()
    left = run / ".checkpoint.safetensors.0123456789abcdef.earzip-tmp"
    left.write_bytes(b"")
    assert earzip("train", "run", config, "-m", pools, "-o", run).exit_code == 0
    assert not left.exists()


def test_a_folder_that_cannot_be_made_is_named(
    earzip: Earzip, config: Path, pools: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    outcome = earzip("train", "run", config, "-m", pools, "-o", tmp_path / "file" / "run")
    assert outcome.exit_code == 1
    assert "file/run: cannot be created" in outcome.stderr


def test_a_run_that_another_process_trains_is_locked(
    earzip: Earzip, config: Path, pools: Path, run: Path
) -> None:
    run.mkdir()
    with claim(run / "checkpoint.safetensors"):
        outcome = earzip("train", "run", config, "-m", pools, "-o", run)
    assert outcome.exit_code == 75
    assert "another run is writing it" in outcome.stderr


def test_without_the_extra_the_command_says_what_to_install(
    earzip: Earzip, config: Path, pools: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earzip.cli.train_run.find_spec", lambda _name: None)
    outcome = earzip("train", "run", config, "-m", pools, "-o", run)
    assert outcome.exit_code == 2
    assert "pip install '.[train]'" in outcome.stderr


def test_a_gpu_that_this_pytorch_cannot_use_is_told(
    earzip: Earzip, config: Path, pools: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earzip.cli.train_run.has_unused_gpu", lambda: True)
    outcome = earzip("train", "run", config, "-m", pools, "-o", run)
    assert outcome.exit_code == 0
    assert outcome.stderr.startswith("earzip: warning: training runs on the CPU: this machine has")


def test_help_does_not_load_torch() -> None:
    code = "import sys; sys.argv = ['earzip', 'train', 'run', '--help']\n"
    code += "from earzip.cli.main import main\n"
    code += "try: main()\nexcept SystemExit: assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_a_terminal_sees_a_bar(config: Path, pools: Path, run: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    command = ["train", "run", config, "-m", pools, "-o", run, "--log-every", "1"]
    process = subprocess.Popen([sys.executable, "-m", "earzip", *map(str, command)], stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # how a terminal ends on Linux
        pass
    os.close(ours)
    assert process.wait() == 0
    assert b"2/2" in shown
    assert b"kbps=" in shown
