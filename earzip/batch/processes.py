"""Several processes of one machine that share the jobs of a run: one a GPU, or some on the CPU.

The coordinator starts them, sends them their jobs, one at a time, and keeps the record. A pipe to each
process carries jobs one way and events the other. So the coordinator notices at once if a process dies,
only its files in progress have to be done again, and no process outlives the coordinator.
"""

from __future__ import annotations

import multiprocessing
import os
import selectors
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from queue import SimpleQueue

from earzip.batch.assignment import Assigned, Assignment
from earzip.batch.devices import end_by, opened_at, ready
from earzip.batch.events import Backend, Event, Exited, Finished, Progressed, Task
from earzip.batch.jobs import Job
from earzip.batch.signals import STOP_SIGNALS, Stop
from earzip.batch.threads import ABANDON_S, Workers, start_thread
from earzip.errors import EarzipError, ExitCode
from earzip.runtime import Placement, keep_freed_memory, keep_what_is_loaded

_DIE_S = 5.0
"""Time for a killed process to be gone; one that waits for a GPU's driver may never be."""
_PROGRESS_S = 0.2
"""A worker tells of its progress no more often: each message costs the coordinator 30 µs."""


@dataclass(frozen=True)
class _Want:
    """A thread of a worker waits for a job: a new one, or one that a lost worker had."""

    again: bool


@dataclass(frozen=True)
class _Take:
    """A job for a thread that waits for one; None: there are no more of this kind."""

    again: bool
    assigned: Assigned | None


@dataclass(frozen=True)
class _EndIn:
    """Start no further file, and abandon those in progress after ``grace_s``."""

    grace_s: float


@dataclass
class _Worker:
    """A process, as the coordinator sees it."""

    placement: Placement
    process: BaseProcess
    pipe: Connection
    farewell: Exited | None = None
    """What it says of its end, if its device is the reason."""
    n_waiting: int = 0
    """Threads that have no new job to do, and wait for one of a lost worker."""
    stop_sent_for: float = float("inf")
    """The deadline last sent to it, in seconds of `time.monotonic`."""


class ProcessBackend(Backend):
    """A backend of one process for each of ``placements``, with ``n_threads`` threads each.

    ``task`` is pickled and opened in each process. An EarzipError on opening it ends the run, unless it
    is the device's and the run can do without. A process that dies, or whose device fails, is not
    replaced; the others do its files.
    """

    def __init__(self, task: Task, placements: Sequence[Placement], n_threads: int = 1) -> None:
        super().__init__()
        self._task = task
        self._placements = placements
        self._n_threads = n_threads
        self._workers: list[_Worker] = []
        self._events: deque[Event] = deque()
        # One that stays: to register the pipes anew for each message would take longer with each worker.
        self._pipes = selectors.DefaultSelector()
        self._opened.callback(self._pipes.close)

    @property
    def n_processes(self) -> int:
        """Processes that share the jobs."""
        return len(self._placements)

    def start(self, jobs: Sequence[Job], stop: Stop) -> None:
        """Start ``jobs``."""
        self._stop = stop
        self._assignment = Assignment(jobs)
        # Not fork: threads and CUDA do not survive it.
        context = multiprocessing.get_context("spawn")
        # Inherited: a Ctrl-C while Python starts there would end it with a traceback.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            # Now, because it unblocks signals when it starts.
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            for placement in self._placements[: len(jobs)]:
                worker = self._start_process(context, placement)
                self._workers.append(worker)
                self._pipes.register(worker.pipe, selectors.EVENT_READ, worker)
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
        return _Worker(placement, process, ours)

    def receive(self, timeout_s: float) -> Event | None:
        """Return the next event, or None if none comes in ``timeout_s``."""
        self._pass_on_stop()
        if not self._events:
            timeout_s = min(timeout_s, self._stop.left_s or timeout_s)
            for key, _ in self._pipes.select(timeout_s):
                self._receive(key.data)
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
        match received:
            case _Want(again=False):
                rank = worker.placement.rank
                assigned = None if self._stop.requested else self._assignment.take_new(rank)
                self._send(worker, _Take(again=False, assigned=assigned))
            case _Want(again=True):
                worker.n_waiting += 1
                self._assign_again()
            case Exited():
                worker.farewell = received
                self._reap(worker)
            case Finished(index):
                self._assignment.finished(index)
                self._events.append(received)
                self._assign_again()
            case _:
                self._events.append(received)

    def _assign_again(self) -> None:
        """Give jobs of lost workers to those that wait for them, or let them go."""
        is_end = self._stop.requested or self._assignment.is_settled
        for worker in self._workers:
            while worker.n_waiting:
                rank = worker.placement.rank
                assigned = None if is_end else self._assignment.take_again(rank)
                if assigned is None and not is_end:
                    break
                worker.n_waiting -= 1
                self._send(worker, _Take(again=True, assigned=assigned))

    def _reap(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.join(ABANDON_S)
        if worker.process.is_alive():  # it hangs while exiting
            worker.process.kill()
            worker.process.join(_DIE_S)
            # Or the interpreter would wait for it once more, for ever.
            multiprocessing.process._children.discard(worker.process)  # type: ignore[attr-defined]
        self._pipes.unregister(worker.pipe)
        worker.pipe.close()
        rank, device = worker.placement.rank, worker.placement.runtime.device
        cause = self._cause_of(worker.process.exitcode)
        exited = worker.farewell or Exited(rank, cause, device)
        if not self._stop.requested:
            self._events.extend(self._assignment.lost(exited))
        self._events.append(exited)
        self._assign_again()

    def _cause_of(self, code: int | None) -> str | None:
        """Return why a process with the exit code ``code`` has ended, None if all is well."""
        if code is None:
            return "hangs, and cannot be killed"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        if code == ExitCode.STOPPED:
            if not self._workers:  # all were signalled, but not this process
                self._stop.request(0)
            return None
        return f"exited with code {code}" if code else None

    def _pass_on_stop(self) -> None:
        if not self._stop.requested:
            return
        self._assign_again()
        now, left_s = time.monotonic(), self._stop.left_s
        for worker in list(self._workers):
            if now + left_s < worker.stop_sent_for:
                worker.stop_sent_for = now + left_s
                self._send(worker, _EndIn(left_s))
            elif now > worker.stop_sent_for + ABANDON_S:
                self._reap(worker)  # it hangs; the next run removes its temporaries

    def _send(self, worker: _Worker, what: _Take | _EndIn) -> None:
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
    jobs: _Jobs = {False: SimpleQueue(), True: SimpleQueue()}
    send = _Sender(pipe)

    def next_job(again: bool) -> Assigned | None:  # which of two
        send(_Want(again))
        return jobs[again].get()

    def let_go() -> None:
        for queue in jobs.values():
            for _ in range(n_threads):
                queue.put(None)

    keep_freed_memory()
    keep_what_is_loaded()
    _share_cores(placement)
    try:
        start_thread(_listen, pipe, stop, jobs)
        with ExitStack() as stack:
            work = opened_at(placement, task, stack)
            send(ready(placement))
            workers = Workers(
                work,
                partial(next_job, again=False),
                send,
                stop,
                rank=placement.rank,
                device=placement.runtime.device,
                n_threads=n_threads,
                next_again=partial(next_job, again=True),
                on_lost=let_go,
            )
            workers.start()
            workers.join()
            if workers.lost:
                send(workers.exited())
                os._exit(ExitCode.FATAL)  # closing what is on the device may wait for it for ever
    except EarzipError as error:
        send(end_by(error, placement))
    if stop.requested:
        sys.exit(ExitCode.STOPPED)


class _Sender:
    """Sends a worker's events to the coordinator; reports of progress are summed for a while."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._progressed_s = 0.0
        self._reported_at = float("-inf")

    def __call__(self, what: Event | _Want) -> None:
        """Send ``what``; end the process if the coordinator is gone."""
        try:
            with self._sending:
                if isinstance(what, Progressed):
                    self._progressed_s += what.seconds
                    if time.monotonic() - self._reported_at >= _PROGRESS_S:
                        self._report()
                    return
                if isinstance(what, Finished):
                    self._report()  # first: the file is a part of what is done
                self._pipe.send(what)
        except OSError:
            os._exit(ExitCode.STOPPED)  # as in `_listen`, which may not have noticed yet

    def _report(self) -> None:
        if self._progressed_s:
            self._pipe.send(Progressed(self._progressed_s))
            self._progressed_s = 0.0
            self._reported_at = time.monotonic()


def _share_cores(placement: Placement) -> None:
    """Let torch, which is not loaded yet, use no more threads than the process has cores for.

    Its own default is every core of the machine, in each process.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(placement.runtime.threads or 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(placement.runtime.threads or 1))


_Jobs = dict[bool, SimpleQueue[Assigned | None]]
"""The jobs that are assigned to a worker: new ones, and those that a lost worker had."""


def _listen(pipe: Connection, stop: Stop, jobs: _Jobs) -> None:
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
            jobs[received.again].put(received.assigned)
