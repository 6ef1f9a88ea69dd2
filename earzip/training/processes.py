"""The processes of a run, by accelerate, and what becomes of it when one of them fails."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator, DistributedType, PartialState
from accelerate.utils import GradientAccumulationPlugin, gather_object

from earzip.coding.gpu import is_memory_short, set_arithmetic
from earzip.errors import DeviceError, EarzipError, UsageError
from earzip.runtime import device_error, n_gpus
from earzip.training.config import TrainingConfig

ANSWER = timedelta(minutes=10)
"""How long a process waits for another, as while the main one writes a checkpoint."""

_SHARING = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


class Place(NamedTuple):
    """This process among those of a run."""

    is_main: bool
    n_processes: int
    device: str
    """What kind of: ``cpu`` or ``cuda``."""


def join_processes(threads: int) -> Place:
    """Take this process's place among those of ``accelerate launch``; ``threads``: its CPU threads.

    Raises UsageError for a process that no GPU of its machine is left for.
    """
    state = _join()
    torch.set_num_threads(threads)  # now: accelerate sets a number of its own
    return Place(bool(state.is_main_process), state.num_processes, state.device.type)


def leave_processes() -> None:
    """End the communication of processes that have done the same to the end. NCCL warns without it."""
    PartialState().destroy_process_group()


def make_accelerator(precision: str) -> Accelerator:
    """Return what shares a run's work among its processes; ``precision``: ``float32`` or ``bfloat16``.

    From here on GPUs compute float32 as archives' networks do: in IEEE arithmetic, by cuDNN's
    deterministic algorithms. Raises UsageError where the device lacks the precision, as GPUs older than
    Ampere do, where a process has no GPU, and where the launcher would split the network.
    """
    _join()
    set_arithmetic("float32")
    try:
        # The environment of `accelerate launch` must not change the configuration.
        accelerator = Accelerator(
            mixed_precision="bf16" if precision == "bfloat16" else "no",
            cpu=not n_gpus(),
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            dynamo_backend="no",
        )
    except ValueError as error:
        if precision != "bfloat16":
            raise
        raise UsageError(f"this device cannot train in bfloat16: {error}") from error
    if accelerator.distributed_type not in _SHARING:
        raise UsageError(
            f"accelerate is set to {accelerator.distributed_type.value}, which splits the network; "
            "processes share batches only: use `accelerate launch --multi_gpu`"
        )
    is_gpu = accelerator.device.type == "cuda"
    # accelerate takes older GPUs too, which emulate it, slower than float32.
    if precision == "bfloat16" and is_gpu and not torch.cuda.is_bf16_supported(False):
        raise UsageError(
            "this GPU cannot train in bfloat16, which takes compute capability 8.0; "
            "use --set precision=float32"
        )
    return accelerator


def _join() -> PartialState:
    n = n_gpus()
    place = int(os.environ.get("LOCAL_RANK", "0"))
    if 0 < n <= place:  # accelerate would give it another's, which NCCL refuses
        raise UsageError(
            f"process {place + 1} of this machine has no GPU, for there are {n}: start one a GPU"
        )
    # CPU: for accelerate, which would treat several processes without a GPU as unrelated ones.
    return PartialState(cpu=not n, timeout=ANSWER)


def require_agreement(seen: Mapping[str, Any]) -> None:
    """Raise UsageError in every process unless all of them see the same: plain data by its name.

    Communication has then ended.
    """
    everywhere = gather_object([seen])
    for rank, other in enumerate(everywhere):
        for name, value in everywhere[0].items():
            if other[name] != value:
                # All end now, and who ends amid communication may be aborted by its threads.
                leave_processes()
                raise UsageError(
                    f"process {rank} has {name} other than that of process 0: all take the same "
                    "command, and read one directory of music and one of the run"
                )


@contextmanager
def errors_told(config: TrainingConfig, n_processes: int) -> Iterator[None]:
    """Raise what a GPU or another process has failed with, meanwhile, as errors with an advice.

    DeviceError for a GPU and its memory, EarzipError for a process that has ended or does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        if is_memory_short(error):
            raise _too_small_for(config, n_processes) from error
        if isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error):
            minutes = ANSWER.total_seconds() / 60
            raise EarzipError(
                f"another process of this run has ended, or has given no answer for {minutes:g} "
                "minutes; run again to go on from the last checkpoint"
            ) from error
        if found := device_error(error):
            found.message += "; run again to go on from the last checkpoint"
            raise found from error
        raise


def _too_small_for(config: TrainingConfig, n_processes: int) -> DeviceError:
    n = config.batch_size // (n_processes * config.accumulation)
    if n == 1:
        return DeviceError(
            f"GPU memory is too small for a crop of {config.crop_frames} frames: it takes a new run "
            "with a smaller crop_frames, or precision bfloat16"
        )
    passes = config.accumulation * next(i for i in range(2, n + 1) if n % i == 0)
    return DeviceError(
        f"GPU memory is too small for {n} crops at once: split the batch_size of {config.batch_size} "
        f"into more passes (--set accumulation={passes}) and run again"
    )
