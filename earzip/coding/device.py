"""The device that the network runs on, and whether it computes rightly there."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from earzip.errors import UsageError
from earzip.runtime import AUTOMATIC, PRECISIONS, Runtime, n_gpus

if TYPE_CHECKING:
    from torch import Tensor


def usable_runtime(runtime: Runtime) -> Runtime:
    """Return ``runtime`` with its device and precision by name, the device proven to compute in it.

    Loads torch. Raises `UsageError` as `choose_device`, and where the device lacks the precision or gets
    it wrong.
    """
    device = choose_device(runtime.device)
    precision = runtime.precision
    if precision == AUTOMATIC:
        precision = "bfloat16" if device == "cpu" and _has_bfloat16() else "float32"
    elif precision != "float32":
        _require_precision(device, precision)
    return replace(runtime, device=device, precision=precision)


def _has_bfloat16() -> bool:
    """Return whether this CPU has instructions for products in bfloat16, and PyTorch uses them."""
    import torch  # noqa: PLC0415

    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_device(name: str) -> str:
    """Return the device to run the network on; ``auto``: a CUDA GPU if there is one, else the CPU.

    Raises `UsageError` for one that is missing, or is neither a CPU nor a CUDA GPU. Loads torch.
    """
    if not _DEVICE.fullmatch(name):
        raise UsageError(f"device is {name!r}, expected auto, cpu, cuda or cuda:N")
    import torch  # noqa: PLC0415  # commands without a network do without it

    if name == "auto":
        # Not PartialState of accelerate, which under torchrun starts NCCL and waits for the others.
        name = "cuda" if n_gpus() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} cannot be used: {_first_line(error)}") from error
    return name


def _require_precision(device: str, precision: str) -> None:
    """Test that the device does a network's main operations in ``precision``, and correctly."""
    import torch  # noqa: PLC0415

    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
    dtype, generator = getattr(torch, precision), torch.Generator().manual_seed(0)
    for width in _TRIED_WIDTHS:
        x = torch.randn(1, width, 128, generator=generator).to(device)
        weight = torch.randn(width, width, 16, generator=generator).to(device)
        try:
            with warnings.catch_warnings(action="ignore"), torch.autocast(x.device.type, dtype):
                found = _tried_operations(x, weight)
            wanted = _tried_operations(x, weight)
        except RuntimeError as error:
            raise UsageError(
                f"device {device!r} cannot compute in {precision}: {_first_line(error)}"
            ) from error
        if any(result.dtype != dtype for result in found):  # autocast warns and goes on in float32
            raise UsageError(f"device {device!r} cannot compute in {precision}")
        errors = [float((f - w).norm() / w.norm()) for f, w in zip(found, wanted, strict=True)]
        if not all(error <= _MOST_ERROR for error in errors):  # NaN is not either
            raise UsageError(
                f"device {device!r} gives wrong results in {precision} (they differ from float32 by "
                f"more than {100 * _MOST_ERROR:.0f} %)"
            )


def _tried_operations(x: Tensor, weight: Tensor) -> list[Tensor]:
    """Return what becomes of ``x`` ``[1, width, T]`` with ``weight`` ``[width, width, 16]``."""
    from torch.nn import functional as F  # noqa: PLC0415

    from earzip.network.oobleck import strided_conv1d  # noqa: PLC0415

    return [
        F.linear(x.transpose(1, 2), weight[..., 0]),
        F.conv1d(x, weight[..., :7], padding=9, dilation=3),
        F.conv1d(x, weight[:, :1, :7], padding=3, groups=len(weight)),
        strided_conv1d(x, weight, None, stride=8, padding=4),
        F.conv_transpose1d(x, weight, stride=8, padding=4),
    ]


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?", re.ASCII)


_TRIED_WIDTHS = (8, 64)  # libraries have other kernels for few channels than for many


_MOST_ERROR = 0.03  # RMS, of a result's own: bfloat16 gives 0.003, a kernel that is wrong about 1
