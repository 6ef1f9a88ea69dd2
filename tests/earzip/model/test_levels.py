from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from earzip.model import levels
from earzip.model.mdct import Mdct

RATE = levels.SAMPLE_RATE
N_BLOCKS = 16
FRAME = N_BLOCKS * levels.ATTACK_HOP


def noise(n_frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 2, n_frames * FRAME, generator=generator) * 0.1


def click_at(sample: int, n_frames: int = 4) -> torch.Tensor:
    """Noise that decays within 5 ms, from ``sample`` on."""
    audio = torch.zeros(1, 2, n_frames * FRAME)
    n = 1000
    audio[..., sample : sample + n] = noise(1)[..., :n] * torch.exp(-torch.arange(n) / 200)
    return audio


def test_bands_are_disjoint_and_rise_to_20_khz() -> None:
    edges = levels.level_edges(512)
    assert len(edges) == 27
    assert all(a < b for a, b in zip(edges, edges[1:], strict=False))
    assert edges[0] * RATE / 1024 == pytest.approx(690, abs=22)
    assert edges[-1] * RATE / 1024 == pytest.approx(20_700, abs=22)
    matrix = levels.band_matrix(edges, 512)
    assert matrix.sum(0).max() == 1
    assert matrix.sum() == edges[-1] - edges[0]


def test_decibels_and_back() -> None:
    energy = torch.tensor([0.0, 1e-8, 1e-4, 2.0])
    torch.testing.assert_close(levels.from_db(levels.to_db(energy)), energy, rtol=1e-3, atol=1e-12)


def test_the_attack_transform_is_exact() -> None:
    transform = levels.AttackTransform()
    audio = noise(3)
    restored = transform.inverse(transform.forward(audio))
    torch.testing.assert_close(restored, audio, atol=1e-6, rtol=0)


def test_steady_noise_is_no_attack_and_a_click_is() -> None:
    transform = levels.AttackTransform()
    steady = levels.attack_course(transform.energies(transform.forward(noise(20))), N_BLOCKS)
    assert not steady.is_attack.any()
    assert not steady.course_db.any()
    click = click_at(FRAME + 900)
    found = levels.attack_course(transform.energies(transform.forward(click)), N_BLOCKS)
    assert found.is_attack[0].tolist() == [False, True, False, False]
    course = found.course_db[0, 1]
    assert (course[:6] < -30).all()
    assert (course[8] > 5).all()


def test_applying_the_course_takes_pre_echo_away_and_leaves_other_frames() -> None:
    transform = levels.AttackTransform()
    at = FRAME + 900
    original = click_at(at)
    smeared = original + 0.1 * noise(4, 1)
    wanted = levels.attack_course(transform.energies(transform.forward(original)), N_BLOCKS)
    cleaned = levels.apply_course(smeared, wanted.course_db, transform)
    # The frame before the attack's own is not of an attack, and stays but for the border.
    torch.testing.assert_close(cleaned[..., : FRAME - 256], smeared[..., : FRAME - 256])
    before = slice(FRAME + 256, at - 256)
    spectra = [
        torch.fft.rfft(x[0, 0, before] * torch.hann_window(before.stop - before.start))
        for x in (smeared, cleaned)
    ]
    low, high = (round(hz * (before.stop - before.start) / RATE) for hz in (1400, 20_000))
    energies = [spectrum[low:high].abs().square().sum() for spectrum in spectra]
    assert 10 * torch.log10(energies[1] / energies[0]) < -15


def test_a_harmonic_tone_is_tonal_and_noise_is_not() -> None:
    mdct = Mdct(2048)
    edges = [edge * 4 for edge in levels.level_edges(512)[::2]]
    t = torch.arange(20 * 2048, dtype=torch.float64) / RATE
    partials = sum(torch.sin(2 * math.pi * 440 * k * t) / k for k in range(1, 40))
    tone = (0.1 * partials).float().expand(1, 2, -1)
    inner = slice(2, -2)
    assert levels.tonal_cells(mdct(tone), edges)[0, inner].float().mean() > 0.9
    hiss = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 2, 20 * 2048))).float()
    assert not levels.tonal_cells(mdct(hiss * 0.1), edges)[0, inner].any()


def test_silence_is_not_tonal() -> None:
    edges = [edge * 4 for edge in levels.level_edges(512)[::2]]
    assert not levels.tonal_cells(torch.zeros(1, 2, 5, 2048), edges).any()
