"""What waits for the device: windows for their batch, and a batch for its results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Window = NDArray[np.float32]
Network = Callable[[Tensor], Tensor]
"""A way through a network: a batch, float32 ``[B, …]``, to float32 ``[B, …]``, on the batch's device."""

ANSWER_S = 120.0
"""How long a batch may take before the GPU is taken to hang. The slowest take seconds, the first of a
process longer, as its kernels are loaded."""
_POLL_S = 0.001

Kind = tuple[Network, tuple[int, ...], int]
"""What the windows of a batch have in common: the network, their shape, and how many they are."""


@dataclass
class Submitted:
    """A window of a track, the result to come, and when it was handed in."""

    window: Window
    future: Future[Window]
    at: float


@dataclass
class WindowQueue:
    """The windows of one kind that wait for a batch."""

    submitted: deque[Submitted] = field(default_factory=deque)
    n_running: int = 0
    """Batches of this kind on the device."""
    changed_at: float = 0.0
    """When a window came, or a batch ended whose results may bring windows."""

    def take(self, n_most: int) -> list[Submitted]:
        """Return the oldest windows, which can no longer be cancelled; none if all of them were."""
        taken: list[Submitted] = []
        while self.submitted and len(taken) < n_most:
            oldest = self.submitted.popleft()
            if oldest.future.set_running_or_notify_cancel():
                taken.append(oldest)
        return taken


@dataclass
class Batch:
    """A batch on the device; ``results`` waits for it and returns ``[B, …]``, the futures' rows first."""

    queue: WindowQueue
    futures: list[Future[Window]]
    results: Callable[[], Window]
    size: int


class NoAnswerError(Exception):
    """A batch takes too long."""


def wait_for(is_done: Callable[[], bool], at_most_s: float) -> None:
    """Return once ``is_done``. Raises `NoAnswerError` if that takes longer than ``at_most_s``."""
    # Asked again and again, because an event's own wait has no limit.
    until = time.monotonic() + at_most_s
    while not is_done():
        if time.monotonic() > until:
            raise NoAnswerError
        time.sleep(_POLL_S)
