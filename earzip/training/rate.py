"""A factorised prior over quantised latents: what training takes for their rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_N_COMPONENTS = 3
_FIT_STEPS = 400


class FactorisedPrior(nn.Module):
    """A zero-mean mixture of Laplace distributions a latent channel.

    Latents are heavy-tailed (kurtosis near 11): one Laplace distribution a channel overstates the
    rate of silence and of transients. The bits of a quantised value are those of its bin, relaxed by
    uniform noise as in Ballé et al., "End-to-end optimized image compression", 2017.
    """

    def __init__(self, n_latents: int) -> None:
        super().__init__()
        start = torch.tensor([0.15, 0.6, 2.0]).log()
        self.log_b = nn.Parameter(start[:, None].repeat(1, n_latents))
        self.logits = nn.Parameter(torch.zeros(_N_COMPONENTS, n_latents))

    def bits(self, latents: Tensor, step: Tensor) -> Tensor:
        """Return the bits of each of ``latents`` ``[B, D, F]`` in bins of width ``step``.

        ``step`` broadcasts to ``latents``; the result has the shape of ``latents`` and is positive.
        """
        x = latents.abs().unsqueeze(1)
        half = 0.5 * step.unsqueeze(1)
        b = self.log_b.exp()[None, :, :, None]
        # P(|x| − h < |X| ≤ |x| + h) for one sign, written to stay accurate in the tails.
        outside = torch.exp(-((x - half).clamp(min=0) / b)) * -torch.expm1(
            -(x + half - (x - half).clamp(min=0)) / b
        )
        inside = -torch.expm1(-((half - x).clamp(min=0)) / b)
        across = 0.5 * (inside + (1 - torch.exp(-(x + half) / b)))
        mass = torch.where(x < half, across, 0.5 * outside)
        weights = torch.softmax(self.logits, 0)[None, :, :, None]
        return -torch.log2((weights * mass).sum(1) + 1e-9)


def fit_prior(prior: FactorisedPrior, latents: Tensor, step: Tensor, seed: int = 0) -> None:
    """Fit ``prior`` to ``latents`` ``[B, D, F]`` in bins of width ``step``, a batch item at a time."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.03)
    for i in range(_FIT_STEPS):
        item = latents[i % len(latents)][None]
        noise = torch.rand(item.shape, generator=generator) - 0.5
        loss = prior.bits(item + noise * step, step).mean()
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
