from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from earzip.training.config import LossConfig
from earzip.training.losses import (
    _BAND_EDGES_HZ,
    ReconstructionLoss,
    coherence_loss,
    correlation_loss,
    level_loss,
    mel_filters,
    spectral_loss,
    stft,
)

FLOOR = 1e-10
TERMS = [name for name, value in vars(LossConfig()).items() if type(value) is float]
assert len(TERMS) == 10
SPECTRAL = [name for name in TERMS if name not in ("correlation", "coherence", "level")]
NOTHING = dict.fromkeys(TERMS, 0.0)


def signals(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(2, 2, 12_288, generator=generator, dtype=torch.float64) * 0.1
    noise = torch.randn(2, 2, 12_288, generator=generator, dtype=torch.float64) * 0.05
    return (target + noise).requires_grad_(), target


def plain_loss(x: Tensor, y: Tensor, n_fft: int, w: LossConfig, mid_side: bool) -> Tensor:
    """The weighted terms written as they are defined, for autograd to differentiate."""
    spectrum_x, spectrum_y = stft(x, n_fft), stft(y, n_fft)

    def rotate(s: Tensor, channels: str = w.magnitude_channels) -> Tensor:
        if not (mid_side and channels == "mslr"):
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
    p, q = rotate(spectrum_x, w.phase_channels), rotate(spectrum_y, w.phase_channels)
    m_x = (p.abs().square() + FLOOR).sqrt()
    m_y = (q.abs().square() + FLOOR).sqrt()
    e = (p / m_x) * (q / m_y).conj() * (m_y / q.abs().clamp(min=FLOOR**0.5)) ** 2
    weight = (m_y - 1e-4).clamp(min=0).sqrt()
    for axis, term in ((2, w.group_delay), (3, w.instantaneous_frequency)):
        n = e.shape[axis] - 1
        pair = torch.minimum(weight.narrow(axis, 1, n), weight.narrow(axis, 0, n))
        coherence = (e.narrow(axis, 1, n) * e.narrow(axis, 0, n).conj()).real
        by_item = (pair * (1 - coherence)).sum((1, 2, 3)) / pair.sum((1, 2, 3))
        total = total + term * by_item.mean()
    return total


@pytest.mark.parametrize("term", SPECTRAL)
@pytest.mark.parametrize("n_fft", [4096, 2048, 256, 1024])
@pytest.mark.parametrize("mid_side", [False, True])
def test_written_gradients_equal_autograd(term: str, n_fft: int, mid_side: bool) -> None:
    check_gradient(LossConfig(**{**NOTHING, term: 1.0}), n_fft, mid_side)


@pytest.mark.parametrize("channels", ["magnitude_channels", "phase_channels"])
@pytest.mark.parametrize("choice", ["lr", "mslr"])
def test_written_gradients_equal_autograd_over_any_channels(channels: str, choice: str) -> None:
    check_gradient(LossConfig(**{channels: choice}), 2048, True)


def check_gradient(weights: LossConfig, n_fft: int, mid_side: bool) -> None:
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


@pytest.mark.parametrize("mid_side", [False, True])
def test_terms_have_their_defined_values(mid_side: bool) -> None:
    x, y = signals()
    w = LossConfig()
    _, values = spectral_loss(x, y, 2048, w, mid_side)
    halved = ("log_magnitude", "convergence", "mel")
    total = sum(
        getattr(w, name) * (0.5 if name in halved else 1) * values[name] for name in SPECTRAL
    )
    torch.testing.assert_close(total, plain_loss(x, y, 2048, w, mid_side).detach())


@pytest.mark.parametrize("mid_side", [False, True])
def test_only_channels_that_are_asked_for_are_judged(mid_side: bool) -> None:
    _, y = signals()
    x = y.clone()
    x[:, 1] *= -1  # left and right keep their magnitudes, mid and side are exchanged
    w = LossConfig(magnitude_channels="mslr")
    value = float(spectral_loss(x, y, 2048, w, mid_side)[1]["log_magnitude"])
    assert (value > 0.1) == mid_side
    w = LossConfig(magnitude_channels="lr")
    assert float(spectral_loss(x, y, 2048, w, mid_side)[1]["log_magnitude"]) < 1e-9


def test_losses_of_a_batch_are_means_over_its_items() -> None:
    x, y = signals()
    y = torch.cat([y[:1], 0.01 * y[1:]])  # a loud and a quiet item
    w = LossConfig()

    def gradient(x: Tensor, y: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        total, _ = ReconstructionLoss(w)(x, y, random.Random(3))
        (found,) = torch.autograd.grad(total, x)
        return found

    apart = torch.cat([gradient(x[i : i + 1], y[i : i + 1]) for i in (0, 1)]) / 2
    torch.testing.assert_close(gradient(x, y), apart, rtol=1e-9, atol=1e-14)


def test_a_perfect_estimate_has_the_least_loss() -> None:
    _, y = signals()
    _, values = ReconstructionLoss(LossConfig())(y, y, random.Random(0))
    limits = {"complex_bands": 0.11, "complex_convergence": 2e-4, "convergence": 2e-4}
    for name, value in values.items():
        assert float(value) <= limits.get(name.removesuffix("_short"), 1e-3), name


@pytest.mark.parametrize("term", TERMS)
def test_a_weight_of_zero_switches_a_term_off(term: str) -> None:
    x, y = signals()
    totals = []
    for weight in (0.0, 1.0):
        w = LossConfig(**{**NOTHING, term: weight})
        total, _ = ReconstructionLoss(w)(x, y, random.Random(0))
        totals.append(torch.autograd.grad(total, x)[0].abs().max() if total.requires_grad else 0)
    assert float(totals[0]) == 0 < float(totals[1])


def phase_values(x: Tensor, y: Tensor) -> dict[str, float]:
    """The published phase losses of a long resolution."""
    _, values = spectral_loss(x, y, 2048, LossConfig(), False)
    named = {name: float(values[name]) for name in ("instantaneous_frequency", "group_delay")}
    return named | {"correlation": float(correlation_loss(x.detach(), y))}


PHASE_TERMS = ("instantaneous_frequency", "group_delay", "correlation")


@pytest.mark.parametrize("term", PHASE_TERMS)
def test_phase_losses_are_zero_for_identical_signals_and_grow_with_delay(term: str) -> None:
    _, y = signals()
    y = reddened(y)  # of white noise the correlation is gone after a sample
    found = [phase_values(torch.roll(y, delay, -1), y)[term] for delay in (0, 8, 64, 256)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert 0.01 < found[1] < 0.5 * found[3]


def test_silence_has_no_phase_to_be_judged() -> None:
    silence = torch.zeros(1, 2, 12_288, dtype=torch.float64)
    _, noise = signals()
    assert phase_values(silence, silence)["group_delay"] == 0
    assert phase_values(noise[:1], silence)["instantaneous_frequency"] == 0


@pytest.mark.parametrize("term", PHASE_TERMS)
@pytest.mark.parametrize("gain", [0.1, 3.0])
def test_phase_losses_ignore_level(term: str, gain: float) -> None:
    x, y = signals()
    assert phase_values(gain * y, y)[term] < 1e-4
    assert phase_values(gain * x, y)[term] == pytest.approx(phase_values(x, y)[term], rel=1e-3)


def test_instantaneous_frequency_sees_a_detuned_tone() -> None:
    t = torch.arange(12_288, dtype=torch.float64) / 44_100
    tones = [0.3 * torch.sin(2 * torch.pi * f * t).expand(1, 2, -1) for f in (1000, 1005, 1010)]
    found = [phase_values(tone, tones[0])["instantaneous_frequency"] for tone in tones]
    assert found == sorted(found)
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert found[2] > 0.1


def test_group_delay_sees_a_late_click() -> None:
    click = torch.zeros(1, 2, 12_288, dtype=torch.float64)
    click[..., 6144] = 1
    values = phase_values(torch.roll(click, 200, -1), click)
    assert values["group_delay"] > 0.05 > 5 * values["instantaneous_frequency"]


def reddened(x: Tensor) -> Tensor:
    """Return ``x`` with its spectrum falling by 6 dB an octave from 300 Hz on, as that of music does."""
    spectrum = torch.fft.rfft(x)
    f_hz = torch.arange(spectrum.shape[-1]) * 44_100 / x.shape[-1]
    return torch.fft.irfft(spectrum / (1 + f_hz / 300), x.shape[-1])


def test_correlation_loss_is_two_for_opposite_signals_and_zero_for_silence() -> None:
    _, y = signals()
    assert float(correlation_loss(-y, y)) == pytest.approx(2, abs=1e-4)
    assert float(correlation_loss(torch.zeros_like(y), torch.zeros_like(y))) == 0


def test_coherence_loss_sees_a_collapse_to_mono() -> None:
    _, y = signals()
    mono = y.mean(1, keepdim=True).expand_as(y)
    assert float(coherence_loss(y, y)) == 0
    assert float(coherence_loss(mono, y)) > 0.8


def test_level_loss_tells_by_how_much_a_band_is_too_soft_and_nothing_of_its_phase() -> None:
    _, y = signals()
    assert float(level_loss(y, y)) == 0
    assert float(level_loss(y * 0.5, y)) == pytest.approx(0.693, abs=1e-3)
    other = torch.randn(1, 2, 200_000, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(1, 2, 200_000, generator=torch.Generator().manual_seed(2))
    assert float(level_loss(other, noise)) < 0.03


def test_level_loss_hears_the_side_and_narrow_bands_and_not_what_is_silent() -> None:
    n = torch.arange(44_100, dtype=torch.float64)
    left = torch.sin(n * 0.3) * 0.1
    alike, apart = torch.stack([left, left])[None], torch.stack([left, left * 1.05])[None]
    assert float(level_loss(apart, alike)) > 0.2  # in the side alone
    with_tone = alike + 0.01 * torch.sin(n * 1.0)
    assert 0.02 < float(level_loss(with_tone, alike)) < 0.3  # a few of forty bands
    nothing = torch.zeros(1, 2, 44_100, dtype=torch.float64)
    assert float(level_loss(nothing + 1e-6 * torch.sin(n), nothing)) < 0.02


def test_k_weighting_can_be_switched_off() -> None:
    x, y = signals()
    weighted, plain = (
        ReconstructionLoss(LossConfig(k_weighting=on))(x, y, random.Random(0))[1]["convergence"]
        for on in (True, False)
    )
    assert not torch.isclose(weighted, plain)
