"""Between encoder and decoder in training: the quantiser's noise, and the rate."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from earzip.coding.quantizer import preset_shares
from earzip.formats.symbols.layout import Layout
from earzip.network.vae import Posterior
from earzip.training.config import BottleneckConfig
from earzip.training.rate import FactorisedPrior, NeighbourPrior, round_steps

_LEAST_QUANTILE = 1e-8  # 5.6 deviations


class Passed(NamedTuple):
    """The output of a bottleneck."""

    latents: Tensor
    """For the decoder: float32 ``[B, D, F]``."""
    cost: Tensor
    """Bits a frame to be minimised, ``[B]``, each item weighted by its step scale."""
    bits: Tensor
    """Bits a frame at step scale 1, ``[B]``: the rate that is steered."""


class Bottleneck(nn.Module):
    """Noise that a decoder learns to bear, and the rate of the latents.

    A step is the posterior scale times the item's step scale, or a share of that
    (`earzip.coding.quantizer.preset_shares`). Noises: ``round``, rounding to
    multiples of the step, with gradients passed straight through; ``uniform``, noise as wide as the step
    (Ballé et al., 2017); ``gaussian``, the posterior's own (Kingma and Welling, 2014), whose deviation is
    the step, as much as rounding to √12 steps gives; ``none``.

    Rates: ``prior``, bits of the quantised latents under a learned `FactorisedPrior`; ``kl``, the
    divergence from a unit Gaussian in bits, which is what latents with posterior noise cost at least.
    """

    shares: Tensor
    rounding: Tensor

    def __init__(
        self,
        config: BottleneckConfig,
        n_latents: int,
        layout: Layout = Layout(),  # noqa: B008  # frozen
    ) -> None:
        super().__init__()
        self.config = config
        n_sparse, counts_rest = layout.n_sparse, not layout.groups  # levels are measured
        self.prior = _prior_of(n_latents, n_sparse, counts_rest) if config.rate == "prior" else None
        shares = torch.from_numpy(preset_shares(n_latents, layout))
        self.register_buffer("shares", shares[:, None], persistent=False)
        rounding = torch.full((n_latents, 1), config.rounding)
        if not counts_rest:
            rounding[n_sparse:] = 0.5  # a dead zone is for what is worth less than its bits
        self.register_buffer("rounding", rounding, persistent=False)

    def forward(self, posterior: Posterior, draws: Tensor, noise: Tensor) -> Passed:
        """Return what the decoder gets of ``posterior``, and its rate.

        ``draws``: ``[B]``, uniform in 0 to 1, choose the step scales. ``noise``: ``[B, D, F]``, uniform
        in −½ to ½.
        """
        low, high = (math.log(scale) for scale in self.config.step_scales)
        log_scale = (low + (high - low) * draws)[:, None, None]
        step = posterior.scale * torch.exp(log_scale * self.shares)
        if self.prior is None:
            bits = kl_bits(posterior)
            cost = bits
        else:
            cost = _a_frame(self.prior.bits(self._counted(posterior, step, noise), step))
            with torch.no_grad():
                unit = posterior.scale
                bits = _a_frame(self.prior.bits(self._counted(posterior, unit, noise), unit))
        latents = self._noisy(posterior, step, noise)
        return Passed(latents, cost * log_scale.flatten().exp(), bits)

    def _counted(self, posterior: Posterior, step: Tensor, noise: Tensor) -> Tensor:
        """Return the latents whose bits are counted: rounded, or with the noise in its place."""
        if self.config.noise == "round":
            return self._noisy(posterior, step, noise)
        return posterior.mean + noise * step

    def _noisy(self, posterior: Posterior, step: Tensor, noise: Tensor) -> Tensor:
        match self.config.noise:
            case "round":
                return quantise_straight_through(posterior.mean, step, self.rounding)
            case "uniform":
                return posterior.mean + noise * step
            case "gaussian":
                quantile = (noise.double() + 0.5).clamp(_LEAST_QUANTILE, 1 - _LEAST_QUANTILE)
                normal: Tensor = torch.special.ndtri(quantile).float()
                return posterior.mean + normal * step
            case "none":
                return posterior.mean


def _prior_of(n_latents: int, n_sparse: int, counts_rest: bool) -> FactorisedPrior | NeighbourPrior:
    if n_sparse:
        return NeighbourPrior(n_sparse, n_latents, counts_rest=counts_rest)
    return FactorisedPrior(n_latents)


def quantise_straight_through(latents: Tensor, step: Tensor, rounding: float | Tensor) -> Tensor:
    """Return ``latents`` rounded to multiples of ``step``, with gradients for both.

    ``rounding`` as in `earzip.coding.quantizer.quantize`: ½, or less for a dead zone.

    Rounding passes the gradient of the latents unchanged; that of the step is the learned-step rule
    of Esser et al. (LSQ, 2020).
    """
    scaled = latents / step
    rounded = round_steps(scaled, rounding)
    return (scaled + (rounded - scaled).detach()) * step


def kl_bits(posterior: Posterior) -> Tensor:
    """Return the divergence of ``posterior`` from a unit Gaussian, bits a frame, ``[B]``."""
    variance = posterior.scale.square()
    nats = 0.5 * (posterior.mean.square() + variance - 1 - variance.log())
    return _a_frame(nats / math.log(2))


def _a_frame(bits: Tensor) -> Tensor:
    total: Tensor = bits.sum(1).mean(1)
    return total


class RateController:
    """The weight of the rate's term, steered so that the rate comes to a target.

    The weight's logarithm follows the relative error, smoothed, which damps it, and the error's sum,
    within bounds: a target that is out of reach for long must not wind it up.
    """

    _PROPORTIONAL, _INTEGRAL, _SMOOTHING, _MOST_NEPERS = 2.0, 0.002, 0.02, 10.0

    def __init__(self, config: BottleneckConfig) -> None:
        self._target_kbps = config.target_kbps
        self._first = math.log(config.first_weight) if config.first_weight else -math.inf
        self._log_weight = self._first
        self._error = 0.0

    @property
    def weight(self) -> float:
        """The weight of a bit a frame."""
        return math.exp(self._log_weight + self._PROPORTIONAL * self._error)

    def update(self, kbps: float) -> None:
        """Take in the rate of a step; one that is not finite says nothing."""
        if self._target_kbps is None or not math.isfinite(kbps):
            return
        error = max(-1.0, min(1.0, kbps / self._target_kbps - 1))
        self._error += self._SMOOTHING * (error - self._error)
        moved = self._log_weight + self._INTEGRAL * error
        bounds = self._first - self._MOST_NEPERS, self._first + self._MOST_NEPERS
        self._log_weight = max(bounds[0], min(bounds[1], moved))

    def state_dict(self) -> dict[str, float]:
        """Return the state for a resumed run."""
        return {"log_weight": self._log_weight, "error": self._error}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Set what `state_dict` has returned."""
        self._log_weight, self._error = state["log_weight"], state["error"]
