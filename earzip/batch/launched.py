"""Processes that `accelerate launch` or torchrun has started, on one machine or several, as one run.

The process of rank 0 plans, works too, and keeps the record. If another one is lost, rank 0 assigns its
jobs to those that are left. What they all know of each other is in `earzip.batch.rendezvous`.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from earzip.batch.assignment import Assigned, Assignment
from earzip.batch.devices import end_by, opened_at, ready
from earzip.batch.events import (
    Backend,
    Event,
    Exited,
    Failed,
    Finished,
    Progressed,
    Started,
    Task,
    Work,
)
from earzip.batch.jobs import Job
from earzip.batch.rendezvous import RENDEZVOUS_TIMEOUT, Rendezvous
from earzip.batch.signals import Stop, StopRequested
from earzip.batch.threads import Workers
from earzip.errors import EarzipError, RunEndedError
from earzip.runtime import Placement

_HEARTBEAT_S = 0.5
_TIMEOUT_S = 30.0
"""A process without a heartbeat for this long is considered dead."""
_TIMEOUT_AT_STOP_S = 5.0
"""The same after a stop request: a scheduler does not wait long."""
_UNOWNED_S = 2.0
"""A job that went out this long ago, and that no process says it has, went to one that then died."""
_POLL_S = 0.02
_POLL_AGAIN_S = 0.1


class _WorkerLink:
    """A worker's link to the rendezvous: claims jobs, sends events, and a heartbeat."""

    def __init__(self, rendezvous: Rendezvous, stop: Stop) -> None:
        self._rendezvous = rendezvous
        self._stop = stop
        self._progressed_s = 0.0
        self._counting = threading.Lock()
        self._leaving = threading.Event()
        self._has_lost_device = False
        self._parent = os.getppid()
        self.is_cut_off = False
        """The store or the parent process is gone."""
        with suppress(RuntimeError):  # the thread will notice
            rendezvous.heartbeat(0)
        self._thread = threading.Thread(target=self._keep_in_touch, daemon=True)
        self._thread.start()

    def workers(self, work: Work, placement: Placement, n_threads: int) -> Workers:
        """Return threads that do the jobs of this link at ``placement``."""
        return Workers(
            work,
            self._next_job,
            self.send,
            self._stop,
            rank=placement.rank,
            device=placement.runtime.device,
            n_threads=n_threads,
            next_again=self._next_again,
            on_lost=self._lose_device,
        )

    def _next_job(self) -> Assigned | None:
        try:
            return self._rendezvous.claim()
        except RuntimeError:
            self._cut_off()
            return None

    def _next_again(self) -> Assigned | None:
        """Wait for a job of a lost process; None if none will come."""
        try:
            while not (self._stop.requested or self._has_lost_device):
                assigned = self._rendezvous.claim_again()
                if assigned is True:
                    break
                if assigned:
                    return assigned
                time.sleep(_POLL_AGAIN_S)
        except RuntimeError:
            self._cut_off()
        return None

    def _lose_device(self) -> None:
        self._has_lost_device = True

    def send(self, event: Event) -> None:
        """Send ``event`` to rank 0; progress is summed and sent later. Raises StopRequested."""
        if isinstance(event, Progressed):
            with self._counting:
                self._progressed_s += event.seconds
            return
        try:
            self._rendezvous.send(event)
        except RuntimeError as error:
            self._cut_off()
            raise StopRequested from error

    def leave(self) -> None:
        """End the heartbeat thread."""
        self._leaving.set()
        self._thread.join()

    def _keep_in_touch(self) -> None:
        count = 0
        while not self._leaving.wait(_HEARTBEAT_S):
            count += 1
            try:
                self.send_progress()
                self._rendezvous.heartbeat(count)
                self._rendezvous.share_stop(self._stop)
            except RuntimeError:
                self._cut_off()
                return
            if os.getppid() != self._parent:  # a killed launcher does not kill its processes
                self._cut_off()

    def end(self, event: Exited | Failed) -> None:
        """Share a stop with all processes, then tell rank 0 of this one's end."""
        self.send_progress()
        try:
            self._rendezvous.share_stop(self._stop)
            self._rendezvous.send(event)
        except RuntimeError:
            self._cut_off()

    def send_progress(self) -> None:
        """Send rank 0 the seconds of audio done since the last call."""
        with self._counting:
            seconds, self._progressed_s = self._progressed_s, 0.0
        if seconds:
            try:
                self._rendezvous.send(Progressed(seconds))
            except RuntimeError:
                self._cut_off()

    def _cut_off(self) -> None:
        self.is_cut_off = True
        self._stop.request(0)


class LaunchedBackend(Backend):
    """All processes of a launcher, as rank 0 sees them; this process works at ``placement``.

    One that has not been received of for ``timeout_s`` is taken to be dead.
    """

    def __init__(
        self,
        rendezvous: Rendezvous,
        task: Task,
        placement: Placement,
        n_threads: int = 1,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        super().__init__()
        self._rendezvous = rendezvous
        self._task = task
        self._placement = placement
        self._n_threads = n_threads
        self._timeout_s = timeout_s
        self._at_work: set[int] = set()
        self._n_assigned: Counter[int] = Counter()
        self._last_heartbeats: dict[int, tuple[bytes, float]] = {}
        self._looked_at = 0.0
        self._received_at = 0.0
        self._workers: Workers | None = None
        self._exited = Exited(0)
        self._given_up: deque[Finished] = deque()
        self._are_let_go = False
        self._has_sent_own_exit = False

    @property
    def n_processes(self) -> int:
        """Processes that share the jobs."""
        return self._rendezvous.launch.world_size

    def start(self, jobs: Sequence[Job], stop: Stop) -> None:
        """Start ``jobs``."""
        self._stop = stop
        self._n_jobs = len(jobs)
        self._assignment = Assignment(jobs)
        try:
            work = opened_at(self._placement, self._task, self._opened)
        except EarzipError as error:
            end = end_by(error, self._placement)
            if isinstance(end, Failed):
                raise
            work, self._exited = None, end
        self._link = _WorkerLink(self._rendezvous, stop)
        self._opened.callback(self._link.leave)
        self._rendezvous.publish(jobs)
        if work:
            self._link.send(ready(self._placement))
            self._workers = self._link.workers(work, self._placement, self._n_threads)
            self._workers.start()
            self._opened.callback(self._workers.join)
        self._at_work = set(range(self.n_processes))

    def receive(self, timeout_s: float) -> Event | None:
        """Return the next event, or None if none comes in ``timeout_s``. Raises RunEndedError."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                self._send_own_exit()
                event = self._next_event()
                self._note(event)
                self._assign_again()
            except RuntimeError as error:
                self._at_work.clear()
                raise RunEndedError(f"lost the connection to the launcher: {error}") from error
            if event is not None or time.monotonic() >= until:
                return event
            time.sleep(_POLL_S)

    @property
    def is_done(self) -> bool:
        """Whether all processes have ended."""
        return not self._at_work and not self._given_up

    def _next_event(self) -> Event | None:
        if self._given_up:
            return self._given_up.popleft()
        return self._rendezvous.receive() or self._lost_worker()

    def _note(self, event: Event | None) -> None:
        """Note who has which job after ``event``."""
        if event is not None:
            self._received_at = time.monotonic()
        match event:
            case Started(index, rank):
                self._at_work.add(rank)  # it may have been silent for long
                self._assignment.began(index, rank)
            case Finished(index):
                self._assignment.finished(index)
            case Exited(rank):
                self._at_work.discard(rank)
                if not self._stop.requested:
                    self._given_up.extend(self._assignment.lost(event))

    def _assign_again(self) -> None:
        """Give jobs of lost processes to those without a job, or let all go that wait for them."""
        if self._assignment.is_settled:
            if not self._are_let_go:
                self._are_let_go = True
                for rank in range(self.n_processes):
                    self._rendezvous.assign(rank, self._n_assigned[rank], None)
            return
        is_quiet = time.monotonic() - self._received_at > _UNOWNED_S
        if not (is_quiet or self._assignment.has_jobs_again) or not self._are_all_claimed():
            return
        if is_quiet:
            self._assignment.take_back_unowned()
        for rank in self._at_work:
            if assigned := self._assignment.take_again(rank):
                self._rendezvous.assign(rank, self._n_assigned[rank], assigned[0])
                self._n_assigned[rank] += 1

    def _are_all_claimed(self) -> bool:
        return self._rendezvous.n_claimed() >= self._n_jobs

    def _send_own_exit(self) -> None:
        # Through the store, as the others do: after the records that are still in it.
        if not self._has_sent_own_exit and not (self._workers and self._workers.are_at_work):
            self._has_sent_own_exit = True
            self._link.end(self._workers.exited() if self._workers else self._exited)

    def _lost_worker(self) -> Event | None:
        now = time.monotonic()
        if now - self._looked_at < _HEARTBEAT_S:
            return None
        self._looked_at = now
        for rank in self._at_work - {0}:
            heartbeats = self._rendezvous.heartbeats(rank)
            last, since = self._last_heartbeats.setdefault(rank, (heartbeats, now))
            if heartbeats != last:
                self._last_heartbeats[rank] = heartbeats, now
            elif now - since > self._longest_silence_s(heartbeats):
                self._rendezvous.n_lost_workers += 1
                return Exited(rank, f"sent no heartbeat for {now - since:.0f} s")
        return None

    def _longest_silence_s(self, heartbeats: bytes) -> float:
        if self._stop.requested:
            return _TIMEOUT_AT_STOP_S
        # A process without a first heartbeat is still loading.
        return self._timeout_s if heartbeats else RENDEZVOUS_TIMEOUT.total_seconds()


def run_worker(
    rendezvous: Rendezvous, task: Task, placement: Placement, stop: Stop, n_threads: int = 1
) -> None:
    """Do the jobs of rank 0, as another rank, until none is left.

    Raises RunEndedError if the launcher or rank 0 exits before that. Other errors are sent to rank 0.
    """
    link = _WorkerLink(rendezvous, stop)
    try:
        with suppress(StopRequested):  # raised by a link that is cut off
            if _wait_for_jobs(rendezvous, stop):
                link.end(_do_jobs(link, task, placement, n_threads))
            else:
                link.end(Exited(placement.rank))
    finally:
        link.leave()
    if link.is_cut_off:
        raise RunEndedError(
            "the launcher or the process of rank 0 has exited; run again to continue"
        )


def _wait_for_jobs(rendezvous: Rendezvous, stop: Stop) -> int:
    while not stop.requested:
        try:
            n_jobs = rendezvous.n_jobs()
        except RuntimeError:
            break
        if n_jobs is not None:
            return n_jobs
        time.sleep(_POLL_S)
    return 0


def _do_jobs(
    link: _WorkerLink, task: Task, placement: Placement, n_threads: int
) -> Exited | Failed:
    """Do jobs until none is left; return the event of the end."""
    try:
        with ExitStack() as stack:
            work = opened_at(placement, task, stack)
            link.send(ready(placement))
            workers = link.workers(work, placement, n_threads)
            workers.start()
            workers.join()
            if workers.lost:
                stack.pop_all()  # closing what is on the device may wait for it for ever
            return workers.exited()
    except EarzipError as error:
        return end_by(error, placement)
