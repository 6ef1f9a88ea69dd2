from __future__ import annotations

import pytest
import torch

from earzip.network.config import SpectralConfig
from earzip.network.spectral import SpectralVae, band_weights
from tests.earzip.network.reach import assert_decoder_reach, assert_encoder_reach

SMALL = SpectralConfig(
    n_waveform=8, n_envelope=2, width=16, encoder_depth=2, decoder_depth=2, kernel_size=3, hop=64,
    short_hop=16, n_short_bands=4, n_bands=8, first_envelope_band=3,
)  # fmt: skip


@pytest.fixture
def vae() -> SpectralVae:
    torch.manual_seed(0)
    return SpectralVae(SMALL).eval().requires_grad_(False)


def test_shapes_and_scale(vae: SpectralVae) -> None:
    posterior = vae.encode(torch.randn(3, 2, 20 * 64))
    assert posterior.mean.shape == posterior.scale.shape == (3, 10, 20)
    assert (posterior.scale > 0).all()
    assert vae.decode(posterior.mean).shape == (3, 2, 20 * 64)


def test_a_latent_reaches_no_further_than_the_configuration_says(vae: SpectralVae) -> None:
    assert_decoder_reach(vae)


def test_a_sample_reaches_no_further_than_the_configuration_says(vae: SpectralVae) -> None:
    assert_encoder_reach(vae)


def test_bands_cover_every_bin_once() -> None:
    weights = band_weights(1024, 40)
    torch.testing.assert_close(weights.sum(0), torch.ones(1024))
    assert (weights >= 0).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"width": 0}, "width is 0, expected an integer 1 to 65536"),
        ({"kernel_size": 4}, "odd"),
        ({"hop": 1000}, "multiple"),
        ({"n_bands": 5}, "first_envelope_band is 9, expected at most 4"),
        ({"wdith": 5}, "wdith is unknown"),
        ({"width": 1.5}, "integer"),
        ({"width": True}, "integer"),
    ],
)
def test_a_bad_configuration_is_refused(data: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpectralConfig.from_json(data)


@pytest.mark.parametrize(("dtype", "share"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_levels_beyond_half_precision_do_not_reach_autocast(
    vae: SpectralVae, dtype: torch.dtype, share: float
) -> None:
    """Energies of faint bins pass what float16 holds, and closed gains what bfloat16 resolves."""
    vae.rms.fill_(1e-4)
    vae.envelope_synthesis.weight.mul_(20)
    audio = torch.randn(1, 2, 20 * 64, generator=torch.Generator().manual_seed(0))
    mean = vae.encode(audio).mean
    sound = vae.decode(mean)
    assert mean.abs().max() > 1e3
    with torch.autocast("cpu", dtype):
        near_mean, near_sound = vae.encode(audio).mean, vae.decode(mean)
    assert near_mean.dtype == near_sound.dtype == torch.float32
    for near, exact in ((near_mean, mean), (near_sound, sound)):
        assert not torch.equal(near, exact)
        assert (near - exact).abs().max() < share * exact.abs().max()
