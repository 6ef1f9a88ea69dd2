from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from earzip.errors import UsageError
from earzip.training.config import PARTS, TrainingConfig
from tests.earzip.training.conftest import EAR, SPECTRAL, load, write_config

EMBEDDED = sorted(files("earzip.training").joinpath("configs").iterdir(), key=lambda p: p.name)


@pytest.mark.parametrize("path", EMBEDDED, ids=lambda path: path.name)
def test_embedded_configurations_are_read_and_written_back(path: Any) -> None:
    config = TrainingConfig.load(Path(str(path)))
    assert TrainingConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("path", sorted(Path("benchmarks/ablations").glob("*.json")), ids=str)
def test_configurations_of_ablations_are_read(path: Path) -> None:
    TrainingConfig.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": None}, "steps is None, expected an integer"),
        ({"steps": 0}, "steps is 0, expected an integer 1 to 1000000000"),
        ({"crop_frames": 31}, "crop_frames is 31, expected at least 32"),
        ({"seed": -1}, "seed is -1"),
        ({"music": {"a": float("inf")}}, "music.a is inf"),
        ({"music": {"../a": 1}}, "'../a' is not the name of a pool"),
        ({"model": {"widht": 3}}, "model: widht is unknown"),
        ({"model": {"n_waveform": 5000}}, "n_waveform is 5000, expected at most 2048"),
        ({"loss": {"mel": float("nan")}}, "loss.mel is nan, expected a number"),
        ({"loss": {"mel": -1}}, "loss.mel is -1.0, expected a number 0 to 1000000.0"),
        ({"optimiser": {"learning_rate": 10**400}}, "optimiser.learning_rate is 1000"),
        ({"optimiser": {"betas": [1, 1]}}, "optimiser.betas is 1.0, expected"),
        ({"optimiser": {"clip": 0}}, "optimiser.clip is 0.0"),
        ({"adversarial": {"fft_sizes": []}}, "adversarial.fft_sizes is []"),
        ({"adversarial": {"fft_sizes": [3]}}, "adversarial.fft_sizes is 3, expected"),
        ({"adversarial": {"start": 2}}, "adversarial.start is 2.0, expected a number 0 to 1"),
        ({"bottleneck": {"target_kbps": 0}}, "bottleneck.target_kbps is 0.0"),
        ({"bottleneck": {"first_weight": 0}}, "bottleneck.first_weight is 0"),
        ({"model": {"hop": 1000}}, "multiple"),
        ({"architecture": "wavenet"}, "unknown architecture 'wavenet'"),
        ({"stepz": 3}, "stepz is unknown; expected one of architecture, model, steps"),
        ({"loss": {"mell": 3}}, "loss.mell is unknown"),
        ({"loss": {"mel": "much"}}, "loss.mel is 'much', expected a number"),
        ({"loss": {"k_weighting": 1}}, "loss.k_weighting is 1, expected true or false"),
        ({"loss": {"phase_channels": "ms"}}, "'ms', expected one of mslr, lr"),
        ({"loss": 3}, "loss is 3, expected an object"),
        ({"bottleneck": {"step_scales": 1}}, "expected a list"),
        ({"bottleneck": {"step_scales": [1]}}, "expected a list of 2"),
        ({"bottleneck": {"step_scales": [2, 1]}}, "expected 0 < low <= high"),
        ({"bottleneck": {"noise": "pink"}}, "expected one of round, uniform, gaussian, none"),
        ({"music": {}}, "music must name pools"),
        ({"music": {"a": 0}}, "odds above 0"),
        ({"optimiser": {"ema": 1}}, "optimiser.ema is 1.0"),
        ({"voices": "a/b"}, "'a/b' is not the name of a pool"),
    ],
)  # fmt: skip
def test_a_bad_configuration_names_what_is_wrong(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = write_config(tmp_path, {**SPECTRAL, **change})
    with pytest.raises(UsageError) as caught:
        TrainingConfig.load(path)
    assert caught.value.message.startswith("not a training configuration: ")
    assert message in caught.value.message


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model": {}}', "\xff"])
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, "latin-1")
    with pytest.raises(UsageError, match=r"run.json: not a training configuration"):
        TrainingConfig.load(tmp_path / "run.json")


def test_what_must_be_given_is_named(tmp_path: Path) -> None:
    path = write_config(tmp_path, {"architecture": "spectral"})
    with pytest.raises(UsageError, match="model is missing"):
        TrainingConfig.load(path)


def test_changes_reach_nested_values() -> None:
    config = load(SPECTRAL, steps=3, loss__mel=2, adversarial__channels=8)
    assert (config.steps, config.loss.mel) == (3, 2.0)
    assert config.adversarial is not None
    assert config.adversarial.channels == 8
    assert load(EAR, adversarial=None).adversarial is None


def test_a_change_of_what_has_no_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="steps has no parts to change"):
        load(SPECTRAL, steps__more=3)


def test_every_part_can_be_switched_off() -> None:
    whole = load(EAR, loss__level=1)
    for part in PARTS:
        assert whole.without([part]) != whole, part
    assert whole.without(["phase"]).loss.group_delay == 0
    assert whole.without(["adversarial"]).adversarial is None
    assert whole.without(["rate"]).bottleneck.target_kbps is None
    assert whole.without(["transformer"]).model["transformer_depth"] == 0


def test_feature_matching_goes_with_no_discriminator_coming() -> None:
    assert load(SPECTRAL).without(["feature-matching"]).adversarial is None


def test_a_part_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="the spectral network has no transformer"):
        load(SPECTRAL).without(["transformer"])
