"""Makes ``models/tiny``, ``tiny-transform`` and ``tiny-levels``: random networks around a plain MDCT.

``python -m tests.data.make_tiny_model NAME``. The golden archives name their SHA-256, so they are
committed and never made anew; this records how they were made. They sound like a bad telephone, which
is enough to hear that a restored track is the right one.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from earzip.coding.quantizer import STEPS_PER_OCTAVE
from earzip.formats import checked
from earzip.models.install import PRESETS_OF_LEVELS
from earzip.models.spec import Preset
from earzip.network.config import LevelConfig, SpectralConfig, TransformConfig
from earzip.network.level_vae import LevelStatistics, LevelVae
from earzip.network.networks import Network
from earzip.network.spectral import LinearStatistics, SpectralVae
from earzip.network.transform import TransformStatistics, TransformVae
from earzip.training.run_state import save_weights

FOLDER = Path(__file__).parent / "models"
PRESETS = {"low": Preset(16, 0.5), "medium": Preset(0, 0.5), "high": Preset(-16, 0.5)}
SPECTRAL = SpectralConfig(
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
TRANSFORM = TransformConfig(
    n_bins=100,
    n_envelope=4,
    width=16,
    decoder_depth=1,
    encoder_width=16,
    encoder_depth=1,
    expansion=2,
    kernel_size=3,
    hop=256,
    trunk_hop=128,
    fine_hop=64,
    short_hop=32,
    n_short_bands=4,
    n_bands=8,
    first_envelope_band=3,
)
LEVELS = LevelConfig(
    n_bins=100,
    width=8,
    decoder_depth=1,
    encoder_width=8,
    encoder_depth=1,
    expansion=2,
    kernel_size=3,
    hop=512,
    trunk_hop=256,
    fine_hop=256,
    short_hop=128,
    n_short_bands=4,
)


def make_tiny() -> None:
    torch.manual_seed(0)
    vae = SpectralVae(SPECTRAL)
    n_bins, n_bands = SPECTRAL.n_waveform // 2, SPECTRAL.n_envelope_bands
    analysis = torch.zeros(SPECTRAL.n_waveform, 2 * SPECTRAL.hop)
    for i in range(n_bins):
        analysis[i, i] = analysis[n_bins + i, SPECTRAL.hop + i] = 1
    envelope = torch.linalg.qr(torch.randn(n_bands, SPECTRAL.n_envelope))[0]
    vae.initialise(
        LinearStatistics(
            rms=torch.full((2, SPECTRAL.hop), 0.1),
            analysis=analysis,
            synthesis=analysis.t(),
            envelope_mean=torch.full((n_bands,), -6.0),
            envelope_analysis=envelope.t(),
            envelope_synthesis=envelope,
            scale=torch.full((SPECTRAL.n_latents,), 0.25),
        )
    )
    write("tiny", "spectral", vae, [-32] * SPECTRAL.n_latents)


def make_tiny_transform() -> None:
    torch.manual_seed(0)
    vae = TransformVae(TRANSFORM)
    n_bands = TRANSFORM.n_envelope_bands
    envelope = torch.linalg.qr(torch.randn(n_bands, TRANSFORM.n_envelope))[0]
    vae.initialise(
        TransformStatistics(
            rms=torch.full((2, TRANSFORM.hop), 0.1),
            fine_rms=torch.full((2, TRANSFORM.fine_hop), 0.1),
            step=torch.full((2, TRANSFORM.n_bins), 0.01),
            envelope_mean=torch.full((n_bands,), -6.0),
            envelope_analysis=envelope.t(),
            envelope_synthesis=envelope,
            envelope_scale=torch.full((TRANSFORM.n_envelope,), 0.25),
        )
    )
    # Not all gates, worths and gains the same: the golden archive tells a change of what they do.
    with torch.no_grad():
        for layer in (vae.worth_out, vae.gate_out, vae.gain_out):
            layer.weight.normal_(0, 0.1)
        # Most coefficients amplified to the bound, and gates closed to theirs, which undoes it.
        vae.worth_out.bias.fill_(1.0)
        vae.gate_out.bias.fill_(-1.0)
    # Coefficients are in units of their steps.
    exponents = [0] * TRANSFORM.n_coefficients + [-32] * TRANSFORM.n_envelope
    write("tiny-transform", "transform", vae, exponents)


def make_tiny_levels() -> None:
    torch.manual_seed(0)
    vae = LevelVae(LEVELS)
    vae.initialise(
        LevelStatistics(
            rms=torch.full((2, LEVELS.hop), 0.1),
            fine_rms=torch.full((2, LEVELS.fine_hop), 0.1),
            step=torch.full((2, LEVELS.n_bins), 0.05),
            level_mean_db=torch.full((LEVELS.n_levels,), -50.0),
        )
    )
    with torch.no_grad():  # as for the transform
        for layer in (vae.worth_out, vae.gate_out, vae.gain_out):
            layer.weight.normal_(0, 0.1)
        vae.worth_out.bias.fill_(1.0)
        vae.gate_out.bias.fill_(-1.0)
    scale = vae.encode(torch.zeros(1, 2, 8 * LEVELS.hop)).scale[0].mean(1)
    exponents = [round(STEPS_PER_OCTAVE * math.log2(each)) for each in scale.tolist()]
    write("tiny-levels", "levels", vae, exponents, PRESETS_OF_LEVELS)


def write(
    name: str,
    architecture: str,
    vae: Network,
    step_exponents: list[int],
    presets: Mapping[str, Preset] = PRESETS,
) -> None:
    config = vae.config
    weights = FOLDER / f"{name}.safetensors"
    save_weights(vae, weights)
    spec = {
        "format": 1,
        "name": name,
        "architecture": architecture,
        "config": config.to_json(),
        "geometry": {
            "hop": config.hop,
            "lead": config.hop // 2,
            "core": 64,
            "encoder_context": config.encoder_reach,
            "decoder_context": config.decoder_reach,
        },
        "n_latents": config.n_latents,
        "step_exponents": step_exponents,
        "presets": {quality: checked.write(preset) for quality, preset in presets.items()},
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "licence": "MIT",
        "source": "random weights, for tests",
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(spec, indent=1) + "\n")


if __name__ == "__main__":
    makers = {
        "tiny": make_tiny,
        "tiny-transform": make_tiny_transform,
        "tiny-levels": make_tiny_levels,
    }
    makers[sys.argv[1]]()
