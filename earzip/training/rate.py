"""Priors over quantised latents: what training takes for their rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_N_COMPONENTS = 3
_FIT_STEPS = 400
_KNOTS_AN_OCTAVE, _N_KNOTS = 2, 17  # of neighbours' magnitudes: up to 255 steps


class Prior(Protocol):
    """What tells how many bits latents take."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the learned parameters."""
        ...

    def bits(self, latents: Tensor, step: Tensor) -> Tensor:
        """Return the bits of each of ``latents`` ``[B, D, F]`` in bins of width ``step`` about them.

        ``step`` broadcasts to ``latents``. Latents are multiples of the step, or have uniform noise as
        wide as the step in the place of rounding (Ballé et al., "End-to-end optimized image compression",
        2017). The result has the shape of ``latents`` and is positive.
        """
        ...


class FactorisedPrior(nn.Module):
    """A zero-mean mixture of Laplace distributions a latent channel.

    Latents are heavy-tailed (kurtosis near 11): one Laplace distribution a channel overstates the
    rate of silence and of transients.
    """

    def __init__(self, n_latents: int) -> None:
        super().__init__()
        start = torch.tensor([0.15, 0.6, 2.0]).log()
        self.log_b = nn.Parameter(start[:, None].repeat(1, n_latents))
        self.logits = nn.Parameter(torch.zeros(_N_COMPONENTS, n_latents))

    def bits(self, latents: Tensor, step: Tensor) -> Tensor:
        """See `Prior.bits`."""
        x = latents.abs().unsqueeze(1)
        mass = _laplace_mass(x, 0.5 * step.unsqueeze(1), self.log_b.exp()[None, :, :, None])
        weights = torch.softmax(self.logits, 0)[None, :, :, None]
        return _bits((weights * mass).sum(1))


class NeighbourPrior(nn.Module):
    """Sparse coefficients by their neighbours; the other latents by a `FactorisedPrior`.

    A coefficient is Laplace-distributed; its scale, in steps, is a curve over the magnitudes around it
    that a decoder of archives knows before it: those of two frames before and, for every other
    coefficient, both next to it (symbol coding ``context-1`` of SPEC.md, which looks further back).

    ``counts_rest``: where the others are measured and not learned, their bits teach nothing, and are
    counted as 0.
    """

    def __init__(self, n_sparse: int, n_latents: int, *, counts_rest: bool = True) -> None:
        super().__init__()
        self.n_sparse = n_sparse
        magnitudes = 2 ** (torch.arange(_N_KNOTS) / _KNOTS_AN_OCTAVE) - 1
        self.log_b = nn.Parameter(
            torch.stack([torch.log(0.12 + magnitudes / 7), torch.log(0.12 + magnitudes / 10)])
        )
        self.log_b_of_channel = nn.Parameter(torch.zeros(n_sparse))
        self.rest = FactorisedPrior(n_latents - n_sparse) if counts_rest else None

    def bits(self, latents: Tensor, step: Tensor) -> Tensor:
        """See `Prior.bits`."""
        n = self.n_sparse
        step = step.expand_as(latents)
        scaled = latents[:, :n] / step[:, :n]
        with torch.no_grad():
            at = torch.log2(1 + neighbourhood(scaled.round().abs())) * _KNOTS_AN_OCTAVE
            at = at.clamp(max=_N_KNOTS - 1.001)
            knot = at.long()
            part = at - knot
            odd = (torch.arange(n, device=at.device) % 2)[None, :, None]
            index = odd * _N_KNOTS + knot
        curves = self.log_b.flatten()
        log_b = curves[index] * (1 - part) + curves[index + 1] * part
        b = (log_b + self.log_b_of_channel[:, None]).exp()
        half = torch.full_like(b[:1, :1, :1], 0.5)
        bits = _bits(_laplace_mass(scaled.abs(), half, b))
        if self.rest is None:
            return F.pad(bits, (0, 0, 0, latents.shape[1] - n))
        return torch.cat([bits, self.rest.bits(latents[:, n:], step[:, n:])], 1)


def neighbourhood(magnitudes: Tensor) -> Tensor:
    """Return the weighted sum of the magnitudes around each of ``[B, n, F]`` that are known before it."""
    before = F.pad(magnitudes, (2, 0))
    first, second = before[..., 1:-1], before[..., :-2]
    around = 2 * first + _beside(first, 1) + 0.5 * _beside(first, 2)
    around = around + second + 0.5 * _beside(second, 1)
    odd = (torch.arange(magnitudes.shape[1], device=magnitudes.device) % 2)[None, :, None]
    return around + 1.5 * odd * _beside(magnitudes, 1)


def _beside(x: Tensor, distance: int) -> Tensor:
    """Return the sum of the two channels at ``distance`` from each of ``x`` ``[B, n, F]``."""
    padded = F.pad(x, (0, 0, distance, distance))
    return padded[:, 2 * distance :] + padded[:, : -2 * distance]


def _laplace_mass(x: Tensor, half: Tensor, b: Tensor) -> Tensor:
    """P(x − h < X ≤ x + h) for x ≥ 0 and a Laplace X of scale b, accurate in the tails."""
    below = (x - half).clamp(min=0)
    outside = torch.exp(-(below / b)) * -torch.expm1(-(x + half - below) / b)
    inside = -torch.expm1(-((half - x).clamp(min=0)) / b)
    across = 0.5 * (inside + (1 - torch.exp(-(x + half) / b)))
    return torch.where(x < half, across, 0.5 * outside)


def _bits(mass: Tensor) -> Tensor:
    return -torch.log2(mass + 1e-9)


def round_steps(scaled: Tensor, rounding: float | Tensor) -> Tensor:
    """Return latents ``scaled`` to steps as integers; ``rounding`` as in `quantizer.quantize`."""
    return scaled.sign() * (scaled.abs() + rounding).floor()


def fit_prior(prior: Prior, latents: Tensor, step: Tensor, rounding: float = 0.5) -> None:
    """Fit ``prior`` to ``latents`` ``[B, D, F]`` rounded to ``step``, a batch item at a time.

    ``rounding`` as in `round_steps`.
    """
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.03)
    rounded = round_steps(latents / step, rounding) * step
    for i in range(_FIT_STEPS):
        loss = prior.bits(rounded[i % len(rounded)][None], step).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def bits_to_kbps(bits_per_frame: float, hop: int, sample_rate: int) -> float:
    """Return kilobits per second at ``bits_per_frame``."""
    return bits_per_frame * sample_rate / hop / 1000


def entropy_bits(symbols: Tensor) -> float:
    """Return the order-0 entropy of integer ``symbols`` ``[D, F]``, one table a channel, in bits.

    A bound that a Huffman table a channel approaches from above, tables themselves not counted.
    """
    total = 0.0
    for channel in symbols:
        counts = torch.unique(channel, return_counts=True)[1].double()
        total -= float((counts * (counts / counts.sum()).log()).sum()) / math.log(2)
    return total
