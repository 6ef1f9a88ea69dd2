from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from earzip.transcode.compress import compress_file
from tests.conftest import MODELS
from tests.earzip.tiny_archives import TINY


@pytest.fixture
def archive(song: Path, tmp_path: Path, tiny_model: str) -> Path:
    """Return an archive of `song` by the tiny model."""
    return compress_file(song, tmp_path / "song.flac.earz", TINY).target


@pytest.fixture
def wide_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a tiny model with weights that are too large for float16, and not for others."""
    weights = load_file(MODELS / "tiny.safetensors")
    for name in ("encoder_in.weight", "decoder_in.weight"):
        weights[name] = weights[name].astype(np.float32) * 1e8
    folder = tmp_path / "wide"
    folder.mkdir()
    save_file(weights, folder / "wide.safetensors")
    spec = json.loads((MODELS / "tiny.json").read_text()) | {"name": "wide"}
    digest = hashlib.sha256((folder / "wide.safetensors").read_bytes()).hexdigest()
    (folder / "wide.json").write_text(json.dumps(spec | {"weights_sha256": digest}))
    monkeypatch.setenv("EARZIP_MODELS", str(folder))
    return "wide"


class TorchCuda:
    """In place of what sets the GPU of a thread, on a machine that has none."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        """The names of the threads and the numbers that they asked for, in order."""
        self._of_thread = threading.local()

    def set_device(self, device: str) -> None:
        number = int(device.removeprefix("cuda:"))
        self.calls.append((threading.current_thread().name, number))
        self._of_thread.number = number

    def current(self) -> int | None:
        """Return the GPU of the calling thread; None if it has set none."""
        return getattr(self._of_thread, "number", None)


@pytest.fixture
def torch_cuda(monkeypatch: pytest.MonkeyPatch) -> TorchCuda:
    """Records which thread works on which GPU."""
    recorder = TorchCuda()
    monkeypatch.setattr(torch.cuda, "set_device", recorder.set_device)
    return recorder
