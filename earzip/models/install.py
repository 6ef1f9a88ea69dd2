"""Install, export and recalibrate models."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

from safetensors.torch import save

from earzip.coding.device import usable_runtime
from earzip.coding.quantizer import STEPS_PER_OCTAVE
from earzip.errors import ModelDamagedError, SourceError, TargetError, UsageError
from earzip.formats.atomic import atomic_write, make_folder, sha256_of
from earzip.models.calibration import OnUnreadable, encode_music
from earzip.models.spec import ModelSpec, Preset, is_model_name, most_core_frames
from earzip.models.store import load_codec, model_folders, verify_model
from earzip.models.trained import TrainedNetwork, read_published, read_run
from earzip.network.config import EarConfig, LevelConfig, latent_layout
from earzip.runtime import Runtime

_FORMAT_DOCUMENT = "SPEC.md"
_CORE_SAMPLES, _MOST_CORE_FRAMES = 1 << 20, 8192  # 23.8 s, of a network whose reach is known
# Windows of some six seconds: the activations of the published network take 130 MB a second.
_EAR_CORE_FRAMES = 256
# The transformer sees the whole window, so it is given more context than its convolutions reach.
_TRANSFORMER_CONTEXT = 32


# Chosen by trials on validation clips (docs/models/experiments.md): bits belong to levels before they
# belong to coefficients.
PRESETS_OF_LEVELS = {
    "low": Preset(33, 0.35, others=0, thrift=0.12),
    "medium": Preset(15, 0.35, others=-8, thrift=0.12),
    "high": Preset(0, 0.35, others=-17, thrift=0.12),
}


@dataclass(frozen=True)
class ImportOptions:
    """How a checkpoint is imported."""

    name: str
    licence: str
    source: str
    config: Path | None = None
    """The network's configuration as published; None for that of ``ear_vae_44k``."""
    runtime: Runtime = field(default_factory=lambda: Runtime("cpu"))
    """Where it is calibrated."""
    force: bool = False
    on_unreadable: OnUnreadable | None = None


def import_model(
    checkpoint: Path, music: Sequence[Path], options: ImportOptions, folder: Path | None = None
) -> ModelSpec:
    """Convert a checkpoint once, calibrate it on ``music``, and install it.

    ``checkpoint`` is a published εar-VAE, as a safetensors file or a pickled state dict, with only
    tensors unpickled; or the folder of a finished run of training. Returns the specification, written
    to ``folder`` (default: the last of `earzip.models.store.model_folders`) beside the weights. Raises
    ModelDamagedError for a file that is no such checkpoint, UsageError for a configuration that does
    not fit, TargetError where a model of that name is installed and ``options.force`` is not set,
    SourceError if no music can be read.
    """
    if not is_model_name(options.name):
        raise UsageError(f"{options.name!r} cannot name a model: use letters, digits, . _ -")
    runtime = usable_runtime(options.runtime)
    folder = folder or model_folders()[-1]
    _refuse_shadowed(options.name, folder)
    targets = [folder / f"{options.name}{suffix}" for suffix in (".safetensors", ".json")]
    _refuse_existing(targets, force=options.force)
    network = _read_network(checkpoint, options.config)
    with _scratch_folder(folder) as scratch:
        path = scratch / f"{options.name}.json"
        # Through bytes: only the owner can read a file of save_file.
        weights = {name: tensor.contiguous() for name, tensor in network.weights.items()}
        (scratch / targets[0].name).write_bytes(save(weights))
        try:
            spec = _uncalibrated(network, options, path)
        except ValueError as error:
            raise ModelDamagedError(f"cannot be made into a model: {error}", checkpoint) from error
        write_spec(_calibrated(spec, music, runtime, options.on_unreadable))
        # The specification last: without it the weights are not found.
        for target in targets:
            _publish(scratch / target.name, target)
    return ModelSpec.read(targets[1])


def calibrate_model(
    spec: ModelSpec,
    music: Sequence[Path],
    runtime: Runtime | None = None,
    on_unreadable: OnUnreadable | None = None,
) -> ModelSpec:
    """Recalibrate an installed model on ``music``: measure steps and rates, write its specification.

    Older archives stay readable: they store their steps. Raises SourceError if no music can be read,
    TargetError where the specification cannot be written, UsageError for an embedded model, whose steps
    were trained.
    """
    if spec.path.parent == model_folders()[0]:
        raise UsageError(f"{spec.name} is embedded: its steps come from training")
    runtime = runtime or Runtime("cpu")
    runtime = usable_runtime(runtime)
    calibrated = _calibrated(spec, music, runtime, on_unreadable)
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
    make_folder(folder, is_folder=True)
    with atomic_write(targets[0]) as file, spec.weights_path.open("rb") as weights:
        shutil.copyfileobj(weights, file)
    write_spec(replace(spec, path=targets[1]))
    with atomic_write(targets[2]) as file:
        file.write(files("earzip.formats").joinpath(_FORMAT_DOCUMENT).read_bytes())
    return targets


def write_spec(spec: ModelSpec) -> None:
    """Write ``spec`` to its path, whole or not at all."""
    with atomic_write(spec.path) as file:
        file.write(spec.to_bytes())


def _uncalibrated(network: TrainedNetwork, options: ImportOptions, path: Path) -> ModelSpec:
    """Return the specification of ``network``, with its weights at ``path``, without its steps.

    Raises ValueError where no archive could be made with it.
    """
    return ModelSpec(
        name=options.name,
        architecture=network.architecture,
        config=network.config.to_json(),
        geometry=_geometry(network),
        n_latents=network.config.n_latents,
        step_exponents=(0,) * network.config.n_latents,
        presets=_presets(network),
        weights_sha256=sha256_of(path.with_suffix(".safetensors")),
        licence=options.licence,
        source=options.source,
        path=path,
    )


def _presets(network: TrainedNetwork) -> dict[str, Preset]:
    """Return the qualities of ``network``, not yet calibrated."""
    if isinstance(network.config, LevelConfig):
        return PRESETS_OF_LEVELS
    return {
        quality: Preset(round(math.log2(factor) * STEPS_PER_OCTAVE), network.rounding)
        for quality, factor in network.step_factors.items()
    }


def _calibrated(
    spec: ModelSpec,
    music: Sequence[Path],
    runtime: Runtime,
    on_unreadable: OnUnreadable | None,
) -> ModelSpec:
    """Return ``spec`` with the steps that ``music`` gives it, and the rate of each preset there.

    Raises SourceError where these are no steps that an archive holds.
    """
    codec = load_codec(spec, runtime)
    try:
        encoded = encode_music(codec, music, on_unreadable)
    finally:
        codec.close()
    try:
        stepped = replace(spec, step_exponents=encoded.step_exponents)
    except ValueError as error:
        raise SourceError(f"cannot be calibrated with: {error}", music[0]) from error
    presets = {
        name: replace(preset, kbps=round(encoded.kbps(stepped, preset), 2))
        for name, preset in spec.presets.items()
    }
    return replace(stepped, presets=presets)


def _read_network(checkpoint: Path, config: Path | None) -> TrainedNetwork:
    if not checkpoint.is_dir():
        return read_published(checkpoint, config)
    if config is not None:
        raise UsageError(
            "a training run has its own configuration; --config is for published checkpoints",
            config,
        )
    return read_run(checkpoint)


def _geometry(network: TrainedNetwork) -> dict[str, int]:
    config = network.config
    if isinstance(config, EarConfig):
        lead, core, transformer = 0, _EAR_CORE_FRAMES, _TRANSFORMER_CONTEXT
    else:
        layout = latent_layout(network.architecture, config.to_json())
        most = most_core_frames(config.n_latents, layout.n_sparse)
        core = min(_CORE_SAMPLES // config.hop, _MOST_CORE_FRAMES, most)
        lead, transformer = config.hop // 2, 0
    return {
        "hop": config.hop,
        "lead": lead,
        "core": core,
        "encoder_context": config.encoder_reach,
        "decoder_context": config.decoder_reach + transformer,
    }


def _refuse_shadowed(name: str, folder: Path) -> None:
    """Refuse a name that a folder which is looked in earlier has: the model would never be found."""
    folders = model_folders()
    for earlier in folders[: folders.index(folder)] if folder in folders else folders[:1]:
        if (earlier / f"{name}.json").exists():
            embedded = earlier == folders[0]
            whose = "an embedded model" if embedded else f"a model in {earlier}"
            raise UsageError(f"{name!r} is the name of {whose}; choose another with --name")


def _refuse_existing(targets: Sequence[Path], *, force: bool) -> None:
    for target in targets:
        if not force and os.path.lexists(target):
            raise TargetError("already exists; add --force to replace it", target)


@contextmanager
def _scratch_folder(folder: Path) -> Iterator[Path]:
    """Give a folder on the same disk as ``folder``, which goes when the block ends."""
    make_folder(folder, is_folder=True)
    with tempfile.TemporaryDirectory(prefix=".importing-", dir=folder) as name:
        yield Path(name)


def _publish(scratch: Path, target: Path) -> None:
    try:
        scratch.replace(target)
    except OSError as error:
        raise TargetError(f"cannot be written: {error.strerror}", target) from error
