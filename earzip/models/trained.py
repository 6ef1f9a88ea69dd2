"""Trained networks to import: a published checkpoint, or a training run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from earzip.coding.quantizer import STEPS_PER_OCTAVE
from earzip.errors import ModelDamagedError, UsageError
from earzip.formats.atomic import atomic_write
from earzip.formats.checked import Checked, OneOf, Range, read, write
from earzip.formats.geometry import MAX_EXPONENT
from earzip.models.checkpoint_file import read_tensors
from earzip.network.config import Dimensions, EarConfig, network_config
from earzip.network.networks import build_network

RUN_WEIGHTS = "weights.safetensors"
RUN_NETWORK = "weights.json"

# Steps in posterior scales. Rounding to steps of sqrt(12) scales adds as much noise as the
# posterior has; each preset below that adds four times as much.
_STEPS_OF_POSTERIOR_NOISE = {"high": 3.5, "medium": 7.0, "low": 14.0}
_QUANTISED_NOISES = ("round", "uniform")
_NOISES = (*_QUANTISED_NOISES, "gaussian", "none")
_MAX_STEP_OCTAVES = MAX_EXPONENT // STEPS_PER_OCTAVE  # either way, as a preset may add
_StepScale = Annotated[float, Range(2.0**-_MAX_STEP_OCTAVES, 2.0**_MAX_STEP_OCTAVES)]


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with its weights, checked to fit, and the steps that its qualities stand for."""

    architecture: str
    config: Dimensions
    weights: dict[str, Tensor]
    step_factors: Mapping[str, float]
    """The step of each quality, in posterior scales."""
    rounding: float = 0.5
    """As `earzip.coding.quantizer.quantize` takes it."""


@dataclass(frozen=True)
class _RunRecord(Checked):
    """What lies beside the weights of a run."""

    architecture: str
    config: dict[str, Any]
    noise: Annotated[str, OneOf(_NOISES)]
    step_scales: tuple[_StepScale, _StepScale]
    rounding: Annotated[float, Range(0, 1)] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_scales[0] > self.step_scales[1]:
            raise ValueError(f"step_scales is {self.step_scales}, expected the smaller first")

    def step_factors(self) -> Mapping[str, float]:
        """Return the steps met in training, or those that add to the posterior's noise."""
        if self.noise not in _QUANTISED_NOISES:
            return _STEPS_OF_POSTERIOR_NOISE
        finest, coarsest = self.step_scales
        return {"high": finest, "medium": math.sqrt(finest * coarsest), "low": coarsest}


def read_published(path: Path, config: Path | None) -> TrainedNetwork:
    """Return the published εar-VAE in ``path``, a safetensors file or a pickled state dict.

    Of the latter only tensors are ever unpickled. ``config`` is the network's configuration as published;
    None for that of ``ear_vae_44k``. Raises ModelDamagedError and UsageError for what does not fit.
    """
    dimensions = _read_published_config(config) if config else EarConfig()
    weights = read_tensors(path)
    _require_shapes(weights, "ear", dimensions, path)
    return TrainedNetwork("ear", dimensions, weights, _STEPS_OF_POSTERIOR_NOISE)


def write_run_network(
    folder: Path,
    architecture: str,
    config: Dimensions,
    noise: str,
    step_scales: tuple[float, float],
    rounding: float,
) -> None:
    """Write beside the weights of a run what `read_run` needs.

    ``noise``, ``step_scales`` and ``rounding``: of its bottleneck, see `earzip.training.config`.
    """
    record = _RunRecord(architecture, config.to_json(), noise, step_scales, rounding)
    with atomic_write(folder / RUN_NETWORK) as file:
        file.write(json.dumps(write(record), indent=1).encode() + b"\n")


def read_run(folder: Path) -> TrainedNetwork:
    """Return the network of the finished run in ``folder``.

    Raises UsageError for a folder without one and ModelDamagedError for files that do not fit.
    """
    path = folder / RUN_NETWORK
    try:
        record = read(_RunRecord, json.loads(path.read_bytes()))
        config = network_config(record.architecture, record.config)
    except FileNotFoundError as error:
        raise UsageError(
            f"is not a finished training run; missing: {RUN_NETWORK}; "
            "`earzip train run` resumes a stopped run",
            folder,
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelDamagedError(f"does not describe a network: {error}", path) from error
    weights = read_tensors(folder / RUN_WEIGHTS)
    _require_shapes(weights, record.architecture, config, folder / RUN_WEIGHTS)
    factors = record.step_factors()
    return TrainedNetwork(record.architecture, config, weights, factors, record.rounding)


def _read_published_config(path: Path) -> EarConfig:
    try:
        return published_dimensions(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"not the configuration of an εar-VAE: {error}", path) from error


def published_dimensions(data: dict[str, Any]) -> EarConfig:
    """Return the dimensions in a configuration as the authors publish it.

    Raises ValueError for one that describes another network than `EarVae` builds.
    """
    try:
        encoder, decoder = data["encoder"]["config"], data["decoder"]["config"]
        transformer = data["transformer"]
        n_latents = data["latent_dim"]
        expected = {
            "io_channels": (data["io_channels"], 2),
            "encoder.in_channels": (encoder["in_channels"], 2),
            "encoder.latent_dim": (encoder["latent_dim"], 2 * n_latents),
            "encoder.use_snake": (encoder["use_snake"], True),
            "decoder.out_channels": (decoder["out_channels"], 2),
            "decoder.latent_dim": (decoder["latent_dim"], n_latents),
            "decoder.use_snake": (decoder["use_snake"], True),
            "decoder.use_nearest_upsample": (decoder["use_nearest_upsample"], False),
            "decoder.final_tanh": (decoder["final_tanh"], False),
            "transformer.rotary_pos_emb": (transformer["config"]["rotary_pos_emb"], True),
        }
        expected |= {
            f"decoder.{key}": (decoder[key], encoder[key])
            for key in ("channels", "c_mults", "strides")
        }
        config = EarConfig(
            channels=encoder["channels"],
            multiples=tuple(encoder["c_mults"]),
            strides=tuple(encoder["strides"]),
            n_latents=n_latents,
            transformer_depth=transformer["depth"],
            head_size=transformer["config"]["dim_heads"],
        )
        expected["downsampling_ratio"] = (data["downsampling_ratio"], config.hop)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a configuration of an εar-VAE: {error!r}") from error
    for name, (got, wanted) in expected.items():
        if got != wanted:
            raise ValueError(f"{name} is {got!r}, expected {wanted!r}")
    return config


def _require_shapes(
    weights: dict[str, Tensor], architecture: str, config: Dimensions, path: Path
) -> None:
    with torch.device("meta"):
        expected = build_network(architecture, config.to_json()).state_dict()
    for name in [*expected, *weights]:
        if name not in weights:
            raise ModelDamagedError(f"{name} is missing", path)
        if name not in expected:
            raise ModelDamagedError(f"{name} is not a part of the network", path)
        got, wanted = tuple(weights[name].shape), tuple(expected[name].shape)
        if got != wanted:
            raise ModelDamagedError(f"{name} has the shape {got}, expected {wanted}", path)
