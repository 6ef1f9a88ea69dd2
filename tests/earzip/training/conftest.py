"""Music to train on, and runs that take seconds."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from earzip.training.config import TrainingConfig
from earzip.training.data import CropSource, Mixture, MusicPool
from tests.conftest import tones

SPECTRAL: dict[str, Any] = {
    "architecture": "spectral",
    "model": {
        "n_waveform": 24, "n_envelope": 4, "width": 16, "encoder_depth": 1, "decoder_depth": 1,
        "kernel_size": 3, "hop": 256, "short_hop": 64, "n_short_bands": 4, "n_bands": 12,
        "first_envelope_band": 3,
    },
    "steps": 24,
    "batch_size": 4,
    "crop_frames": 48,
    "statistics_batches": 4,
    "precision": "float32",
    "music": {"music": 1.0},
    "loss": {"mel": 0.0},
}  # fmt: skip
TRANSFORM: dict[str, Any] = SPECTRAL | {
    "architecture": "transform",
    "model": {
        "n_bins": 200, "n_envelope": 4, "width": 16, "decoder_depth": 1, "encoder_width": 8,
        "encoder_depth": 1, "kernel_size": 3, "hop": 256, "trunk_hop": 128, "fine_hop": 64,
        "short_hop": 32, "n_short_bands": 2, "n_bands": 12, "first_envelope_band": 3,
    },
    "bottleneck": {"rounding": 0.4},
}  # fmt: skip
EAR: dict[str, Any] = {
    "architecture": "ear",
    "model": {
        "channels": 2, "multiples": [1, 2, 2], "strides": [4, 8, 8], "n_latents": 8, "head_size": 4,
    },
    "steps": 8,
    "batch_size": 4,
    "crop_frames": 48,
    "precision": "float32",
    "music": {"music": 1.0},
    "optimiser": {"ema": 0.9},
    "bottleneck": {"noise": "gaussian", "step_scales": [1.0, 1.0], "rate": "kl"},
    "adversarial": {"fft_sizes": [512, 128], "channels": 4, "start": 0.25},
}  # fmt: skip
RUNS = {"spectral": SPECTRAL, "transform": TRANSFORM, "ear": EAR}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Several threads in so small a network only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def accelerate_begins_anew() -> Iterator[None]:
    """Let each test choose its precision, which accelerate keeps a process for good."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return a folder with a pool called `music`."""
    return write_pool(tmp_path / "pools", "music")


@pytest.fixture
def crops(music: Path) -> CropSource:
    """Return crops of 16 frames of `music`, four a batch."""
    frames = 16 * 256
    return CropSource(Mixture([MusicPool(music / "music.s16", frames)], [1.0]), 4, frames, 0)


def write_pool(folder: Path, name: str) -> Path:
    """Write a pool of two tracks; return its folder."""
    folder.mkdir(exist_ok=True)
    audio = np.concatenate([tones(200_000, seed) for seed in (1, 2)], 1)
    (np.ascontiguousarray(audio.T) * 32767).astype("<i2").tofile(folder / f"{name}.s16")
    entries = [
        {"name": str(i), "start": i * 200_000, "frames": 200_000, "rms_db": -20.0} for i in (0, 1)
    ]
    (folder / f"{name}.json").write_text(json.dumps(entries))
    return folder


def write_config(folder: Path, data: dict[str, Any]) -> Path:
    """Write a configuration; return its path."""
    path = folder / "run.json"
    path.write_text(json.dumps(data))
    return path


def load(data: dict[str, Any], **changes: Any) -> TrainingConfig:
    """Return the configuration in ``data`` with changes by name, ``__`` for the dot."""
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return TrainingConfig.from_json(data, dotted)


def records(folder: Path) -> list[dict[str, Any]]:
    """Return the log of the run in ``folder``, without times."""
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def slowly(kind: str) -> dict[str, Any]:
    """Return a run that differences of rounding do not carry far away."""
    config = {**RUNS[kind], "steps": 8}
    for part in ("optimiser", "adversarial"):
        if part in config or part == "optimiser":
            config[part] = {**config.get(part, {}), "learning_rate": 1e-5}
    return config


def command(config: Path, music: Path, run: Path, *options: object) -> list[str]:
    """Return what follows ``python`` to train with a record a step."""
    words = ["train", "run", config, "--music", music, "--output", run, "--log-every", 1, *options]
    return ["-m", "earzip", *map(str, words)]


def wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    """Wait for ``path``, which ``process`` writes."""
    deadline = time.monotonic() + 150
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def check_alike(a: Path, b: Path, n_steps: int) -> None:
    """Equal but for the order of sums, whose effect grows with the steps."""
    pairs = list(zip(records(a), records(b), strict=True))
    assert len(pairs) == n_steps
    for one, other in pairs:
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert other[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name
