"""Which worker has which job: each job goes out once, and once more if its worker is lost.

What a lost worker had begun waits until all other jobs have gone out, and is then the only job of the
worker that takes it; last of all comes what the worker was lost with. So a file that kills whoever works
on it costs no other file, and can be named.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from earzip.batch.events import Exited, Finished
from earzip.batch.jobs import Job
from earzip.results import FileRecord, FileStatus

Assigned = tuple[int, Job]
"""A job, after its number."""


class Assignment:
    """The jobs of a run, as its coordinator assigns them.

    A job on which ``max_losses`` workers were lost has failed.
    """

    def __init__(self, jobs: Sequence[Job], max_losses: int = 2) -> None:
        self._jobs = jobs
        self._max_losses = max_losses
        self._new = deque(range(len(jobs)))
        self._again: deque[int] = deque()
        self._suspects: deque[int] = deque()
        self._owners: dict[int, int] = {}
        self._unfinished = set(range(len(jobs)))
        self._n_losses: Counter[int] = Counter()

    @property
    def is_settled(self) -> bool:
        """Whether every job is finished."""
        return not self._unfinished

    @property
    def has_jobs(self) -> bool:
        """Whether a job waits for a worker."""
        return bool(self._new) or self.has_jobs_again

    @property
    def has_jobs_again(self) -> bool:
        """Whether jobs of lost workers wait for another."""
        return bool(self._again or self._suspects)

    def take_new(self, rank: int) -> Assigned | None:
        """Assign the next job that nobody has had to ``rank``; None if there is none."""
        return self._assigned(self._new.popleft(), rank) if self._new else None

    def take_again(self, rank: int) -> Assigned | None:
        """Assign a job of a lost worker to ``rank``; None if there is none, or ``rank`` has a job."""
        left = self._again or self._suspects
        if not left or rank in self._owners.values():
            return None
        return self._assigned(left.popleft(), rank)

    def began(self, index: int, rank: int) -> None:
        """Note that ``rank`` has taken the job ``index`` by itself."""
        if index in self._unfinished:
            self._owners[index] = rank

    def finished(self, index: int) -> None:
        """Note that there is a record of the job ``index``."""
        self._unfinished.discard(index)
        self._owners.pop(index, None)
        for left in (self._again, self._suspects):
            if index in left:  # a worker that was taken for lost has finished it
                left.remove(index)

    def lost(self, worker: Exited) -> list[Finished]:
        """Take the jobs of ``worker`` back; return records of those that have failed with its end.

        Suspected is the job that the worker names, else the one that it began last.
        """
        given_up = []
        owned = [index for index, owner in self._owners.items() if owner == worker.rank]
        suspect = worker.index if worker.index in owned else next(reversed(owned), None)
        for index in owned:
            del self._owners[index]
            self._n_losses[index] += 1
            if self._n_losses[index] < self._max_losses:
                (self._suspects if index == suspect else self._again).append(index)
                continue
            job = self._jobs[index]
            message = (
                f"{self._max_losses} worker processes were lost while they worked on it, the last one "
                f"{worker.cause or 'has exited'}; the file may be the reason; run again to retry"
            )
            self.finished(index)
            record = FileRecord(
                FileStatus.FAILED, job.source, job.target, message, rank=worker.rank
            )
            given_up.append(Finished(index, record))
        return given_up

    def take_back_unowned(self) -> None:
        """Take back the jobs that nobody has, once all have gone out: a worker died on taking one."""
        out = self._unfinished - {*self._again, *self._suspects} - self._owners.keys()
        self._again.extend(sorted(out))

    def _assigned(self, index: int, rank: int) -> Assigned:
        self._owners[index] = rank
        return index, self._jobs[index]
