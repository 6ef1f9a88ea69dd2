from __future__ import annotations

import pytest
import torch
from torch import Tensor

from earzip.training.discriminator import (
    Discriminator,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
)
from tests.conftest import tones

SIZES = (1024, 256)


def music(seed: int) -> Tensor:
    """Excerpts of chords, ``[4, 2, 8192]``."""
    audio = torch.from_numpy(tones(4 * 8192, seed))
    return audio.unflatten(1, (4, 8192)).transpose(0, 1)


def noise_like(audio: Tensor, seed: int) -> Tensor:
    """Noise with the mean spectrum of ``audio``: only its fine structure tells it from that."""
    magnitude = torch.fft.rfft(audio).abs().mean(0, keepdim=True)
    smooth = torch.nn.functional.avg_pool1d(magnitude, 65, 1, 32)
    generator = torch.Generator().manual_seed(seed)
    phases = torch.rand(audio.shape[0], 2, smooth.shape[-1], generator=generator) * 2 * torch.pi
    return torch.fft.irfft(
        torch.polar(smooth.expand_as(phases).contiguous(), phases), audio.shape[-1]
    )


@pytest.mark.parametrize("form", ["hinge", "least-squares"])
def test_it_learns_to_tell_noise_from_music_in_a_few_steps(form: str) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(SIZES, 8)
    optimiser = torch.optim.AdamW(discriminator.parameters(), 5e-3, (0.8, 0.99))
    losses = []
    for step in range(60):
        original = music(step)
        real, _ = discriminator(original)
        fake, _ = discriminator(noise_like(original, step))
        loss = discriminator_loss(real, fake, form)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.4 * losses[0]
    unseen = music(1000)
    with torch.no_grad():
        real, _ = discriminator(unseen)
        fake, _ = discriminator(noise_like(unseen, 1000))
    for high, low in zip(real, fake, strict=True):
        assert bool((high.mean((1, 2, 3)) > low.mean((1, 2, 3))).all())


def test_losses_have_their_defined_values() -> None:
    sure, wrong = [torch.full((2, 1, 3, 3), 1.5)], [torch.full((2, 1, 3, 3), -2.0)]
    assert float(discriminator_loss(sure, wrong, "hinge")) == 0
    assert float(discriminator_loss(wrong, sure, "hinge")) == pytest.approx(3 + 2.5)
    assert float(discriminator_loss(sure, wrong, "least-squares")) == pytest.approx(0.25 + 4)
    assert float(generator_loss(wrong, "hinge")) == 2
    assert float(generator_loss(wrong, "least-squares")) == 9


def test_resolutions_count_alike() -> None:
    small, large = torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 20, 20), 1.0)
    assert float(generator_loss([small, large], "hinge")) == -2


def test_feature_matching_is_zero_for_equal_audio_and_a_mean_over_items() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(SIZES, 4)
    x, y = music(0), music(1)
    x = torch.cat([x[:2], 0.01 * x[2:]])
    with torch.no_grad():
        _, wanted = discriminator(y)
        assert float(feature_matching_loss(wanted, wanted)) == 0
        whole = feature_matching_loss(wanted, discriminator(x)[1])
        apart = [
            feature_matching_loss(discriminator(y[i : i + 1])[1], discriminator(x[i : i + 1])[1])
            for i in range(4)
        ]
    torch.testing.assert_close(whole, torch.stack(apart).mean())


def test_silence_has_finite_gradients() -> None:
    discriminator = Discriminator(SIZES, 4)
    audio = torch.zeros(1, 2, 8192, requires_grad=True)
    logits, _ = discriminator(audio)
    generator_loss(logits, "hinge").backward()
    assert audio.grad is not None
    assert bool(audio.grad.isfinite().all())


def test_it_sees_both_channels() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(SIZES, 4)
    x = music(0)
    mono = x.mean(1, keepdim=True).expand_as(x)
    with torch.no_grad():
        for a, b in zip(discriminator(x)[0], discriminator(mono)[0], strict=True):
            assert not torch.allclose(a, b, rtol=1e-3)
