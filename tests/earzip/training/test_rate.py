from __future__ import annotations

import numpy as np
import pytest
import torch

from earzip.training.rate import (
    FactorisedPrior,
    NeighbourPrior,
    bits_to_kbps,
    entropy_bits,
    fit_prior,
    neighbourhood,
    round_steps,
)


def test_the_prior_is_a_distribution() -> None:
    prior = FactorisedPrior(3)
    grid = torch.arange(-400, 401).float().expand(1, 3, -1) * 0.5
    mass = torch.exp2(-prior.bits(grid, torch.full((1, 1, 1), 0.5))).sum(-1)
    torch.testing.assert_close(mass, torch.ones(1, 3), atol=1e-3, rtol=0)


def test_larger_steps_cost_fewer_bits() -> None:
    prior, latents = FactorisedPrior(1), torch.randn(1, 1, 1000)
    with torch.no_grad():
        steps = [torch.full((1, 1, 1), step) for step in (0.1, 1.0, 4.0)]
        costs = [float(prior.bits(latents, step).mean()) for step in steps]
    assert costs == sorted(costs, reverse=True)


def test_a_fitted_prior_nears_the_entropy_of_its_latents() -> None:
    prior, step = FactorisedPrior(2), torch.ones(1, 2, 1)
    # A Laplace distribution of scale b has ln(2e·b) nats; wide bins and relaxed rounding add a little.
    b = torch.tensor([[[20.0], [0.5]]])
    laplace = torch.distributions.Laplace(torch.zeros(()), 1.0)
    torch.manual_seed(0)
    latents = laplace.sample((8, 2, 200)) * b
    fit_prior(prior, latents, step)
    with torch.no_grad():
        bits = prior.bits(latents.round(), step).mean((0, 2))
    assert float(bits[0]) == pytest.approx(np.log2(2 * np.e * 20), abs=0.1)
    assert float(bits[1]) < 1.9


def test_a_prior_is_fitted_to_latents_with_their_dead_zone() -> None:
    """It takes fewer bits of latents so rounded than one that was fitted to others."""
    step = torch.full((1, 1, 1), 0.5)
    torch.manual_seed(0)
    latents = torch.randn(8, 1, 400) * 0.3
    coded = round_steps(latents / step, 0.2) * step
    bits = []
    for rounding in (0.2, 0.5):
        prior = FactorisedPrior(1)
        fit_prior(prior, latents, step, rounding)
        with torch.no_grad():
            bits.append(float(prior.bits(coded, step).mean()))
    assert bits[0] < 0.95 * bits[1]


def clustered(n_channels: int, n_frames: int) -> torch.Tensor:
    """Integers whose spread changes slowly in time and from channel to channel: ``[1, n, F]``."""
    generator = torch.Generator().manual_seed(3)
    spread = torch.randn(1, 1, n_channels, n_frames, generator=generator)
    spread = torch.nn.functional.avg_pool2d(spread, 9, 1, 4)[0] * 9
    uniform = torch.rand(spread.shape, generator=generator).clamp(min=1e-6)
    sign = torch.rand(spread.shape, generator=generator).round() * 2 - 1
    magnitude = -torch.log(uniform) * torch.exp(1.5 * spread - 2)
    return (sign * magnitude).round()


def test_neighbours_tell_what_a_channel_alone_does_not() -> None:
    latents, step = clustered(64, 600), torch.ones(1, 66, 1)
    latents = torch.cat([latents, torch.randn(1, 2, 600).round()], 1)
    bits = []
    for prior in (FactorisedPrior(66), NeighbourPrior(64, 66)):
        fit_prior(prior, latents, step)
        with torch.no_grad():
            bits.append(float(prior.bits(latents, step)[:, :64].sum()))
    assert bits[1] < 0.93 * bits[0]
    assert bits[1] < entropy_bits(latents[0, :64])


def test_a_neighbourhood_holds_only_what_a_decoder_knows_before() -> None:
    """Even channels: the two frames before; odd ones: the channels beside them as well."""
    for channel in (6, 7):
        moved = torch.zeros(1, 12, 9)
        moved[0, channel, 4] = 1
        touched = {(int(c), int(f)) for _, c, f in neighbourhood(moved).nonzero()}
        assert (channel, 4) not in touched
        assert all(f > 4 or (f == 4 and c % 2 == 1 and channel % 2 == 0) for c, f in touched)
        assert {(channel, 5), (channel, 6), (channel + 1, 5)} <= touched


def test_entropy_of_known_symbols() -> None:
    symbols = torch.tensor([[0, 0, 0, 0], [0, 1, 2, 3]])
    assert entropy_bits(symbols) == pytest.approx(8)
    assert bits_to_kbps(1024, 1024, 44_100) == pytest.approx(44.1)
