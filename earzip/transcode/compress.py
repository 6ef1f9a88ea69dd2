"""One source file to one archive."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from earzip.arrays import Audio, Symbols
from earzip.coding.edges import TrackEnds, edge_errors
from earzip.coding.level import LevelMeter, gain_to_reference_db
from earzip.coding.quantizer import dequantize
from earzip.errors import SourceError, TagError, TargetError
from earzip.formats.archive.header import (
    Edges,
    EncoderRecord,
    Header,
    ModelRecord,
    QuantizerRecord,
    SourceRecord,
)
from earzip.formats.archive.layout import ArchiveSizes
from earzip.formats.archive.writer import ArchiveWriter
from earzip.formats.atomic import make_folder
from earzip.formats.audio.reader import SourceFacts, SourceReader
from earzip.formats.audio.resample import stereo_44k
from earzip.formats.audio.source import open_source
from earzip.formats.geometry import SAMPLE_RATE, max_segment_bytes
from earzip.formats.names import portable_name
from earzip.formats.symbols.coding import MAX_SYMBOL, pack
from earzip.formats.tags.model import TagSet
from earzip.formats.tags.provenance import read_provenance
from earzip.formats.tags.read import read_tags
from earzip.metrics import require_eval
from earzip.models.pool import CodecPool
from earzip.models.store import find_model
from earzip.options import CompressOptions
from earzip.results import CompressResult, Progress
from earzip.transcode.quality import QualityCheck
from earzip.transcode.up_to_date import (
    ArchiveSettings,
    compressed_already,
    inspect_target,
    result_of,
)

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


_HASH_BLOCK_BYTES = 1 << 20


def compress_file(
    source: Path,
    target: Path,
    options: CompressOptions | None = None,
    *,
    codecs: CodecPool | None = None,
    source_name: str | None = None,
    on_progress: Progress | None = None,
) -> CompressResult:
    """Archive ``source`` as ``target``; return what was done.

    A target that is `compressed_already` is left as it is, and neither is read. Else the source's bytes
    decide: an archive of the same bytes, made with the same model and settings, is left as it is if it
    is whole; one of the same bytes that is damaged or was made with others is replaced; any other file
    is refused without ``options.force``. The archive gets the source's time of modification.
    ``source_name`` is for a source that came through a pipe and has neither name nor time of its own:
    the archive stores it instead of the source's own name ("" for none). Raises SourceError,
    TargetError, ModelNotFoundError, ModelDamagedError, BelowFloorError where ``options.floor`` says so,
    or UsageError for a check without the packages of the extra ``eval``.
    """
    source, target = Path(source), Path(target)
    options = options or CompressOptions()
    if options.checks:
        require_eval()
    settings = ArchiveSettings(find_model(options.model), options.quality)
    _refuse_same_file(source, target)
    done = compressed_already(source, target, options, settings=settings)
    if done:
        return done
    digest, before = _hash(source, on_progress)
    replace = os.path.lexists(target)
    existing = inspect_target(source, target, digest, settings, options)
    if existing.result:
        return existing.result
    with ExitStack() as stack:
        pool = codecs or stack.enter_context(CodecPool())
        codec = pool.of_model(settings.spec)
        encoding = _Encoding(
            source=source,
            target=target,
            options=options,
            settings=settings,
            codec=codec,
            replace=replace,
            keeps_exact_copy=existing.has_exact_copy,
            piped_name=source_name,
            on_progress=on_progress,
        )
        result = encoding.run(digest, before)
        return dataclasses.replace(result, warnings=existing.notes + result.warnings)


def _refuse_same_file(source: Path, target: Path) -> None:
    try:
        same = target.samefile(source)
    except OSError:  # one is missing: not the same, and reading the source will report it
        return
    if same:
        raise TargetError("is the source itself, which is never overwritten", target)


def _hash(source: Path, on_progress: Progress | None) -> tuple[str, os.stat_result]:
    """Return the SHA-256 of a file and its state before it was read."""
    try:
        with source.open("rb") as file:
            before = os.fstat(file.fileno())
            digest = hashlib.sha256()
            while block := file.read(_HASH_BLOCK_BYTES):
                if file.tell() > before.st_size:  # a file that keeps growing would never end
                    raise SourceError("changed while earzip read it", source)
                digest.update(block)
                if on_progress:
                    on_progress(0)  # raises on a stop request while a file is hashed
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", source) from error
    return digest.hexdigest(), before


@dataclass
class _Encoding:
    """The encoding of one file."""

    source: Path
    target: Path
    options: CompressOptions
    settings: ArchiveSettings
    codec: Codec
    replace: bool
    """Whether the target was there, and may be replaced."""
    keeps_exact_copy: bool
    """The archive that is replaced has one."""
    piped_name: str | None
    """The name of a source that came through a pipe; None for a file with a name of its own."""
    on_progress: Progress | None

    def run(self, sha256: str, before: os.stat_result) -> CompressResult:
        with ExitStack() as stack:
            first_pass = stack.enter_context(open_source(self.source))
            make_folder(self.target)
            # Before the work: a target that cannot be written is refused at once.
            writer = stack.enter_context(ArchiveWriter(self.target, replace=self.replace))
            gain_db = gain_to_reference_db(self._level_db(first_pass))
            tags, warnings = self._tags()
            with open_source(self.source) as reader:
                n_samples, edges = self._write_segments(writer, stereo_44k(reader), gain_db)
            self._require_unchanged(before)
            header = self._header(reader, gain_db, n_samples, edges, sha256, before)
            payload, blocks = tags.to_payload()

            def write(header: Header, exact: BinaryIO | None = None) -> ArchiveSizes:
                return writer.write(
                    header,
                    tags=None if tags == TagSet() else payload,
                    blocks=blocks,
                    pictures=[picture.data for picture in tags.pictures],
                    exact=exact,
                )

            sizes = write(header)
            if self.options.checks or self.keeps_exact_copy:
                check = self._quality_check(reader.facts)
                header, sizes = check.finish(writer, header, write)
                self._require_unchanged(before)
            writer.commit(header.source.mtime_ns)
        warnings += [*reader.notes, *_layout_warnings(reader), *_origin_warnings(self.source)]
        return result_of(
            "written", self.source, self.target, header, sizes, self.options, tuple(warnings)
        )

    def _level_db(self, reader: SourceReader) -> float:
        """Return the level of the whole track; the first of two passes over it."""
        meter = LevelMeter()
        for block in stereo_44k(reader):
            meter.add(block)
            self._report(0)  # raises on a stop request in this pass too
        return meter.level_db()

    def _write_segments(
        self, writer: ArchiveWriter, blocks: Iterable[Audio], gain_db: float
    ) -> tuple[int, Edges]:
        """Encode ``blocks`` to the archive; return how many samples they had, and the edges' errors."""
        exponents = self.settings.exponents
        gain = np.float32(10 ** (gain_db / 20))
        n_samples = 0
        ends = TrackEnds(self.codec.n_latents, self.codec.end_frames)

        def amplified() -> Iterator[Audio]:
            nonlocal n_samples
            for block in blocks:
                ends.add_samples(block)
                n_samples += block.shape[1]
                yield block * gain
                self._report(block.shape[1])

        for latents in self.codec.encode(amplified()):
            if not np.isfinite(latents).all():
                raise SourceError(self._why_not_finite(), self.source)
            symbols = self.settings.spec.quantize(latents, self.settings.preset)
            writer.add_segment(*self._packed(symbols))
            ends.add_symbols(symbols)
        if not n_samples:
            return 0, (0, 0, 0, 0)
        first, last = (dequantize(symbols, exponents) for symbols in (ends.first, ends.last))
        decoded = self.codec.decode_ends(first, last, n_samples) / gain
        return n_samples, edge_errors(ends.samples, decoded, n_samples)

    def _packed(self, symbols: Symbols) -> list[bytes]:
        """Return the pieces of a segment; SourceError where an archive cannot hold it."""
        too_large = "its samples are too large, expected about ±1 at the loudest"
        if np.abs(symbols).max() == MAX_SYMBOL:  # where the quantiser cuts off
            raise SourceError(
                f"{too_large}: its latents pass ±{MAX_SYMBOL} steps, the limit of an archive",
                self.source,
            )
        pieces = pack(symbols, self.settings.spec.layout)
        n_bytes, most = sum(map(len, pieces)), self._max_segment_bytes
        if n_bytes > most:
            raise SourceError(
                f"{too_large}: a segment has {n_bytes} bytes, the limit is {most}",
                self.source,
            )
        return pieces

    @property
    def _max_segment_bytes(self) -> int:
        return max_segment_bytes(self.codec.n_latents, self.codec.geometry.core)

    def _why_not_finite(self) -> str:
        if self.codec.precision == "float16":
            return "overflows in float16; --precision float32 or bfloat16 has a greater range"
        return "its samples are too large for the model"

    def _header(
        self,
        reader: SourceReader,
        gain_db: float,
        n_samples: int,
        edges: Edges,
        sha256: str,
        before: os.stat_result,
    ) -> Header:
        import torch  # noqa: PLC0415  # only what is encoded needs it, not what is up to date

        return Header(
            encoder=EncoderRecord(
                name="earzip",
                version=version("earzip"),
                torch=str(torch.__version__),
                device=self.codec.device.type,
                dtype=self.codec.precision,
            ),
            model=ModelRecord(
                self.settings.spec.name, self.settings.spec.sha256, self.codec.n_latents
            ),
            geometry=self.codec.geometry,
            quantizer=QuantizerRecord(
                self.settings.quality, tuple(self.settings.exponents.tolist())
            ),
            symbols=self.settings.spec.layout.coding,
            gain_centibels=round(10 * gain_db),
            n_samples=n_samples,
            edges=edges,
            source=self._source_record(reader, sha256, before),
            settings=self.settings.digest,
        )

    def _source_record(
        self, reader: SourceReader, sha256: str, before: os.stat_result
    ) -> SourceRecord:
        facts, piped = reader.facts, self.piped_name is not None
        return SourceRecord(
            name=portable_name(self.source) if self.piped_name is None else self.piped_name,
            sha256=sha256,
            n_bytes=before.st_size,
            mtime_ns=None if piped else before.st_mtime_ns,
            container=facts.container,
            codec=facts.codec,
            sample_rate=facts.sample_rate,
            channels=facts.channels,
            bit_depth=facts.bit_depth,
            is_float=facts.is_float,
            lossless=facts.lossless,
            n_frames=facts.n_frames,
            downmix=reader.downmix,
            truncated=reader.truncated,
        )

    def _tags(self) -> tuple[TagSet, list[str]]:
        try:
            tags = read_tags(self.source)
        except TagError as error:
            return TagSet(), [f"tags cannot be read and were not archived: {error.message}"]
        return tags, list(tags.problems)

    def _quality_check(self, facts: SourceFacts) -> QualityCheck:
        report = self.on_progress or (lambda _seconds: None)
        return QualityCheck(
            self.source, facts, self.codec, self.options, self.keeps_exact_copy, report
        )

    def _report(self, n_samples: int) -> None:
        if self.on_progress:
            self.on_progress(n_samples / SAMPLE_RATE)

    def _require_unchanged(self, before: os.stat_result) -> None:
        try:
            after = self.source.stat()
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}", self.source) from error
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise SourceError("changed while earzip read it", self.source)


def _layout_warnings(reader: SourceReader) -> list[str]:
    if reader.facts.channels <= 2:
        return []
    return [f"{reader.facts.channels} channels were mixed down to stereo ({reader.downmix})"]


def _origin_warnings(source: Path) -> list[str]:
    if read_provenance(source) is None:
        return []
    return ["was restored by earzip: archiving it again loses more"]
