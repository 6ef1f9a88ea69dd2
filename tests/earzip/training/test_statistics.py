"""What a transform network starts from, measured on music."""

from __future__ import annotations

import pytest
import torch

from earzip.network.config import TransformConfig
from earzip.network.spectral import mid_side
from earzip.network.transform import TransformStatistics, TransformVae
from earzip.training.data import CropSource
from earzip.training.kweighting import k_weighting_response
from earzip.training.start import measure_transform_statistics
from tests.earzip.training.conftest import TRANSFORM

CONFIG = TransformConfig.from_json(TRANSFORM["model"])
N_BATCHES = 3


@pytest.fixture
def vae() -> TransformVae:
    torch.manual_seed(0)
    return TransformVae(CONFIG).requires_grad_(False)


@pytest.fixture
def statistics(vae: TransformVae, crops: CropSource) -> TransformStatistics:
    return measure_transform_statistics(vae, crops, N_BATCHES)


def test_first_steps_are_finer_where_the_ear_hears_better(statistics: TransformStatistics) -> None:
    f_hz = (torch.arange(CONFIG.n_bins) + 0.5) * (44_100 / 2 / CONFIG.hop)
    weight = k_weighting_response(f_hz).abs().float()
    loudness = statistics.step * weight
    torch.testing.assert_close(loudness, loudness[:1, :1].expand_as(loudness))
    assert statistics.step.max() / statistics.step.min() > 1.5


def test_envelope_latents_of_the_music_itself_are_white(
    crops: CropSource, statistics: TransformStatistics
) -> None:
    """Also in a network that knows the statistics, whose energies are in units of its fine RMS."""
    network = TransformVae(CONFIG).requires_grad_(False)
    network.initialise(statistics)
    audio = mid_side(torch.cat([torch.from_numpy(crops.batch(i)) for i in range(N_BATCHES)]))
    energies = network.log_band_energies(audio).flatten(0, 1)
    torch.testing.assert_close(energies.mean(0), network.envelope_mean, atol=1e-3, rtol=0)
    latents = network.envelope_analysis(energies - network.envelope_mean)
    identity = torch.eye(CONFIG.n_envelope)
    torch.testing.assert_close(latents.t() @ latents / len(latents), identity, atol=0.01, rtol=0)
    back = statistics.envelope_analysis @ statistics.envelope_synthesis
    torch.testing.assert_close(back, identity, atol=1e-3, rtol=0)


def test_levels_are_those_of_the_coefficients(
    vae: TransformVae, crops: CropSource, statistics: TransformStatistics
) -> None:
    audio = mid_side(torch.cat([torch.from_numpy(crops.batch(i)) for i in range(N_BATCHES)]))
    for mdct, rms in ((vae.mdct, statistics.rms), (vae.fine_mdct, statistics.fine_rms)):
        energy = mdct(audio).square().mean((0, 2))
        assert rms.shape == energy.shape
        # A geometric mean of some bins at most spreads the energy, and loses some of it.
        ratio = rms.square().sum(1) / energy.sum(1)
        assert ((ratio > 0.2) & (ratio < 1.5)).all()
