"""What an actor of a Ray cluster does: jobs in its threads, and their events as JSON. Knows no Ray."""

from __future__ import annotations

from contextlib import ExitStack

from earzip.batch.devices import end_by, opened_at, ready
from earzip.batch.events import (
    Event,
    Failed,
    Finished,
    Progressed,
    Task,
    Work,
    event_to_bytes,
)
from earzip.batch.jobs import Job
from earzip.batch.signals import Stop
from earzip.batch.threads import Workers
from earzip.errors import EarzipError
from earzip.runtime import Placement


class Actor:
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
