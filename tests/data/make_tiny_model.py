"""Makes ``models/tiny``: a model with random networks and a plain MDCT of the lowest bins.

The golden archives name its SHA-256, so it is committed and never made anew; this records how it was
made. It sounds like a bad telephone, which is enough to hear that a restored track is the right one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from earzip.model.config import SpectralConfig
from earzip.model.spectral import LinearStatistics, SpectralVae
from earzip.training.trainer import save_weights

FOLDER = Path(__file__).parent / "models"
CONFIG = SpectralConfig(
    n_waveform=48,
    n_envelope=4,
    width=16,
    encoder_depth=1,
    decoder_depth=1,
    expansion=2,
    kernel_size=3,
    hop=256,
    short_hop=64,
    n_short_bands=4,
    n_bands=8,
    first_envelope_band=3,
)


def main() -> None:
    torch.manual_seed(0)
    vae = SpectralVae(CONFIG)
    n_bins, n_bands = CONFIG.n_waveform // 2, CONFIG.n_envelope_bands
    analysis = torch.zeros(CONFIG.n_waveform, 2 * CONFIG.hop)
    for i in range(n_bins):
        analysis[i, i] = analysis[n_bins + i, CONFIG.hop + i] = 1
    envelope = torch.linalg.qr(torch.randn(n_bands, CONFIG.n_envelope))[0]
    vae.initialise(
        LinearStatistics(
            rms=torch.full((2, CONFIG.hop), 0.1),
            analysis=analysis,
            synthesis=analysis.t(),
            envelope_mean=torch.full((n_bands,), -6.0),
            envelope_analysis=envelope.t(),
            envelope_synthesis=envelope,
            scale=torch.full((CONFIG.n_latents,), 0.25),
        )
    )
    weights = FOLDER / "tiny.safetensors"
    save_weights(vae, weights)
    spec = {
        "format": 1,
        "name": "tiny",
        "architecture": "spectral",
        "config": CONFIG.to_json(),
        "geometry": {
            "hop": CONFIG.hop,
            "lead": CONFIG.hop // 2,
            "core": 64,
            "encoder_context": CONFIG.encoder_reach,
            "decoder_context": CONFIG.decoder_reach,
        },
        "n_latents": CONFIG.n_latents,
        "step_exponents": [-32] * CONFIG.n_latents,
        "presets": {
            "low": {"exponent": 16, "rounding": 0.5},
            "medium": {"exponent": 0, "rounding": 0.5},
            "high": {"exponent": -16, "rounding": 0.5},
        },
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "licence": "MIT",
        "source": "random weights, for tests",
    }
    (FOLDER / "tiny.json").write_text(json.dumps(spec, indent=1) + "\n")


if __name__ == "__main__":
    main()
