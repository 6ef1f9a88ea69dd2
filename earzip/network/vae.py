"""The interface of every network to the codec, the quantiser and the trainer."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class Posterior(NamedTuple):
    """What an encoder says of the latents of a batch.

    ``mean`` and ``scale``: float32 ``[B, D, F]``. The scale is the standard deviation the decoder
    was trained to bear; archives hold the mean, quantised with steps in proportion to the scale.
    """

    mean: Tensor
    scale: Tensor


class Vae(Protocol):
    """A variational autoencoder over stereo audio at 44.1 kHz.

    Audio is float32 ``[B, 2, F·hop]``, ±1; latents are float32 ``[B, D, F]``.
    """

    def encode(self, audio: Tensor) -> Posterior:
        """Return the posterior of ``audio``."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Return the audio of ``latents``."""
        ...
