"""The published network at four base channels, and music to import it with."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from earzip.models.install import ImportOptions, import_model
from earzip.models.spec import ModelSpec
from earzip.models.store import model_folders
from tests.conftest import tones

PUBLISHED = Path(__file__).parents[2] / "data" / "published"
CHECKPOINT = PUBLISHED / "tiny_ear_vae.safetensors"
CONFIG = PUBLISHED / "tiny_ear_vae.config.json"


def options(**changes: object) -> ImportOptions:
    values = {"name": "tiny-ear", "licence": "Apache-2.0", "source": "random", "config": CONFIG}
    return ImportOptions(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    for name, seconds in (("one.flac", 2.0), ("two.wav", 0.5)):
        audio = tones(round(seconds * 44_100), seed=len(name))
        soundfile.write(folder / name, audio.T, 44_100)
    return folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that models are installed in, empty at first."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return model_folders()[-1]


@pytest.fixture
def spec(music: Path) -> ModelSpec:
    return import_model(CHECKPOINT, [music], options())


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
