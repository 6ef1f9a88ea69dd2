"""The processes of a run, by accelerate."""

from __future__ import annotations

from typing import NamedTuple

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import GradientAccumulationPlugin

from earzip.errors import UsageError


class Place(NamedTuple):
    """This process among those of a run."""

    is_main: bool
    n_processes: int
    device: str
    """What kind of: ``cpu`` or ``cuda``."""


def join_processes(threads: int) -> Place:
    """Take this process's place among those of ``accelerate launch``; ``threads``: its CPU threads."""
    torch.set_num_threads(threads)
    state = PartialState(cpu=_on_cpu())
    return Place(bool(state.is_main_process), state.num_processes, state.device.type)


def make_accelerator(precision: str) -> Accelerator:
    """Return what shares a run's work among its processes; ``precision``: ``float32`` or ``bfloat16``.

    Raises UsageError where the device lacks the precision, as GPUs older than Ampere do.
    """
    try:
        # The environment of `accelerate launch` must not change the configuration.
        return Accelerator(
            mixed_precision="bf16" if precision == "bfloat16" else "no",
            cpu=_on_cpu(),
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            dynamo_backend="no",
        )
    except ValueError as error:
        if precision != "bfloat16":
            raise
        raise UsageError(f"this device cannot train in bfloat16: {error}") from error


def _on_cpu() -> bool:
    # For accelerate, which would treat several processes without a GPU as unrelated ones.
    return not torch.cuda.is_available()
