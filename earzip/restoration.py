"""One archive to sound, and the check that it decodes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from earzip.checkpoints import find_model_of_archive
from earzip.codec import Codec, Geometry
from earzip.codec_pool import CodecPool
from earzip.errors import (
    ArchiveError,
    DamagedArchiveError,
    ModelDamagedError,
    ModelNotFoundError,
    TagError,
    TargetError,
    UsageError,
)
from earzip.formats.archive import ArchiveReader
from earzip.formats.archive_header import Header
from earzip.formats.atomic import atomic_path
from earzip.formats.audio_write import AudioWriter
from earzip.formats.resample import n_samples_at, resample_to
from earzip.formats.tags import TagSet, write_tags
from earzip.latents import read_segment
from earzip.options import Bits, Progress, RestoreOptions, RestoreResult

Audio = NDArray[np.float32]
Latents = NDArray[np.float32]

_SUBTYPES = {16: "PCM_16", 24: "PCM_24", "float": "FLOAT"}


def restore_file(
    archive: Path,
    target: Path,
    options: RestoreOptions | None = None,
    *,
    codecs: CodecPool | None = None,
    on_progress: Progress | None = None,
) -> RestoreResult:
    """Decode ``archive`` to the WAV or FLAC file ``target`` with its tags; return what was done.

    A target of the same format, length and time of modification as would be written is left as it
    is; any other is refused without ``options.force``. Raises ArchiveError (DamagedArchiveError for
    damage, unless ``options.keep_going``), ModelNotFoundError, ModelDamagedError, TargetError, or
    UsageError for a range that begins beyond the track's end.
    """
    options = options or RestoreOptions()
    with ArchiveReader(archive, salvage=options.keep_going) as reader:
        plan = _plan(reader.header, options, archive)
        if os.path.lexists(target):
            if not options.force and _is_restored(target, plan, reader.header):
                return RestoreResult("up_to_date", archive, target, plan.duration_s, plan.n_out)
            if not options.force:
                raise TargetError(
                    "exists and is not what would be written; --force replaces it", target
                )
            if target.exists() and target.samefile(archive):
                raise TargetError("is the archive itself, which is never overwritten", target)
        with ExitStack() as stack:
            pool = codecs or stack.enter_context(CodecPool())
            codec = _codec(reader, pool)
            return _write(reader, codec, target, plan, options, on_progress)


def decode_check(
    archive: Path, *, codecs: CodecPool | None = None, on_progress: Progress | None = None
) -> list[str]:
    """Decode ``archive`` without output; return a sentence for each thing that is wrong.

    Raises ArchiveError for a file that cannot be opened as an archive, ModelNotFoundError or
    ModelDamagedError.
    """
    problems: list[str] = []
    with ArchiveReader(archive) as reader, ExitStack() as stack:
        pool = codecs or stack.enter_context(CodecPool())
        sound = _Sound(reader, _codec(reader, pool), keep_going=True)
        n_samples = 0
        for block in sound.blocks(0, reader.header.n_samples):
            if not np.isfinite(block).all():
                problems.append(f"sample {n_samples} and on decode to numbers that are not finite")
            n_samples += block.shape[1]
            if on_progress:
                on_progress(block.shape[1] / reader.header.geometry.sample_rate)
        problems += [f"segment {i}: {message}" for i, message in sorted(sound.lost.items())]
        if n_samples != reader.header.n_samples:
            problems.append(
                f"{n_samples} samples decode, the header says {reader.header.n_samples}"
            )
    return problems


def _codec(reader: ArchiveReader, pool: CodecPool) -> Codec:
    """Return the codec the archive names, which must have the geometry that it was coded with."""
    header = reader.header
    try:
        spec = find_model_of_archive(header.model.name, header.model.sha256)
    except (ModelNotFoundError, ModelDamagedError) as error:
        raise type(error)(error.message, reader.path) from error
    codec = pool.of_model(spec)
    coded = {k: v for k, v in vars(header.geometry).items() if k != "sample_rate"}
    if Geometry(**coded) != codec.geometry or header.model.n_latents != codec.n_latents:
        raise ArchiveError(
            f"was coded with a geometry that its model {spec.name!r} does not have", reader.path
        )
    return codec


@dataclass(frozen=True)
class _Plan:
    """What is written: samples ``[start, end)`` of the track as ``n_out`` samples at ``rate``."""

    start: int
    end: int
    rate: int
    n_out: int
    channels: int
    bits: Bits
    container: str
    warnings: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.n_out / self.rate


def _plan(header: Header, options: RestoreOptions, path: Path) -> _Plan:
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
    if not options.as_source:
        return _Plan(start, end, rate, end - start, 2, bits, options.container)
    # A whole track has the source's own count, which rounding twice could miss by one.
    whole = (start, end) == (0, header.n_samples)
    n_out = source.n_frames if whole else n_samples_at(end - start, rate, source.sample_rate)
    warnings: tuple[str, ...] = ()
    if source.channels > 2:
        warnings = (f"the source's {source.channels} channels were mixed down and stay stereo",)
    channels = min(source.channels, 2)
    return _Plan(start, end, source.sample_rate, n_out, channels, bits, options.container, warnings)


def _is_restored(target: Path, plan: _Plan, header: Header) -> bool:
    """Whether ``target`` looks like what would be written: format, length and time."""
    try:
        if target.stat().st_mtime_ns != header.source.mtime_ns:
            return False
        info = soundfile.info(os.fsencode(target))
    except (OSError, soundfile.LibsndfileError):
        return False
    wav_kinds = {"WAV", "WAVEX", "RF64"}
    container = "wav" if info.format in wav_kinds else info.format.lower()
    found = (container, info.subtype, info.samplerate, info.channels, info.frames)
    return found == (plan.container, _SUBTYPES[plan.bits], plan.rate, plan.channels, plan.n_out)


def _write(
    reader: ArchiveReader,
    codec: Codec,
    target: Path,
    plan: _Plan,
    options: RestoreOptions,
    on_progress: Progress | None,
) -> RestoreResult:
    header = reader.header
    sound = _Sound(reader, codec, keep_going=options.keep_going)
    blocks = _reported(sound.blocks(plan.start, plan.end), header.geometry.sample_rate, on_progress)
    if plan.rate != header.geometry.sample_rate or plan.n_out != plan.end - plan.start:
        blocks = resample_to(blocks, header.geometry.sample_rate, plan.rate, plan.n_out)
    tags, warnings = _read_tags(reader, keep_going=options.keep_going)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        with AudioWriter(
            temporary,
            container=options.container,
            sample_rate=plan.rate,
            channels=1 if plan.channels == 1 else 2,
            bits=plan.bits,
            dither=options.dither,
            n_samples=plan.n_out,
        ) as writer:
            for block in blocks:
                writer.write(block)
        losses = write_tags(temporary, tags) if tags is not None else []
        if header.source.mtime_ns is not None:
            os.utime(temporary, ns=(header.source.mtime_ns, header.source.mtime_ns))
    return RestoreResult(
        status="written",
        archive=reader.path,
        target=target,
        duration_s=plan.duration_s,
        n_samples=plan.n_out,
        n_overs=writer.n_overs,
        lost_segments=tuple(sorted(sound.lost)),
        tag_losses=tuple(losses),
        warnings=plan.warnings + warnings,
    )


def _reported(blocks: Iterable[Audio], rate: int, on_progress: Progress | None) -> Iterator[Audio]:
    for block in blocks:
        yield block
        if on_progress:
            on_progress(block.shape[1] / rate)


def _read_tags(reader: ArchiveReader, *, keep_going: bool) -> tuple[TagSet | None, tuple[str, ...]]:
    try:
        part = reader.tags
        if part is None:
            return None, ()
        return TagSet.from_payload(part.payload, part.blocks, reader.pictures()), ()
    except DamagedArchiveError as error:
        if not keep_going:
            raise
        return None, (f"tags are lost: {error.message}",)
    except TagError as error:
        raise DamagedArchiveError(f"tags are not valid: {error.message}", reader.path) from error


@dataclass
class _Sound:
    """The sound of an archive, and which of its segments were lost."""

    reader: ArchiveReader
    codec: Codec
    keep_going: bool
    lost: dict[int, str] = field(default_factory=dict)

    def blocks(self, start: int, end: int) -> Iterator[Audio]:
        """Yield samples ``[start, end)`` of the track, ``[2, T]``, at the source's level."""
        header, g = self.reader.header, self.codec.geometry
        gain = np.float32(10 ** (-header.gain_centibels / 200))
        segments = g.segments_of(start, end)
        for i, block in zip(
            segments, self.codec.decode(self._latents, header.n_samples, segments), strict=True
        ):
            first = max(0, i * g.core * g.hop - g.lead)
            cut = block[:, max(0, start - first) : max(0, end - first)]
            yield np.zeros_like(cut) if i in self.lost else cut * gain

    def _latents(self, i: int) -> Latents:
        try:
            return read_segment(self.reader, i)
        except DamagedArchiveError as error:
            if not self.keep_going:
                raise
            self.lost[i] = error.message
            n_frames = self.reader.header.segment_frames(i)
            return np.zeros((self.reader.header.model.n_latents, n_frames), np.float32)
