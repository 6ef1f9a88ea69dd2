"""How far a network sees, against what its configuration says."""

from __future__ import annotations

import torch

from earzip.network.spectral import SpectralVae
from earzip.network.transform import TransformVae

N_FRAMES, CHANGED = 40, 20


def assert_decoder_reach(vae: SpectralVae | TransformVae) -> None:
    """Change one frame of latents; no sample beyond the stated reach may change."""
    c = vae.config
    latents = torch.randn(1, c.n_latents, N_FRAMES)
    changed = latents.clone()
    changed[:, :, CHANGED] += 1
    samples = (vae.decode(changed) - vae.decode(latents)).abs().amax(1)
    _assert_within(samples.view(N_FRAMES, c.hop).amax(1), c.decoder_reach)


def assert_encoder_reach(vae: SpectralVae | TransformVae) -> None:
    """Change the samples of one frame; no latent beyond the stated reach may change."""
    c = vae.config
    audio = torch.randn(1, 2, N_FRAMES * c.hop)
    changed = audio.clone()
    changed[:, :, CHANGED * c.hop : (CHANGED + 1) * c.hop] += 1
    frames = (vae.encode(changed).mean - vae.encode(audio).mean).abs().amax((0, 1))
    _assert_within(frames, c.encoder_reach)


def _assert_within(frames: torch.Tensor, reach: int) -> None:
    touched = frames.nonzero().flatten()
    assert touched.min() >= CHANGED - reach
    assert touched.max() <= CHANGED + reach
