"""``python -m earzip.training.export RUN CONFIG NAME FOLDER``: a trained run as an installable model."""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from earzip.checkpoints import QUALITIES, ModelSpec, Preset
from earzip.model_files import write_spec
from earzip.quantizer import STEPS_PER_OCTAVE
from earzip.training.trainer import TrainingConfig

CORE_FRAMES = 1024


def export_model(
    run: Path,
    config: TrainingConfig,
    name: str,
    folder: Path,
    presets: dict[str, Preset],
    about: str,
) -> Path:
    """Write ``NAME.safetensors`` and ``NAME.json`` from the weights of ``run``; return the latter.

    A latent's step at exponent 0 is the posterior scale that its decoder was trained to bear.
    """
    weights = folder / f"{name}.safetensors"
    shutil.copyfile(run / "weights.safetensors", weights)
    log2_scale = load_file(weights)["log_scale"].double() / torch.tensor(2.0).log()
    model = config.model
    spec = ModelSpec(
        name=name,
        architecture="spectral",
        config=model.to_json(),
        geometry={
            "hop": model.hop,
            "lead": model.hop // 2,
            "core": CORE_FRAMES,
            "encoder_context": model.encoder_reach,
            "decoder_context": model.decoder_reach,
        },
        n_latents=model.n_latents,
        step_exponents=tuple((log2_scale * STEPS_PER_OCTAVE).round().int().tolist()),
        presets=presets,
        weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        licence="CC-BY-SA-4.0, see NOTICE",
        source=about,
        path=folder / f"{name}.json",
    )
    write_spec(spec)
    return spec.path


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(prog="python -m earzip.training.export", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("config", type=Path, help="the run's configuration")
    parser.add_argument("name", help="name of the model")
    parser.add_argument("folder", type=Path, help="where its two files go")
    parser.add_argument("--about", default="", help="a sentence on how it was trained")
    for quality in QUALITIES:
        parser.add_argument(
            f"--{quality}", type=int, required=True, help="exponent added to all steps"
        )
    arguments = parser.parse_args()
    presets = {q: Preset(getattr(arguments, q), rounding=0.5) for q in QUALITIES}
    config = TrainingConfig.load(arguments.config)
    print(
        export_model(
            arguments.run, config, arguments.name, arguments.folder, presets, arguments.about
        )
    )


if __name__ == "__main__":
    main()
