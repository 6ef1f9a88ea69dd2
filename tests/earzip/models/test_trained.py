"""Networks of runs as they are read: what a bottleneck was trained for comes along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from earzip.errors import ModelDamagedError
from earzip.models.trained import read_run, write_run_network
from earzip.network.config import SpectralConfig
from earzip.network.networks import build_network
from earzip.training.run_state import save_weights
from tests.earzip.training.conftest import SPECTRAL

PROBLEM = r"weights\.json: does not describe a network: "
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


@pytest.mark.parametrize(
    "rounding", [-0.01, 1.01, float("nan"), float("inf"), 10**400, True, "much", None]
)
def test_a_run_that_rounds_beyond_reason_is_refused(run: Path, rounding: object) -> None:
    change(run, rounding=rounding)
    with pytest.raises(
        ModelDamagedError, match=f"{PROBLEM}rounding is .*, expected a number 0 to 1"
    ):
        read_run(run)


@pytest.mark.parametrize(
    "step_scales",
    [
        [1e200, 1e200],
        [1e-200, 1e-200],
        [1, 10**400],
        [1, 2**64 + 2**20],
        [2**-65, 1],
        [2, 1],
        [0, 1],
        [True, True],
        [float("nan"), 1],
        ["1", "2"],
        [1],
        [1, 2, 3],
        "12",
        None,
    ],
)
def test_a_run_of_steps_beyond_reason_is_refused(run: Path, step_scales: object) -> None:
    change(run, step_scales=step_scales)
    with pytest.raises(ModelDamagedError, match=f"{PROBLEM}step_scales is .*, expected"):
        read_run(run)


def test_steps_at_the_limits_of_a_preset_are_read(run: Path) -> None:
    change(run, step_scales=[2**-64, 2**64])
    assert read_run(run).step_factors == {"high": 2**-64, "medium": 1, "low": 2**64}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"config": {"hop": 2**70}},
            "hop is 1180591620717411303424, expected an integer 1 to 65536$",
        ),
        ({"noise": "pink"}, "noise is 'pink', expected one of round, uniform, gaussian, none$"),
        ({"config": None}, "config is None, expected an object$"),
        ({"architecture": "deaf"}, "unknown architecture 'deaf'$"),
    ],
)
def test_a_run_of_what_cannot_be_built_is_refused(
    run: Path, changes: dict[str, Any], message: str
) -> None:
    change(run, **changes)
    with pytest.raises(ModelDamagedError, match=PROBLEM + message):
        read_run(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "architecture is missing$"), ("[]", r"JSON is \[\], expected an object$")],
)
def test_what_is_missing_in_a_run_is_named(run: Path, text: str, message: str) -> None:
    (run / "weights.json").write_text(text)
    with pytest.raises(ModelDamagedError, match=PROBLEM + message):
        read_run(run)
