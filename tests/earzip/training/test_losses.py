from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from earzip.training.losses import (
    _BAND_EDGES_HZ,
    LossWeights,
    ReconstructionLoss,
    correlation_loss,
    mel_filters,
    spectral_loss,
    stft,
)

FLOOR = 1e-10
ONLY = dict.fromkeys(LossWeights.__dataclass_fields__, 0.0)


def signals(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(2, 2, 12_288, generator=generator, dtype=torch.float64) * 0.1
    noise = torch.randn(2, 2, 12_288, generator=generator, dtype=torch.float64) * 0.05
    return (target + noise).requires_grad_(), target


def plain_loss(x: Tensor, y: Tensor, n_fft: int, w: LossWeights, mid_side: bool) -> Tensor:
    """The weighted terms written as they are defined, for autograd to differentiate."""
    spectrum_x, spectrum_y = stft(x, n_fft), stft(y, n_fft)

    def rotate(s: Tensor) -> Tensor:
        if not mid_side:
            return s
        return torch.stack([s[:, 0] + s[:, 1], s[:, 0] - s[:, 1]], 1) * 0.5**0.5

    a = (rotate(spectrum_x).abs().square() + FLOOR).sqrt()
    b = (rotate(spectrum_y).abs().square() + FLOOR).sqrt()
    reference = rotate(spectrum_y).abs().square().sum((1, 2, 3)) + 1e-3
    total = w.log_magnitude * (a / b).log().abs().mean()
    total = (
        total + w.convergence * (((a - b).square().sum((1, 2, 3)) / reference + 1e-8).sqrt()).mean()
    )
    if n_fft >= 512:
        filters = mel_filters(n_fft, 64, torch.float64, x.device)
        p, q = filters @ a, filters @ b
        convergence = (p - q).square().sum((1, 2, 3)) / (q.square().sum((1, 2, 3)) + 1e-6)
        mel = (p / q).log().abs().mean() + 0.5 * (convergence + 1e-6).sqrt().mean()
        total = total + w.mel * mel
    total = 0.5 * total
    if n_fft < 2048:
        return total
    error = (spectrum_x - spectrum_y).abs().square()
    power = spectrum_y.abs().square()
    whole = power.sum((1, 2, 3)) + 1e-3
    total = total + w.complex_convergence * ((error.sum((1, 2, 3)) / whole + 1e-8).sqrt()).mean()
    f = torch.arange(n_fft // 2 + 1) * 44100 / n_fft
    bands = []
    for low, high in pairwise(_BAND_EDGES_HZ):
        inside = (f >= low) & (f < high)
        top = error[:, :, inside].sum((1, 2, 3))
        bottom = power[:, :, inside].sum((1, 2, 3)) + 1e-3 * whole
        bands.append((top / bottom + 0.01).sqrt())
    total = total + w.complex_bands * torch.stack(bands).mean()
    m_x = (spectrum_x.abs().square() + FLOOR).sqrt()
    m_y = (power + FLOOR).sqrt()
    e = spectrum_x * spectrum_y.conj() / (m_x * m_y)
    weight = m_y.sqrt()
    for axis in (2, 3):
        n = e.shape[axis] - 1
        pair = torch.minimum(weight.narrow(axis, 1, n), weight.narrow(axis, 0, n))
        coherence = (e.narrow(axis, 1, n) * e.narrow(axis, 0, n).conj()).real
        total = total + w.phase * (1 - (pair * coherence).sum() / pair.sum())
    return total


@pytest.mark.parametrize("term", list(LossWeights.__dataclass_fields__)[:-1])
@pytest.mark.parametrize("n_fft", [4096, 2048, 256, 1024])
@pytest.mark.parametrize("mid_side", [False, True])
def test_written_gradients_equal_autograd(term: str, n_fft: int, mid_side: bool) -> None:
    weights = LossWeights(**{**ONLY, term: 1.0})
    x, y = signals()
    plain = plain_loss(x, y, n_fft, weights, mid_side)
    surrogate, _ = spectral_loss(x, y, n_fft, weights, mid_side)
    (got,) = torch.autograd.grad(surrogate, x)
    if not plain.requires_grad:
        assert not got.any()
        return
    (expected,) = torch.autograd.grad(plain, x)
    torch.testing.assert_close(
        got, expected, rtol=1e-7, atol=1e-12 + 1e-9 * float(expected.abs().max())
    )


def test_terms_have_their_defined_values() -> None:
    x, y = signals()
    _, values = spectral_loss(x, y, 2048, LossWeights(), False)
    w = LossWeights()
    total = sum(
        0.5 * getattr(w, name) * values[name] for name in ("log_magnitude", "convergence", "mel")
    )
    total += sum(
        getattr(w, name) * values[name]
        for name in ("complex_convergence", "complex_bands", "phase")
    )
    torch.testing.assert_close(total, plain_loss(x, y, 2048, w, False).detach())


def test_a_perfect_estimate_has_the_least_loss() -> None:
    _, y = signals()
    _, values = ReconstructionLoss(LossWeights())(y, y, random.Random(0))
    limits = {"complex_bands": 0.11, "complex_convergence": 2e-4, "convergence": 2e-4}
    for name, value in values.items():
        assert float(value) <= limits.get(name.removesuffix("_short"), 1e-3), name


def test_phase_term_grows_with_delay_and_ignores_level() -> None:
    _, y = signals()
    losses = [
        float(spectral_loss(torch.roll(y, delay, -1), y, 2048, LossWeights(), False)[1]["phase"])
        for delay in (0, 4, 16, 64)
    ]
    assert losses == sorted(losses)
    assert losses[0] < 1e-6 < losses[1]
    quiet = float(spectral_loss(0.1 * y, y, 2048, LossWeights(), False)[1]["phase"])
    assert quiet < 1e-4


def test_correlation_loss_sees_a_collapse_to_mono() -> None:
    _, y = signals()
    mono = y.mean(1, keepdim=True).expand_as(y)
    assert float(correlation_loss(y, y)) == 0
    assert float(correlation_loss(mono, y)) > 0.8
