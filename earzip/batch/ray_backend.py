"""Actors of a Ray cluster that share the jobs of a run, for users whose scheduler is Ray.

If the process or machine of an actor dies, another one is started, elsewhere if necessary; if machines
join the cluster, so are more. An actor whose
GPU fails gets no more jobs, and keeps the GPU from whoever would get it next. Others do the jobs of both.
Ray is imported when a backend is made.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from earzip.batch.assignment import Assigned, Assignment
from earzip.batch.events import (
    Backend,
    Event,
    Exited,
    Failed,
    Finished,
    Opened,
    Started,
    Task,
    Waiting,
    event_from_bytes,
)
from earzip.batch.jobs import Job
from earzip.batch.ray_actor import Actor
from earzip.batch.signals import STOP_SIGNALS, Stop
from earzip.batch.threads import ABANDON_S
from earzip.errors import EarzipError, UsageError, count
from earzip.runtime import MAX_DEFAULT_THREADS, Placement, Runtime, tracks_at_once

DEVICES = ("auto", "cpu", "cuda")
"""Devices of a `RayBackend`; Ray assigns the GPUs."""

_MAX_TRIES = 3
"""A file fails after as many actors were lost on it, and the run after as many in a row on opening."""
_POLL_S = 0.5
_LOOK_S = 2.0
"""How often it is asked whether the cluster has grown."""
_SAY_S, _SAY_AGAIN_S = 15.0, 60.0
"""When it is told that Ray has no room; it takes some seconds to start an actor where it has."""


def require_device(runtime: Runtime) -> None:
    """Raise UsageError unless the device is one of `DEVICES`."""
    if runtime.device not in DEVICES:
        raise UsageError(
            f"device is {runtime.device!r}, expected one of {', '.join(DEVICES)}: Ray assigns the GPUs"
        )


@contextmanager
def connected() -> Iterator[None]:
    """Be connected to the Ray cluster that ``RAY_ADDRESS`` names, or to one started on this machine.

    What becomes of signals stays as it was. Ray prints to `sys.stdout` what it has to say of processes
    that die. Raises UsageError without Ray, EarzipError if the cluster cannot be reached.
    """
    try:
        import ray  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UsageError(
            "runs on Ray need the extra ray; in the clone of earzip: pip install '.[ray]'"
        ) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        ray.init(log_to_driver=False, logging_level="warning")
    except (OSError, RuntimeError, ValueError) as error:
        raise EarzipError(f"the Ray cluster cannot be reached: {error}") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


class RayBackend(Backend):
    """A backend of Ray actors for ``n_jobs`` jobs; ``task`` is pickled and called in each of them.

    The device of ``runtime`` is ``cuda`` for actors of ``gpus`` GPU each, ``cpu`` for actors of as many
    CPUs each as it has threads, one if it does not say, ``auto`` for GPUs if the cluster has any.
    ``n_actors`` are asked for at once, so that a cluster that grows by itself does; None for as many as
    the cluster has room for, also once more machines have joined it.

    Uses the cluster that this process is connected to: see `connected`. A path means the same file on all
    machines. Raises UsageError for an unknown device.
    """

    def __init__(
        self,
        task: Task,
        n_jobs: int,
        runtime: Runtime | None = None,
        *,
        n_actors: int | None = None,
        gpus: float = 1.0,
    ) -> None:
        import ray  # noqa: PLC0415  # an extra

        super().__init__()
        runtime = runtime or Runtime()
        require_device(runtime)
        device = runtime.device
        if device == "auto":
            device = "cuda" if ray.cluster_resources().get("GPU") else "cpu"
        self._task = task
        room = _Room("GPU", gpus) if device == "cuda" else _Room("CPU", runtime.threads or 1)
        self._crew = _Crew(room, n_actors, n_jobs)
        threads = runtime.threads or 1
        if device == "cuda" and runtime.threads is None:
            n_cpus = int(ray.cluster_resources().get("CPU", 0))
            threads = max(1, min(n_cpus // self._crew.wanted(), MAX_DEFAULT_THREADS))
        self._runtime = replace(runtime, device=device, threads=threads)
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._is_done = True

    @property
    def n_processes(self) -> int:
        """Actors that share the jobs, those that Ray has no room for yet too."""
        return self._crew.n_wanted

    def start(self, jobs: Sequence[Job], stop: Stop) -> None:
        """Start ``jobs``."""
        self._jobs = jobs
        self._stop = stop
        self._is_done = False
        threading.Thread(target=self._run, daemon=True).start()

    def receive(self, timeout_s: float) -> Event | None:
        """Return the next event, or None if none comes in ``timeout_s``."""
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self._is_done = event is None
        return event

    @property
    def is_done(self) -> bool:
        """Whether every actor has exited and every event has been received."""
        return self._is_done

    def _run(self) -> None:
        """Queue the actors' events until all actors have exited."""
        from ray.exceptions import RayError  # noqa: PLC0415

        actors = _Actors(
            self._task, self._runtime, self._crew, self._jobs, self._stop, self._events.put
        )
        try:
            actors.work()
        except RayError as error:
            self._events.put(Failed(EarzipError(f"Ray stopped the run: {error}")))
        except BaseException as error:  # or it would be lost
            self._events.put(Failed(error))
        finally:
            actors.end()
            self._events.put(None)


@dataclass(frozen=True)
class _Room:
    """What an actor takes of a cluster: ``amount`` of the resource that Ray calls ``kind``."""

    kind: str
    amount: float

    def __str__(self) -> str:
        return f"{self.amount:g} {self.kind}"

    def n_actors(self) -> int:
        """Return how many actors the machines of the cluster hold together."""
        import ray  # noqa: PLC0415

        alive = [node["Resources"].get(self.kind, 0) for node in ray.nodes() if node["Alive"]]
        return sum(int(amount / self.amount + _ROUNDING) for amount in alive)

    def options(self) -> dict[str, float]:
        """Return the options of an actor that takes it."""
        if self.kind == "CPU":
            return {"num_cpus": self.amount}
        return {"num_cpus": 0, "num_gpus": self.amount}


_ROUNDING = 1e-6  # three thirds of a GPU are one


class _Crew:
    """How many actors a run wants."""

    def __init__(self, room: _Room, n_asked_for: int | None, n_jobs: int) -> None:
        self.room = room
        self._n_asked_for = n_asked_for
        self._n_jobs = n_jobs
        self.n_wanted = 1

    def wanted(self) -> int:
        """Return it, as the cluster is now: never fewer than before, and no more than jobs."""
        n = self._n_asked_for or self.room.n_actors()
        self.n_wanted = max(self.n_wanted, min(n, self._n_jobs))
        return self.n_wanted


@dataclass
class _Remote:
    """An actor, as the backend sees it."""

    rank: int
    handle: Any
    is_open: bool = False
    jobs: dict[Any, int] = field(default_factory=dict)
    """The numbers of its jobs, by what Ray calls their results to come."""
    exited: Exited | None = None
    """What became of it; it gets no more jobs."""
    is_gone: bool = False
    """It takes no room any more."""


class _Actors:
    """Starts actors, assigns them jobs, and sends their events."""

    def __init__(
        self,
        task: Task,
        runtime: Runtime,
        crew: _Crew,
        jobs: Sequence[Job],
        stop: Stop,
        send: Callable[[Event], None],
    ) -> None:
        self._task = task
        self._runtime = runtime
        self._crew = crew
        self._jobs = jobs
        self._stop = stop
        self._send = send
        self._assignment = Assignment(jobs, _MAX_TRIES)
        self._tracks = tracks_at_once(runtime)
        self._actors: list[_Remote] = []
        self._opening: dict[Any, _Remote] = {}
        self._n_died_opening = 0
        self._stop_sent_for = float("inf")
        self._look_at = self._say_at = 0.0

    def work(self) -> None:
        """Do the jobs; return when all are done, or nobody is left to do them."""
        import ray  # noqa: PLC0415

        self._say_at = time.monotonic() + _SAY_S
        while not self._assignment.is_settled:
            self._pass_on_stop()
            self._grow()
            self._say_what_is_missing()
            self._assign()
            at_work = {ref: actor for actor in self._actors for ref in actor.jobs}
            is_over = not at_work and (self._stop.requested or not self._opening)
            if is_over or time.monotonic() > self._stop_sent_for + ABANDON_S:
                return  # an actor that hangs ends with this process
            refs = [*at_work, *self._opening]
            for ref in ray.wait(refs, num_returns=1, timeout=_POLL_S)[0]:
                actor = at_work.get(ref) or self._opening[ref]
                self._take(actor, ref)

    def end(self) -> None:
        """End the actors, those too whose GPU was kept from others."""
        import ray  # noqa: PLC0415

        for actor in self._actors:
            ray.kill(actor.handle)

    def _grow(self) -> None:
        """Start the actors that are wanted, those too in place of dead ones."""
        if time.monotonic() < self._look_at or self._stop.requested:
            return
        self._look_at = time.monotonic() + _LOOK_S
        if self._n_died_opening >= _MAX_TRIES or not self._assignment.has_jobs:
            return
        n_here = sum(not actor.is_gone for actor in self._actors)
        for _ in range(self._crew.wanted() - n_here):
            self._start_actor()

    def _say_what_is_missing(self) -> None:
        """Tell once a minute that Ray has found no place for any actor."""
        if time.monotonic() < self._say_at or self._stop.requested:
            return
        self._say_at = time.monotonic() + _SAY_AGAIN_S
        if not any(actor.is_open and not actor.exited for actor in self._actors):
            n, room = count(self._crew.n_wanted, "process"), self._crew.room
            self._send(Waiting(f"the Ray cluster has no place yet for any of {n} of {room} each"))

    def _start_actor(self) -> None:
        import ray  # noqa: PLC0415

        rank = len(self._actors)
        room = self._crew.room
        placement = Placement(rank, self._runtime, is_named=room.kind == "CPU")
        # One more than tracks, for a stop.
        actor_class = ray.remote(
            max_concurrency=self._tracks + 1, scheduling_strategy="SPREAD", **room.options()
        )(Actor)
        actor = _Remote(rank, actor_class.remote(self._task, placement))
        self._actors.append(actor)
        self._opening[actor.handle.open.remote()] = actor

    def _assign(self) -> None:
        for actor in self._actors:
            while actor.is_open and not actor.exited and len(actor.jobs) < self._tracks:
                assigned = None if self._stop.requested else self._next_job(actor.rank)
                if assigned is None:
                    break
                index, job = assigned
                self._send(Started(index, actor.rank))
                actor.jobs[actor.handle.do.remote(index, _absolute(job))] = index

    def _next_job(self, rank: int) -> Assigned | None:
        return self._assignment.take_new(rank) or self._assignment.take_again(rank)

    def _pass_on_stop(self) -> None:
        if self._stop.requested:
            left_s = self._stop.left_s
            if time.monotonic() + left_s < self._stop_sent_for:
                self._stop_sent_for = time.monotonic() + left_s
                for actor in self._actors:
                    actor.handle.end_in.remote(left_s)

    def _take(self, actor: _Remote, ref: Any) -> None:
        """Take what ``actor`` has returned for ``ref``, or that it has died."""
        import ray  # noqa: PLC0415
        from ray.exceptions import ActorDiedError, ActorUnavailableError  # noqa: PLC0415

        try:
            events = [event_from_bytes(data) for data in ray.get(ref)]
        except (ActorDiedError, ActorUnavailableError):
            ray.kill(actor.handle)  # if it is only out of reach
            if actor.exited is None:
                actor.exited = Exited(actor.rank, "has exited", self._runtime.device)
                self._n_died_opening += not actor.is_open
            actor.is_gone = True
            self._look_at = 0.0
            events = []
        self._opening.pop(ref, None)
        actor.jobs.pop(ref, None)
        for event in events:
            self._take_event(actor, event)
        if actor.exited and not actor.jobs:  # not before: it may still finish one
            for given_up in self._assignment.lost(actor.exited):
                self._send(self._as_planned(given_up))
            self._send(actor.exited)

    def _take_event(self, actor: _Remote, event: Event) -> None:
        match event:
            case Opened():
                actor.is_open = True
                self._n_died_opening = 0
                self._send(event)
            case Exited():
                actor.exited = actor.exited or event
            case Finished(index):
                self._assignment.finished(index)
                self._send(self._as_planned(event))
            case _:
                self._send(event)

    def _as_planned(self, event: Finished) -> Finished:
        """Return ``event`` with the paths of the plan: actors have absolute ones."""
        job = self._jobs[event.index]
        return replace(event, record=replace(event.record, source=job.source, target=job.target))


def _absolute(job: Job) -> Job:
    """Return ``job`` with paths for actors, which have other working directories."""
    target = None if job.target is None else job.target.absolute()
    found = tuple(path.absolute() for path in job.found)
    return replace(job, source=job.source.absolute(), target=target, found=found)
