"""Networks of runs as they are read: what a bottleneck was trained for comes along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from earzip.errors import ModelDamagedError
from earzip.model.config import SpectralConfig
from earzip.model.networks import build_network
from earzip.network_files import read_run, write_run_network
from earzip.training.run_state import save_weights
from tests.earzip.training.conftest import SPECTRAL

CONFIG = SpectralConfig.from_json(SPECTRAL["model"])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the folder of a run that was trained for a dead zone."""
    save_weights(build_network("spectral", CONFIG.to_json()), tmp_path / "weights.safetensors")
    write_run_network(tmp_path, "spectral", CONFIG, "round", (0.5, 2.0), 0.375)
    return tmp_path


def change(run: Path, **changes: Any) -> None:
    path = run / "weights.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_run_is_read_as_it_was_written(run: Path) -> None:
    trained = read_run(run)
    assert (trained.architecture, trained.config) == ("spectral", CONFIG)
    assert trained.step_factors == {"high": 0.5, "medium": 1.0, "low": 2.0}
    assert trained.rounding == 0.375


def test_a_run_that_says_nothing_of_rounding_rounds_at_a_half(run: Path) -> None:
    path = run / "weights.json"
    data = json.loads(path.read_text())
    del data["rounding"]
    path.write_text(json.dumps(data))
    assert read_run(run).rounding == 0.5


@pytest.mark.parametrize("rounding", [-0.01, 1.01, float("nan"), float("inf"), "much", None])
def test_a_run_that_rounds_beyond_reason_is_refused(run: Path, rounding: object) -> None:
    change(run, rounding=rounding)
    with pytest.raises(ModelDamagedError, match=r"weights\.json: does not describe a network"):
        read_run(run)
