"""Trained networks as they come to be imported: a published checkpoint, or a run of training."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from earzip.coding.quantizer import STEPS_PER_OCTAVE
from earzip.errors import ModelDamagedError, UsageError
from earzip.formats.atomic import atomic_write
from earzip.formats.geometry import MAX_EXPONENT
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


def read_published(path: Path, config: Path | None) -> TrainedNetwork:
    """Return the published εar-VAE in ``path``, a safetensors file or a pickled state dict.

    Of the latter only tensors are ever unpickled. ``config`` is the network's configuration as published;
    None for that of ``ear_vae_44k``. Raises ModelDamagedError and UsageError for what does not fit.
    """
    dimensions = _read_published_config(config) if config else EarConfig()
    weights = _read_weights(path)
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
    data = {
        "architecture": architecture,
        "config": config.to_json(),
        "noise": noise,
        "step_scales": step_scales,
        "rounding": rounding,
    }
    with atomic_write(folder / RUN_NETWORK) as file:
        file.write(json.dumps(data, indent=1).encode() + b"\n")


def read_run(folder: Path) -> TrainedNetwork:
    """Return the network of the finished run in ``folder``.

    Raises UsageError for a folder without one and ModelDamagedError for files that do not fit.
    """
    path = folder / RUN_NETWORK
    try:
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict):
            raise ValueError(f"expected an object, got {type(data).__name__}")
        architecture = data["architecture"]
        config = network_config(architecture, data["config"])
        factors = _step_factors(data["noise"], data["step_scales"])
        rounding = data.get("rounding", 0.5)
        if not (_is_number(rounding) and 0 <= rounding <= 1):
            raise ValueError(f"rounding is {rounding!r}, expected a number from 0 to 1")
    except FileNotFoundError as error:
        raise UsageError(
            f"is not a finished training run; missing: {RUN_NETWORK}; "
            "`earzip train run` goes on with a run that was stopped",
            folder,
        ) from error
    except KeyError as error:
        raise ModelDamagedError(f"does not describe a network: missing {error}", path) from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelDamagedError(f"does not describe a network: {error}", path) from error
    weights = _read_weights(folder / RUN_WEIGHTS)
    _require_shapes(weights, architecture, config, folder / RUN_WEIGHTS)
    return TrainedNetwork(architecture, config, weights, factors, float(rounding))


def _step_factors(noise: object, step_scales: object) -> Mapping[str, float]:
    """Return the steps that a decoder has met in training, or such as add to its posterior's noise."""
    if noise not in _NOISES:
        raise ValueError(f"noise is {noise!r}, expected one of {', '.join(_NOISES)}")
    if not _are_step_scales(step_scales):
        raise ValueError(
            f"step_scales is {step_scales!r}, expected two numbers, the smaller first, "
            f"from 2**-{_MAX_STEP_OCTAVES} to 2**{_MAX_STEP_OCTAVES}"
        )
    if noise not in _QUANTISED_NOISES:
        return _STEPS_OF_POSTERIOR_NOISE
    finest, coarsest = step_scales
    return {"high": finest, "medium": math.sqrt(finest * coarsest), "low": coarsest}


def _are_step_scales(value: object) -> TypeGuard[list[float]]:
    if not (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))):
        return False
    return bool(2.0**-_MAX_STEP_OCTAVES <= value[0] <= value[1] <= 2.0**_MAX_STEP_OCTAVES)


def _is_number(value: object) -> bool:
    return type(value) in (int, float)  # not bool, which is an int


def _read_published_config(path: Path) -> EarConfig:
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
