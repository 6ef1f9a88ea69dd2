"""What a network starts from, by its architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from earzip.network.config import TransformConfig
from earzip.network.networks import build_network
from earzip.network.transform import TransformVae
from earzip.training.bottleneck import Bottleneck
from earzip.training.config import BottleneckConfig
from earzip.training.data import CropSource
from earzip.training.run_state import save_weights
from earzip.training.start import (
    linear_maps,
    measure_transform_statistics,
    start_from_music,
    start_from_weights,
)
from tests.earzip.training.conftest import EAR, SPECTRAL, TRANSFORM


def test_a_transform_starts_from_the_statistics_of_its_music(crops: CropSource) -> None:
    config = TransformConfig.from_json(TRANSFORM["model"])
    network = TransformVae(config)
    start_from_music(network, crops, 2)
    statistics = measure_transform_statistics(TransformVae(config), crops, 2)
    state = network.state_dict()
    torch.testing.assert_close(state["log_step"], statistics.step.log())
    torch.testing.assert_close(state["rms"], statistics.rms)
    torch.testing.assert_close(state["fine_rms"], statistics.fine_rms)
    torch.testing.assert_close(state["envelope_mean"], statistics.envelope_mean)
    torch.testing.assert_close(state["envelope_analysis.weight"], statistics.envelope_analysis)


def test_a_spectral_network_starts_from_the_statistics_of_its_music(crops: CropSource) -> None:
    network = build_network("spectral", SPECTRAL["model"])
    start_from_music(network, crops, 2)
    assert not torch.equal(network.state_dict()["rms"], torch.ones(2, 256))


def test_the_published_network_starts_random(crops: CropSource) -> None:
    network = build_network("ear", EAR["model"])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    start_from_music(network, crops, 2)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (SPECTRAL, ["analysis", "synthesis", "envelope_analysis", "envelope_synthesis"]),
        (TRANSFORM, ["envelope_analysis", "envelope_synthesis"]),
        (EAR, []),
    ],
)
def test_maps_that_were_set_from_statistics_learn_slowly(
    kind: dict[str, object], names: list[str]
) -> None:
    network = build_network(kind["architecture"], kind["model"])  # type: ignore[arg-type]
    slow = {id(parameter) for parameter in linear_maps(network)}
    found = [name for name, parameter in network.named_parameters() if id(parameter) in slow]
    assert sorted({name.split(".")[0] for name in found}) == sorted(names)
    assert len(found) == len(slow)


@pytest.mark.parametrize("noise", ["round", "uniform"])
def test_a_prior_is_fitted_to_latents_as_archives_round_them(
    noise: str, crops: CropSource, tmp_path: Path
) -> None:
    """With the dead zone, but only for a decoder that is to learn it."""
    network = build_network("spectral", SPECTRAL["model"])
    start_from_music(network, crops, 2)
    save_weights(network, tmp_path / "w.safetensors")
    fitted = []
    for rounding in (0.2, 0.5):
        config = BottleneckConfig(noise=noise, rounding=rounding)  # type: ignore[arg-type]
        bottleneck = Bottleneck(config, network.config.n_latents)
        start_from_weights(tmp_path / "w.safetensors", network, bottleneck, crops)
        fitted.append(bottleneck.state_dict()["prior.logits"])
    assert torch.equal(*fitted) is (noise == "uniform")
