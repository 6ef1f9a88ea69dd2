"""The threads of one process."""

from __future__ import annotations

from pathlib import Path

from earzip.batch.events import Event, Finished
from earzip.batch.plan import Job
from earzip.batch.signals import Stop
from earzip.batch.threads import Workers
from earzip.errors import LockedError
from earzip.results import FileRecord, FileStatus, Progress


def _is_locked(_job: Job, _on_progress: Progress) -> FileRecord:
    raise LockedError("another run is writing it")


def test_threads_that_try_locked_files_once_more_do_not_meet_at_the_last(monkeypatch):
    class Held(list[tuple[int, Job]]):
        """The files to try once more, of which another thread has just taken the last."""

        def popleft(self) -> tuple[int, Job]:
            return self.pop(0)

        def __bool__(self) -> bool:
            return True

    jobs = iter(enumerate([Job(Path("a"), None, 1)]))
    events: list[Event] = []
    workers = Workers(_is_locked, lambda: next(jobs, None), events.append, Stop())
    monkeypatch.setattr(workers, "_held", Held())
    workers.start()
    workers.join()
    (recorded,) = (event for event in events if not hasattr(event, "rank"))
    assert isinstance(recorded, Finished)
    assert recorded.record.status is FileStatus.LOCKED
