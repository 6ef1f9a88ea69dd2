"""Models into the folder of models and out of it: import, export, calibration anew."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from earzip.calibration import EncodedMusic, encode_music
from earzip.checkpoints import (
    ModelSpec,
    Preset,
    is_model_name,
    load_codec,
    model_folders,
    verify_model,
)
from earzip.errors import ModelDamagedError, TargetError, UsageError
from earzip.formats.atomic import atomic_write
from earzip.model.config import EarConfig
from earzip.model.ear import EarVae
from earzip.quantizer import STEPS_PER_OCTAVE

_FORMAT_DOCUMENT = "SPEC.md"
_ROUNDING = 0.5

# Windows of some six seconds: the activations of the published network take 130 MB a second.
_CORE_FRAMES = 256
# The transformer sees the whole window, so it is given more context than its convolutions reach.
_TRANSFORMER_CONTEXT = 32

# Steps in posterior scales. Rounding to steps of sqrt(12) scales adds as much noise as the
# posterior has; each preset below that adds four times as much.
_STEP_FACTORS = {"high": 3.5, "medium": 7.0, "low": 14.0}


@dataclass(frozen=True)
class ImportOptions:
    """What is said of a checkpoint that is imported."""

    name: str
    licence: str
    source: str
    config: Path | None = None
    """The network's configuration as published; None for that of ``ear_vae_44k``."""
    device: str = "cpu"
    precision: str = "float32"
    force: bool = False


def import_model(
    checkpoint: Path, music: Sequence[Path], options: ImportOptions, folder: Path | None = None
) -> ModelSpec:
    """Convert a published εar-VAE checkpoint once, calibrate it on ``music``, and install it.

    ``checkpoint`` is a safetensors file, or a pickled state dict, of which only tensors are ever
    unpickled. Returns the specification, written to ``folder`` (default: the last of
    `earzip.checkpoints.model_folders`) beside the weights. Raises ModelDamagedError for a file that is no
    such checkpoint, UsageError for a configuration that does not fit, TargetError where a model of
    that name is installed and ``options.force`` is not set, SourceError for music that cannot be read.
    """
    if not is_model_name(options.name):
        raise UsageError(f"{options.name!r} cannot be the name of a model: letters, digits, . _ -")
    folder = folder or model_folders()[-1]
    targets = [folder / f"{options.name}{suffix}" for suffix in (".safetensors", ".json")]
    _refuse_existing(targets, force=options.force)
    config = _read_config(options.config)
    weights = _read_weights(checkpoint)
    _require_shapes(weights, config, checkpoint)
    with _scratch_folder(folder) as scratch:
        path = scratch / f"{options.name}.json"
        save_file({name: t.contiguous() for name, t in weights.items()}, scratch / targets[0].name)
        spec = ModelSpec(
            name=options.name,
            architecture="ear",
            config=config.to_json(),
            geometry=_geometry(config),
            n_latents=config.n_latents,
            step_exponents=(0,) * config.n_latents,
            presets={
                quality: Preset(round(math.log2(factor) * STEPS_PER_OCTAVE), _ROUNDING)
                for quality, factor in _STEP_FACTORS.items()
            },
            weights_sha256=_sha256(scratch / targets[0].name),
            licence=options.licence,
            source=options.source,
            path=path,
        )
        write_spec(_calibrated(spec, music, options.device, options.precision))
        # The specification last: without it the weights are found by nobody.
        for target in targets:
            _publish(scratch / target.name, target)
    return ModelSpec.read(targets[1])


def calibrate_model(
    spec: ModelSpec, music: Sequence[Path], device: str = "cpu", precision: str = "float32"
) -> ModelSpec:
    """Measure steps and rates of an installed model anew, on ``music``, and write its specification.

    Archives that were made before stay readable: their steps stand in them. Raises SourceError for
    music that cannot be read, TargetError where the specification cannot be written, UsageError for
    an embedded model, whose steps were trained.
    """
    if spec.path.parent == model_folders()[0]:
        raise UsageError(f"{spec.name} is embedded: its steps were trained with it")
    calibrated = _calibrated(spec, music, device, precision)
    write_spec(calibrated)
    return calibrated


def export_model(spec: ModelSpec, folder: Path, *, force: bool = False) -> list[Path]:
    """Copy all that is needed to read the archives of ``spec`` to ``folder``; return the files.

    These are the weights, the specification and the text of the archive format. ``folder`` may be
    named in ``EARZIP_MODELS``. Raises ModelDamagedError for weights that are not the specified ones.
    """
    verify_model(spec)
    targets = [folder / f"{spec.name}{suffix}" for suffix in (".safetensors", ".json")]
    targets.append(folder / _FORMAT_DOCUMENT)
    _refuse_existing(targets[:2], force=force)
    _make_folder(folder)
    with atomic_write(targets[0]) as file, spec.weights_path.open("rb") as weights:
        shutil.copyfileobj(weights, file)
    write_spec(replace(spec, path=targets[1]))
    with atomic_write(targets[2]) as file:
        file.write(files("earzip.formats").joinpath(_FORMAT_DOCUMENT).read_bytes())
    return targets


def write_spec(spec: ModelSpec) -> None:
    """Write ``spec`` to its path, whole or not at all."""
    with atomic_write(spec.path) as file:
        file.write(json.dumps(spec.to_json(), indent=1).encode() + b"\n")


def _calibrated(spec: ModelSpec, music: Sequence[Path], device: str, precision: str) -> ModelSpec:
    """Return ``spec`` with the steps that ``music`` gives it, and the rate of each preset there."""
    codec = load_codec(spec, device=device, precision=precision)
    try:
        encoded = encode_music(codec, music)
    finally:
        codec.close()
    presets = {
        name: replace(preset, kbps=round(_rate(encoded, preset), 2))
        for name, preset in spec.presets.items()
    }
    return replace(spec, step_exponents=encoded.step_exponents, presets=presets)


def _rate(encoded: EncodedMusic, preset: Preset) -> float:
    exponents = [exponent + preset.exponent for exponent in encoded.step_exponents]
    return encoded.kbps(exponents, preset.rounding)


def _geometry(config: EarConfig) -> dict[str, int]:
    return {
        "hop": config.hop,
        "lead": 0,
        "core": _CORE_FRAMES,
        "encoder_context": config.encoder_reach,
        "decoder_context": config.decoder_reach + _TRANSFORMER_CONTEXT,
    }


def _read_config(path: Path | None) -> EarConfig:
    if path is None:
        return EarConfig()
    try:
        return EarConfig.from_published(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"not the configuration of an εar-VAE: {error}", path) from error


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise ModelDamagedError(f"cannot be read as a checkpoint: {error}", path) from error
    tensors = isinstance(weights, dict) and all(isinstance(t, Tensor) for t in weights.values())
    if not tensors:
        raise ModelDamagedError("holds no state dict of tensors", path)
    return dict(weights)


def _require_shapes(weights: dict[str, Tensor], config: EarConfig, path: Path) -> None:
    with torch.device("meta"):
        expected = EarVae(config).state_dict()
    for name in [*expected, *weights]:
        if name not in weights:
            raise ModelDamagedError(f"{name} is missing", path)
        if name not in expected:
            raise ModelDamagedError(f"{name} is not a part of the network", path)
        got, wanted = tuple(weights[name].shape), tuple(expected[name].shape)
        if got != wanted:
            raise ModelDamagedError(f"{name} has the shape {got}, expected {wanted}", path)


def _refuse_existing(targets: Sequence[Path], *, force: bool) -> None:
    for target in targets:
        if not force and os.path.lexists(target):
            raise TargetError("exists already; --force replaces it", target)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(f"cannot be made: {error.strerror}", folder) from error


@contextmanager
def _scratch_folder(folder: Path) -> Iterator[Path]:
    """Give a folder on the same disk as ``folder``, which goes when the block ends."""
    _make_folder(folder)
    with tempfile.TemporaryDirectory(prefix=".importing-", dir=folder) as name:
        yield Path(name)


def _publish(scratch: Path, target: Path) -> None:
    try:
        scratch.replace(target)
    except OSError as error:
        raise TargetError(f"cannot be written: {error.strerror}", target) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
