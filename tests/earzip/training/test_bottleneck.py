from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from earzip.coding.quantizer import dequantize, quantize, step_sizes
from earzip.formats.symbols.layout import Layout
from earzip.network.vae import Posterior
from earzip.training.bottleneck import (
    Bottleneck,
    Passed,
    RateController,
    kl_bits,
    quantise_straight_through,
)
from earzip.training.config import BottleneckConfig
from earzip.training.rate import FactorisedPrior, NeighbourPrior


def posterior(scale: float = 0.3) -> Posterior:
    mean = torch.randn(4, 5, 2000, generator=torch.Generator().manual_seed(0))
    return Posterior(mean, torch.full_like(mean, scale))


def passed(
    noise: str, draws: torch.Tensor | None = None, n_sparse: int = 0, **values: object
) -> Passed:
    found = posterior()
    uniform = torch.rand(found.mean.shape, generator=torch.Generator().manual_seed(1)) - 0.5
    config = BottleneckConfig(noise=noise, **values)  # type: ignore[arg-type]
    bottleneck = Bottleneck(config, 5, Layout(n_sparse))
    return bottleneck(found, torch.zeros(4) if draws is None else draws, uniform)


def test_rounding_passes_gradients() -> None:
    x = torch.tensor([[0.4, 1.3]], requires_grad=True)
    step = torch.tensor([[0.5, 0.5]], requires_grad=True)
    y = quantise_straight_through(x, step, 0.5)
    torch.testing.assert_close(y, torch.tensor([[0.5, 1.5]]))
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones(1, 2))
    torch.testing.assert_close(step.grad, torch.tensor([[1 - 0.8, 3 - 2.6]]))


@pytest.mark.parametrize("rounding", [0.5, 0.4, 0.2])
def test_latents_are_rounded_as_those_of_archives_are(rounding: float) -> None:
    exponents = np.array([-32, -20, -5, 0, 16], np.int32)
    latents = posterior().mean[0]
    steps = torch.from_numpy(step_sizes(exponents))[:, None]
    archived = dequantize(quantize(latents.numpy(), exponents, rounding), exponents)
    rounded = quantise_straight_through(latents, steps, rounding)
    torch.testing.assert_close(rounded, torch.from_numpy(archived))


def test_the_rounding_is_that_of_the_configuration() -> None:
    found = posterior()
    latents = passed("round", step_scales=(4.0, 4.0), rounding=0.25).latents
    expected = quantise_straight_through(found.mean, 4 * found.scale, 0.25)
    torch.testing.assert_close(latents, expected)
    plain = passed("round", step_scales=(4.0, 4.0)).latents
    assert (latents == 0).sum() > 1.3 * (plain == 0).sum()


@pytest.mark.parametrize(
    ("noise", "deviation"),
    [
        ("round", 2 / math.sqrt(12)),
        ("uniform", 2 / math.sqrt(12)),
        ("gaussian", 2.0),
        ("none", 0.0),
    ],
)
def test_noise_is_as_large_as_its_step_makes_it(noise: str, deviation: float) -> None:
    error = passed(noise, step_scales=(2.0, 2.0)).latents - posterior().mean
    assert float(error.std()) == pytest.approx(0.3 * deviation, rel=0.02)
    assert abs(float(error.mean())) < 0.01


def test_the_widest_uniform_value_gives_finite_gaussian_noise() -> None:
    found = posterior()
    bottleneck = Bottleneck(BottleneckConfig(noise="gaussian"), 5)
    latents = bottleneck(found, torch.zeros(4), torch.full_like(found.mean, -0.5)).latents
    assert bool(latents.isfinite().all())


def test_draws_choose_the_step_from_its_range() -> None:
    draws = torch.tensor([0.0, 0.5, 1.0, 1.0])
    error = passed("uniform", draws, step_scales=(0.5, 8.0)).latents - posterior().mean
    deviations = error.std((1, 2)) / (0.3 / math.sqrt(12))
    torch.testing.assert_close(deviations, torch.tensor([0.5, 2.0, 8.0, 8.0]), rtol=0.02, atol=0)


def test_steps_behind_sparse_latents_are_drawn_from_half_the_range() -> None:
    draws = torch.tensor([0.0, 0.5, 1.0, 1.0])
    error = passed("uniform", draws, 3, step_scales=(0.25, 16.0)).latents - posterior().mean
    deviations = error.std(2) / (0.3 / math.sqrt(12))
    sparse, others = torch.tensor([0.25, 2, 16, 16]), torch.tensor([0.5, math.sqrt(2), 4, 4])
    expected = torch.stack([sparse] * 3 + [others] * 2, 1)
    torch.testing.assert_close(deviations, expected, rtol=0.04, atol=0)


def test_sparse_latents_are_counted_by_their_neighbours() -> None:
    prior = Bottleneck(BottleneckConfig(), 5, Layout(3)).prior
    assert isinstance(prior, NeighbourPrior)
    assert prior.n_sparse == 3
    assert prior.rest.log_b.shape[1] == 2
    assert isinstance(Bottleneck(BottleneckConfig(), 5).prior, FactorisedPrior)


def test_divergence_is_that_of_torch() -> None:
    found = posterior()
    normal = torch.distributions.Normal(found.mean, found.scale)
    unit = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    nats = torch.distributions.kl_divergence(normal, unit).sum(1).mean(1)
    torch.testing.assert_close(kl_bits(found), nats / math.log(2))


def test_rate_by_divergence_needs_no_prior() -> None:
    result = passed("gaussian", rate="kl", step_scales=(1.0, 1.0))
    torch.testing.assert_close(result.bits, kl_bits(posterior()))
    torch.testing.assert_close(result.cost, result.bits)
    assert not list(Bottleneck(BottleneckConfig(rate="kl"), 5).parameters())


def test_a_coarser_step_takes_fewer_bits_of_the_prior() -> None:
    fine, coarse = (
        passed("round", torch.full((4,), d), step_scales=(0.5, 4.0)) for d in (0.0, 1.0)
    )
    torch.testing.assert_close(fine.bits, coarse.bits)  # both at step scale 1
    assert bool((fine.cost / 0.5 > fine.bits).all())
    assert bool((coarse.cost / 4 < coarse.bits).all())


def test_the_weight_rises_until_the_rate_is_met() -> None:
    config = BottleneckConfig(target_kbps=12.0, first_weight=1e-3)
    controller, kbps = RateController(config), 40.0
    for _ in range(7000):
        controller.update(kbps)
        kbps = 40.0 / (1 + 100 * controller.weight)
    assert kbps == pytest.approx(12, rel=0.02)


def test_without_a_target_the_weight_stays() -> None:
    controller = RateController(BottleneckConfig(target_kbps=None, first_weight=0.0))
    controller.update(99.0)
    assert controller.weight == 0
    controller = RateController(BottleneckConfig(target_kbps=None, first_weight=2e-3))
    controller.update(99.0)
    assert controller.weight == pytest.approx(2e-3)


def test_a_controller_goes_on_where_it_was() -> None:
    config = BottleneckConfig()
    first, second = RateController(config), RateController(config)
    first.update(30.0)
    second.load_state_dict(first.state_dict())
    for controller in (first, second):
        controller.update(20.0)
    assert first.weight == second.weight


def test_a_target_that_is_out_of_reach_does_not_wind_the_weight_up() -> None:
    controller = RateController(BottleneckConfig(target_kbps=12.0, first_weight=1e-3))
    for _ in range(30_000):
        controller.update(2.0)
    low = controller.weight
    assert 0 < low < 1e-5
    for _ in range(12_000):
        controller.update(60.0)
    assert controller.weight > 1


def test_a_rate_that_is_not_finite_says_nothing() -> None:
    controller = RateController(BottleneckConfig())
    before = controller.weight
    controller.update(math.nan)
    assert controller.weight == before
