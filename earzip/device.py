"""The device that the network runs on, and whether it can."""

from __future__ import annotations

import re
import warnings

from earzip.errors import UsageError
from earzip.options import PRECISIONS

_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?", re.ASCII)


def choose_device(name: str, precision: str = "float32") -> str:
    """Return the device to run the network on; ``auto``: what accelerate takes, a GPU if there is one.

    Raises `UsageError` for one that is not there, that is neither a CPU nor a CUDA GPU, or that cannot
    compute in ``precision``, one of `earzip.options.PRECISIONS`. Loads torch.
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


def _require_precision(device: str, precision: str) -> None:
    """Try the operations that a network spends its time in, on next to nothing."""
    import torch  # noqa: PLC0415
    from torch.nn import functional as F  # noqa: PLC0415

    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
    dtype, ones = getattr(torch, precision), torch.ones(1, 1, 1, device=device)
    try:
        with warnings.catch_warnings(action="ignore"), torch.autocast(ones.device.type, dtype):
            found = F.linear(F.conv_transpose1d(F.conv1d(ones, ones), ones), ones[0])
    except RuntimeError as error:
        raise UsageError(
            f"device {device!r} cannot compute in {precision}: {_first_line(error)}"
        ) from error
    if found.dtype != dtype:  # autocast warns and goes on in float32
        raise UsageError(f"device {device!r} cannot compute in {precision}")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
