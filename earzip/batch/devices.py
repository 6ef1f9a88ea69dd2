"""The device of a worker: opened in it, told of, and lost."""

from __future__ import annotations

from contextlib import ExitStack

from earzip.batch.events import Exited, Failed, Opened, Task, Work
from earzip.errors import DeviceError, EarzipError, UsageError
from earzip.runtime import Placement, device_error, use_device


def opened_at(placement: Placement, task: Task, stack: ExitStack) -> Work:
    """Return the work of ``task`` at ``placement``, to be closed by ``stack``.

    The calling thread works on its device from then on. Raises as `Task.opened` does, and DeviceError for
    whatever the device raises.
    """
    try:
        use_device(placement.runtime.device)
        return stack.enter_context(task.opened(placement))
    except EarzipError:
        raise
    except Exception as error:
        of_device = device_error(error)
        if of_device is None:
            raise
        raise of_device from error


def ready(placement: Placement) -> Opened:
    """Return the event of a worker whose work is open: on which device it is, and what that is called."""
    device = placement.runtime.device
    if not device.startswith("cuda"):
        return Opened(placement.rank, device)
    import torch  # noqa: PLC0415  # it is loaded by now

    try:
        return Opened(placement.rank, device, torch.cuda.get_device_name(device))
    except (RuntimeError, AssertionError, AttributeError):  # its first file will tell
        return Opened(placement.rank, device)


def end_by(error: EarzipError, placement: Placement) -> Exited | Failed:
    """Return the event of a worker that could not open its work at ``placement``.

    The run goes on without it if its device is the reason, and is not one that the user has named.
    """
    if isinstance(error, DeviceError | UsageError) and not placement.is_named:
        return Exited(placement.rank, cannot_use(error), placement.runtime.device)
    return Failed(error)


def cannot_use(error: EarzipError) -> str:
    """Return what became of a worker that met ``error`` of its device, after "the worker process"."""
    names_device = isinstance(error, UsageError)
    return (
        f"cannot work: {error.message}"
        if names_device
        else f"cannot use its device: {error.message}"
    )
