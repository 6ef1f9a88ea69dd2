"""Windows of all tracks in progress, computed on one device.

Each track's thread submits its windows, a bounded number ahead, and gets the results in its order. On a
CPU every window is a pass of its own; on a GPU windows of different tracks share batches, since one
track alone seldom fills them.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

import torch
from torch import Tensor

from earzip.coding.gpu import is_memory_short, too_small_for_batch
from earzip.coding.waiting import (
    ANSWER_S,
    Batch,
    Kind,
    Network,
    NoAnswerError,
    Submitted,
    Window,
    WindowQueue,
    wait_for,
)
from earzip.errors import DeviceError
from earzip.runtime import use_device

_Tag = TypeVar("_Tag")

LINGER_S = 0.05
"""How long a partial batch waits for another window of its kind after the last one. When tracks get
results, they submit their next windows within a few milliseconds; a later window is still being read,
and the device would be idle."""
_LOOK_S = 0.2  # whether the device still answers
_MAX_RUNNING = 2  # batches on the device: one computes, the next is copied already
_LEAST_IN_FLIGHT = 2  # windows of a track: one is computed while it works on the one before


class WindowEngine(ABC):
    """Computes windows that any number of threads submit, ``in_flight`` of all tracks together."""

    def __init__(self, in_flight: int) -> None:
        self._in_flight = in_flight
        self._n_tracks = 0
        self._counting = threading.Lock()

    @abstractmethod
    def submit(
        self, network: Network, window: Window, batch_size: int | None = None
    ) -> Future[Window]:
        """Return the result to come of ``network`` on ``window`` alone; RuntimeError once closed.

        ``batch_size``: how many such windows make a batch, where there are batches; None for the usual.
        """

    @abstractmethod
    def close(self) -> None:
        """End the threads. What is computing is finished, what waits is cancelled."""

    def computed(
        self, network: Network, windows: Iterable[tuple[Window, _Tag]]
    ) -> Iterator[tuple[Window, _Tag]]:
        """Yield the result of each of a track's ``windows`` with its tag, in order.

        ``windows`` is read no further ahead than the track's share of what may be in flight; the first
        result comes as soon as it is there. If ``windows`` raises, or this generator is closed early,
        what waits of the track is cancelled. Raises what the network raises, DeviceError where a GPU's
        memory does not hold a batch.
        """
        waiting: deque[tuple[Future[Window], _Tag]] = deque()
        none_yet = True
        with self._one_more_track():
            try:
                for window, tag in windows:
                    waiting.append((self.submit(network, window), tag))
                    while len(waiting) >= self._share or (none_yet and waiting[0][0].done()):
                        none_yet = False
                        yield _result_of(*waiting.popleft())
                while waiting:
                    yield _result_of(*waiting.popleft())
            finally:
                for future, _ in waiting:
                    future.cancel()

    @property
    def _share(self) -> int:
        """How many windows one track may have in flight, so that memory does not grow with tracks."""
        return max(_LEAST_IN_FLIGHT, -(-self._in_flight // self._n_tracks))

    @contextmanager
    def _one_more_track(self) -> Iterator[None]:
        with self._counting:
            self._n_tracks += 1
        try:
            yield
        finally:
            with self._counting:
                self._n_tracks -= 1


def _result_of(future: Future[Window], tag: _Tag) -> tuple[Window, _Tag]:
    return future.result(), tag


class SingleWindows(WindowEngine):
    """Each window in a pass of its own, on one of ``threads`` threads of a CPU."""

    def __init__(self, threads: int) -> None:
        super().__init__(in_flight=threads + 1)
        self._pool = ThreadPoolExecutor(threads, initializer=use_one_thread)

    def submit(
        self,
        network: Network,
        window: Window,
        batch_size: int | None = None,  # noqa: ARG002  # there are no batches
    ) -> Future[Window]:
        """Return the result to come; see `WindowEngine.submit`."""
        # A list, to be emptied: the pool keeps what it is given until the result is there.
        return self._pool.submit(_alone, network, [window])

    def close(self) -> None:
        """End the threads; see `WindowEngine.close`."""
        self._pool.shutdown(cancel_futures=True)


def use_one_thread() -> None:
    """Make torch compute in the calling thread only."""
    # Windows run side by side, one thread each: two threads in one small window gain nothing, and a
    # sum split among threads could round differently from run to run.
    torch.set_num_threads(1)


def _alone(network: Network, windows: list[Window]) -> Window:
    # In the thread that computes: inference mode is thread-local. A copy, as kernels may round
    # differently on memory of other strides and alignment, as parts of larger arrays have.
    with torch.inference_mode():
        result: Window = network(torch.tensor(windows.pop())[None])[0].numpy()
    return result


class WindowBatches(WindowEngine):
    """Windows of one kind, ``batch_size`` at a time, of whichever tracks wait for them.

    A batch is computed at its full size, filled up with zeros, because results may depend on it. One
    thread gathers windows and starts batches, another waits for them and delivers the results: while
    one batch computes, the next is gathered and copied to the device. A batch that takes longer than
    ``answer_s`` breaks the engine: all windows, those to come too, fail with a DeviceError.
    """

    def __init__(
        self,
        device: torch.device,
        batch_size: int,
        linger_s: float = LINGER_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        super().__init__(in_flight=_MAX_RUNNING * batch_size)
        self._answer_s = answer_s
        self._device = device
        self._batch_size = batch_size
        self._linger_s = linger_s
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._changed = threading.Condition()
        self._queues: dict[Kind, WindowQueue] = {}
        self._n_running = 0
        self._is_closed = False
        self._starting: tuple[float, list[Future[Window]]] | None = None
        """Since when a batch is being started, and whose it is."""
        self._broken: DeviceError | None = None
        self._started: SimpleQueue[Batch | None] = SimpleQueue()
        # Daemons: a codec that is never closed must not block the interpreter's exit.
        self._threads = [
            threading.Thread(target=self._start_batches, name="earzip-start", daemon=True),
            threading.Thread(target=self._finish_batches, name="earzip-finish", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, network: Network, window: Window, batch_size: int | None = None
    ) -> Future[Window]:
        """Return the result to come; see `WindowEngine.submit`."""
        submitted = Submitted(window, Future(), time.monotonic())
        with self._changed:
            if self._broken:
                raise self._broken
            if self._is_closed:
                raise RuntimeError("a window was handed in after the end")
            kind = network, window.shape, batch_size or self._batch_size
            queue = self._queues.setdefault(kind, WindowQueue())
            queue.submitted.append(submitted)
            queue.changed_at = submitted.at
            self._changed.notify()
        return submitted.future

    def close(self) -> None:
        """End the threads; see `WindowEngine.close`."""
        with self._changed:
            self._is_closed = True
            left = [each for queue in self._queues.values() for each in queue.submitted]
            self._queues.clear()
            self._changed.notify()
        for each in left:
            each.future.cancel()
        for thread in self._threads:
            # Once broken, one may wait for the device for ever.
            while thread.is_alive() and not self._broken:
                thread.join(_LOOK_S)

    def _start_batches(self) -> None:
        while self._start_one():
            pass
        self._started.put(None)

    def _start_one(self) -> bool:
        """Start the next batch, once there is one; False at the end."""
        chosen = self._next_batch()
        if chosen is None:
            return False
        (network, _, batch_size), queue, taken = chosen
        futures = [each.future for each in taken]
        self._starting = time.monotonic(), futures
        try:
            results = self._start(network, [each.window for each in taken], batch_size)
        except BaseException as error:  # any error is the windows' own
            self._end(queue)
            self._fail(futures, error, batch_size)
        else:
            self._started.put(Batch(queue, futures, results, batch_size))
        self._starting = None
        return True

    def _next_batch(self) -> tuple[Kind, WindowQueue, list[Submitted]] | None:
        """Wait for windows that make a batch and take them, counted as running; None at the end."""
        with self._changed:
            while not (self._is_closed or self._broken):
                kind, wait_s = self._due()
                if kind is None:
                    self._changed.wait(wait_s)
                    continue
                queue = self._queues[kind]
                if taken := queue.take(kind[2]):
                    queue.n_running += 1
                    self._n_running += 1
                    return kind, queue, taken
            return None

    def _due(self) -> tuple[Kind | None, float | None]:
        """Return the kind whose batch is next, or how many seconds until one may be, if that is known.

        Full batches go at once. One that is not goes once it has lingered, but not while a batch of
        its kind runs: the device has work, and its results bring more windows. Of several the one
        whose oldest window waits longest is next, so none waits for ever behind full ones.
        """
        if self._n_running == _MAX_RUNNING:
            return None, None
        now = time.monotonic()
        due: dict[float, Kind] = {}
        waits_s: list[float] = []
        for kind, queue in self._queues.items():
            if not queue.submitted:
                continue
            is_full = len(queue.submitted) >= kind[2]
            wait_s = 0.0 if is_full else queue.changed_at + self._linger_s - now
            if wait_s <= 0 and (is_full or not queue.n_running):
                due[queue.submitted[0].at] = kind
            elif not queue.n_running:
                waits_s.append(wait_s)
        return due[min(due)] if due else None, min(waits_s, default=None)

    def _start(
        self, network: Network, windows: list[Window], batch_size: int
    ) -> Callable[[], Window]:
        """Begin a batch; return what waits for its results."""
        use_device(str(self._device))  # before anything is pinned
        # In the thread that computes: inference mode is thread-local.
        with torch.inference_mode():
            copies = self._copies
            batch = torch.empty(batch_size, *windows[0].shape, pin_memory=copies is not None)
            for row, window in zip(batch, windows, strict=False):
                row.copy_(torch.from_numpy(window))
            batch[len(windows) :] = 0
            if copies is None:
                return network(batch).numpy
            return self._start_on_cuda(network, batch, copies)

    def _start_on_cuda(
        self, network: Network, batch: Tensor, copies: torch.cuda.Stream
    ) -> Callable[[], Window]:
        with torch.cuda.device(self._device):
            compute = torch.cuda.current_stream()
            # Beside what computes. Pinned memory goes back to torch's cache, which waits for the copy.
            with torch.cuda.stream(copies):
                there = batch.to(self._device, non_blocking=True)
            compute.wait_stream(copies)
            there.record_stream(compute)
            output = network(there)
            here = torch.empty(output.shape, pin_memory=True).copy_(output, non_blocking=True)
            done = torch.cuda.Event()
            done.record(compute)

        def results() -> Window:
            wait_for(done.query, self._answer_s)
            found: Window = here.numpy()
            return found

        return results

    def _finish_batches(self) -> None:
        while self._finish_one():
            pass

    def _finish_one(self) -> bool:
        """Wait for the oldest batch on the device and deliver its results; False at the end."""
        batch = self._next_started()
        if batch is None:
            return False
        try:
            use_device(str(self._device))
            # Copies: a row of its batch would keep all of that in memory while one track is slow.
            rows = [row.copy() for row in batch.results()[: len(batch.futures)]]
        except NoAnswerError:
            self._break(batch.futures)
            return False
        except BaseException as error:  # any error is the windows' own
            self._end(batch.queue)
            self._fail(batch.futures, error, batch.size)
            return True
        self._end(batch.queue)
        for future, row in zip(batch.futures, rows, strict=True):
            future.set_result(row)
        return True

    def _next_started(self) -> Batch | None:
        """Return the oldest batch on the device; None at the end, or if one takes too long to start."""
        while True:
            try:
                return self._started.get(timeout=_LOOK_S)
            except Empty:
                starting = self._starting
                if starting and time.monotonic() - starting[0] > self._answer_s:
                    self._break(starting[1])
                    return None

    def _break(self, futures: list[Future[Window]]) -> None:
        """Fail ``futures``, and all windows that wait, because the device gives no answer."""
        error = DeviceError(f"the device has given no answer for {self._answer_s:g} s")
        left = list(futures)
        with self._changed:
            self._broken = error
            for queue in self._queues.values():
                left += [each.future for each in queue.take(len(queue.submitted))]
            self._changed.notify()
        starting = self._starting
        left += starting[1] if starting else []
        while not self._started.empty():
            batch = self._started.get()
            left += batch.futures if batch else []
        self._fail(list(dict.fromkeys(left)), error, self._batch_size)

    def _end(self, queue: WindowQueue) -> None:
        """Note that a batch of ``queue`` is off the device."""
        with self._changed:
            self._n_running -= 1
            queue.n_running -= 1
            queue.changed_at = time.monotonic()
            self._changed.notify()

    def _fail(self, futures: list[Future[Window]], error: BaseException, batch_size: int) -> None:
        """Fail ``futures``, of a batch of ``batch_size``, with ``error``."""
        for future in futures:
            # Without a cause: its traceback holds tensors, and so the memory that is short.
            is_short = is_memory_short(error)
            with suppress(InvalidStateError):  # the device answers after all, and too late
                future.set_exception(too_small_for_batch(batch_size) if is_short else error)


def window_engine(device: torch.device, *, threads: int, batch_size: int) -> WindowEngine:
    """Return what computes windows on ``device``, where ``threads`` are those of a CPU."""
    if device.type == "cpu":
        return SingleWindows(threads)
    return WindowBatches(device, batch_size)
