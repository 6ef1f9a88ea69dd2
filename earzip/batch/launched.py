"""Processes that `accelerate launch` or torchrun has started, on one machine or several, as one run.

They meet at the launcher's store (`torch.distributed.TCPStore`). A counter there assigns the jobs: a free
process takes the next one, and no process waits for another. The process of rank 0 plans, works too, and
keeps the record. The store holds only JSON, because any program that reaches its port can write to it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from earzip.batch.events import (
    Backend,
    Event,
    Exited,
    Failed,
    Progressed,
    Task,
    event_from_bytes,
    event_to_bytes,
    jobs_from_json,
    jobs_to_json,
)
from earzip.batch.plan import Job
from earzip.batch.signals import STOP_SIGNALS, Stop, StopRequested
from earzip.batch.threads import Workers
from earzip.errors import EarzipError, RunEndedError
from earzip.runtime import Placement

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
_RENDEZVOUS_TIMEOUT = timedelta(minutes=5)
_JOBS_A_KEY = 128
_HEARTBEAT_S = 0.5
_TIMEOUT_S = 30.0
"""A process without a heartbeat for this long is considered dead."""
_TIMEOUT_AT_STOP_S = 5.0
"""The same after a stop request: a scheduler does not wait long."""
_FAREWELL_S = 10.0
_POLL_S = 0.02


@dataclass(frozen=True)
class Launch:
    """The place of this process among those of a launcher."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Launch | None:
        """Return this process's launch; None without a launcher, or without other processes."""
        values = [environment.get(name, "") for name in _NUMBERS]
        if not environment.get("MASTER_ADDR") or not all(value.isdecimal() for value in values):
            return None
        launch = cls(*map(int, values[:4]))
        return launch if launch.world_size > 1 else None


class Rendezvous:
    """Where the processes of a launcher meet: a context manager that all of them enter.

    Entering raises RunEndedError if a process is missing. Rank 0 does its jobs with a `LaunchedBackend`;
    if it just exits, the others have no jobs. The others call `run_worker`.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.n_lost_workers = 0
        """Dead processes, which rank 0 does not wait for."""
        self._chunk: tuple[int, list[Job]] = (-1, [])
        self._claiming = threading.Lock()
        # The store of torchrun, and so of accelerate, outlives the processes it starts.
        self._is_of_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"

    def __enter__(self) -> Self:
        # Runs of one process do not need them.
        from torch.distributed.distributed_c10d import PrefixStore  # noqa: PLC0415
        from torch.distributed.rendezvous import rendezvous  # noqa: PLC0415

        with _killable():
            try:
                store, _, _ = next(iter(rendezvous("env://", timeout=_RENDEZVOUS_TIMEOUT)))
            except RuntimeError as error:
                raise RunEndedError(
                    f"cannot connect to the other processes of this run: {error}"
                ) from error
        self._store: Store = PrefixStore("earzip", store)
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(RuntimeError):  # the store is gone, and so are its users
            if self.launch.rank:
                self._store.add("n_left", 1)
                return
            if not self._store.check(["n_jobs"]):
                self._store.set("n_jobs", "0")
            self._wait_for_workers()

    def _wait_for_workers(self) -> None:
        """Let the others exit first: this process may own the store they use."""
        until = time.monotonic() + _FAREWELL_S
        while not self._is_of_launcher and time.monotonic() < until:
            if self._store.add("n_left", 0) >= self.launch.world_size - 1 - self.n_lost_workers:
                return
            time.sleep(_POLL_S)

    def publish(self, jobs: Sequence[Job]) -> None:
        """Store the jobs for all to claim."""
        for start in range(0, len(jobs), _JOBS_A_KEY):
            key = f"jobs/{start // _JOBS_A_KEY}"
            self._store.set(key, jobs_to_json(jobs[start : start + _JOBS_A_KEY]))
        self._store.set("n_jobs", str(len(jobs)))

    def n_jobs(self) -> int | None:
        """Return the number of published jobs; None if it is not known yet."""
        return int(self._store.get("n_jobs")) if self._store.check(["n_jobs"]) else None

    def claim(self) -> tuple[int, Job] | None:
        """Return the next job and its number; None if there is none left."""
        index = self._store.add("n_claimed", 1) - 1
        if index >= (self.n_jobs() or 0):
            return None
        number, offset = divmod(index, _JOBS_A_KEY)
        with self._claiming:
            if self._chunk[0] != number:
                self._chunk = number, jobs_from_json(self._store.get(f"jobs/{number}"))
            return index, self._chunk[1][offset]

    def send(self, event: Event) -> None:
        """Send ``event`` to rank 0."""
        self._store.queue_push("events", event_to_bytes(event))

    def receive(self) -> Event | None:
        """Return the next event; None if there is none now."""
        if not self._store.queue_len("events"):
            return None
        return event_from_bytes(self._store.queue_pop("events"))

    def heartbeat(self, count: int) -> None:
        """Store this process's heartbeat number ``count``."""
        self._store.set(f"heartbeats/{self.launch.rank}", str(count))

    def heartbeats(self, rank: int) -> bytes:
        """Return the last heartbeat of ``rank``, empty before its first."""
        key = f"heartbeats/{rank}"
        return self._store.get(key) if self._store.check([key]) else b""

    def share_stop(self, stop: Stop) -> None:
        """Send a requested stop to all processes, or receive one."""
        if stop.requested:
            self._store.set("stop", f"{stop.left_s:.3f}")
        elif self._store.check(["stop"]):
            stop.request(float(self._store.get("stop")))


@contextmanager
def _killable() -> Iterator[None]:
    """Restore the default signal handlers: while torch waits, no Python handler runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _WorkerLink:
    """A worker's link to the rendezvous: claims jobs, sends events, and a heartbeat."""

    def __init__(self, rendezvous: Rendezvous, stop: Stop) -> None:
        self._rendezvous = rendezvous
        self._stop = stop
        self._progressed_s = 0.0
        self._counting = threading.Lock()
        self._leaving = threading.Event()
        self._parent = os.getppid()
        self.is_cut_off = False
        """The store or the parent process is gone."""
        with suppress(RuntimeError):  # the thread will notice
            rendezvous.heartbeat(0)
        self._thread = threading.Thread(target=self._keep_in_touch, daemon=True)
        self._thread.start()

    def next_job(self) -> tuple[int, Job] | None:
        """Return the next job and its number; None if there is none left."""
        try:
            return self._rendezvous.claim()
        except RuntimeError:
            self._cut_off()
            return None

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

    def end(self) -> None:
        """Share a stop with all processes, then tell rank 0 that this process does no more jobs."""
        self.send_progress()
        try:
            self._rendezvous.share_stop(self._stop)
            self._rendezvous.send(Exited(self._rendezvous.launch.rank))
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
        self._last_heartbeats: dict[int, tuple[bytes, float]] = {}
        self._looked_at = 0.0
        self._has_sent_own_exit = False

    @property
    def n_processes(self) -> int:
        """Processes that share the jobs."""
        return self._rendezvous.launch.world_size

    def start(self, jobs: Sequence[Job], stop: Stop) -> None:
        """Start ``jobs``."""
        self._stop = stop
        work = self._opened.enter_context(self._task.opened(self._placement))
        self._link = _WorkerLink(self._rendezvous, stop)
        self._opened.callback(self._link.leave)
        self._workers = Workers(
            work, self._link.next_job, self._link.send, stop, n_threads=self._n_threads
        )
        self._rendezvous.publish(jobs)
        self._workers.start()
        self._opened.callback(self._workers.join)
        self._at_work = set(range(self.n_processes))

    def receive(self, timeout_s: float) -> Event | None:
        """Return the next event, or None if none comes in ``timeout_s``. Raises RunEndedError."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                self._send_own_exit()
                event = self._rendezvous.receive() or self._lost_worker()
            except RuntimeError as error:
                self._at_work.clear()
                raise RunEndedError(f"lost the connection to the launcher: {error}") from error
            if isinstance(event, Exited):
                self._at_work.discard(event.rank)
            if event is not None or time.monotonic() >= until:
                return event
            time.sleep(_POLL_S)

    @property
    def is_done(self) -> bool:
        """Whether all processes have ended."""
        return not self._at_work

    def _send_own_exit(self) -> None:
        # Through the store, as the others do: after the records that are still in it.
        if not self._has_sent_own_exit and not self._workers.are_at_work:
            self._has_sent_own_exit = True
            self._link.end()

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
        return self._timeout_s if heartbeats else _RENDEZVOUS_TIMEOUT.total_seconds()


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
                _do_jobs(link, task, placement, stop, n_threads)
            link.end()
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
    link: _WorkerLink, task: Task, placement: Placement, stop: Stop, n_threads: int
) -> None:
    try:
        with task.opened(placement) as work:
            workers = Workers(
                work, link.next_job, link.send, stop, rank=placement.rank, n_threads=n_threads
            )
            workers.start()
            workers.join()
    except EarzipError as error:
        link.send(Failed(error))
