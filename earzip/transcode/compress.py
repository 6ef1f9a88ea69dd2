"""One source file to one archive."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from earzip.arrays import Audio, Latents
from earzip.coding.level import gain_to_reference_db, measure_level_db
from earzip.errors import DamagedArchiveError, TargetError
from earzip.formats.archive.header import Header
from earzip.formats.archive.layout import ArchiveSizes
from earzip.formats.archive.writer import ArchiveWriter
from earzip.formats.atomic import look_again, make_folder, private_as
from earzip.formats.audio.reader import SourceFacts
from earzip.formats.audio.source import open_source
from earzip.formats.geometry import SAMPLE_RATE
from earzip.metrics import require_eval
from earzip.models.pool import CodecPool
from earzip.options import MAX_QUALITY, CompressOptions, quality_name, quality_number
from earzip.results import Progress
from earzip.transcode.archive_settings import ArchiveSettings
from earzip.transcode.arranged_tags import arranged
from earzip.transcode.kept_segments import (
    archive_of,
    require_other_tags_alone,
    taken_from,
    with_new_tags,
    with_other_pictures,
)
from earzip.transcode.kept_sound import KeptSound
from earzip.transcode.pictures import Storage
from earzip.transcode.quality import QualityCheck
from earzip.transcode.results import CompressResult, Status
from earzip.transcode.saved_tags import write_with_tags
from earzip.transcode.scaled_pictures import require_pillow
from earzip.transcode.segments import Coded, LatentSpool, SegmentEncoder, header_of, quality_for
from earzip.transcode.source_state import (
    hash_source,
    require_unchanged,
    source_record,
    source_warnings,
)
from earzip.transcode.source_tags import read_source_tags
from earzip.transcode.up_to_date import (
    TargetState,
    compressed_already,
    inspect_target,
    note_as_seen,
    plain_reason_for_pictures,
    result_of,
)

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


_RATE_ERROR = 0.03  # of a bitrate, that is not worth a word


def compress_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: CompressOptions | None = None,
    *,
    codecs: CodecPool | None = None,
    source_name: str | None = None,
    found: Sequence[Path] = (),
    on_progress: Progress | None = None,
) -> CompressResult:
    """Archive ``source`` as ``target``; return what was done.

    A target that is `compressed_already` is left as it is, and neither is read. Else the source's bytes
    decide: an archive of the same bytes, made with the same model and settings, is left as it is if it is
    whole; one of the same bytes that is damaged or was made with others is replaced; one of a source
    whose tags alone have changed gets the new ones; one whose pictures alone are stored otherwise than
    ``options`` say, or are missing beside it, gets those of its source; any other file is refused. With
    ``options.force`` the source is encoded whatever the target is, and replaces it. The archive gets the
    source's time of modification, and is as private as the source. A source that changes until the
    archive is complete is refused.

    ``source_name`` is for a source that came through a pipe and has neither name nor time of its own:
    the archive stores it instead of the source's own name ("" for none). ``found``: archives elsewhere
    that may be of the same bytes, because their source was moved. If there is no target, such a one
    counts as if it stood there, and its sound is taken over. Raises SourceError, TargetError,
    ModelNotFoundError, ModelDamagedError, BelowFloorError where ``options.floor`` says so, or UsageError
    for a check without the packages of the extra ``eval``, or scaled pictures without the extra
    ``pictures``.
    """
    source, target = Path(source), Path(target)
    options = options or CompressOptions()
    if options.checks:
        require_eval()
    if options.fit_pictures is not None:
        require_pillow()
    settings = ArchiveSettings.of(options)
    _refuse_same_file(source, target)
    with ExitStack() as stack:
        pool = codecs or stack.enter_context(CodecPool())

        def compress() -> CompressResult:
            return _compress(
                source, target, options, settings, pool, source_name, found, on_progress
            )

        return look_again(compress)


def _compress(
    source: Path,
    target: Path,
    options: CompressOptions,
    settings: ArchiveSettings,
    pool: CodecPool,
    source_name: str | None,
    found: Sequence[Path],
    on_progress: Progress | None,
) -> CompressResult:
    done = compressed_already(source, target, options, settings=settings)
    done = done or _with_its_pictures(source, target, options, settings, on_progress)
    if done:
        return done
    digest, before = hash_source(source, on_progress)
    replace = os.path.lexists(target)
    existing = inspect_target(source, target, digest, settings, options, on_progress)
    if existing.result:
        require_unchanged(source, before)
        note_as_seen(target, before)
        return existing.result
    if kept := _with_kept_sound(existing, source, target, digest, before, options, on_progress):
        return kept
    if not replace and (moved := archive_of(found, digest)):
        existing = inspect_target(source, moved, digest, settings, options, on_progress)
        if existing.result or existing.other_pictures:
            return taken_from(moved, source, target, before, options, on_progress)
    codec = pool.of_model(settings.spec)
    encoding = _Encoding(
        source=source,
        target=target,
        options=options,
        settings=settings,
        storage=Storage.for_target(options, target),
        codec=codec,
        replace=replace,
        keeps_exact_copy=existing.has_exact_copy,
        keeps_sound=existing.earlier is not None,
        piped_name=source_name,
        on_progress=on_progress,
    )
    result = encoding.run(digest, before)
    if existing.replaces is None:
        return result
    return dataclasses.replace(result, warnings=(f"replaced {existing.replaces}", *result.warnings))


def _with_its_pictures(
    source: Path,
    target: Path,
    options: CompressOptions,
    settings: ArchiveSettings,
    on_progress: Progress | None,
) -> CompressResult | None:
    """Give ``target`` other pictures, if it plainly is up to date but for them."""
    if not plain_reason_for_pictures(source, target, options, settings):
        return None
    with suppress(OSError, DamagedArchiveError):  # met again by who looks closer
        return with_other_pictures(source, target, source.stat(), options, on_progress)
    return None


def _with_kept_sound(
    existing: TargetState,
    source: Path,
    target: Path,
    sha256: str,
    before: os.stat_result,
    options: CompressOptions,
    on_progress: Progress | None,
) -> CompressResult | None:
    """Give ``target`` other pictures or tags, if that is all that it needs."""
    if existing.other_pictures:
        return with_other_pictures(source, target, before, options, on_progress)
    if existing.earlier and existing.earlier.sound:
        return with_new_tags(source, target, sha256, before, options, on_progress)
    return None


def _refuse_same_file(source: Path, target: Path) -> None:
    try:
        same = target.samefile(source)
    except OSError:  # one is missing: not the same, and reading the source will report it
        return
    if same:
        raise TargetError("is the source itself, which is never overwritten", target)


@dataclass
class _Encoding:
    """The encoding of one file."""

    source: Path
    target: Path
    options: CompressOptions
    settings: ArchiveSettings
    storage: Storage
    codec: Codec
    replace: bool
    """Whether the target was there, and may be replaced."""
    keeps_exact_copy: bool
    """The archive that is replaced has one."""
    keeps_sound: bool
    """The target is replaced only if its segments are these: then the tags alone have changed."""
    piped_name: str | None
    """The name of a source that came through a pipe; None for a file with a name of its own."""
    on_progress: Progress | None

    def run(self, sha256: str, before: os.stat_result) -> CompressResult:
        with ExitStack() as stack:
            first_pass = stack.enter_context(open_source(self.source, self.options.truncated))
            make_folder(self.target)
            # Before the work: a target that cannot be written is refused at once.
            mode = private_as(before)
            writing = ArchiveWriter(self.target, replace=self.replace, mode=mode)
            writer = stack.enter_context(writing)
            first_pass.keep_digest()
            sound = KeptSound(first_pass)
            gain_db = gain_to_reference_db(measure_level_db(self._stoppable(sound.first_pass())))
            tags = read_source_tags(self.source)
            arrangement = arranged(tags, self.storage)
            warnings = [*tags.problems, *arrangement.warnings]
            encoder = SegmentEncoder(self.codec, self.settings.spec, self.source)

            def code(segments: Iterable[Latents], quality: str) -> Header:
                preset = self.settings.spec.preset_at(quality)
                writer.remove_segments()
                for pieces in encoder.code(segments, preset):
                    writer.add_segment(*pieces)
                edges = encoder.edges(preset)
                coded = Coded(gain_db, encoder.n_samples, edges, quality)
                record = source_record(self.source, reader, sha256, before, self.piped_name)
                return arrangement.header(header_of(coded, self.codec, self.settings, record))

            def write(header: Header, exact: BinaryIO | None = None) -> ArchiveSizes:
                return write_with_tags(writer, header, arrangement.tags, exact)

            with sound.second_pass() as (reader, samples):
                segments: Iterable[Latents]
                segments = encoder.encode(samples, gain_db, self._report)
                spool: LatentSpool | None = None
                if self._may_code_again:
                    spool = stack.enter_context(LatentSpool(segments, self.target))
                    segments = spool
                header = code(segments, self.settings.quality)
            sizes = write(header)
            if spool and self.settings.bitrate_kbps and encoder.n_samples:
                wanted = 125 * self.settings.bitrate_kbps * header.duration_s
                of_segments = wanted - (sizes.overhead + sizes.tags)
                quality = quality_for(of_segments, encoder, spool, self.settings.spec)
                header = code(spool, quality)
                sizes = write(header)
                warnings += _rate_warnings(sizes, wanted, header)
            if self.options.checks or self.keeps_exact_copy:
                check = self._quality_check(reader.facts)

                def code_better(header: Header) -> Header | None:
                    better = _next_quality(header.quantizer.quality)
                    return code(spool, better) if spool and better else None

                header, sizes = check.finish(writer, header, write, code_better)
            is_piped = self.piped_name is not None
            warnings += source_warnings(self.source, reader, before, is_piped=is_piped)
            require_unchanged(self.source, before)  # after the last byte of it was read
            if self.keeps_sound:
                require_other_tags_alone(
                    writer.temporary, self.target, tags, self.source, self.options
                )
            writer.commit(header.source.mtime_ns)
        status: Status = "retagged" if self.keeps_sound else "written"
        result = result_of(
            status, self.source, self.target, header, sizes, self.options, tuple(warnings)
        )
        return dataclasses.replace(result, source_checksums=reader.checksums)

    def _stoppable(self, sound: Iterable[Audio]) -> Iterator[Audio]:
        """Yield the blocks of the first pass, which a stop request ends too."""
        for block in sound:
            yield block
            self._report(0)

    @property
    def _may_code_again(self) -> bool:
        """Whether the quality follows from what the sound takes, or what it comes to."""
        floor = self.options.floor
        return self.settings.bitrate_kbps is not None or bool(floor and floor.below == "raise")

    def _quality_check(self, facts: SourceFacts) -> QualityCheck:
        report = self.on_progress or (lambda _seconds: None)
        return QualityCheck(
            self.source, facts, self.codec, self.options, self.keeps_exact_copy, report
        )

    def _report(self, n_samples: int) -> None:
        if self.on_progress:
            self.on_progress(n_samples / SAMPLE_RATE)


def _next_quality(quality: str) -> str | None:
    """Return the next whole number above a quality, None above 10."""
    number = math.floor(quality_number(quality)) + 1
    return quality_name(str(number)) if number <= MAX_QUALITY else None


def _rate_warnings(sizes: ArchiveSizes, wanted: float, header: Header) -> list[str]:
    """Return a sentence for an archive whose size is not nearly ``wanted``, bytes."""
    got = sizes.total - sizes.pictures
    if abs(got / wanted - 1) <= _RATE_ERROR:
        return []
    kbps, wanted_kbps = (n / (125 * header.duration_s) for n in (got, wanted))
    quality = header.quantizer.quality
    return [f"{kbps:.3g} kbps at quality {quality} is the nearest to {wanted_kbps:.3g} kbps"]
