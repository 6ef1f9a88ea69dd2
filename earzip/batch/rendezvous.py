"""Where processes that `accelerate launch` or torchrun has started meet: the launcher's store.

A counter there assigns the jobs: a free process takes the next one, and no process waits for another. The
store holds only JSON, because any program that reaches its port can write to it.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from earzip.batch.assignment import Assigned
from earzip.batch.events import (
    Event,
    event_from_bytes,
    event_to_bytes,
    jobs_from_json,
    jobs_to_json,
)
from earzip.batch.jobs import Job
from earzip.batch.signals import STOP_SIGNALS, Stop
from earzip.errors import RunEndedError

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
RENDEZVOUS_TIMEOUT = timedelta(minutes=5)
_JOBS_A_KEY = 16
"""So many jobs are stored as one value. With as many processes or more each reads all values: the fewer
jobs in one, the less it reads in vain; the more, the sooner they are stored."""
_FAREWELL_S = 10.0
_POLL_S = 0.02
_END = -1


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
        self._n_jobs: int | None = None
        self._chunk: tuple[int, list[Job]] = (-1, [])
        self._claiming = threading.Lock()
        self._n_taken_again = 0
        # The store of torchrun, and so of accelerate, outlives the processes it starts.
        self._is_of_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"

    def __enter__(self) -> Self:
        # Runs of one process do not need them.
        from torch.distributed.distributed_c10d import PrefixStore  # noqa: PLC0415
        from torch.distributed.rendezvous import rendezvous  # noqa: PLC0415

        with _killable():
            try:
                store, _, _ = next(iter(rendezvous("env://", timeout=RENDEZVOUS_TIMEOUT)))
            except RuntimeError as error:
                raise RunEndedError(
                    f"cannot connect to the other processes of this run: {error}"
                ) from error
        # torchrun keeps its store when it starts its processes once more after one has died: without this
        # they would meet the stop and the counter of those before. Several machines do not count alike.
        is_one_machine = self.launch.local_world_size == self.launch.world_size
        n_restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if is_one_machine else "0"
        self._store: Store = PrefixStore(f"earzip/{n_restarts}", store)
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
        if self._n_jobs is None and self._store.check(["n_jobs"]):
            self._n_jobs = int(self._store.get("n_jobs"))
        return self._n_jobs

    def claim(self) -> Assigned | None:
        """Return the next job and its number; None if there is none left."""
        index = self._store.add("n_claimed", 1) - 1
        return self._job(index) if index < (self.n_jobs() or 0) else None

    def n_claimed(self) -> int:
        """Return how many jobs have been claimed."""
        return self._store.add("n_claimed", 0)

    def assign(self, rank: int, number: int, index: int | None) -> None:
        """Give ``rank`` the job ``index`` of a lost process, as its ``number``-th; None: no more come."""
        self._store.set(f"again/{rank}/{number}", json.dumps(_END if index is None else index))

    def claim_again(self) -> Assigned | bool:
        """Return the next job that was assigned to this process; False if there is none yet.

        True if none will come.
        """
        with self._claiming:
            key = f"again/{self.launch.rank}/{self._n_taken_again}"
            if not self._store.check([key]):
                return False
            index = int(json.loads(self._store.get(key)))
            if index == _END:  # for every thread of the process
                return True
            self._n_taken_again += 1
        return self._job(index)

    def _job(self, index: int) -> Assigned:
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
