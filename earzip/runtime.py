"""Where and how the network runs, and whether it can."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from earzip.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


DEVICES = re.compile(r"auto|cpu|cuda|cuda:\d{1,3}(,cuda:\d{1,3})*", re.ASCII)
"""What `placements` takes."""

_MAX_DEFAULT_THREADS = 16  # each takes some 300 MB for a window of `mini`
_MAX_TRACKS = 8
_TRIED_WIDTHS = (8, 64)  # libraries have other kernels for few channels than for many
_MOST_ERROR = 0.03  # RMS, of a result's own: bfloat16 gives 0.003, a kernel that is wrong about 1
_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?", re.ASCII)
PRECISIONS = ("float32", "bfloat16", "float16")
"""What the network may compute in; archives and sound hold the same types in all of them."""


@dataclass(frozen=True)
class Runtime:
    """Where and how the network runs."""

    device: str = "auto"
    """A name for `choose_device`; of a run over many files, before `placements`, names for that."""
    precision: str = "float32"
    """One of `PRECISIONS`."""
    threads: int | None = None
    """CPU threads; None: the cores that the process may use."""
    batch_size: int | None = None
    """Windows of sound in one pass on a GPU; None for the default."""

    def checked(self) -> Runtime:
        """Return this runtime. Raises UsageError for a device that is not there or cannot do it.

        What any machine can do is not tried, so that the defaults do not load torch.
        """
        if self.device not in ("auto", "cpu") or self.precision != "float32":
            choose_device(self.device, self.precision)
        return self


@dataclass(frozen=True)
class Placement:
    """Where one process of a run works."""

    rank: int
    runtime: Runtime


def choose_device(name: str, precision: str = "float32") -> str:
    """Return the device to run the network on; ``auto``: what accelerate takes, a GPU if there is one.

    Raises `UsageError` for one that is not there, that is neither a CPU nor a CUDA GPU, or that cannot
    compute in ``precision``, one of `earzip.runtime.PRECISIONS`, or does so wrongly. Loads torch.
    """
    if not _DEVICE.fullmatch(name):
        raise UsageError(f"device is {name!r}, expected auto, cpu, cuda or cuda:N")
    import torch  # noqa: PLC0415  # commands without a network do without it

    if name == "auto":
        from accelerate import PartialState  # noqa: PLC0415

        name = str(PartialState().device)
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} cannot be used: {_first_line(error)}") from error
    if precision != "float32":
        _require_precision(name, precision)
    return name


def placements(runtime: Runtime, n_processes: int | None, n_jobs: int) -> list[Placement]:
    """Return where the processes of a run work, no more of them than there are jobs.

    ``runtime.device``: ``auto`` or ``cuda`` (every visible GPU; without one, auto is what accelerate
    takes), ``cpu``, or names of GPUs, as ``cuda:0,cuda:2``. ``runtime.threads``: None to share out the
    cores. ``n_processes``: None for one a device; they take turns at the devices. Raises UsageError for
    unknown names, and for ``cuda`` without a GPU. Loads torch, unless it is for the CPU or a single file.
    """
    devices = runtime.device
    if not DEVICES.fullmatch(devices):
        raise UsageError(f"devices is {devices!r}, expected auto, cpu, cuda or cuda:N,cuda:M")
    names = devices.split(",")
    if n_jobs == 1 and n_processes is None and len(names) == 1:
        # Without a look at the GPUs: what is wrong with an only file is told before torch is loaded.
        return [Placement(0, replace(runtime, threads=runtime.threads or usable_cores()))]
    if devices in ("auto", "cuda"):
        names = [f"cuda:{i}" for i in range(_n_gpus())]
    if not names:
        if devices == "cuda":
            raise UsageError("devices is 'cuda', but there is no GPU that PyTorch can use")
        names = ["auto"]
    n = max(1, min(n_processes or len(names), n_jobs))
    each = runtime.threads or max(1, usable_cores() // n)
    return [
        Placement(rank, replace(runtime, device=names[rank % len(names)], threads=each))
        for rank in range(n)
    ]


def tracks_at_once(runtime: Runtime) -> int:
    """Return how many tracks a process works on side by side.

    While the network is at one, another is read and a third one written. A GPU outruns many cores at it.
    """
    threads = runtime.threads or usable_cores()
    if runtime.device.startswith("cuda"):
        return max(2, min(threads, _MAX_TRACKS))
    return min(threads, 2)


def usable_cores() -> int:
    """Return the cores this process may use: fewer than there are under taskset, Slurm or Docker."""
    has_affinity = hasattr(os, "sched_getaffinity")
    n_cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return min(n_cores, _MAX_DEFAULT_THREADS)


def _n_gpus() -> int:
    import torch  # noqa: PLC0415  # commands without a network do without it
    from accelerate.utils import parse_flag_from_env  # noqa: PLC0415

    # What `accelerate launch --cpu` says to the processes it starts.
    return 0 if parse_flag_from_env("ACCELERATE_USE_CPU") else torch.cuda.device_count()


def _require_precision(device: str, precision: str) -> None:
    """Try whether what a network spends its time in is done in ``precision``, and rightly."""
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
                f"device {device!r} computes wrongly in {precision}: its results are not those of float32"
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
