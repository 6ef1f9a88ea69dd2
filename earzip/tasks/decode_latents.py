"""Latents in files into sound files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import ClassVar

from earzip.batch.events import Work
from earzip.batch.jobs import Job, Plan
from earzip.batch.plan import Selection
from earzip.errors import SourceError
from earzip.formats.names import restored_name
from earzip.models.pool import CodecPool
from earzip.options import DecodeOptions, Lossless
from earzip.results import FileRecord, FileStatus, Progress
from earzip.runtime import Placement
from earzip.tasks.always import AlwaysToDo

_ARRAYS = (".npy", ".safetensors")
_TAR = ".tar"
_FACTS = "has facts of latents, not latents: name the .npy or .safetensors that they are of"


def latents_to_decode(container: Lossless) -> Selection:
    """Return the selection of files of latents: ``song.flac.npy`` becomes ``song.flac``."""
    return Selection(
        takes=lambda name: PurePath(name).suffix.lower() in (*_ARRAYS, _TAR),
        otherwise="no latents",
        refuses=lambda name: _FACTS if PurePath(name).suffix.lower() == ".json" else None,
        target_name=lambda path: restored_name(path.stem, container),
    )


def plan_tar_samples(plan: Plan, container: Lossless) -> None:
    """Put the samples of each tar file in its place: jobs that name them ``FILE.tar/KEY.npy``.

    Their results are called what their JSON says. A tar file without latents is refused, and so are
    samples whose results have one name.
    """
    from earzip.transcode.latent_files import tar_samples  # noqa: PLC0415  # loads numpy

    jobs, plan.jobs = plan.jobs, []
    sources: dict[Path, Path] = {}
    for job in jobs:
        assert job.target is not None
        try:
            is_tar = job.source.suffix.lower() == _TAR
            named = tar_samples(job.source) if is_tar else {job.source: None}
        except SourceError as error:
            plan.refuse(job.source, error.message)
            continue
        for source, name in named.items():
            target = job.target
            if name is not None:
                target = job.target.parent / restored_name(name, container)
            if target in sources:
                plan.refuse(source, f"has the same target as {sources[target]}", target)
                continue
            sources[target] = source
            plan.jobs.append(Job(source, target, job.n_bytes // len(named)))


@dataclass(frozen=True)
class DecodeLatentsTask(AlwaysToDo):
    """Decodes the latents in a file."""

    options: DecodeOptions
    name: ClassVar[str] = "decode-latents"

    @contextmanager
    def opened(self, placement: Placement) -> Iterator[Work]:
        """Give the work. Raises as `CodecPool.checked` does."""
        with CodecPool(placement.runtime).checked() as codecs:
            yield partial(self._decode, codecs)

    def _decode(self, codecs: CodecPool, job: Job, on_progress: Progress) -> FileRecord:
        from earzip.transcode.decode_latents import decode_latents  # noqa: PLC0415

        assert job.target is not None
        result = decode_latents(
            job.source, job.target, self.options, codecs=codecs, on_progress=on_progress
        )
        figures = {
            "duration_s": result.duration_s,
            "n_samples": result.n_samples,
            "n_overs": result.n_overs,
        }
        return FileRecord(FileStatus.WRITTEN, result.source, result.target, figures=figures)
