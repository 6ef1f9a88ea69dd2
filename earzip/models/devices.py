"""What of this machine a network can run on, and how many windows of which model fit."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from earzip import native
from earzip.coding.device import has_bfloat16, refused_devices, usable_runtime
from earzip.errors import EarzipError
from earzip.models.footprint import Footprint, footprint
from earzip.models.spec import ModelSpec
from earzip.network.packed import packed
from earzip.runtime import PRECISIONS, Runtime

_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""Sets of instructions that matter to the speed, as /proc/cpuinfo has them."""


@dataclass(frozen=True)
class Cpu:
    """The processor, and which of what makes it fast is used."""

    name: str
    cores: int
    """That this process may use."""
    instructions: tuple[str, ...]
    kernels: str
    """The set of instructions that PyTorch takes."""
    decodes_in: str
    """The precision of commands that decode, unless the user says otherwise."""
    without_loops: str | None
    """Why the loops in C are not used; None if they are."""
    without_packed: str | None
    """Why packed layers are not used; None if they are."""
    precisions: tuple[str, ...] = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Gpu:
    """A GPU that CUDA shows; with ``problem``, one that is not used."""

    device: str
    name: str
    memory: int
    """Bytes."""
    free: int
    """Bytes, now."""
    capability: str
    precisions: tuple[str, ...] = ()
    """In which it computes rightly: tried."""
    problem: str | None = None


@dataclass(frozen=True)
class Fit:
    """What a model takes in a precision, and how many windows at once each GPU has memory for."""

    model: str
    precision: str
    takes: Footprint
    windows: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {
            "model": self.model,
            "precision": self.precision,
            "weights_bytes": self.takes.weights,
            "window_bytes": self.takes.window,
            "windows": self.windows,
        }


@dataclass(frozen=True)
class Devices:
    """All there is."""

    torch: str
    cpu: Cpu
    gpus: tuple[Gpu, ...]
    refused: tuple[str, ...]
    """Devices that are there and left alone, with the reason."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)


def find_devices() -> Devices:
    """Return what there is; every GPU computes a little in each precision. Raises nothing."""
    gpus = tuple(_gpu(i) for i in range(torch.cuda.device_count()))
    return Devices(str(torch.__version__), _cpu(), gpus, tuple(refused_devices()))


def fits(specs: Sequence[ModelSpec], devices: Devices) -> tuple[list[Fit], list[str]]:
    """Return what each model takes in each precision that a device has, and why some are left out."""
    usable = [gpu for gpu in devices.gpus if not gpu.problem]
    precisions = {*devices.cpu.precisions, *(p for gpu in usable for p in gpu.precisions)}
    found, problems = [], []
    for spec in specs:
        for precision in (p for p in PRECISIONS if p in precisions):
            try:
                takes = footprint(spec, precision)
            except (EarzipError, ValueError) as error:
                problems.append(str(error))
                break
            windows = {
                gpu.device: takes.batch_in(gpu.free)
                for gpu in usable
                if precision in gpu.precisions
            }
            found.append(Fit(spec.name, precision, takes, windows))
    return found, problems


def _cpu() -> Cpu:
    facts = _cpu_facts()
    flags = facts.get("flags", facts.get("Features", "")).split()
    has_affinity = hasattr(os, "sched_getaffinity")
    return Cpu(
        name=facts.get("model name") or platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1,
        instructions=tuple(name for name in _INSTRUCTIONS if name in flags),
        kernels=torch.backends.cpu.get_cpu_capability(),
        decodes_in="bfloat16" if has_bfloat16() else "float32",
        without_loops=native.absence(),
        without_packed=_absence_of_packed_layers(),
    )


def _cpu_facts() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def _absence_of_packed_layers() -> str | None:
    network = nn.Sequential(nn.Linear(16, 16)).eval().requires_grad_(False)
    if packed(network, torch.float32) is not network:
        return None
    if not torch.backends.mkldnn.is_available():
        return "this PyTorch is built without oneDNN"
    return "this PyTorch lacks these layers, or they compute something else here"


def _gpu(i: int) -> Gpu:
    device = f"cuda:{i}"
    try:
        facts = torch.cuda.get_device_properties(i)
        free, total = torch.cuda.mem_get_info(i)
        found = Gpu(device, facts.name, total, free, f"{facts.major}.{facts.minor}")
    except (RuntimeError, AssertionError) as error:
        return Gpu(device, "?", 0, 0, "?", problem=str(error).partition("\n")[0])
    precisions = []
    for precision in PRECISIONS:
        try:
            usable_runtime(Runtime(device, precision))
        except EarzipError as error:
            if precision == "float32":  # without which nothing works
                return Gpu(**{**vars(found), "problem": error.message})
        else:
            precisions.append(precision)
    return Gpu(**{**vars(found), "precisions": tuple(precisions)})
