from __future__ import annotations

import math

import pytest
import torch

from earzip.formats.geometry import MAX_LATENTS
from earzip.network.config import EarConfig, SpectralConfig, TransformConfig, latent_layout
from earzip.network.spectral import mid_side
from earzip.network.transform import TransformStatistics, TransformVae, least_opened
from tests.earzip.network.reach import assert_decoder_reach, assert_encoder_reach

SMALL = TransformConfig(
    n_bins=48, n_envelope=2, width=16, decoder_depth=2, encoder_width=8, encoder_depth=2,
    kernel_size=3, hop=64, trunk_hop=32, fine_hop=16, short_hop=8, n_short_bands=2, n_bands=8,
    first_envelope_band=3,
)  # fmt: skip
D = SMALL.n_latents


@pytest.fixture
def vae() -> TransformVae:
    torch.manual_seed(0)
    vae = TransformVae(SMALL)
    torch.nn.init.normal_(vae.gate_out.weight, 0, 0.1)
    return vae.eval().requires_grad_(False)


def statistics(vae: TransformVae) -> TransformStatistics:
    n_energies = SMALL.n_envelope_bands
    basis = torch.linalg.qr(torch.randn(n_energies, SMALL.n_envelope))[0]
    return TransformStatistics(
        rms=torch.full_like(vae.rms, 0.1),
        fine_rms=torch.full_like(vae.fine_rms, 0.1),
        step=torch.full((2, SMALL.n_bins), 0.01),
        envelope_mean=torch.full((n_energies,), -20.0),
        envelope_analysis=basis.t(),
        envelope_synthesis=basis,
        envelope_scale=torch.full((SMALL.n_envelope,), 0.25),
    )


def test_shapes_and_scale(vae: TransformVae) -> None:
    posterior = vae.encode(torch.randn(3, 2, 20 * 64))
    assert posterior.mean.shape == posterior.scale.shape == (3, D, 20)
    assert (posterior.scale > 0).all()
    assert vae.decode(posterior.mean).shape == (3, 2, 20 * 64)


def test_coefficients_come_in_steps_so_that_one_step_serves_them_all(vae: TransformVae) -> None:
    before = vae.encode(torch.randn(1, 2, 10 * 64, generator=torch.Generator().manual_seed(0)))
    n = latent_layout("transform", SMALL.to_json()).n_sparse
    assert (before.scale[:, :n] == 1).all()
    vae.log_step += 1.0
    after = vae.encode(torch.randn(1, 2, 10 * 64, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(after.mean[:, :n] * torch.e, before.mean[:, :n])
    torch.testing.assert_close(after.mean[:, n:], before.mean[:, n:])


def test_it_starts_as_a_codec_that_gives_coded_bins_back(vae: TransformVae) -> None:
    """With nothing drawn and every worth 1, what it decodes is the sound of its lowest bins."""
    vae.initialise(statistics(vae))
    for layer in (vae.worth_out, vae.shape_out, vae.gate_out):
        layer.weight.zero_()
    audio = torch.randn(1, 2, 40 * 64, generator=torch.Generator().manual_seed(1))
    coefficients = vae.mdct(mid_side(audio))
    coefficients[..., SMALL.n_bins :] = 0
    low = mid_side(vae.mdct.inverse(coefficients))
    decoded = vae.decode(vae.encode(audio).mean)
    torch.testing.assert_close(decoded[..., 64:-64], low[..., 64:-64], atol=1e-4, rtol=0)


def test_no_gate_takes_away_what_stands_far_above_the_steps(vae: TransformVae) -> None:
    vae.initialise(statistics(vae))
    for layer in (vae.worth_out, vae.shape_out):
        layer.weight.zero_()
    vae.gate_out.bias.fill_(-20.0)
    sine = torch.sin(torch.arange(40 * 64) * 0.9).expand(1, 2, -1)
    for level, lost_db in ((1.0, 6.0), (1e-3, 40.0)):
        latents = vae.encode(level * sine).mean
        decoded = vae.decode(latents)[..., 640:-640]
        power = (level * sine)[..., 640:-640].square().sum() / decoded.square().sum()
        found = 10 * float(torch.log10(power))
        assert found < lost_db if level == 1 else found > lost_db


def test_a_gate_can_undo_the_most_that_an_encoder_amplifies(vae: TransformVae) -> None:
    vae.initialise(statistics(vae))
    for layer in (vae.worth_out, vae.shape_out, vae.gate_out):
        layer.weight.zero_()
    vae.worth_out.bias.fill_(9.0)
    vae.gate_out.bias.fill_(-0.6)
    sine = torch.sin(torch.arange(40 * 64) * 0.9).expand(1, 2, -1)
    decoded = vae.decode(vae.encode(sine).mean)
    power = sine[..., 640:-640].square().sum() / decoded[..., 640:-640].square().sum()
    assert abs(10 * float(torch.log10(power))) < 0.5


def test_an_encoder_weighs_coefficients_between_a_seventh_and_nearly_twice(
    vae: TransformVae,
) -> None:
    vae.worth_out.weight.zero_()
    audio = torch.randn(1, 2, 10 * 64, generator=torch.Generator().manual_seed(0))
    means = []
    for bias in (0.0, 9.0, -9.0):
        vae.worth_out.bias.fill_(bias)
        means.append(vae.encode(audio).mean[:, : SMALL.n_coefficients])
    torch.testing.assert_close(means[1], means[0] * math.exp(0.6))
    torch.testing.assert_close(means[2], means[0] * math.exp(-2.0))


def test_what_is_sure_grows_from_eight_steps_on(vae: TransformVae) -> None:
    vae.initialise(statistics(vae))
    step = 0.01 / 0.1  # over the fine RMS
    for steps, sure in ((8, 0.0), (16, 0.5), (8e6, 1.0)):
        fine = torch.full((1, 2, 4, SMALL.fine_hop), steps * step)
        least = least_opened(fine, vae.log_step.exp(), vae.fine_rms, SMALL.hop)[
            ..., :8
        ]  # of 16: above, no coefficients are coded
        torch.testing.assert_close(least, torch.full_like(least, sure * math.exp(-0.6)))


def test_bands_that_are_coded_are_not_drawn_again(vae: TransformVae) -> None:
    vae.initialise(statistics(vae))
    fine = torch.full((1, 2, 4, SMALL.fine_hop), 2.0)
    wanted = torch.full((1, 2, 4, SMALL.n_bands), 0.6)  # less than is there
    wanted[..., 4:] = 2.0
    energy, asked = torch.exp(2 * vae._missing(wanted, fine)), torch.exp(2 * wanted)
    has_bins = vae.band_means.sum(1) > 0.5
    expected = torch.where(has_bins, torch.maximum(asked - 4, 0.01 * asked), asked)
    torch.testing.assert_close(energy, expected)
    assert has_bins[:4].any()
    assert has_bins[4:].any()


def test_a_latent_reaches_no_further_than_the_configuration_says(vae: TransformVae) -> None:
    assert_decoder_reach(vae)


def test_a_sample_reaches_no_further_than_the_configuration_says(vae: TransformVae) -> None:
    assert_encoder_reach(vae)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"width": 0}, "width is 0, expected an integer 1 to 65536"),
        ({"kernel_size": 4}, "odd"),
        ({"fine_hop": 1000}, "multiple"),
        ({"trunk_hop": 256}, "multiple"),
        ({"n_bands": 5}, "first_envelope_band is 9, expected at most 4"),
        ({"n_bins": 5000}, "at most 2048"),
        ({"wdith": 5}, "wdith is unknown"),
        ({"width": 1.5}, "integer"),
        ({"width": 65_537}, "width is 65537, expected an integer 1 to 65536"),
        ({"hop": 2**70}, "hop is 1180591620717411303424, expected an integer"),
    ],
)
def test_a_bad_configuration_is_refused(data: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformConfig.from_json(data)


@pytest.mark.parametrize(
    "data",
    [
        {"channels": 65_536},  # times multiples of up to 16
        {"transformer_depth": 65_537},
        {"strides": [512, 256], "multiples": [1, 1]},
        {"head_size": 2**70, "n_latents": 2**70},
    ],
)
def test_no_dimension_of_the_published_network_is_beyond_reason(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"(widest|depth|hop|n_latents) is \d+, expected .*65536"):
        EarConfig.from_json(data)


def test_there_are_no_more_latents_than_an_archive_holds() -> None:
    most = {"n_bins": (MAX_LATENTS - 24) // 2, "n_envelope": 24}
    assert TransformConfig.from_json(most).n_latents == MAX_LATENTS
    with pytest.raises(ValueError, match="4120 latents a frame, expected at most 4096"):
        TransformConfig.from_json({"n_bins": 2048})
    with pytest.raises(ValueError, match="4097 latents a frame"):
        SpectralConfig(n_waveform=MAX_LATENTS - 23, hop=2048)
    with pytest.raises(ValueError, match="4098 latents a frame"):
        EarConfig(n_latents=MAX_LATENTS + 2, head_size=2)


def test_only_a_transform_has_coefficients() -> None:
    assert latent_layout("transform", {}).n_sparse == 3200
    assert latent_layout("transform", SMALL.to_json()).n_sparse == 96
    assert latent_layout("transform", {"n_bins": "many"}).n_sparse == 0
    assert latent_layout("spectral", {"n_bins": 5}).n_sparse == 0


@pytest.mark.parametrize(("dtype", "share"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_levels_beyond_half_precision_do_not_reach_autocast(
    vae: TransformVae, dtype: torch.dtype, share: float
) -> None:
    vae.fine_rms.fill_(1e-4)
    vae.log_step.fill_(-9.0)
    audio = torch.randn(1, 2, 20 * 64, generator=torch.Generator().manual_seed(0))
    mean = vae.encode(audio).mean
    sound = vae.decode(mean)
    assert mean.abs().max() > 1e3
    with torch.autocast("cpu", dtype):
        near_mean, near_sound = vae.encode(audio).mean, vae.decode(mean)
    assert near_mean.dtype == near_sound.dtype == torch.float32
    for near, exact in ((near_mean, mean), (near_sound, sound)):
        assert (near - exact).abs().max() < share * exact.abs().max()
