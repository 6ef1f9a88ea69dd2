"""Worker threads of one process, and the backend made of them. One bad file never stops a run."""

from __future__ import annotations

import os
import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from earzip.batch.devices import cannot_use, opened_at, ready
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
from earzip.batch.locks import claim
from earzip.batch.signals import Stop, StopRequested
from earzip.errors import DeviceError, EarzipError, LockedError
from earzip.formats.atomic import make_folder
from earzip.results import FileRecord, FileStatus
from earzip.runtime import NO_THREAD, Placement, device_error, use_device, what_is_lacking

NextJob = Callable[[], tuple[int, Job] | None]
"""Returns the next job and its number; None if there is none left."""

ABANDON_S = 10.0
"""Time for threads to reach the next block of audio once files in progress are abandoned."""


def start_thread(target: Callable[..., None], *arguments: object) -> None:
    """Start a thread that does not outlive the process. Raises EarzipError if none can be started."""
    try:
        threading.Thread(target=target, args=arguments, daemon=True).start()
    except RuntimeError as error:
        raise EarzipError(NO_THREAD) from error


class Workers:
    """``n_threads`` threads that do the jobs that ``next_job`` returns, and ``send`` events.

    An `EarzipError` of ``work`` becomes the record of its file, and so does a bug, with its traceback:
    one file must not end a night's run. A file whose target another run has locked is retried once after
    all others. ``next_again`` returns the jobs of lost workers after that, and waits for them.

    An error of the device is not its file's: it would be that of the next file too. All threads abandon
    their files, which have no record then; `lost` says why, and ``on_lost`` is called.

    ``on_end`` is called when the last thread has nothing left to do.
    """

    def __init__(
        self,
        work: Work,
        next_job: NextJob,
        send: Callable[[Event], None],
        stop: Stop,
        *,
        rank: int = 0,
        device: str = "cpu",
        n_threads: int = 1,
        next_again: NextJob = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.lost: str | None = None
        """What became of this worker with its device; None if all is well."""
        self._work = work
        self._device = device
        self._next_again = next_again
        self._on_lost = on_lost
        self._lost_at = float("inf")
        self._lost_with: int | None = None
        self._is_over = threading.Event()
        self._next_job = next_job
        self._send = send
        self._stop = stop
        self._rank = rank
        self._held: deque[tuple[int, Job]] = deque()
        self._on_end = on_end
        self._n_at_work = 0
        self._ending = threading.Lock()
        # Daemons: one that waits for a lost device for ever must not block the interpreter's exit.
        self._threads = [
            threading.Thread(target=self._run, name=f"track {i}", daemon=True)
            for i in range(n_threads)
        ]

    def start(self) -> None:
        """Start the threads, or as many as can be started. Raises EarzipError if that is none."""
        started = []
        with self._ending:  # so that none ends before all have begun
            for thread in self._threads:
                try:
                    thread.start()
                except RuntimeError:
                    break
                started.append(thread)
            self._threads = started
            self._n_at_work = len(started)
        if not started:
            raise EarzipError(NO_THREAD)

    def join(self) -> None:
        """Return when there is nothing left to do, after a stop, or once the device is lost."""
        self._is_over.wait()
        for thread in self._threads:
            thread.join(None if self.lost is None else max(0.0, self._ends_by - time.monotonic()))

    @property
    def are_at_work(self) -> bool:
        """Whether a thread is still alive, and not stuck."""
        return any(thread.is_alive() for thread in self._threads) and not self.are_stuck

    @property
    def are_stuck(self) -> bool:
        """Whether threads have not abandoned their files long after the device was lost."""
        is_late = time.monotonic() > self._ends_by
        return is_late and any(thread.is_alive() for thread in self._threads)

    @property
    def _ends_by(self) -> float:
        return self._lost_at + ABANDON_S

    @property
    def _goes_on(self) -> bool:
        return not self._stop.requested and self.lost is None

    def _run(self) -> None:
        try:
            use_device(self._device)
            while self._goes_on and (assigned := self._next_job()) is not None:
                if not self._do(*assigned, wait_for_turn=True):
                    self._held.append(assigned)
            while self._goes_on and (held := self._take_held()) is not None:
                self._do(*held, wait_for_turn=False)
            while self._goes_on and (assigned := self._next_again()) is not None:
                self._do(*assigned, wait_for_turn=False)
        except StopRequested:
            pass
        except BaseException as error:  # or it would be lost
            self._send(Failed(error))
        finally:
            with self._ending:
                self._n_at_work -= 1
                is_last = not self._n_at_work
            if is_last:
                self._on_end()
                self._is_over.set()

    def _take_held(self) -> tuple[int, Job] | None:
        try:
            return self._held.popleft()
        except IndexError:  # checked here, because other threads take from it too
            return None

    def _do(self, index: int, job: Job, *, wait_for_turn: bool) -> bool:
        """Do a job and send its record; False if it is locked and can be retried later."""
        self._send(Started(index, self._rank))
        began = time.monotonic()
        try:
            if job.target is None or (job.remote and job.remote.target):
                record = self._work(job, self._advance)
            else:
                make_folder(job.target)
                with claim(job.target):
                    record = self._work(job, self._advance)
        except LockedError as error:
            if wait_for_turn:
                return False
            record = problem(FileStatus.LOCKED, job.source, job.target, error)
        except DeviceError as error:
            self._lose(error, index)
            return True
        except EarzipError as error:
            record = problem(FileStatus.FAILED, job.source, job.target, error)
        except OSError as error:
            record = problem(FileStatus.FAILED, job.source, job.target, _of_system(error))
        except Exception as error:
            of_device = device_error(error)
            if of_device is not None:
                self._lose(of_device, index)
                return True
            record = _record_of(error, job)
        elapsed_s = time.monotonic() - began
        self._send(Finished(index, replace(record, rank=self._rank, elapsed_s=elapsed_s)))
        return True

    def exited(self) -> Exited:
        """Return the event of the end."""
        return Exited(self._rank, self.lost, self._device, self._lost_with)

    def _lose(self, error: DeviceError, index: int) -> None:
        with self._ending:
            if self.lost is not None:
                return
            self._lost_at = time.monotonic()
            self._lost_with = index
            self.lost = cannot_use(error)
        self._on_lost()
        self._is_over.set()

    def _advance(self, seconds: float) -> None:
        self._stop.check()
        if self.lost is not None:
            raise StopRequested
        if seconds:
            self._send(Progressed(seconds))


class ThreadBackend(Backend):
    """``n_threads`` threads of this process, which works at ``placement``."""

    n_processes = 1

    def __init__(self, task: Task, placement: Placement, n_threads: int = 1) -> None:
        super().__init__()
        self._task = task
        self._placement = placement
        self._n_threads = n_threads
        self._events: queue.Queue[Event] = queue.Queue()
        self._is_event_out = False
        self._is_done = True

    def start(self, jobs: Sequence[Job], stop: Stop) -> None:
        """Start ``jobs``."""
        work = opened_at(self._placement, self._task, self._opened)
        self._stop = stop
        self._left: Iterator[tuple[int, Job]] = iter(enumerate(jobs))
        self._assigning = threading.Lock()
        n_threads = min(self._n_threads, len(jobs))
        send = self._events.put
        self._workers = Workers(
            work,
            self._next_job,
            send,
            stop,
            device=self._placement.runtime.device,
            n_threads=n_threads,
            on_end=lambda: send(self._workers.exited()),
        )
        send(ready(self._placement))
        self._workers.start()
        self._is_done = False
        self._opened.callback(self._workers.join)

    def receive(self, timeout_s: float) -> Event | None:
        """Return the next event, or None if none comes in ``timeout_s``."""
        if self._is_event_out:
            self._events.task_done()  # the last event has been handled
            self._is_event_out = False
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            if not self._workers.are_stuck:
                return None
            event = self._workers.exited()
        else:
            self._is_event_out = True
        self._is_done = isinstance(event, Exited)
        return event

    @property
    def is_done(self) -> bool:
        """Whether every job is done, or was abandoned after a stop."""
        return self._is_done

    def _next_job(self) -> tuple[int, Job] | None:
        # The last record may stop the run.
        self._events.join()
        with self._assigning:
            return None if self._stop.requested else next(self._left, None)


def problem(
    status: FileStatus, source: Path, target: Path | None, error: EarzipError
) -> FileRecord:
    """Return the record of a file that failed with ``error``."""
    about_source = error.path is None or error.path == str(source)
    return FileRecord(status, source, target, error.message if about_source else str(error))


def _record_of(error: Exception, job: Job) -> FileRecord:
    """Return the record of a file for which the system had too little, or that met a bug."""
    lack = what_is_lacking(error)
    if lack is None:
        return _bug(job, error)
    return FileRecord(FileStatus.FAILED, job.source, job.target, lack)


def _of_system(error: OSError) -> EarzipError:
    """Return the error of a call that nothing else has named."""
    path = error.filename if isinstance(error.filename, str | os.PathLike) else None
    return EarzipError(f"cannot be read or written: {error.strerror or error}", path)


def _bug(job: Job, error: Exception) -> FileRecord:
    message = f"internal error: {type(error).__name__}: {error}"
    where = "".join(traceback.format_exception(error))
    return FileRecord(FileStatus.FAILED, job.source, job.target, message, traceback=where)
