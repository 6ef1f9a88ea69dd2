"""What restoring an archive to a file and restoring it to a stream have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from earzip.arrays import Audio
from earzip.errors import ArchiveError, DamagedArchiveError, TargetError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.audio.encode import EncodedWriter, Mark
from earzip.formats.audio.exact_flac import exact_flac_bits, write_exact_flac
from earzip.formats.audio.flac_stream import FlacStream, Stream
from earzip.formats.audio.resample import resample_to
from earzip.formats.audio.write import AudioWriter
from earzip.formats.geometry import n_samples_at
from earzip.models.pool import CodecPool
from earzip.options import Lossless, RestoreOptions, as_lossy
from earzip.results import Progress
from earzip.transcode.restore_plan import RestorePlan, plan_restore
from earzip.transcode.results import RestoreResult
from earzip.transcode.saved_tags import SavedTags, read_saved_tags
from earzip.transcode.sound import CodedSound, ExactSound, codec_of
from earzip.transcode.source_file import require_own_container

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


def require_length(reader: ArchiveReader, options: RestoreOptions) -> None:
    """Refuse an archive that was cut or added to, unless going on. Raises DamagedArchiveError."""
    if reader.wrong_length and not options.keep_going:
        message = f"{reader.wrong_length}; --keep-going restores what is left"
        raise DamagedArchiveError(message, reader.path)


def planned(
    reader: ArchiveReader, target: Path, options: RestoreOptions
) -> tuple[RestoreOptions, RestorePlan]:
    """Return the options that hold for ``target``, and what they write if the archive is whole."""
    require_own_container(options, target)
    options = options.for_target(target)
    exact = reader.header.exact is not None
    return options, plan_restore(reader.header, options, reader.path, exact=exact)


@dataclass
class Restoration(ABC):
    """The restoring of one archive."""

    reader: ArchiveReader
    options: RestoreOptions
    plan: RestorePlan
    """What is written if the archive is whole."""
    codecs: CodecPool
    on_progress: Progress | None
    n_written: int = field(default=0, init=False)
    """Samples that have been written so far."""

    @cached_property
    def codec(self) -> Codec:
        """What decodes the archive's segments."""
        return codec_of(self.reader, self.codecs)

    def run(self) -> RestoreResult:
        """Restore, from the exact copy if there is one."""
        self.reader.require_work()
        is_coded = self.reader.header.exact is None
        if is_coded:
            _ = self.codec  # a model that is not installed is reported before anything else
        with self._advice("restores the sound without them"):
            saved = read_saved_tags(self.reader, keep_going=self.options.keep_going)
        if is_coded:
            with self._advice("restores the rest, with silence there"):
                return self.write(saved, self.plan, None)
        try:
            return self.write(saved, self.plan, self.reader.exact_copy())
        except ArchiveError as error:  # of the copy, as nothing else is read here
            if not self.can_begin_again:
                raise
            if not self.options.keep_going:
                message = f"{error.message}; --keep-going restores the coded sound"
                raise type(error)(message, self.reader.path) from error
            warning = f"{error.message}: restored from the coded sound"
        header, options = self.reader.header, self.options
        plan = plan_restore(header, options, self.reader.path, exact=False)
        plan = replace(plan, warnings=(*plan.warnings, warning))
        return self.write(saved, plan, None)

    @property
    @abstractmethod
    def can_begin_again(self) -> bool:
        """Whether nothing is left of what was written before an error."""

    @abstractmethod
    def write(self, saved: SavedTags, plan: RestorePlan, copy: BinaryIO | None) -> RestoreResult:
        """Write tags and sound, that of ``copy`` if it is not None."""

    @contextmanager
    def _advice(self, what: str) -> Iterator[None]:
        """Say of damage what --keep-going does."""
        try:
            yield
        except DamagedArchiveError as error:
            raise DamagedArchiveError(
                f"{error.message}; --keep-going {what}", error.path
            ) from error

    def result(
        self,
        target: Path,
        saved: SavedTags,
        plan: RestorePlan,
        decoded: CodedSound | None,
        n_overs: int,
        losses: list[str],
    ) -> RestoreResult:
        """Return what was done; ``decoded``, ``n_overs`` as `write_sound` returns them."""
        header = self.reader.header
        return RestoreResult(
            status="written",
            archive=self.reader.path,
            target=target,
            duration_s=plan.duration_s,
            n_samples=plan.n_out,
            n_overs=n_overs,
            exact=decoded is None,
            lost_exact=header.exact is not None and decoded is not None,
            lost_segments=decoded.lost_segments if decoded else (),
            silences=tuple(map(header.segment_name, decoded.lost_segments)) if decoded else (),
            lost_pictures=saved.lost_pictures,
            missing_pictures=saved.missing,
            lost_tags=saved.is_damaged and saved.tags is None,
            wrong_length=self.reader.wrong_length,
            tag_losses=tuple(losses),
            warnings=plan.warnings + (decoded.warnings if decoded else ()) + saved.warnings,
        )

    def write_sound(
        self,
        target: Path | Stream,
        plan: RestorePlan,
        copy: BinaryIO | None,
        ahead: bytes = b"",
        marks: Sequence[Mark] = (),
    ) -> tuple[CodedSound | None, int]:
        """Write the planned samples to ``target``, to a stream behind the tags ``ahead``.

        ``marks``: chapters, for a file that has them beside its sound. Return what the samples were
        decoded from, unless from ``copy``, and how many are beyond full scale.
        """
        start, end, n_ahead = plan.read_range(self.reader.header.n_samples)
        if copy is None:
            keep_going = self.options.keep_going
            decoded = CodedSound(self.reader, self.codec, start, end, keep_going=keep_going)
            written = self._write_blocks(target, plan, decoded.blocks(), ahead, marks, n_ahead)
            return decoded, written
        with copy:
            exact = ExactSound(self.reader, copy, start, end, at_source_rate=plan.as_source)
            if not plan.all_channels:
                written = self._write_blocks(target, plan, exact.blocks(), ahead, marks, n_ahead)
                return None, written
            self._write_all_channels(target, plan, exact.channel_blocks(), ahead)
            return None, 0

    def _write_all_channels(
        self, target: Path | Stream, plan: RestorePlan, blocks: Iterable[Audio], ahead: bytes
    ) -> None:
        source = self.reader.header.source
        bits = exact_flac_bits(source)
        assert bits is not None
        facts = (plan.rate, source.channels, bits)
        blocks = _once_begun(self._reported(blocks, plan.rate))
        if not isinstance(target, Path):
            stream = FlacStream(target, plan.n_out, ahead)
            try:
                write_exact_flac(stream, self._counted(blocks, stream.flush), *facts)
            finally:
                stream.flush()
            return
        try:
            with target.open("wb") as file:
                write_exact_flac(file, blocks, *facts)
        except OSError as error:
            raise TargetError(f"cannot be written: {error.strerror}", target) from error

    def _write_blocks(
        self,
        target: Path | Stream,
        plan: RestorePlan,
        sound: Iterable[Audio],
        ahead: bytes,
        marks: Sequence[Mark],
        n_ahead: int,
    ) -> int:
        """Write stereo at ``plan.position_rate`` as planned; return how many samples pass full scale.

        Of what is resampled the first ``n_ahead`` samples are left out.
        """
        blocks = self._reported(sound, plan.position_rate)
        if plan.is_resampled:
            start, end, _ = plan.read_range(self.reader.header.n_samples)
            n_made = n_samples_at(end - start, plan.position_rate, plan.rate)
            n_made = plan.n_out if (start, end) == (plan.start, plan.end) else n_made
            blocks = resample_to(blocks, plan.position_rate, plan.rate, n_made)
            blocks = _cut(blocks, n_ahead, n_ahead + plan.n_out)
        blocks = _once_begun(blocks)
        with self._writer(target, plan, ahead, marks) as writer:
            for block in self._counted(blocks):
                writer.write(block)
        return writer.n_overs

    def _writer(
        self, target: Path | Stream, plan: RestorePlan, ahead: bytes, marks: Sequence[Mark]
    ) -> AudioWriter | EncodedWriter:
        if lossy := as_lossy(plan.container):
            assert isinstance(target, Path)
            return EncodedWriter(
                target,
                container=lossy,
                sample_rate=plan.rate,
                n_samples=plan.n_out,
                marks=marks,
            )
        return AudioWriter(
            target,
            container=cast(Lossless, plan.container),
            sample_rate=plan.rate,
            channels=1 if plan.channels == 1 else 2,
            bits=plan.bits,
            dither=plan.dither,
            n_samples=plan.n_out,
            first_sample=n_samples_at(plan.start, plan.position_rate, plan.rate),
            ahead=ahead,
        )

    def _counted(
        self, blocks: Iterable[Audio], on_written: Callable[[], None] = lambda: None
    ) -> Iterator[Audio]:
        for block in blocks:
            yield block
            self.n_written += block.shape[1]
            on_written()

    def _reported(self, blocks: Iterable[Audio], rate: int) -> Iterator[Audio]:
        for block in blocks:
            yield block
            if self.on_progress:
                self.on_progress(block.shape[1] / rate)


def _once_begun(blocks: Iterable[Audio]) -> Iterator[Audio]:
    """Return ``blocks`` when the first is there: what fails before that sends nothing."""
    left = iter(blocks)
    # An iterator: chain keeps what it is given to the end, and a list would keep the block.
    first = iter(list(islice(left, 1)))
    return chain(first, left)


def _cut(blocks: Iterable[Audio], start: int, end: int) -> Iterator[Audio]:
    """Yield samples ``[start, end)``."""
    position = 0
    for block in blocks:
        cut = block[:, max(0, start - position) : max(0, end - position)]
        position += block.shape[1]
        if cut.shape[1]:
            yield cut
