from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from earzip.metrics.measures import (
    cross_phase_coherence,
    individual_phase_coherence,
    measure,
    mel_distance,
    si_sdr_db,
    stft_distance,
    true_peak_db,
)

auraloss = pytest.importorskip("auraloss")


def noise(seed: int, n: int = 44_100) -> Tensor:
    return torch.randn(2, n, generator=torch.Generator().manual_seed(seed)) * 0.1


def test_spectral_distances_are_auralosss_own() -> None:
    x, y = noise(0) * 0.5 + noise(1), noise(1)
    sizes = [4096, 2048, 1024, 512, 256, 128]
    options = {"sample_rate": 44_100, "perceptual_weighting": True}
    for own, used, extra in (
        (stft_distance, sizes, {}),
        (mel_distance, sizes[:4], {"scale": "mel", "n_bins": 64}),
    ):
        loss = auraloss.freq.MultiResolutionSTFTLoss(
            used, [n // 4 for n in used], used, **options, **extra
        )
        assert own(x, y) == pytest.approx(float(loss(x[None], y[None])), abs=1e-4)


def test_identity_is_perfect() -> None:
    m = measure(noise(0), noise(0))
    assert m.si_sdr_db > 90
    assert m.mel == m.stft == m.dbtp == 0
    assert m.icpc == pytest.approx(1, abs=1e-5)
    assert m.ccpc == pytest.approx(1, abs=1e-5)


def test_si_sdr_of_known_noise() -> None:
    y = noise(0)
    e = noise(1)
    e = e - (e.flatten() @ y.flatten()) / (y.flatten() @ y.flatten()) * y
    e = e * y.norm() / e.norm() * 0.1
    assert si_sdr_db(3 * (y + e), y) == pytest.approx(20, abs=1e-2)


def test_an_inverted_channel_keeps_both_coherences() -> None:
    y = noise(0)
    x = torch.stack([y[0], -y[1]])
    assert individual_phase_coherence(x, y) == pytest.approx(1, abs=1e-5)
    assert cross_phase_coherence(x, y) == pytest.approx(1, abs=1e-5)


def test_independent_noise_is_incoherent() -> None:
    assert individual_phase_coherence(noise(0), noise(1)) < 0.15
    one = torch.stack([noise(1)[0], noise(0)[1]])
    assert 0.4 < individual_phase_coherence(one, noise(0)) < 0.6
    assert cross_phase_coherence(one, noise(0)) < 0.15


def test_true_peak_lies_between_samples() -> None:
    t = torch.arange(44_100, dtype=torch.float64)
    sine = torch.sin(math.pi / 2 * t + math.pi / 4).float()
    assert float(sine.abs().max()) == pytest.approx(math.sqrt(0.5), abs=1e-4)
    assert true_peak_db(torch.stack([sine, sine])) == pytest.approx(0, abs=0.3)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="lengths differ"):
        measure(noise(0), noise(0)[:, :-1])
