from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from earzip.formats.geometry import SAMPLE_RATE
from earzip.network import levels, onsets, short_transform
from earzip.network.mdct import Mdct

RATE = SAMPLE_RATE
N_BLOCKS = 16
DB = math.log(10) / 10
FRAME = N_BLOCKS * short_transform.HOP


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
    assert len(short_transform.EDGES) == short_transform.N_LEVELS + 1 == 27
    assert all(a < b for a, b in pairwise(short_transform.EDGES))
    assert set(short_transform.ATTACK_EDGES) <= set(short_transform.EDGES)
    edges = levels.fine_edges(512)
    assert edges[0] * RATE / 1024 == pytest.approx(600, abs=22)
    assert edges[-1] * RATE / 1024 == pytest.approx(20_600, abs=22)
    matrix = short_transform.band_matrix(edges, 512)
    assert matrix.sum(0).max() == 1
    assert matrix.sum() == edges[-1] - edges[0]


def test_decibels_and_back() -> None:
    energy = torch.tensor([0.0, 1e-8, 1e-4, 2.0])
    torch.testing.assert_close(levels.from_db(levels.to_db(energy)), energy, rtol=1e-3, atol=1e-12)


def test_the_short_transform_is_exact_and_white_noise_has_its_variance() -> None:
    transform = short_transform.ShortTransform()
    audio = noise(30)
    spectra = transform.forward(audio)
    torch.testing.assert_close(transform.inverse(spectra), audio, atol=1e-6, rtol=0)
    assert short_transform.power(spectra)[..., 4:120].mean() == pytest.approx(0.01, rel=0.05)


def test_steady_noise_is_no_attack_and_a_click_is() -> None:
    transform = short_transform.ShortTransform()
    steady = levels.measure(noise(20), N_BLOCKS, transform).course
    assert not steady.is_attack.any()
    assert not steady.course_db.any()
    found = levels.measure(click_at(FRAME + 900), N_BLOCKS, transform).course
    assert found.is_attack[0].tolist() == [False, True, False, False]
    course = found.course_db[0, 1]
    assert (course[:6] < -30).all()
    assert (course[8] > 5).all()


def test_level_balance_and_width_are_measured() -> None:
    transform = short_transform.ShortTransform()
    audio = noise(30)
    found = levels.measure(audio, N_BLOCKS, transform)
    assert found.level_db.mean() == pytest.approx(-17, abs=0.5)  # of both channels
    assert found.width_db.mean() == pytest.approx(0, abs=0.5)
    louder = audio * torch.tensor([2.0, 1.0])[:, None]
    assert levels.measure(louder, N_BLOCKS, transform).balance_db.mean() == pytest.approx(
        3, abs=0.3
    )
    mono = audio[:, :1].expand(-1, 2, -1)
    assert levels.measure(mono, N_BLOCKS, transform).width_db.max() < -29


def held(sound: torch.Tensor, original: torch.Tensor, is_tonal: bool = False) -> torch.Tensor:
    """Return ``sound`` held to what is measured of ``original``, in halves."""
    transform = short_transform.ShortTransform()
    found = levels.measure(original, N_BLOCKS, transform)
    both, left = levels.from_db(found.level_db), torch.sigmoid(2 * DB * found.balance_db)
    late = 2 * torch.sigmoid(2 * DB * found.half_db)
    channels = torch.stack([both * left, both * (1 - left)], 1)[:, :, :, None]
    targets = channels * torch.stack([2 - late, late], 2)[:, None]
    tonal = torch.full(found.level_db.shape, is_tonal)
    return levels.hold(sound, targets, tonal, found.course.course_db, transform)


@pytest.mark.parametrize("piece", [1, 3, 8, 20])
def test_work_in_pieces_changes_nothing(piece: int) -> None:
    transform = short_transform.ShortTransform()
    n = 8
    sound = noise(n)
    sound[..., 3 * FRAME : 3 * FRAME + FRAME // 2] *= 0.01  # an attack
    whole, parts = (levels.measure(sound, N_BLOCKS, transform, size) for size in (None, piece))
    for one, other in zip(whole[:4] + whole.course, parts[:4] + parts.course, strict=True):
        assert torch.equal(one, other)
    assert whole.course.is_attack.any()
    own = levels.of_bands(sound, N_BLOCKS, transform)
    assert torch.equal(own, levels.of_bands(sound, N_BLOCKS, transform, piece))
    tonal = torch.zeros(1, n, own.shape[-1], dtype=torch.bool)
    targets = levels.of_bands(noise(n, 2), N_BLOCKS, transform)[:, :, :, None]
    held = [
        levels.hold(sound, targets, tonal, whole.course.course_db, transform, size)
        for size in (None, piece)
    ]
    assert torch.equal(*held)
    assert not torch.equal(held[0], sound)


def test_noise_is_held_to_the_level_balance_and_rise_of_another() -> None:
    n = 20
    rise = torch.linspace(0.5, 1.5, n * FRAME)
    original = noise(n, 1) * rise * torch.tensor([2.0, 1.0])[:, None]
    sound = held(noise(n, 2), original)
    transform = short_transform.ShortTransform()
    a, b = (levels.measure(x, N_BLOCKS, transform) for x in (original, sound))
    inner = slice(1, -1)
    for one, other in ((a.level_db, b.level_db), (a.balance_db, b.balance_db)):
        assert (one - other)[:, inner].abs().mean() < 1.2


def test_what_is_at_its_levels_is_hardly_changed() -> None:
    # A little: the balance is one for both halves of a frame.
    original = noise(8)
    error = held(original, original) - original
    assert error.square().mean() < 0.04 * original.square().mean()


@pytest.mark.parametrize(("is_tonal", "most_db"), [(True, 9), (False, 12)])
def test_bands_are_turned_down_to_their_level_and_up_within_bounds(
    is_tonal: bool, most_db: float
) -> None:
    original = noise(8)
    for gain, expected in ((0.1, 0.1 * 10 ** (most_db / 20)), (10.0, 1.0)):
        sound = held(gain * original, original, is_tonal)
        spectra = [
            short_transform.ShortTransform().forward(x)[..., 2:-2, 10:100]
            for x in (sound, original)
        ]
        ratio = (spectra[0].abs().square().sum() / spectra[1].abs().square().sum()).sqrt()
        assert float(ratio) == pytest.approx(expected, rel=0.1)


def test_an_attack_is_rid_of_its_pre_echo_and_other_frames_are_left() -> None:
    at = FRAME + 900
    original = click_at(at)
    smeared = original + 0.1 * noise(4, 1)
    cleaned = held(smeared, original)
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
    edges = [edge * 4 for edge in levels.fine_edges(512)[::2]]
    t = torch.arange(20 * 2048, dtype=torch.float64) / RATE
    partials = sum(torch.sin(2 * math.pi * 440 * k * t) / k for k in range(1, 40))
    tone = (0.1 * partials).float().expand(1, 2, -1)
    inner = slice(2, -2)
    assert levels.tonal_cells(mdct(tone), edges)[0, inner].float().mean() > 0.9
    hiss = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 2, 20 * 2048))).float()
    assert not levels.tonal_cells(mdct(hiss * 0.1), edges)[0, inner].any()


def test_silence_is_not_tonal() -> None:
    edges = [edge * 4 for edge in levels.fine_edges(512)[::2]]
    assert not levels.tonal_cells(torch.zeros(1, 2, 5, 2048), edges).any()


def test_onsets_are_hushed_in_training_too_after_inference() -> None:
    onsets._low_pass.cache_clear()
    onset = onsets.Onset(torch.full((1, 2), 30.0), torch.full((1, 2), 20))
    audio = torch.randn(1, 2, 4096, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = onsets.hush_before(audio, onset)
    heard = onsets.hush_before(audio.requires_grad_(), onset)
    torch.testing.assert_close(heard.detach(), expected)
    heard.square().sum().backward()
    assert audio.grad is not None
    assert torch.isfinite(audio.grad).all()
