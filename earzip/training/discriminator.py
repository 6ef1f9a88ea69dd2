"""A multi-resolution STFT discriminator, and the losses between it and the network.

After the complex STFT discriminators of EnCodec (Défossez et al., 2022) and Stable Audio; ours is that
it sees both channels as one picture, and spectra whose magnitudes are compressed to their root: a top
octave 60 dB under the bass is then 30 dB under it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from earzip.training.batches import in_passes
from earzip.training.config import AdversarialConfig, Form
from earzip.training.losses import stft

_SLOPE = 0.2
_DILATIONS = (1, 2, 4)  # in time
_ENERGY_FLOOR = 1e-8  # −80 dBFS

Features = list[Tensor]
_BETAS = (0.8, 0.99)


class _Resolution(nn.Module):
    """Convolutions over the spectrogram of one resolution: frames × bins."""

    def __init__(self, n_fft: int, channels: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        layers = [nn.Conv2d(4, channels, (3, 9), padding=(1, 4))]
        layers += (
            nn.Conv2d(channels, channels, (3, 9), (1, 2), (dilation, 4), (dilation, 1))
            for dilation in _DILATIONS
        )
        layers.append(nn.Conv2d(channels, channels, (3, 3), padding=1))
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.out = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=1))

    def forward(self, audio: Tensor) -> tuple[Tensor, Features]:
        spectrum = torch.view_as_real(stft(audio.float(), self.n_fft))
        energy = spectrum.square().sum(-1, keepdim=True)
        compressed = spectrum * (energy + _ENERGY_FLOOR).pow(-0.25)
        # [B, 2 channels, bins, frames, 2] to [B, 4, frames, bins]
        x = compressed.permute(0, 1, 4, 3, 2).flatten(1, 2)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)
            features.append(x)
        return self.out(x), features


class Discriminator(nn.Module):
    """Tells original audio from reconstructions, in every cell of several spectrograms."""

    def __init__(self, fft_sizes: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.resolutions = nn.ModuleList(_Resolution(n_fft, channels) for n_fft in fft_sizes)

    def forward(self, audio: Tensor) -> tuple[list[Tensor], list[Features]]:
        """Return logits, high for originals, and features by resolution; ``audio``: ``[B, 2, T]``."""
        results = [resolution(audio) for resolution in self.resolutions]
        return [logits for logits, _ in results], [features for _, features in results]


def discriminator_loss(
    original: Sequence[Tensor], estimate: Sequence[Tensor], form: Form
) -> Tensor:
    """Return what the discriminator lowers, mean over resolutions; logits of the two kinds of audio.

    ``hinge``: 2 where it cannot tell, 0 where it is sure by a margin of 1. ``least-squares``
    (Mao et al., 2017): originals to 1, estimates to 0.
    """
    losses = []
    for real, fake in zip(original, estimate, strict=True):
        if form == "hinge":
            losses.append(F.relu(1 - real).mean() + F.relu(1 + fake).mean())
        else:
            losses.append((1 - real).square().mean() + fake.square().mean())
    return torch.stack(losses).mean()


def generator_loss(estimate: Sequence[Tensor], form: Form) -> Tensor:
    """Return what the network lowers to be taken for an original, mean over resolutions."""
    if form == "hinge":
        return torch.stack([-fake.mean() for fake in estimate]).mean()
    return torch.stack([(1 - fake).square().mean() for fake in estimate]).mean()


def feature_matching_loss(original: list[Features], estimate: list[Features]) -> Tensor:
    """Return the mean absolute error of features over their mean magnitude, an item and a layer.

    Kumar et al., 2019; that each layer counts by its own magnitude is after EnCodec.
    """
    losses = []
    for real_features, fake_features in zip(original, estimate, strict=True):
        for real, fake in zip(real_features, fake_features, strict=True):
            axes = (1, 2, 3)
            error = (fake - real.detach()).abs().mean(axes)
            losses.append((error / (real.detach().abs().mean(axes) + 1e-5)).mean())
    return torch.stack(losses).mean()


class Adversary:
    """A discriminator with its optimiser, on its device and shared among the processes."""

    def __init__(
        self, config: AdversarialConfig, discriminator: Discriminator, accelerator: Accelerator
    ) -> None:
        optimiser = torch.optim.AdamW(discriminator.parameters(), config.learning_rate, _BETAS)
        self._shared, self.optimiser = accelerator.prepare(discriminator, optimiser)
        self.discriminator: Discriminator = accelerator.unwrap_model(self._shared)
        self._config = config
        self._accelerator = accelerator

    def judge(self, decoded: Tensor, audio: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the network's loss and its two terms; the discriminator learns nothing.

        ``decoded``, ``audio``: ``[B, 2, T]``.
        """
        self.discriminator.requires_grad_(False)
        logits, features = self.discriminator(decoded)
        with torch.no_grad():
            _, wanted = self.discriminator(audio)
        self.discriminator.requires_grad_(True)
        fooled = generator_loss(logits, self._config.form)
        matched = feature_matching_loss(wanted, features)
        total = self._config.weight * fooled + self._config.feature_matching * matched
        return total, {"adversarial": fooled.detach(), "feature_matching": matched.detach()}

    def learn(self, pairs: Sequence[tuple[Tensor, Tensor]], clip: float) -> dict[str, Tensor]:
        """Do the discriminator's step on ``(audio, decoded)`` of each pass; return its loss."""
        losses = []
        for audio, decoded in in_passes(self._accelerator, self._shared, pairs):
            both, _ = self._shared(torch.cat([audio, decoded]))
            real, fake = zip(*(logits.chunk(2) for logits in both), strict=True)
            loss = discriminator_loss(real, fake, self._config.form)
            self._accelerator.backward(loss / len(pairs))
            losses.append(loss.detach())
        norm = self._accelerator.clip_grad_norm_(self.discriminator.parameters(), clip)
        if bool(torch.isfinite(norm)):
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return {"discriminator": torch.stack(losses).mean()}
