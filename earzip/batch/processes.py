"""Several processes of one machine that share the jobs of a run: one a GPU, or some on the CPU.

The coordinator starts them, sends them their jobs, one at a time, and keeps the record. A pipe to each
process carries jobs one way and events the other. So the coordinator notices at once if a process dies,
only its files in progress are lost, and no process outlives the coordinator.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from queue import SimpleQueue

from earzip.batch.events import Backend, Event, Exited, Failed, Task
from earzip.batch.plan import Job
from earzip.batch.signals import STOP_SIGNALS, Stop
from earzip.batch.threads import Workers, start_thread
from earzip.errors import EarzipError, ExitCode
from earzip.runtime import Placement, keep_freed_memory, keep_what_is_loaded

_ABANDON_S = 10.0
"""Time for a process to reach the next block of audio once files in progress are abandoned."""


@dataclass(frozen=True)
class _Want:
    """A thread of a worker waits for a job."""


@dataclass(frozen=True)
class _EndIn:
    """Start no further file, and abandon those in progress after ``grace_s``."""

    grace_s: float


_NextJob = tuple[int, Job] | None


@dataclass
class _Worker:
    """A process, as the coordinator sees it."""

    rank: int
    process: BaseProcess
    pipe: Connection
    stop_sent_for: float = float("inf")
    """The deadline last sent to it, in seconds of `time.monotonic`."""


class ProcessBackend(Backend):
    """A backend of one process for each of ``placements``, with ``n_threads`` threads each.

    ``task`` is pickled and opened in each process. An EarzipError on opening it ends the run.
    """

    def __init__(self, task: Task, placements: Sequence[Placement], n_threads: int = 1) -> None:
        super().__init__()
        self._task = task
        self._placements = placements
        self._n_threads = n_threads
        self._workers: list[_Worker] = []
        self._events: deque[Event] = deque()

    @property
    def n_processes(self) -> int:
        """Processes that share the jobs."""
        return len(self._placements)

    def start(self, jobs: Sequence[Job], stop: Stop) -> None:
        """Start ``jobs``."""
        self._stop = stop
        self._left: Iterator[tuple[int, Job]] = iter(enumerate(jobs))
        # Not fork: threads and CUDA do not survive it.
        context = multiprocessing.get_context("spawn")
        # Inherited: a Ctrl-C while Python starts there would end it with a traceback.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            # Now, because it unblocks signals when it starts.
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            for placement in self._placements[: len(jobs)]:
                self._workers.append(self._start_process(context, placement))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _start_process(self, context: SpawnContext, placement: Placement) -> _Worker:
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_work_at,
            args=(theirs, self._task, placement, self._n_threads),
            name=f"earzip rank {placement.rank}",
            daemon=True,
        )
        process.start()
        theirs.close()  # or its exit would never be noticed here
        return _Worker(placement.rank, process, ours)

    def receive(self, timeout_s: float) -> Event | None:
        """Return the next event, or None if none comes in ``timeout_s``."""
        self._pass_on_stop()
        if not self._events:
            pipes = {worker.pipe: worker for worker in self._workers}
            for pipe in wait(list(pipes), min(timeout_s, self._stop.left_s or timeout_s)):
                assert isinstance(pipe, Connection)
                self._receive(pipes[pipe])
        return self._events.popleft() if self._events else None

    @property
    def is_done(self) -> bool:
        """Whether every process has exited."""
        return not self._workers and not self._events

    def kill(self) -> None:
        """End all processes at once; from a signal handler too."""
        for worker in self._workers:
            worker.process.kill()

    def _receive(self, worker: _Worker) -> None:
        try:
            received = worker.pipe.recv()
        except (EOFError, OSError):  # of a message that a kill has cut short too
            self._reap(worker)
            return
        if isinstance(received, _Want):
            self._send(worker, None if self._stop.requested else next(self._left, None))
        else:
            self._events.append(received)

    def _reap(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.join(_ABANDON_S)
        if worker.process.is_alive():  # it hangs while exiting
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()
        code = worker.process.exitcode
        cause = None
        if code is not None and code < 0:
            cause = f"was killed by {signal.Signals(-code).name}"
        elif code == ExitCode.STOPPED:
            if not self._workers:  # all were signalled, but not this process
                self._stop.request(0)
        elif code:
            cause = f"exited with code {code}"
        self._events.append(Exited(worker.rank, cause))

    def _pass_on_stop(self) -> None:
        if not self._stop.requested:
            return
        now, left_s = time.monotonic(), self._stop.left_s
        for worker in self._workers:
            if now + left_s < worker.stop_sent_for:
                worker.stop_sent_for = now + left_s
                self._send(worker, _EndIn(left_s))
            elif now > worker.stop_sent_for + _ABANDON_S:
                worker.process.kill()  # it hangs; the next run removes its temporaries

    def _send(self, worker: _Worker, what: _NextJob | _EndIn) -> None:
        with suppress(OSError):  # it is dead, and will be reaped
            worker.pipe.send(what)


def _work_at(pipe: Connection, task: Task, placement: Placement, n_threads: int) -> None:
    """Work as one process of a run: what `ProcessBackend` starts."""
    stop = Stop()
    for number in STOP_SIGNALS:
        # Ctrl-C reaches every process of a terminal, and systemd and Slurm signal a whole job. The
        # coordinator sends the deadline and handles a second signal.
        signal.signal(number, lambda *_: stop.request(float("inf")))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    assigned: SimpleQueue[_NextJob] = SimpleQueue()
    sending = threading.Lock()

    def send(what: Event | _Want) -> None:
        try:
            with sending:
                pipe.send(what)
        except OSError:
            os._exit(ExitCode.STOPPED)  # as in `_listen`, which may not have noticed yet

    def next_job() -> _NextJob:
        send(_Want())
        return assigned.get()

    keep_freed_memory()
    keep_what_is_loaded()
    try:
        start_thread(_listen, pipe, stop, assigned)
        with task.opened(placement) as work:
            workers = Workers(work, next_job, send, stop, rank=placement.rank, n_threads=n_threads)
            workers.start()
            workers.join()
    except EarzipError as error:
        send(Failed(error))
    if stop.requested:
        sys.exit(ExitCode.STOPPED)


def _listen(pipe: Connection, stop: Stop, assigned: SimpleQueue[_NextJob]) -> None:
    """Receive from the coordinator until it exits."""
    while True:
        try:
            received = pipe.recv()
        except (EOFError, OSError):
            # The coordinator was killed or is done: no further work would be recorded.
            os._exit(ExitCode.STOPPED)
        if isinstance(received, _EndIn):
            stop.request(received.grace_s)
        else:
            assigned.put(received)
