"""Runs over plans of stand-in files, on threads."""

from __future__ import annotations

from pathlib import Path

from earzip.batch.events import Work
from earzip.batch.jobs import Job, Plan
from earzip.batch.run import run_batch
from earzip.batch.signals import StopSignal
from earzip.formats.atomic import atomic_write
from earzip.results import FileRecord, FileStatus, Progress, Report
from tests.earzip.batch.backends import threads_of


def job_of(folder: Path, name: str) -> Job:
    return Job(folder / name, folder / "out" / f"{name}.earz", 5)


def write_archive(job: Job, on_progress: Progress) -> FileRecord:
    """Stand in for compress_file."""
    assert job.target is not None
    with atomic_write(job.target) as file:
        file.write(b"half")
        on_progress(1.0)
        file.write(b"whole")
    return FileRecord(FileStatus.WRITTEN, job.source, job.target, figures={"duration_s": 1.0})


def run_plan(
    plan: Plan, work: Work = write_archive, **options: object
) -> tuple[Report, list[tuple[str, FileStatus, str | None]]]:
    records: list[FileRecord] = []
    stop = options.pop("stop", None) or StopSignal()
    backend = threads_of(work)
    report = run_batch(
        plan, lambda _n: backend, lambda r, _job: records.append(r), stop=stop, **options
    )  # type: ignore[arg-type]
    return report, [(r.source.name, r.status, r.message) for r in records]


def files_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
