from __future__ import annotations

import numpy as np
import pytest
import torch

from earzip.training.rate import FactorisedPrior, bits_to_kbps, entropy_bits, fit_prior


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


def test_entropy_of_known_symbols() -> None:
    symbols = torch.tensor([[0, 0, 0, 0], [0, 1, 2, 3]])
    assert entropy_bits(symbols) == pytest.approx(8)
    assert bits_to_kbps(1024, 1024, 44_100) == pytest.approx(44.1)
