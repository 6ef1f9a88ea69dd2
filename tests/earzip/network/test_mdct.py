from __future__ import annotations

import math

import pytest
import torch

from earzip.network.mdct import Mdct


def by_definition(x: torch.Tensor, n_bins: int) -> torch.Tensor:
    """The sum that defines the transform, over one frame of 2·n_bins samples."""
    n = torch.arange(2 * n_bins, dtype=torch.float64)
    k = torch.arange(n_bins, dtype=torch.float64)[:, None]
    window = torch.sin(math.pi * (n + 0.5) / (2 * n_bins))
    basis = torch.cos(math.pi / n_bins * (n + 0.5 + n_bins / 2) * (k + 0.5))
    return math.sqrt(2 / n_bins) * basis @ (window * x.double())


@pytest.mark.parametrize("n_bins", [16, 128, 1024])
def test_coefficients_are_those_of_the_definition(n_bins: int) -> None:
    x = torch.randn(6 * n_bins, generator=torch.Generator().manual_seed(0))
    got = Mdct(n_bins)(x[None])[0]
    assert got.shape == (6, n_bins)
    frame = x[2 * n_bins - n_bins // 2 : 4 * n_bins - n_bins // 2]
    torch.testing.assert_close(got[2].double(), by_definition(frame, n_bins), atol=1e-4, rtol=0)


@pytest.mark.parametrize("n_bins", [16, 128, 1024])
def test_a_round_trip_is_exact_but_for_the_outermost_half_frames(n_bins: int) -> None:
    x = torch.randn(2, 8 * n_bins, generator=torch.Generator().manual_seed(0))
    mdct = Mdct(n_bins)
    got = mdct.inverse(mdct(x))
    inner = slice(n_bins // 2, -n_bins // 2)
    torch.testing.assert_close(got[:, inner], x[:, inner], atol=1e-5, rtol=0)


def test_it_is_orthonormal() -> None:
    x = torch.randn(64 * 256, generator=torch.Generator().manual_seed(0))
    x[:512] = x[-512:] = 0
    energy = Mdct(256)(x[None]).square().sum()
    assert float(energy) == pytest.approx(float(x.square().sum()), rel=1e-4)
