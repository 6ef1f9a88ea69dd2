"""Actors of a Ray cluster that share the jobs of a run, for users whose scheduler is Ray.

Ray Data assigns the jobs, one at a time, with `map_batches`: one actor a GPU. If the process or machine
of an actor dies, Ray starts another, elsewhere if necessary, and retries the files in progress. Finished
files are recorded or, at the latest in the next run, up to date. Ray is imported when a backend is made.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earzip.batch.events import (
    Backend,
    Event,
    Exited,
    Failed,
    Finished,
    Progressed,
    Task,
    Work,
    event_from_bytes,
    event_to_bytes,
)
from earzip.batch.plan import Job
from earzip.batch.signals import Stop
from earzip.batch.threads import Workers
from earzip.errors import EarzipError, UsageError
from earzip.results import FileRecord, FileStatus
from earzip.runtime import Placement, Runtime, tracks_at_once

if TYPE_CHECKING:
    import pyarrow as pa

DEVICES = ("auto", "cpu", "cuda")
"""Devices of a `RayBackend`; Ray assigns the GPUs."""

_MAX_TRIES = 3
"""A file fails after as many actors have died on it: Ray would retry it for ever."""
_POLL_S = 0.5
_ABANDON_S = 10.0
"""Time for actors to reach the next block of audio once files in progress are abandoned."""


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
            import ray.data  # noqa: PLC0415
        except ImportError as error:
            raise UsageError(
                "runs on Ray need the extra ray; in the clone of earzip: pip install '.[ray]'"
            ) from error
        if not ray.is_initialized():
            ray.init()
        if device == "auto":
            device = "cuda" if ray.cluster_resources().get("GPU") else "cpu"
        runtime = replace(runtime or Runtime(), device=device, threads=threads or 1)
        placement = Placement(0, runtime)
        (kind, amount), room = _needs(placement), 0
        for node in ray.nodes():
            if node["Alive"]:
                room += int(node["Resources"].get(kind, 0)) // amount
        if not room:
            raise UsageError(
                f"no machine of the Ray cluster has the {amount} {kind} that an actor needs"
            )
        super().__init__()
        self._task = task
        self._n_actors = max(1, min(n_actors or room, room, n_jobs))
        if device == "cuda" and threads is None:
            n_cpus = int(ray.cluster_resources().get("CPU", 0))
            runtime = replace(runtime, threads=max(1, n_cpus // self._n_actors))
            placement = Placement(0, runtime)
        self._placement = placement
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._is_done = True

    @property
    def n_processes(self) -> int:
        """Actors that share the jobs."""
        return self._n_actors

    def start(self, jobs: Sequence[Job], stop: Stop) -> None:
        """Start ``jobs``."""
        import ray  # noqa: PLC0415
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

        self._jobs = jobs
        self._stop = stop
        self._stop_sent_for = float("inf")
        # On this process's machine: the actors may die without it.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._coordinator = ray.remote(num_cpus=0, scheduling_strategy=here)(_Coordinator).remote()
        self._is_done = False
        threading.Thread(target=self._receive, daemon=True).start()

    def receive(self, timeout_s: float) -> Event | None:
        """Return the next event, or None if none comes in ``timeout_s``."""
        self._pass_on_stop()
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            if time.monotonic() > self._stop_sent_for + _ABANDON_S:
                self._is_done = True  # an actor hangs, or waits for room; it ends with this process
            return None
        self._is_done = isinstance(event, Exited)
        return event

    @property
    def is_done(self) -> bool:
        """Whether every actor has exited and every event has been received."""
        return self._is_done

    def _pass_on_stop(self) -> None:
        if self._stop.requested:
            left_s = self._stop.left_s
            if time.monotonic() + left_s < self._stop_sent_for:
                self._stop_sent_for = time.monotonic() + left_s
                self._coordinator.end_in.remote(left_s)

    def _receive(self) -> None:
        """Queue the actors' events until all actors have exited."""
        from ray.exceptions import RayError  # noqa: PLC0415

        try:
            for event in self._events_of_dataset():
                self._events.put(self._as_planned(event))
                if self._stop.is_due:
                    break
        except RayError as error:
            self._events.put(Failed(EarzipError(f"Ray stopped the run: {error}")))
        except BaseException as error:  # or it would be lost
            self._events.put(Failed(error))
        self._events.put(Exited(0))

    def _as_planned(self, event: Event) -> Event:
        """Return ``event`` with the paths of the plan: actors have absolute ones."""
        if not isinstance(event, Finished):
            return event
        job = self._jobs[event.index]
        return replace(event, record=replace(event.record, source=job.source, target=job.target))

    def _events_of_dataset(self) -> Iterator[Event]:
        import ray  # noqa: PLC0415

        # A row a block: Ray assigns, retries and loses whole blocks.
        dataset = ray.data.from_items(
            [_to_row(index, job) for index, job in enumerate(self._jobs)],
            override_num_blocks=len(self._jobs),
        )
        tracks = tracks_at_once(self._placement.runtime)
        kind, amount = _needs(self._placement)
        dataset = dataset.map_batches(
            _Actor,
            fn_constructor_args=(self._task, self._placement, self._coordinator),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                size=self._n_actors,
                # No job waits behind another while an actor is idle.
                max_tasks_in_flight_per_actor=tracks,
                max_concurrent_calls_per_actor=tracks,
                enable_true_multi_threading=True,
            ),
            **{f"num_{kind.lower()}s": amount},
        )
        dataset.context.enable_progress_bars = False
        # iter_rows fetches ahead: an event would arrive only after the next one.
        for rows in dataset.iter_batches(
            prefetch_batches=0, batch_size=None, batch_format="pyarrow"
        ):
            yield from map(event_from_bytes, rows["event"].to_pylist())


def _needs(placement: Placement) -> tuple[str, int]:
    """Return the resource that an actor takes, by Ray's name, and the amount."""
    return (
        ("GPU", 1)
        if placement.runtime.device == "cuda"
        else ("CPU", placement.runtime.threads or 1)
    )


class _Coordinator:
    """Gives actors their ranks, counts tries and passes on stops; itself a Ray actor."""

    def __init__(self) -> None:
        self._n_ranks = 0
        self._n_tries: Counter[int] = Counter()
        self._stop = Stop()

    def next_rank(self) -> int:
        """Return the rank of the next actor; a restarted actor has a new one."""
        self._n_ranks += 1
        return self._n_ranks - 1

    def begin(self, index: int) -> int:
        """Return how many times the job ``index`` has been started, this time included."""
        self._n_tries[index] += 1
        return self._n_tries[index]

    def end_in(self, grace_s: float) -> None:
        """Ask all to start no further file, and to abandon files in progress after ``grace_s``."""
        self._stop.request(grace_s)

    def left_s(self) -> float | None:
        """Return the seconds that files in progress have left; None without a stop request."""
        return self._stop.left_s if self._stop.requested else None


class _Actor:
    """Works on the jobs of the rows it is called with, in several threads of one process."""

    def __init__(self, task: Task, placement: Placement, coordinator: Any) -> None:
        import ray  # noqa: PLC0415

        self._coordinator = coordinator
        self._task = task
        self._placement = replace(placement, rank=ray.get(coordinator.next_rank.remote()))
        self._stop = Stop()
        self._opened = ExitStack()
        self._opening = threading.Lock()
        self._work: Work | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def __call__(self, jobs: pa.Table) -> pa.Table:
        """Do ``jobs`` and return their events, as JSON."""
        import pyarrow as pa  # noqa: PLC0415

        events = [event for row in jobs.to_pylist() for event in self._do(*_from_row(row))]
        return pa.table({"event": pa.array(map(event_to_bytes, events), pa.binary())})

    def _do(self, index: int, job: Job) -> list[Event]:
        import ray  # noqa: PLC0415

        if ray.get(self._coordinator.begin.remote(index)) > _MAX_TRIES:
            why = f"{_MAX_TRIES} worker processes exited while working on it; run again to retry"
            return [Finished(index, FileRecord(FileStatus.FAILED, job.source, job.target, why))]
        try:
            work = self._opened_work()
        except EarzipError as error:
            return [Failed(error)]
        events: list[Event] = []
        next_job = iter([(index, job), None])
        workers = Workers(
            work, next_job.__next__, events.append, self._stop, rank=self._placement.rank
        )
        workers.start()
        workers.join()
        progressed_s = sum(event.seconds for event in events if isinstance(event, Progressed))
        return [
            Progressed(progressed_s),
            *(event for event in events if isinstance(event, Finished | Failed)),
        ]

    def _opened_work(self) -> Work:
        with self._opening:
            if self._work is None:
                self._work = self._opened.enter_context(self._task.opened(self._placement))
            return self._work

    def _listen(self) -> None:
        import ray  # noqa: PLC0415
        from ray.exceptions import RayError  # noqa: PLC0415

        with suppress(
            RayError
        ):  # the coordinator is lost: its machine, and in most cases the whole run
            while not self._stop.requested:
                left_s = ray.get(self._coordinator.left_s.remote())
                if left_s is not None:
                    self._stop.request(left_s)
                time.sleep(_POLL_S)


def _to_row(index: int, job: Job) -> dict[str, Any]:
    """Return ``job`` as a row of Ray: paths as bytes, since file names need not be text."""
    return {
        "index": index,
        # Actors have other working directories.
        "source": os.fsencode(job.source.absolute()),
        "target": None if job.target is None else os.fsencode(job.target.absolute()),
        "found": None if job.found is None else os.fsencode(job.found.absolute()),
        "n_bytes": job.n_bytes,
        "source_name": job.source_name,
    }


def _from_row(row: dict[str, Any]) -> tuple[int, Job]:
    source, target, found = (
        None if row[key] is None else Path(os.fsdecode(row[key]))
        for key in ("source", "target", "found")
    )
    assert source is not None
    return row["index"], Job(source, target, row["n_bytes"], row["source_name"], found)
