"""One archive to a sound file with its tags."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earzip.codec_pool import CodecPool
from earzip.decoding import DecodedTrack, codec_of
from earzip.errors import (
    DamagedArchiveError,
    EarzipError,
    TagError,
    TargetError,
    UsageError,
)
from earzip.formats.archive import ArchiveReader
from earzip.formats.archive_header import Header
from earzip.formats.atomic import atomic_path
from earzip.formats.audio_write import AudioWriter, flac_holds_rate
from earzip.formats.provenance import DIGEST_BYTES, read_provenance, write_provenance
from earzip.formats.resample import n_samples_at, resample_to
from earzip.formats.tags import RawBlock, TagSet, write_tags
from earzip.options import Bits, Container, Progress, RestoreOptions, RestoreResult
from earzip.restore_target import require_replaceable

if TYPE_CHECKING:
    from earzip.codec import Codec

Audio = NDArray[np.float32]


def restore_file(
    archive: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: RestoreOptions | None = None,
    *,
    codecs: CodecPool | None = None,
    on_progress: Progress | None = None,
) -> RestoreResult:
    """Decode ``archive`` to the WAV or FLAC file ``target`` with its tags; return what was done.

    A target that was restored whole from the same archive with the same options is left as it is;
    any other is refused without ``options.force``, the archive and its source even then. Raises
    ArchiveError (DamagedArchiveError for damage, unless ``options.keep_going``),
    ModelNotFoundError, ModelDamagedError, TargetError, or UsageError for a range that begins beyond
    the track's end and for a sample rate that FLAC cannot hold.
    """
    archive, target = Path(archive), Path(target)
    options = (options or RestoreOptions()).for_target(target)
    with ArchiveReader(archive, salvage=options.keep_going) as reader:
        plan = _plan(reader.header, options, archive)
        may_replace = options.force
        if os.path.lexists(target):
            origin = read_provenance(target)
            if not options.force and origin == _digest(reader, plan, whole=True):
                return RestoreResult("up_to_date", archive, target, plan.duration_s, plan.n_out)
            # What an earlier run could not restore whole is tried again.
            may_replace = options.force or origin == _digest(reader, plan, whole=False)
            if not may_replace:
                raise TargetError(
                    "exists and is not what would be written; --force replaces it", target
                )
            if origin is None:
                require_replaceable(target, archive, reader.header.source)
        with ExitStack() as stack:
            pool = codecs or stack.enter_context(CodecPool())
            codec = codec_of(reader, pool)
            return _write(reader, codec, target, plan, options, may_replace, on_progress)


@dataclass(frozen=True)
class _Plan:
    """What is written: samples ``[start, end)`` of the track as ``n_out`` samples at ``rate``."""

    start: int
    end: int
    rate: int
    n_out: int
    channels: int
    bits: Bits
    dither: bool
    container: Container
    as_source: bool
    warnings: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.n_out / self.rate


def _plan(header: Header, options: RestoreOptions, path: Path) -> _Plan:
    assert options.container is not None
    rate = header.geometry.sample_rate
    start = min(round((options.start_s or 0.0) * rate), header.n_samples)
    end = header.n_samples
    if options.end_s is not None:
        end = min(round(options.end_s * rate), end)
    if options.start_s and start >= header.n_samples:
        raise UsageError(
            f"has {header.duration_s:.3f} s, the range begins at {options.start_s} s", path
        )
    source = header.source
    bits = options.bits or (24 if source.lossless else 16)
    plan = _Plan(
        start=start,
        end=end,
        rate=rate,
        n_out=end - start,
        channels=2,
        bits=bits,
        dither=options.dither and bits == 16,
        container=options.container,
        as_source=options.as_source,
    )
    if not options.as_source:
        return plan
    if options.container == "flac" and not flac_holds_rate(source.sample_rate):
        raise UsageError(
            f"FLAC cannot hold the source's {source.sample_rate} Hz; --format wav can", path
        )
    # A whole track has the source's own count, which rounding twice could miss by one.
    whole = (start, end) == (0, header.n_samples)
    n_out = source.n_frames if whole else n_samples_at(end - start, rate, source.sample_rate)
    warnings: tuple[str, ...] = ()
    if source.channels > 2:
        warnings = (f"the source's {source.channels} channels were mixed down and stay stereo",)
    channels = min(source.channels, 2)
    return replace(plan, rate=source.sample_rate, n_out=n_out, channels=channels, warnings=warnings)


def _digest(reader: ArchiveReader, plan: _Plan, *, whole: bool) -> bytes:
    """Return what tells a restoration of this archive under this plan, whole or not, from others."""
    # The prefix has the checksums of header and index, and the index those of everything else.
    asked = {name: value for name, value in vars(plan).items() if name != "warnings"}
    seen = reader.prefix.pack() + repr(sorted(asked.items())).encode()
    if not whole:
        seen += b"incomplete"
    return hashlib.sha256(seen).digest()[:DIGEST_BYTES]


def _write(
    reader: ArchiveReader,
    codec: Codec,
    target: Path,
    plan: _Plan,
    options: RestoreOptions,
    may_replace: bool,
    on_progress: Progress | None,
) -> RestoreResult:
    header = reader.header
    sound = DecodedTrack(reader, codec, plan.start, plan.end, keep_going=options.keep_going)
    blocks = _reported(sound.blocks(), header.geometry.sample_rate, on_progress)
    if plan.rate != header.geometry.sample_rate or plan.n_out != plan.end - plan.start:
        blocks = resample_to(blocks, header.geometry.sample_rate, plan.rate, plan.n_out)
    saved = _read_tags(reader, keep_going=options.keep_going)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(f"its folder cannot be made: {error.strerror}", target) from error
    # Where there was no target: one that has come since is not replaced.
    with atomic_path(target, replace=may_replace) as temporary, _blaming(target, temporary):
        with AudioWriter(
            temporary,
            container=plan.container,
            sample_rate=plan.rate,
            channels=1 if plan.channels == 1 else 2,
            bits=plan.bits,
            dither=plan.dither,
            n_samples=plan.n_out,
        ) as writer:
            for block in blocks:
                writer.write(block)
        whole = not (sound.lost or saved.is_damaged or reader.wrong_length)
        write_provenance(temporary, _digest(reader, plan, whole=whole))
        losses = write_tags(temporary, saved.tags) if saved.tags is not None else []
        if header.source.mtime_ns is not None:
            os.utime(temporary, ns=(header.source.mtime_ns, header.source.mtime_ns))
    return RestoreResult(
        status="written",
        archive=reader.path,
        target=target,
        duration_s=plan.duration_s,
        n_samples=plan.n_out,
        n_overs=writer.n_overs,
        lost_segments=tuple(i for i in sorted(sound.lost) if i in sound.segments),
        lost_pictures=saved.lost_pictures,
        lost_tags=saved.is_damaged and saved.tags is None,
        wrong_length=reader.wrong_length,
        tag_losses=tuple(losses),
        warnings=plan.warnings + sound.warnings + saved.warnings,
    )


@contextmanager
def _blaming(target: Path, temporary: Path) -> Iterator[None]:
    """Let errors of a file that the user never sees name the one that it is to become."""
    try:
        yield
    except EarzipError as error:
        if error.path != os.fspath(temporary):
            raise
        raise type(error)(error.message, target) from error


def _reported(blocks: Iterable[Audio], rate: int, on_progress: Progress | None) -> Iterator[Audio]:
    for block in blocks:
        yield block
        if on_progress:
            on_progress(block.shape[1] / rate)


@dataclass(frozen=True)
class _SavedTags:
    """What could be read of an archive's tags: all of them, unless damage was allowed for."""

    tags: TagSet | None
    lost_pictures: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def is_damaged(self) -> bool:
        return bool(self.warnings)


def _read_tags(reader: ArchiveReader, *, keep_going: bool) -> _SavedTags:
    try:
        part = reader.tags
        if part is None:
            return _SavedTags(None)
        images, lost = _read_pictures(reader, part.pictures, keep_going=keep_going)
        tags = TagSet.from_payload(part.payload, part.blocks, images)
    except (DamagedArchiveError, TagError) as error:
        if keep_going:
            return _SavedTags(None, (), (f"tags are lost: {error.message}",))
        if isinstance(error, DamagedArchiveError):
            raise
        raise DamagedArchiveError(f"tags are not valid: {error.message}", reader.path) from error
    return _SavedTags(_without_pictures(tags, lost.keys()), tuple(lost), tuple(lost.values()))


def _read_pictures(
    reader: ArchiveReader, numbers: tuple[int, ...], *, keep_going: bool
) -> tuple[list[bytes], dict[int, str]]:
    """Return the images of the tags' pictures, and for each lost one, here empty, a sentence."""
    if not keep_going:
        return reader.pictures(), {}
    images: dict[int, bytes] = {}
    why: dict[int, str] = {}
    for number in set(numbers):  # many pictures of the tags may be one that is stored
        try:
            images[number] = reader.picture(number)
        except DamagedArchiveError as error:
            images[number] = b""
            why[number] = error.message
    lost = {
        picture: f"picture {picture} is lost: {why[number]}"
        for picture, number in enumerate(numbers)
        if number in why
    }
    return [images[number] for number in numbers], lost


def _without_pictures(tags: TagSet, lost: Collection[int]) -> TagSet:
    """Return ``tags`` less lost pictures, and less the raw blocks that would need them.

    What those blocks said is still in the neutral view, as far as it has a neutral name.
    """
    kept = [i for i in range(len(tags.pictures)) if i not in lost]
    index = {old: new for new, old in enumerate(kept)}
    raw = [
        RawBlock(
            block.kind,
            block.data,
            tuple(replace(cut, picture=index[cut.picture]) for cut in block.cuts),
        )
        for block in tags.raw
        if not any(cut.picture in lost for cut in block.cuts)
    ]
    return replace(tags, pictures=[tags.pictures[i] for i in kept], raw=raw)
