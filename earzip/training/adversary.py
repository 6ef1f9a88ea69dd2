"""The discriminator's side of a training step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from earzip.training.batches import in_passes
from earzip.training.config import AdversarialConfig
from earzip.training.discriminator import (
    Discriminator,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
)

_BETAS = (0.8, 0.99)


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
        """Return what the network is to lower, and its two terms; the discriminator learns nothing.

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
