"""Where and how the network runs: plain data, and how processes are placed on devices."""

from __future__ import annotations

import atexit
import ctypes
import gc
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

from earzip.errors import DeviceError, UsageError

DEVICES = re.compile(r"auto|cpu|cuda|cuda:\d{1,3}(,cuda:\d{1,3})*", re.ASCII)
"""What `placements` takes."""

MAX_DEFAULT_THREADS = 16  # each takes about 300 MB for a window of `mini`
_MAX_TRACKS = 8
NO_THREAD = "no thread can be started: a limit on processes or memory is reached (ulimit)"
_NO_MEMORY = "needs more memory than there is, or than a limit allows (ulimit)"
# How Python, torch and the loader of libraries say it.
_LACKING = {
    "MemoryError": _NO_MEMORY,
    "can't allocate memory": _NO_MEMORY,
    "Cannot allocate memory": _NO_MEMORY,
    "failed to map segment": _NO_MEMORY,
    "can't start new thread": NO_THREAD,
    "open /dev/urandom": "PyTorch needs /dev/urandom, which is not there",
}
# How PyTorch and the libraries below it say that a GPU, or its driver, did not do what it was asked to.
_OF_A_DEVICE = re.compile(
    r"(CUDA|cuDNN|cuBLAS|cuFFT|HIP|NVRTC)\w* (driver |kernel )?(error|failure)|"
    r"C(UDNN|UBLAS|USOLVER)_STATUS_|CUFFT_[A-Z]|(CUDA|HIP) out of memory|no kernel image|"
    r"device-side assert|CUDA-capable device|No CUDA GPUs are available",
    re.IGNORECASE,
)
_DEVICE_ERRORS = ("AcceleratorError", "OutOfMemoryError", "CudaError")
# Options of glibc's mallopt, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEEPING = {_M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: 1 << 30, _M_ARENA_MAX: 1}
GPU_BATCH = 16
"""Windows of sound in one pass on a GPU, unless the user wants another number or memory is too small."""
TF32 = "tf32"
"""A precision: float32 whose products a GPU rounds to 10 bits of mantissa (NVIDIA, since Ampere)."""
PRECISIONS = ("float32", "bfloat16", "float16", TF32)
"""What the network may compute in; archives and sound hold the same types in all of them."""
AUTOMATIC = "auto"
"""A precision, for decoding: bfloat16 on a CPU that has instructions for it, else float32."""


@dataclass(frozen=True)
class Runtime:
    """Where and how the network runs."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N; of a run over many files, before `placements`, names for that."""
    precision: str = "float32"
    """One of `PRECISIONS`, or `AUTOMATIC`."""
    threads: int | None = None
    """CPU threads; None: the cores that the process may use."""
    batch_size: int | None = None
    """Windows of sound in one pass on a GPU; None for the default."""


@dataclass(frozen=True)
class Placement:
    """Where one process of a run works."""

    rank: int
    runtime: Runtime
    is_named: bool = True
    """Without its device the run ends: the user named it. False where it is one of every GPU there is."""


def placements(runtime: Runtime, n_processes: int | None, n_jobs: int) -> list[Placement]:
    """Return where the processes of a run work, no more of them than there are jobs.

    ``runtime.device``: ``auto`` or ``cuda`` (every visible GPU; without one, auto is what accelerate
    takes), ``cpu``, or names of GPUs, as ``cuda:0,cuda:2``. ``runtime.threads``: None to share out the
    cores. ``n_processes``: None for one a device; they take turns at the devices. Raises UsageError for
    unknown names, and for ``cuda`` without a GPU. Loads torch, unless it is for the CPU, as all of some
    builds of torch is, or for a single file.
    """
    devices = runtime.device
    if not DEVICES.fullmatch(devices):
        raise UsageError(f"devices is {devices!r}, expected auto, cpu, cuda or cuda:N,cuda:M")
    names = devices.split(",")
    if n_jobs == 1 and n_processes is None and len(names) == 1:
        # Without looking at the GPUs: errors of a single file are reported before torch is loaded.
        return [Placement(0, replace(runtime, threads=runtime.threads or usable_cores()))]
    is_named = True
    if devices in ("auto", "cuda"):
        names = [f"cuda:{i}" for i in range(n_gpus())]
        is_named = not names
    if not names:
        if devices == "cuda":
            raise UsageError("devices is 'cuda', but PyTorch finds no usable GPU")
        names = ["auto"]
    n = max(1, min(n_processes or len(names), n_jobs))
    each = runtime.threads or usable_cores(n)
    return [
        Placement(rank, replace(runtime, device=names[rank % len(names)], threads=each), is_named)
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


def what_is_lacking(error: BaseException) -> str | None:
    """Return what of the system ``error`` says there is too little of, in words; None if nothing."""
    text = f"{type(error).__name__}: {error}"
    return next((what for phrase, what in _LACKING.items() if phrase in text), None)


def device_error(error: BaseException) -> DeviceError | None:
    """Return ``error`` as a DeviceError if a GPU, its driver or its memory is the cause; else None.

    After most of them the process can do nothing more with the GPU. Exceptions of torch are known by
    their names and their text, without loading it.
    """
    if isinstance(error, DeviceError):
        return error
    names = {each.__name__ for each in type(error).__mro__ if each.__module__.startswith("torch")}
    text = str(error)
    is_of_torch = isinstance(error, RuntimeError) and _OF_A_DEVICE.search(text)
    if not (is_of_torch or names.intersection(_DEVICE_ERRORS)):
        return None
    return DeviceError(first_line(error) or type(error).__name__)


def use_device(device: str) -> None:
    """Make the GPU ``device`` that of the calling thread; do nothing for what is not a GPU by number.

    Each thread of CUDA has a GPU of its own, at first number 0: there pinned memory and events would be,
    and half a gigabyte of each process. Raises UsageError if the GPU cannot be used. Loads torch for it.
    """
    if not device.startswith("cuda:"):
        return
    import torch  # noqa: PLC0415  # commands without a network do without it

    try:
        torch.cuda.set_device(device)
    except (RuntimeError, AssertionError, AttributeError) as error:
        is_without = isinstance(error, AttributeError)
        why = "this PyTorch is built without CUDA" if is_without else first_line(error)
        raise UsageError(f"device {device!r} cannot be used: {why}") from error


def first_line(error: BaseException) -> str:
    """Return what ``error`` says, without the advice that libraries add below."""
    return str(error).partition("\n")[0]


@contextmanager
def garbage_left() -> Iterator[None]:
    """Look for no garbage meanwhile.

    For loading torch, whose half a million objects stay: looking at them again and again, as their number
    grows, takes a tenth of the time. After `keep_what_is_loaded` they are not looked at later either.
    """
    was_looked_for = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count():
            gc.freeze()
        if was_looked_for:
            gc.enable()


def keep_what_is_loaded() -> None:
    """Look for no garbage any more, not even at the end, among what this process has and loads.

    For processes that do nothing but run earzip: objects of a caller would stay too. Looking at those of
    torch takes a tenth of a second each time, and a third of one as Python ends.
    """
    gc.freeze()
    atexit.register(gc.freeze)


def keep_freed_memory() -> None:
    """Let the C library keep the memory of arrays for the next ones, once and for this whole process.

    Windows of sound need the same arrays again and again. Getting their pages back from the system each
    time takes a tenth of the network's CPU time, and memory that is kept for each thread apart takes
    more of it. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _KEEPING.items():
            mallopt(option, value)


@cache
def tell(note: str) -> None:
    """Log a note about the devices, for the user, once in a process."""
    # Without a handler, as in worker processes, logging prints its text to stderr.
    logging.getLogger("earzip").warning("earzip: note: %s", note)


def has_unused_gpu() -> bool:
    """Return whether this machine has an NVIDIA GPU and PyTorch is built without CUDA. Loads torch."""
    if not has_nvidia_gpu():
        return False
    with garbage_left():
        import torch  # noqa: PLC0415

    return torch.version.cuda is None and torch.version.hip is None


def has_nvidia_gpu() -> bool:
    """Return whether the driver of an NVIDIA GPU is there, whatever PyTorch finds."""
    return _has_nvidia_driver() or _has_gpu_of_windows()


def _has_nvidia_driver() -> bool:
    try:
        return any(Path("/proc/driver/nvidia/gpus").iterdir())
    except OSError:
        return False


def _has_gpu_of_windows() -> bool:  # which WSL passes on, without that folder
    return Path("/dev/dxg").exists() and shutil.which("nvidia-smi") is not None


def usable_cores(n_processes: int = 1) -> int:
    """Return the cores that each of ``n_processes`` uses by default, at least 1, at most 16.

    They share those that this process may use: fewer than there are under taskset, Slurm or Docker.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    n_cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, min(n_cores // n_processes, MAX_DEFAULT_THREADS))


def n_gpus() -> int:
    """Return how many GPUs PyTorch may use by CUDA: 0 where accelerate is told to use none."""
    if version("torch").endswith("+cpu"):
        return 0  # such a build knows none: the process that hands out files need not load it
    with garbage_left():
        import torch  # noqa: PLC0415  # commands without a network do without it

    n_found = torch.cuda.device_count()
    if not n_found:  # which spares loading accelerate
        return 0
    from accelerate.utils import parse_flag_from_env  # noqa: PLC0415

    # Set by `accelerate launch --cpu` for its processes.
    return 0 if parse_flag_from_env("ACCELERATE_USE_CPU") else n_found
