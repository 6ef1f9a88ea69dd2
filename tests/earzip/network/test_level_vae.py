from __future__ import annotations

import pytest
import torch

from earzip.network import level_vae, levels, short_transform
from earzip.network.config import LevelConfig, latent_layout
from earzip.network.level_vae import LevelStatistics, LevelVae
from tests.earzip.network.reach import assert_decoder_reach, assert_encoder_reach

SMALL = LevelConfig(
    n_bins=1600, width=16, decoder_depth=2, encoder_width=8, encoder_depth=2, kernel_size=3
)
HOP = SMALL.hop


@pytest.fixture
def vae() -> LevelVae:
    torch.manual_seed(0)
    vae = LevelVae(SMALL)
    vae.initialise(
        LevelStatistics(
            rms=torch.full((2, HOP), 0.05),
            fine_rms=torch.full((2, SMALL.fine_hop), 0.05),
            step=torch.full((2, SMALL.n_bins), 0.2),
            level_mean_db=torch.full((SMALL.n_levels,), -40.0),
        )
    )
    return vae.eval().requires_grad_(False)


def noise(n_frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 2, n_frames * HOP, generator=generator) * 0.05


def band_levels(vae: LevelVae, audio: torch.Tensor) -> torch.Tensor:
    return levels.measure(audio, SMALL.n_blocks, vae.transform).level_db


def test_shapes_and_layout(vae: LevelVae) -> None:
    posterior = vae.encode(noise(8))
    assert posterior.mean.shape == posterior.scale.shape == (1, SMALL.n_latents, 8)
    assert sum(SMALL.layout.values()) == SMALL.n_latents
    assert latent_layout("levels", SMALL.to_json()).n_sparse == 3200
    assert vae.decode(posterior.mean).shape == (1, 2, 8 * HOP)


def test_a_long_window_is_coded_in_pieces_as_in_one(
    vae: LevelVae, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = noise(11)
    with torch.inference_mode():
        coded = []
        for piece in (100, 3):
            monkeypatch.setattr(level_vae, "_PIECE", piece)
            latents = vae.encode(audio).mean
            coded.append((latents, vae.decode(latents)))
    for one, other in zip(*coded, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_noise_of_which_no_coefficient_is_coded_comes_back_at_its_levels(vae: LevelVae) -> None:
    audio = noise(16)
    latents = vae.encode(audio).mean.clone()
    latents[:, : SMALL.n_coefficients] = 0
    off = (band_levels(vae, vae.decode(latents)) - band_levels(vae, audio))[:, 3:-3]
    assert off.abs().mean() < 1.5
    assert off.abs().max() < 5


def test_nothing_to_speak_of_is_drawn_where_it_says_tonal(vae: LevelVae) -> None:
    latents = vae.encode(noise(16)).mean.clone()
    latents[:, : SMALL.n_coefficients] = 0
    plain = band_levels(vae, vae.decode(latents))
    latents[:, SMALL.n_coefficients :][:, SMALL.rest_slice("tonal")] = levels.TONAL_STEP
    tonal = band_levels(vae, vae.decode(latents))
    assert (plain - tonal)[:, 3:-3].mean() > 9


def test_a_stroke_is_described_as_an_attack_of_a_short_frame(vae: LevelVae) -> None:
    audio = torch.zeros(1, 2, 12 * HOP)
    n, at = 4000, 6 * HOP + 1200
    audio[..., at : at + n] = noise(2)[..., :n] * 20 * torch.exp(-torch.arange(n) / 300)
    rest = vae.encode(audio).mean[:, SMALL.n_coefficients :]
    told = vae._described(rest.transpose(1, 2))
    assert bool(told.is_short[0, 6])
    assert not told.is_short[0, :5].any()
    assert bool((told.course_db[0, 6] != 0).any())


def test_steady_noise_has_long_frames(vae: LevelVae) -> None:
    rest = vae.encode(noise(12)).mean[:, SMALL.n_coefficients :]
    told = vae._described(rest.transpose(1, 2))
    assert not told.is_short.any()
    assert not told.course_db.any()


def test_gradients_stay_finite_in_silence() -> None:
    torch.manual_seed(0)
    vae = LevelVae(SMALL)
    audio = torch.zeros(1, 2, 8 * HOP)
    vae.decode(vae.encode(audio).mean).square().sum().backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_networks_reach_no_further_than_they_say(vae: LevelVae) -> None:
    torch.manual_seed(1)
    assert_encoder_reach(vae)
    assert_decoder_reach(vae)


def test_bands_and_configuration_must_agree() -> None:
    with pytest.raises(ValueError, match="n_levels is 20, expected 26"):
        LevelVae(LevelConfig(n_levels=20))
    with pytest.raises(ValueError, match="even number of fine frames"):
        LevelConfig(trunk_hop=2048, fine_hop=2048)
    with pytest.raises(ValueError, match="fine_hop is 128, expected at least 256"):
        LevelConfig(fine_hop=128, short_hop=128)
    for n_bins in (256, 512, 2048):
        assert short_transform.band_matrix(levels.fine_edges(n_bins), n_bins).sum(1).min() >= 1


def test_an_archive_must_hold_all_levels_of_a_frame() -> None:
    assert LevelConfig(hop=4096).latent_layout.n_levels == 268
    with pytest.raises(ValueError, match="588 levels a frame, expected at most 512"):
        LevelConfig(hop=12_288)
