"""All of a run's state in one safetensors file, no pickle: modules, optimisers, and plain numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from earzip.errors import ModelDamagedError
from earzip.formats.atomic import atomic_write
from earzip.training.config import TrainingConfig

LEVELS = ("rms", "fine_rms", "log_step", "level_mean_db")
"""Tensors by mid and side, a vector each: they span more than float16 reaches, and do not decay."""
_FACTS = {"step": int, "bad_steps": int, "rate": dict, "config": dict, "music": dict}


@dataclass(frozen=True)
class RunState:
    """The parts of a run by name, and ``facts``: what else it is, as JSON-able data."""

    modules: Mapping[str, nn.Module]
    optimisers: Mapping[str, Optimizer]
    facts: dict[str, Any]


def save_state(state: RunState, path: Path) -> None:
    """Write ``state`` to ``path``, whole or not at all."""
    tensors: dict[str, Tensor] = {}
    for part, module in state.modules.items():
        tensors |= {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}
    for part, optimiser in state.optimisers.items():
        for index, values in optimiser.state_dict()["state"].items():
            tensors |= {f"{part}.{index}.{k}": v for k, v in values.items()}
    # Cloned, because modules that a network uses twice share their tensors.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    _write(copies, path, {"facts": json.dumps(state.facts)})


def read_facts(path: Path) -> dict[str, Any]:
    """Return the facts in ``path``; ModelDamagedError when it is no state of a run.

    A run that is older than a field of the configuration has that field's default.
    """
    try:
        with safe_open(path, "pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
        for name, kind in _FACTS.items():
            if type(facts[name]) is not kind:
                raise ValueError(f"{name} is {facts[name]!r}")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelDamagedError(f"not the state of a training run: {error!r}", path) from error
    # A configuration that this version cannot read is returned as it is, to name the differences.
    with suppress(ValueError):
        facts["config"] = TrainingConfig.from_json(facts["config"]).to_json()
    return facts


def load_state(state: RunState, path: Path) -> None:
    """Set the modules and optimisers of ``state`` from ``path``; ModelDamagedError if they do not fit."""
    tensors = read_parts(path, [*state.modules, *state.optimisers])
    try:
        for part, module in state.modules.items():
            module.load_state_dict(tensors[part])
        for part, optimiser in state.optimisers.items():
            values: dict[int, dict[str, Tensor]] = {}
            for name, tensor in tensors[part].items():
                index, key = name.split(".")
                values.setdefault(int(index), {})[key] = tensor
            _require_shapes(optimiser, values)
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": values, "param_groups": groups})
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        misfit = first_misfit(error)
        raise ModelDamagedError(f"does not fit its configuration: {misfit}", path) from error


def _require_shapes(optimiser: Optimizer, values: dict[int, dict[str, Tensor]]) -> None:
    """Refuse the state of other parameters: torch would load it by position."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for index, state in values.items():
        found, expected = state["exp_avg"].shape, parameters[index].shape
        if found != expected:
            raise ValueError(
                f"the optimiser's parameter {index} was {list(found)}, not {list(expected)}"
            )


def first_misfit(error: Exception) -> str:
    """Return the first of what torch says is wrong about a state dict, which may be hundreds of lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[min(1, len(lines) - 1)] if lines else repr(error)


def read_parts(path: Path, parts: list[str]) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of each of ``parts`` by name; ModelDamagedError when it cannot be read."""
    found: dict[str, dict[str, Tensor]] = {part: {} for part in parts}
    try:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  # not a dictionary
                part, _, rest = name.partition(".")
                if part in found:
                    found[part][rest] = file.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise ModelDamagedError(f"cannot be read: {error}", path) from error
    return found


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the weights of ``network`` for use: matrices in float16, vectors and statistics in float32.

    Raises ModelDamagedError for weights that are not finite or too large for float16.
    """
    tensors = {}
    for name, tensor in network.state_dict().items():
        small = tensor.ndim < 2 or name in LEVELS
        stored = tensor.detach().cpu().to(torch.float32 if small else torch.float16)
        if not bool(torch.isfinite(stored).all()):
            raise ModelDamagedError(f"{name} is not finite in float16", path)
        tensors[name] = stored.contiguous().clone()
    _write(tensors, path)


def _write(tensors: dict[str, Tensor], path: Path, facts: dict[str, str] | None = None) -> None:
    # Through bytes: only the owner can read a file that safetensors writes.
    with atomic_write(path) as file:
        file.write(save(tensors, facts))
