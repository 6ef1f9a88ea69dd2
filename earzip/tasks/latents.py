"""Archives into files of their latents: one each, or shards of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from earzip.batch.events import Reads, Work
from earzip.batch.jobs import Job, OtherFile, Plan
from earzip.batch.plan import Selection
from earzip.errors import ArchiveError, TargetError, UsageError, count
from earzip.formats.names import is_archive_name, name_without_archive_suffix
from earzip.options import LatentDtype, ShardForm
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement
from earzip.tasks.always import AlwaysToDo
from earzip.transcode.results import ShardResult

if TYPE_CHECKING:
    from earzip.transcode.latent_shards import Member


def latents_to_extract(suffix: str = "") -> Selection:
    """Return the selection of archives, whose latents are written; ``suffix`` ends their names."""
    return Selection(
        takes=is_archive_name,
        otherwise="not an archive",
        target_name=lambda path: name_without_archive_suffix(path.name) + suffix,
    )


@dataclass(frozen=True)
class LatentsTask(AlwaysToDo):
    """Writes the latents of an archive to a file of its own."""

    force: bool = False
    dtype: LatentDtype = "float32"
    name: ClassVar[str] = "latents"

    @contextmanager
    def opened(self, _placement: Placement) -> Iterator[Work]:
        """Give the work."""
        yield self._extract

    def _extract(self, job: Job, _on_progress: Progress) -> FileRecord:
        from earzip.transcode.latents import extract_latents  # noqa: PLC0415

        assert job.target is not None
        result = extract_latents(job.source, job.target, dtype=self.dtype, force=self.force)
        figures = {"n_latents": result.n_latents, "n_frames": result.n_frames}
        return FileRecord(FileStatus(result.status), result.archive, result.target, figures=figures)


@dataclass(frozen=True)
class ShardJob(Job):
    """A shard to be written, which is both source and target of the job."""

    members: tuple[Member, ...] = ()


@dataclass(frozen=True)
class ShardsTask:
    """Writes shards of many archives' samples."""

    form: ShardForm
    force: bool = False
    name: ClassVar[str] = "latents"
    reads: ClassVar[Reads] = Reads.ALL

    def up_to_date(self, job: Job) -> FileRecord | None:
        """Return the record of a shard that holds what it should."""
        from earzip.transcode.latent_shards import shard_already  # noqa: PLC0415

        assert isinstance(job, ShardJob)
        result = None if self.force else shard_already(job.members, job.source, self.form)
        return None if result is None else _record(result, len(job.members))

    def planned(self, job: Job, _on_progress: Progress) -> FileRecord | None:
        """Return the record of a shard that holds what it should."""
        return self.up_to_date(job)

    @contextmanager
    def opened(self, _placement: Placement) -> Iterator[Work]:
        """Give the work."""
        yield self._write

    def _write(self, job: Job, on_progress: Progress) -> FileRecord:
        from earzip.transcode.latent_shards import write_shard  # noqa: PLC0415

        assert isinstance(job, ShardJob)
        result = write_shard(
            job.members, job.source, self.form, force=self.force, on_progress=on_progress
        )
        return _record(result, len(job.members))


def _record(result: ShardResult, n_members: int) -> FileRecord:
    n_lost = len(result.left_out)
    return FileRecord(
        FileStatus.INCOMPLETE if n_lost else FileStatus(result.status),
        result.target,
        result.target,
        message=f"{n_lost} of {count(n_members, 'archive')} left out" if n_lost else None,
        warnings=result.left_out,
        figures={
            "n_tracks": result.n_tracks,
            "n_frames": result.n_frames,
            "duration_s": result.duration_s,
            "shard_bytes": result.shard_bytes,
        },
    )


def plan_shards(plan: Plan, output: Path, form: ShardForm, samples_per_shard: int) -> None:
    """Put shards in ``output`` in place of the archives of ``plan``, of so many samples each.

    Their order is that of the samples' keys, which are hashes: a shard has tracks of everywhere.
    Archives that cannot be opened are refused, and those without sound skipped. Raises UsageError for
    archives of several models, and TargetError where shards of other runs would stay among these.
    """
    from earzip.transcode.training_sample import sample_key  # noqa: PLC0415  # loads numpy

    members = sorted(_members(plan, output), key=lambda member: sample_key(member.name))
    stem = "archives" if form.of_archives else "latents"
    plan.jobs = []
    for number, start in enumerate(range(0, len(members), samples_per_shard)):
        part = tuple(members[start : start + samples_per_shard])
        path = output / f"{stem}-{number:06}.tar"
        plan.jobs.append(ShardJob(path, path, sum(each.n_bytes for each in part), members=part))
    ours = {job.source.name for job in plan.jobs}
    others = sorted({path.name for path in output.glob(f"{stem}-*.tar")} - ours)
    if ours and others:
        raise TargetError(
            f"has {others[0]}, beyond the {count(len(ours), 'shard')} of these archives; "
            "remove it, or name another directory",
            output,
        )


def _members(plan: Plan, output: Path) -> Iterator[Member]:
    from earzip.formats.archive.reader import ArchiveReader  # noqa: PLC0415  # loads numpy
    from earzip.formats.atomic import private_as  # noqa: PLC0415
    from earzip.transcode.latent_shards import Member  # noqa: PLC0415

    models = Counter[tuple[str, str]]()
    for job in plan.jobs:
        assert job.target is not None
        name = job.target.relative_to(output).as_posix()
        try:
            with ArchiveReader(job.source) as reader:
                header, mode = reader.header, private_as(reader.status)
        except ArchiveError as error:
            plan.refuse(job.source, error.message)
            continue
        if not header.n_frames:
            plan.other_files.append(OtherFile(job.source, None, "has no sound"))
            continue
        models[header.model.name, header.model.sha256] += 1
        yield Member(job.source, name, mode, job.n_bytes)
    if len(models) > 1:
        found = ", ".join(f"{name} {sha256[:8]}… ({n})" for (name, sha256), n in models.items())
        raise UsageError(
            f"archives are of {len(models)} models, whose latents do not mix: {found}; "
            "--where 'model=NAME' takes those of one"
        )
