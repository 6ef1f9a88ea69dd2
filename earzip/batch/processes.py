"""Several processes of one machine that share the jobs of a run: one a GPU, or some on the CPU.

The process that starts them deals them their jobs, one at a time, and keeps the record; they work. A pair
of pipes to each carries jobs one way and events the other, so a process that dies is known at once and
costs no more than the files that it had in hand, and none outlives the one that deals.
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

from earzip.batch.events import Broke, Ended, Event, OpenWork
from earzip.batch.plan import Job
from earzip.batch.signals import STOP_SIGNALS, Stop
from earzip.batch.workers import Workers
from earzip.errors import EarzipError
from earzip.runtime import Placement

_ABANDON_S = 10.0
"""What a process may take, once files in hand are abandoned, to come to the next block of audio."""
_DEALER_IS_GONE = 75
_WAS_STOPPED = 75


@dataclass(frozen=True)
class _Want:
    """A thread of a process waits for a job."""


@dataclass(frozen=True)
class _EndIn:
    """Begin no further file, and abandon those in hand after ``grace_s``."""

    grace_s: float


_Dealt = tuple[int, Job] | None


@dataclass
class _Member:
    """A process, as the one that deals sees it."""

    rank: int
    process: BaseProcess
    pipe: Connection
    told_to_stop_at: float = float("inf")
    """The deadline that it knows of, in seconds of `time.monotonic`."""


class Processes:
    """A crew of one process for each of ``placements``, with ``n_threads`` threads each.

    ``open_work`` is pickled; it is called in each process. An EarzipError of it ends the run.
    """

    def __init__(
        self, open_work: OpenWork, placements: Sequence[Placement], n_threads: int = 1
    ) -> None:
        self._open_work = open_work
        self._seats = placements
        self._n_threads = n_threads
        self._members: list[_Member] = []
        self._events: deque[Event] = deque()

    @property
    def n_processes(self) -> int:
        """Processes that share the jobs."""
        return len(self._seats)

    def start(self, jobs: Sequence[Job], stop: Stop) -> None:
        """Begin with ``jobs``."""
        self._stop = stop
        self._left: Iterator[tuple[int, Job]] = iter(enumerate(jobs))
        # Not fork: threads and CUDA do not survive it.
        context = multiprocessing.get_context("spawn")
        # Inherited: a Ctrl-C that comes while Python starts there would end it with a traceback.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            # Now, for it unblocks signals once it has started what comes with every spawned process.
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            for placement in self._seats[: len(jobs)]:
                self._members.append(self._start_process(context, placement))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _start_process(self, context: SpawnContext, placement: Placement) -> _Member:
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_work_at,
            args=(theirs, self._open_work, placement, self._n_threads),
            name=f"earzip rank {placement.rank}",
            daemon=True,
        )
        process.start()
        theirs.close()  # or its end would never be seen here
        return _Member(placement.rank, process, ours)

    def receive(self, timeout_s: float) -> Event | None:
        """Return the next event, or None if none comes in ``timeout_s``."""
        self._pass_on_stop()
        if not self._events:
            pipes = {member.pipe: member for member in self._members}
            for pipe in wait(list(pipes), min(timeout_s, self._stop.left_s or timeout_s)):
                assert isinstance(pipe, Connection)
                self._hear(pipes[pipe])
        return self._events.popleft() if self._events else None

    @property
    def is_done(self) -> bool:
        """Whether all processes have ended."""
        return not self._members and not self._events

    def close(self) -> None:
        """Abandon what is still in hand."""
        if not self.is_done:
            self._stop.request(0)
        while not self.is_done:
            self.receive(0.2)

    def kill(self) -> None:
        """End all processes at once; from a signal handler too."""
        for member in self._members:
            member.process.kill()

    def _hear(self, member: _Member) -> None:
        try:
            heard = member.pipe.recv()
        except (EOFError, OSError):  # of a message that a kill has cut short too
            self._bury(member)
            return
        if isinstance(heard, _Want):
            self._tell(member, None if self._stop.requested else next(self._left, None))
        else:
            self._events.append(heard)

    def _bury(self, member: _Member) -> None:
        self._members.remove(member)
        member.process.join(_ABANDON_S)
        if member.process.is_alive():  # it hangs on its way out
            member.process.kill()
            member.process.join()
        member.pipe.close()
        code = member.process.exitcode
        cause = None
        if code is not None and code < 0:
            cause = f"was killed by {signal.Signals(-code).name}"
        elif code == _WAS_STOPPED:
            if not self._members:  # somebody has signalled all of them, and not this process
                self._stop.request(0)
        elif code:
            cause = f"ended with exit code {code}"
        self._events.append(Ended(member.rank, cause))

    def _pass_on_stop(self) -> None:
        if not self._stop.requested:
            return
        now, left_s = time.monotonic(), self._stop.left_s
        for member in self._members:
            if now + left_s < member.told_to_stop_at:
                member.told_to_stop_at = now + left_s
                self._tell(member, _EndIn(left_s))
            elif now > member.told_to_stop_at + _ABANDON_S:
                member.process.kill()  # it hangs; what it leaves is reaped by the next run

    def _tell(self, member: _Member, what: _Dealt | _EndIn) -> None:
        with suppress(OSError):  # it is dead, and heard of as such
            member.pipe.send(what)


def _work_at(pipe: Connection, open_work: OpenWork, placement: Placement, n_threads: int) -> None:
    """Work as one process of a run: what `Processes` starts."""
    stop = Stop()
    for number in STOP_SIGNALS:
        # Ctrl-C reaches every process of a terminal, and systemd and Slurm signal all of a job too. How
        # long there is, and what a second signal means, is told by the one that deals.
        signal.signal(number, lambda *_: stop.request(float("inf")))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    dealt: SimpleQueue[_Dealt] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, stop, dealt), daemon=True).start()
    sending = threading.Lock()

    def send(what: Event | _Want) -> None:
        try:
            with sending:
                pipe.send(what)
        except OSError:
            os._exit(_DEALER_IS_GONE)  # as in `_listen`, which may not have come to it yet

    def deal() -> _Dealt:
        send(_Want())
        return dealt.get()

    try:
        with open_work(placement) as work:
            workers = Workers(work, deal, send, stop, rank=placement.rank, n_threads=n_threads)
            workers.start()
            workers.join()
    except EarzipError as error:
        send(Broke(error))
    if stop.requested:
        sys.exit(_WAS_STOPPED)


def _listen(pipe: Connection, stop: Stop, dealt: SimpleQueue[_Dealt]) -> None:
    """Hear what the process that deals says, until it ends."""
    while True:
        try:
            heard = pipe.recv()
        except (EOFError, OSError):
            # It was killed, or has all that it wants: nobody would record what is done from here on.
            os._exit(_DEALER_IS_GONE)
        if isinstance(heard, _EndIn):
            stop.request(heard.grace_s)
        else:
            dealt.put(heard)
