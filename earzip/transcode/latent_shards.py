"""Tar files of training samples, as WebDataset reads them (https://github.com/webdataset/webdataset).

A sample is two members: ``KEY.json`` (`sample_json`), then ``KEY.npy``, the latents, or ``KEY.earz``, the
archive itself. The bytes of a shard follow from its archives alone: owners, times and order are fixed.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import and_
from pathlib import Path
from typing import BinaryIO, NamedTuple

from earzip.errors import ArchiveError, DamagedArchiveError, TargetError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.atomic import atomic_write, is_taken, look_again, make_folder
from earzip.options import ShardForm
from earzip.results import Progress
from earzip.transcode.latents import n_bytes_of, npy_head, write_latents
from earzip.transcode.results import ShardResult, Status
from earzip.transcode.training_sample import sample_json, sample_key

_TIME_S = 315_532_800
"""1980, of every member: tar warns of a file that is older."""
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Member:
    """An archive to be put into a shard."""

    path: Path
    name: str
    """What its track is called, with the folders below those that were named."""
    mode: int
    """The permissions that a file of its contents may have."""
    n_bytes: int


def write_shard(
    members: Sequence[Member],
    target: Path,
    form: ShardForm,
    *,
    force: bool = False,
    on_progress: Progress = lambda _seconds: None,
) -> ShardResult:
    """Write the archives of ``members`` to the tar file ``target``, which appears whole or not at all.

    A target that holds exactly them is left as it is, and one that holds some of them alone is replaced.
    An archive that is damaged is left out, and the result says so. ``on_progress`` is called with 0 as
    the work goes on, and may raise to end it. Without ``force`` raises TargetError where another file, or
    the sample of an archive that is damaged now, is in the way; with it too where the target cannot be
    written, or no archive is left. Memory does not grow with the tracks.
    """
    return look_again(lambda: _write(members, target, form, on_progress, force=force))


def shard_already(members: Sequence[Member], target: Path, form: ShardForm) -> ShardResult | None:
    """Return the result of a ``target`` that holds exactly the samples of ``members``; else None.

    Arrays are known by their archives' checksums and their sizes. Raises nothing.
    """
    held = _held_in(target, members, form)
    if held is None or held.n_tracks != len(members):
        return None
    return held.result("up_to_date", target, file_bytes=target.stat().st_size)


def _held_in(target: Path, members: Sequence[Member], form: ShardForm) -> _Held | None:
    """Return what the tar file ``target`` holds, if that is samples of ``members`` alone; else None."""
    held = _Held()
    try:
        with target.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            info = tar.next()
            for member in members:
                with ArchiveReader(member.path) as reader:
                    parts = _parts(reader, member, form)
                    if info is None or info.name != parts[0].name:
                        continue
                    for part in parts:
                        if not _is_member(tar, info, part):
                            return None
                        info = tar.next()
                    held.add(reader)
            if info is not None or file.seek(0, 2) != _whole(tar.offset):
                return None
    except (OSError, tarfile.TarError, ArchiveError):
        return None
    return held


def _write(
    members: Sequence[Member],
    target: Path,
    form: ShardForm,
    on_progress: Progress,
    *,
    force: bool,
) -> ShardResult:
    before = None
    if is_taken(target) and not force:
        if found := shard_already(members, target, form):
            return found
        before = _held_in(target, members, form)
        if before is None or not before.n_tracks:
            raise TargetError(
                "already exists with other samples; use --force to replace it, or another directory",
                target,
            )
    make_folder(target)
    held, left_out = _Held(), list[str]()
    mode = reduce(and_, (member.mode for member in members))
    # One that lacks some of its samples, of archives that were damaged, is made whole.
    with atomic_write(target, replace=force or before is not None, mode=mode) as file:
        for member in members:
            begin = file.tell()
            try:
                with ArchiveReader(member.path) as reader:
                    reader.require_work()
                    _write_sample(file, reader, member, form, on_progress)
                    held.add(reader)
            except ArchiveError as error:
                if before and member.path in before.paths:
                    raise TargetError(
                        f"already exists, with the sample of an archive that is damaged now: {error}",
                        target,
                    ) from error
                left_out.append(str(error))
                file.seek(begin)
                file.truncate()
        if not held.n_tracks:
            raise TargetError(f"no archive is left for it; {left_out[0]}", target)
        n_bytes = _whole(file.tell())
        file.write(bytes(n_bytes - file.tell()))
    return held.result("written", target, file_bytes=n_bytes, left_out=tuple(left_out))


class _Part(NamedTuple):
    """A member of the tar file."""

    name: str
    begin: bytes
    """What it begins with; all of it, or what tells it from that of another archive."""
    n_bytes: int


def _parts(reader: ArchiveReader, member: Member, form: ShardForm) -> tuple[_Part, _Part]:
    """Return the facts and the data of a sample."""
    key, facts = sample_key(member.name), sample_json(reader, member.name)
    if form.of_archives:
        data = _Part(f"{key}.earz", reader.prefix.pack(), reader.prefix.file_bytes)
    else:
        head = npy_head(reader, form.dtype)
        data = _Part(f"{key}.npy", head, len(head) + n_bytes_of(reader, form.dtype))
    return _Part(f"{key}.json", facts, len(facts)), data


def _write_sample(
    file: BinaryIO,
    reader: ArchiveReader,
    member: Member,
    form: ShardForm,
    on_progress: Progress,
) -> None:
    facts, data = _parts(reader, member, form)
    file.write(_tar_head(facts) + facts.begin + _filling(facts))
    file.write(_tar_head(data))
    if form.of_archives:
        _copy_archive(file, reader, on_progress)
    else:
        file.write(data.begin)
        write_latents(file, reader, form.dtype, on_progress)
    file.write(_filling(data))


def _tar_head(part: _Part) -> bytes:
    info = tarfile.TarInfo(part.name)
    info.size, info.mtime = part.n_bytes, _TIME_S
    return info.tobuf(tarfile.PAX_FORMAT)


def _filling(part: _Part) -> bytes:
    return bytes(-part.n_bytes % tarfile.BLOCKSIZE)


def _whole(n_bytes: int) -> int:
    """Return the size of a tar file whose members end at ``n_bytes``: two empty blocks, whole records."""
    n_bytes += 2 * tarfile.BLOCKSIZE
    return n_bytes + -n_bytes % tarfile.RECORDSIZE


def _copy_archive(file: BinaryIO, reader: ArchiveReader, on_progress: Progress) -> None:
    """Copy an archive, once its sound has been found intact. Raises DamagedArchiveError."""
    for i in range(reader.n_segments):
        on_progress(0)
        reader.segment(i)
    n_left = reader.prefix.file_bytes
    with reader.whole_file() as archive:
        while data := archive.read(_COPY_BYTES):
            on_progress(0)
            file.write(data)
            n_left -= len(data)
    if n_left:
        raise DamagedArchiveError("was cut short while it was copied", reader.path)


def _is_member(tar: tarfile.TarFile, info: tarfile.TarInfo | None, part: _Part) -> bool:
    """Return whether ``info`` of ``tar`` is ``part``, as far as its beginning tells."""
    if info is None or (info.name, info.size) != (part.name, part.n_bytes):
        return False
    data = tar.extractfile(info)
    return data is not None and data.read(len(part.begin)) == part.begin


@dataclass
class _Held:
    """What the samples of a shard come to."""

    n_tracks: int = field(default=0, init=False)
    paths: set[Path] = field(default_factory=set, init=False)
    """The archives that they are of."""
    n_frames: int = field(default=0, init=False)
    duration_s: float = field(default=0.0, init=False)

    def add(self, reader: ArchiveReader) -> None:
        self.n_tracks += 1
        self.paths.add(reader.path)
        self.n_frames += reader.header.n_frames
        self.duration_s += reader.header.duration_s

    def result(
        self, status: Status, target: Path, *, file_bytes: int, left_out: tuple[str, ...] = ()
    ) -> ShardResult:
        return ShardResult(
            status, target, self.n_tracks, self.n_frames, self.duration_s, file_bytes, left_out
        )
