"""The published εar-VAE (arXiv 2509.14912): Oobleck, with a transformer before the decoder."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from earzip.network.config import EarConfig
from earzip.network.oobleck import OobleckDecoder, OobleckEncoder
from earzip.network.transformer import RotaryTransformer
from earzip.network.vae import Posterior

_VARIANCE_FLOOR = 1e-6


class EarVae(nn.Module):
    """The published network; its state dict has the keys and shapes of ``ear_vae_44k``.

    Audio is float32 ``[B, 2, F·hop]``, ±1, 44.1 kHz; latents are float32 ``[B, D, F]``. What a frame
    of latents decodes to depends on all frames that are decoded with it.
    """

    def __init__(self, config: EarConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = OobleckEncoder(config)
        self.transformers = RotaryTransformer(
            config.n_latents, config.transformer_depth, config.head_size
        )
        self.decoder = OobleckDecoder(config)

    def encode(self, audio: Tensor) -> Posterior:
        """Return the posterior of ``audio`` ``[B, 2, F·hop]``."""
        mean, scale = self.encoder(audio).float().chunk(2, 1)
        variance = F.softplus(scale).square() + _VARIANCE_FLOOR
        return Posterior(mean, variance.sqrt())

    def decode(self, latents: Tensor) -> Tensor:
        """Return the audio ``[B, 2, F·hop]`` of ``latents`` ``[B, D, F]``."""
        attended = self.transformers(latents.transpose(1, 2)).transpose(1, 2)
        audio: Tensor = self.decoder(attended)
        return audio.float()
