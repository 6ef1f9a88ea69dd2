"""The threads of one process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from earzip.batch.events import Event, Finished
from earzip.batch.jobs import Job, Plan
from earzip.batch.run import run_batch
from earzip.batch.signals import Stop, StopSignal
from earzip.batch.threads import Workers
from earzip.errors import EarzipError, LockedError
from earzip.results import FileRecord, FileStatus, Progress
from tests.earzip.batch.backends import threads_of


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


class _Limited:
    """Lets so many threads start, as a limit on processes does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
        self._left = n
        real = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            self._left -= 1
            if self._left < 0:
                raise RuntimeError("can't start new thread")
            real(thread)

        monkeypatch.setattr(threading.Thread, "start", start)


def _read(job: Job, _on_progress: Progress) -> FileRecord:
    return FileRecord(FileStatus.READ, job.source)


def test_fewer_threads_than_wanted_do_all_the_work(monkeypatch):
    _Limited(monkeypatch, 1)
    jobs = iter(enumerate([Job(Path(name), None, 1) for name in "abc"]))
    events: list[Event] = []
    ends: list[bool] = []
    workers = Workers(
        _read,
        lambda: next(jobs, None),
        events.append,
        Stop(),
        n_threads=3,
        on_end=lambda: ends.append(True),
    )
    workers.start()
    workers.join()
    assert sum(isinstance(event, Finished) for event in events) == 3
    assert ends == [True]


def test_a_run_without_any_thread_ends_with_an_error(monkeypatch, tmp_path):
    _Limited(monkeypatch, 0)
    plan = Plan([Job(tmp_path / "a", None, 1)])
    backend = threads_of(_read)
    with pytest.raises(EarzipError, match="no thread can be started"):
        run_batch(plan, lambda _n: backend, lambda _r, _job: None, stop=StopSignal())
