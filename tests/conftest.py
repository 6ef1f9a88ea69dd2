from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

# Before torch is loaded, here or in a process that a test starts: tests run side by side, and threads of
# OpenMP that wait for a core which another test has take four times the CPU time of one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

MODELS = Path(__file__).parent / "data" / "models"


@pytest.fixture(autouse=True, scope="session")
def _processes_hear_sigint() -> None:
    """Undo what a shell does to commands in its background: their children would ignore Ctrl-C too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_models_but_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Let no test find the models or the configuration of whoever runs it."""
    home = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.delenv("EARZIP_MODELS", raising=False)


@pytest.fixture
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a random-weight model that works in milliseconds."""
    monkeypatch.setenv("EARZIP_MODELS", str(MODELS))
    return "tiny"


def tones(n_samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Music enough for a codec: stereo chords that fade, ``[2, n_samples]`` within ±0.5."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_samples) / 44_100
    audio = np.zeros((2, n_samples))
    for _ in range(8):
        f_hz, pan = rng.uniform(80, 1500), rng.uniform(0, 1)
        tone = np.sin(2 * np.pi * f_hz * t + rng.uniform(0, 6)) * np.exp(-t % 0.7)
        audio += np.stack([pan * tone, (1 - pan) * tone])
    return (0.06 * audio).astype(np.float32)


def strokes(n_samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Attacks enough for a codec: noise struck every 0.3 s, ``[2, n_samples]``."""
    fade = np.exp(-(np.arange(n_samples) % 13_230) / 400)
    noise = np.random.default_rng(seed).normal(0, 0.2, (2, n_samples))
    return (noise * fade).astype(np.float32)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """A FLAC of 70,001 samples, 24 bit."""
    path = tmp_path / "song.flac"
    soundfile.write(path, tones(70_001).T, 44_100, subtype="PCM_24")
    return path
