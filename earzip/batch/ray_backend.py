"""Actors of a Ray cluster that share the jobs of a run, for users whose scheduler is Ray.

If the process or machine of an actor dies, another one is started, elsewhere if necessary. An actor whose
GPU fails gets no more jobs, and keeps the GPU from whoever would get it next. Others do the jobs of both.
Ray is imported when a backend is made.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from earzip.batch.assignment import Assigned, Assignment
from earzip.batch.devices import end_by, opened_at, ready
from earzip.batch.events import (
    Backend,
    Event,
    Exited,
    Failed,
    Finished,
    Opened,
    Progressed,
    Started,
    Task,
    Work,
    event_from_bytes,
    event_to_bytes,
)
from earzip.batch.plan import Job
from earzip.batch.signals import Stop
from earzip.batch.threads import ABANDON_S, Workers
from earzip.errors import EarzipError, UsageError
from earzip.runtime import MAX_DEFAULT_THREADS, Placement, Runtime, tracks_at_once

DEVICES = ("auto", "cpu", "cuda")
"""Devices of a `RayBackend`; Ray assigns the GPUs."""

_MAX_TRIES = 3
"""A file fails after as many actors were lost on it, and the run after as many in a row on opening."""
_POLL_S = 0.5


class RayBackend(Backend):
    """A backend of Ray actors for ``n_jobs`` jobs; ``task`` is pickled and called in each of them.

    ``device``: ``cuda`` for actors of one GPU each, ``cpu`` for actors of ``threads`` CPUs each, ``auto``
    for GPUs if the cluster has any. ``n_actors``: None for as many as the cluster has room for.
    ``threads``: CPU threads of an actor; None for 1 on a CPU, and for the CPUs shared out on GPUs.

    Uses the cluster that this process is connected to, or the one that `ray.init` finds or starts. A path
    means the same file on all machines. Raises UsageError without Ray, for an unknown device, and if no
    machine has room for an actor.
    """

    def __init__(
        self,
        task: Task,
        n_jobs: int,
        *,
        device: str = "auto",
        n_actors: int | None = None,
        threads: int | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        if device not in DEVICES:
            raise UsageError(f"device is {device!r}, expected one of {', '.join(DEVICES)}")
        try:
            import ray  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise UsageError(
                "runs on Ray need the extra ray; in the clone of earzip: pip install '.[ray]'"
            ) from error
        if not ray.is_initialized():
            ray.init()
        if device == "auto":
            device = "cuda" if ray.cluster_resources().get("GPU") else "cpu"
        runtime = replace(runtime or Runtime(), device=device, threads=threads or 1)
        kind, amount = _needs(runtime)
        room = sum(
            int(node["Resources"].get(kind, 0)) // amount for node in ray.nodes() if node["Alive"]
        )
        if not room:
            raise UsageError(
                f"no machine of the Ray cluster has the {amount} {kind} that an actor needs"
            )
        super().__init__()
        self._task = task
        self._n_actors = max(1, min(n_actors or room, room, n_jobs))
        if device == "cuda" and threads is None:
            n_cpus = int(ray.cluster_resources().get("CPU", 0))
            each = max(1, min(n_cpus // self._n_actors, MAX_DEFAULT_THREADS))
            runtime = replace(runtime, threads=each)
        self._runtime = runtime
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._is_done = True

    @property
    def n_processes(self) -> int:
        """Actors that share the jobs."""
        return self._n_actors

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

        actors = _Actors(self._task, self._runtime, self._jobs, self._stop, self._events.put)
        try:
            actors.work(self._n_actors)
        except RayError as error:
            self._events.put(Failed(EarzipError(f"Ray stopped the run: {error}")))
        except BaseException as error:  # or it would be lost
            self._events.put(Failed(error))
        finally:
            actors.end()
            self._events.put(None)


def _needs(runtime: Runtime) -> tuple[str, int]:
    """Return the resource that an actor takes, by Ray's name, and the amount."""
    return ("GPU", 1) if runtime.device == "cuda" else ("CPU", runtime.threads or 1)


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


class _Actors:
    """Starts actors, assigns them jobs, and sends their events."""

    def __init__(
        self, task: Task, runtime: Runtime, jobs: Sequence[Job], stop: Stop, send: Any
    ) -> None:
        self._task = task
        self._runtime = runtime
        self._jobs = jobs
        self._stop = stop
        self._send = send
        self._assignment = Assignment(jobs, _MAX_TRIES)
        self._tracks = tracks_at_once(runtime)
        self._actors: list[_Remote] = []
        self._opening: dict[Any, _Remote] = {}
        self._n_died_opening = 0
        self._stop_sent_for = float("inf")

    def work(self, n_actors: int) -> None:
        """Do the jobs with ``n_actors``; return when all are done, or nobody is left to do them."""
        import ray  # noqa: PLC0415

        for _ in range(n_actors):
            self._start_actor()
        while not self._assignment.is_settled:
            self._pass_on_stop()
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

    def _start_actor(self) -> None:
        import ray  # noqa: PLC0415

        kind, amount = _needs(self._runtime)
        rank = len(self._actors)
        placement = Placement(rank, self._runtime, is_named=kind == "CPU")
        options = {"num_cpus": amount} if kind == "CPU" else {"num_cpus": 0, "num_gpus": amount}
        # One more than tracks, for a stop.
        actor_class = ray.remote(
            max_concurrency=self._tracks + 1, scheduling_strategy="SPREAD", **options
        )(_Actor)
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
                self._replace(actor)
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

    def _replace(self, actor: _Remote) -> None:
        """Start another actor in the place of one whose process or machine has died."""
        self._n_died_opening += not actor.is_open
        if self._n_died_opening < _MAX_TRIES and not self._stop.requested:
            self._start_actor()

    def _as_planned(self, event: Finished) -> Finished:
        """Return ``event`` with the paths of the plan: actors have absolute ones."""
        job = self._jobs[event.index]
        return replace(event, record=replace(event.record, source=job.source, target=job.target))


class _Actor:
    """Works on jobs, each in a thread of this process."""

    def __init__(self, task: Task, placement: Placement) -> None:
        self._task = task
        self._placement = placement
        self._stop = Stop()
        self._opened = ExitStack()
        self._work: Work | None = None

    def open(self) -> list[bytes]:
        """Load what the work needs; return the event of that, as JSON."""
        try:
            self._work = opened_at(self._placement, self._task, self._opened)
        except EarzipError as error:
            return [event_to_bytes(end_by(error, self._placement))]
        return [event_to_bytes(ready(self._placement))]

    def do(self, index: int, job: Job) -> list[bytes]:
        """Do a job and return its events, as JSON."""
        assert self._work
        events: list[Event] = []
        next_job = iter([(index, job), None])
        workers = Workers(
            self._work,
            next_job.__next__,
            events.append,
            self._stop,
            rank=self._placement.rank,
            device=self._placement.runtime.device,
        )
        workers.start()
        workers.join()
        progressed_s = sum(event.seconds for event in events if isinstance(event, Progressed))
        returned = [event for event in events if isinstance(event, Finished | Failed)]
        ends = [workers.exited()] if workers.lost else []
        return [event_to_bytes(event) for event in (Progressed(progressed_s), *returned, *ends)]

    def end_in(self, grace_s: float) -> None:
        """Start no further file, and abandon files in progress after ``grace_s``."""
        self._stop.request(grace_s)


def _absolute(job: Job) -> Job:
    """Return ``job`` with paths for actors, which have other working directories."""
    target = None if job.target is None else job.target.absolute()
    found = tuple(path.absolute() for path in job.found)
    return replace(job, source=job.source.absolute(), target=target, found=found)
