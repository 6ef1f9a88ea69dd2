"""The device that the network runs on, and whether it computes rightly there."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from earzip.errors import DeviceError, UsageError
from earzip.runtime import AUTOMATIC, PRECISIONS, TF32, Runtime, has_nvidia_gpu, n_gpus, tell

if TYPE_CHECKING:
    from torch import Tensor


def usable_runtime(runtime: Runtime) -> Runtime:
    """Return ``runtime`` with its device and precision by name, the device proven to compute in it.

    Loads torch. Raises `UsageError` as `choose_device`, and where the device lacks the precision or gets
    it wrong; `DeviceError` where a GPU cannot compute in float32.
    """
    device = choose_device(runtime.device)
    precision = runtime.precision
    if precision == AUTOMATIC:
        precision = "bfloat16" if device == "cpu" and has_bfloat16() else "float32"
    elif precision != "float32":
        _require_precision(device, precision)
    if device != "cpu":
        require_float32(device)
    return replace(runtime, device=device, precision=precision)


def has_bfloat16() -> bool:
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
        if other := _other_accelerator():
            tell(f"{other}; the CPU is used")
        # Not PartialState of accelerate, which under torchrun starts NCCL and waits for the others.
        name = "cuda" if n_gpus() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} cannot be used: {_first_line(error)}") from error
    return name


def refused_devices() -> list[str]:
    """Return, in words, which devices of this machine are left alone, and why. Loads torch."""
    import torch  # noqa: PLC0415

    refused = [other] if (other := _other_accelerator()) else []
    if has_nvidia_gpu() and not torch.cuda.is_available():
        built = "without CUDA" if torch.version.cuda is None else f"for CUDA {torch.version.cuda}"
        why = f"this PyTorch ({torch.__version__}) is built {built}"
        if torch.version.cuda is not None:
            why += ", and finds none: the driver is too old, or CUDA_VISIBLE_DEVICES hides the GPU"
        refused.append(f"an NVIDIA GPU is there and not used: {why}")
    return refused


def _other_accelerator() -> str | None:
    import torch  # noqa: PLC0415

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None or found.type == "cuda":
        return None
    return f"no {found.type} device is used: earzip computes on CPUs and CUDA GPUs"


def require_float32(device: str) -> None:
    """Compute a network's main operations in float32 and compare them with float64 on the CPU.

    Raises `DeviceError` where that fails or differs by more than IEEE arithmetic may.
    """
    import torch  # noqa: PLC0415

    from earzip.coding.gpu import set_arithmetic  # noqa: PLC0415  # loads torch

    set_arithmetic("float32")
    for x, weight in _tried_inputs():
        try:
            found = [y.cpu() for y in _tried_operations(x.to(device), weight.to(device))]
        except RuntimeError as error:
            raise DeviceError(f"device {device!r} cannot compute: {_first_line(error)}") from error
        with torch.inference_mode():
            wanted = _tried_operations(x.double(), weight.double())
        if not _are_near(found, wanted, _MOST_ERROR_OF_FLOAT32):
            raise DeviceError(f"device {device!r} gives wrong results in float32")


def _require_precision(device: str, precision: str) -> None:
    """Test that the device does a network's main operations in ``precision``, and correctly."""
    import torch  # noqa: PLC0415

    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
    if precision == TF32:
        _require_tf32(device)
        return
    dtype = getattr(torch, precision)
    for inputs in _tried_inputs():
        x, weight = (each.to(device) for each in inputs)
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
        if not _are_near(found, wanted, _MOST_ERROR):
            raise UsageError(
                f"device {device!r} gives wrong results in {precision} (they differ from float32 by "
                f"more than {100 * _MOST_ERROR:.0f} %)"
            )


def _require_tf32(device: str) -> None:
    import torch  # noqa: PLC0415

    if device == "cpu" or torch.cuda.get_device_capability(device) < _FIRST_WITH_TF32:
        raise UsageError(
            f"device {device!r} cannot compute in {TF32}: it takes an NVIDIA GPU of compute capability "
            f"{'.'.join(map(str, _FIRST_WITH_TF32))}"
        )


def _tried_inputs() -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what `_tried_operations` are tried with, float32, on the CPU."""
    import torch  # noqa: PLC0415

    generator = torch.Generator().manual_seed(0)
    for width in _TRIED_WIDTHS:
        x = torch.randn(1, width, 128, generator=generator)
        yield x, torch.randn(width, width, 16, generator=generator)


def _are_near(found: list[Tensor], wanted: list[Tensor], most_error: float) -> bool:
    errors = [float((f - w).norm() / w.norm()) for f, w in zip(found, wanted, strict=True)]
    return all(error <= most_error for error in errors)  # NaN is not


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


_FIRST_WITH_TF32 = (8, 0)


_MOST_ERROR_OF_FLOAT32 = 2e-5  # IEEE gives 2e-7, TF32 some 5e-4
_MOST_ERROR = 0.03  # RMS, of a result's own: bfloat16 gives 0.003, a kernel that is wrong about 1
