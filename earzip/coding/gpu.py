"""What is particular to a GPU: how it rounds, and its memory, of which there may be too little."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from earzip.coding.waiting import ANSWER_S, NoAnswerError, wait_for
from earzip.errors import DeviceError
from earzip.runtime import GPU_BATCH, TF32, tell

_MEMORY_IS_SHORT = ("out of memory", "STATUS_ALLOC_FAILED", "cudaErrorMemoryAllocation")
# What `arithmetic` sets is one for the whole process, and read as operations are started.
_starting = threading.RLock()


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Let operations that are started meanwhile, and afterwards, compute in IEEE float32, or in TF32.

    PyTorch's own default is TF32 in convolutions and IEEE in products of matrices. And let cuDNN take
    algorithms that give the same bits each time, chosen without measuring, which comes out differently
    from run to run. Only one thread at a time is in here.
    """
    with _starting:
        set_arithmetic(precision)
        yield


def set_arithmetic(precision: str) -> None:
    """Set how the process computes on GPUs from here on; see `arithmetic`."""
    with _starting:
        torch.backends.cuda.matmul.allow_tf32 = precision == TF32
        torch.backends.cudnn.allow_tf32 = precision == TF32
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def is_memory_short(error: BaseException) -> bool:
    """Return whether ``error`` says that a GPU has no memory left, in whichever of its libraries."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _MEMORY_IS_SHORT)


def too_small_for_batch(n: int) -> DeviceError:
    """Return the error of a GPU whose memory is too small for ``n`` windows at once."""
    return _too_small_for(
        f"a batch of {n} windows; use a smaller --batch-size or --precision bfloat16"
    )


def _too_small_for(what: str) -> DeviceError:
    return DeviceError(f"GPU memory is too small for {what}")


def moved(network: torch.nn.Module, device: torch.device) -> None:
    """Move ``network`` to ``device``. Raises DeviceError where its memory is too small."""
    try:
        network.to(device)
    except RuntimeError as error:
        if not is_memory_short(error):
            raise
        raise _too_small_for("the network itself") from None


def fitting_batch(passes: Callable[[int], None], asked_for: int | None) -> int:
    """Return how many windows go through ``passes`` at once, which tries a number of them.

    ``asked_for``: the user's number, which is kept or refused; None to halve the default until it fits,
    and to say so. Raises DeviceError where nothing fits.
    """
    n = asked_for or GPU_BATCH
    while not _fits(passes, n):
        if asked_for:
            raise too_small_for_batch(n)
        if n == 1:
            raise _too_small_for("one window; use --precision bfloat16, or the CPU")
        n //= 2
    if n < (asked_for or GPU_BATCH):
        tell(f"GPU memory is too small for {GPU_BATCH} windows at once: it takes {n}")
    return n


def wait_for_all(device: torch.device) -> None:
    """Return once a CUDA GPU has done what it was given. Raises DeviceError if it gives no answer."""
    if device.type != "cuda":
        return
    done = torch.cuda.Event()
    done.record(torch.cuda.current_stream(device))
    try:
        wait_for(done.query, ANSWER_S)
    except NoAnswerError:
        raise DeviceError(f"the device has given no answer for {ANSWER_S:g} s") from None


def _fits(passes: Callable[[int], None], n: int) -> bool:
    try:
        passes(n)
    except RuntimeError as error:
        if not is_memory_short(error):
            raise
    else:
        return True
    finally:
        # Of a batch that was too large nothing is to stay reserved.
        torch.cuda.empty_cache()
    return False
