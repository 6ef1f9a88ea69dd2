"""One archive to a sound file with its tags."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from earzip.arrays import Audio
from earzip.errors import ArchiveError, DamagedArchiveError, EarzipError, TargetError, UsageError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.atomic import atomic_path, look_again, make_folder, private_as, set_mtime
from earzip.formats.audio.exact_flac import exact_flac_bits, write_exact_flac
from earzip.formats.audio.resample import resample_to
from earzip.formats.audio.write import AudioWriter
from earzip.formats.tags.provenance import read_provenance, write_provenance
from earzip.formats.tags.write import write_tags
from earzip.models.pool import CodecPool
from earzip.options import RestoreOptions
from earzip.results import Progress, RestoreResult
from earzip.transcode.restore_plan import RestorePlan, plan_restore
from earzip.transcode.saved_tags import SavedTags, read_saved_tags, tags_of_range
from earzip.transcode.sound import CodedSound, ExactSound, codec_of
from earzip.transcode.source_file import (
    is_source_file_wanted,
    require_own_container,
    require_replaceable,
    restore_source_file,
)

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


def restore_file(
    archive: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: RestoreOptions | None = None,
    *,
    codecs: CodecPool | None = None,
    on_progress: Progress | None = None,
) -> RestoreResult:
    """Restore ``archive`` to the WAV or FLAC file ``target`` with its tags; return what was done.

    The sound is that of the exact copy, if the archive has one; with ``options.as_source`` to the bit,
    and ``target`` is the source file itself if the copy is that file and no container is requested.

    A target that was restored whole from the same archive with the same options is left as it is;
    any other is refused without ``options.force``, the archive and its source even then. Raises
    ArchiveError (DamagedArchiveError for damage, unless ``options.keep_going``),
    ModelNotFoundError, ModelDamagedError, TargetError, or UsageError for a range that begins beyond
    the track's end and for a sample rate that FLAC cannot hold.
    """
    archive, target = Path(archive), Path(target)
    options = options or RestoreOptions()
    return look_again(lambda: _restore(archive, target, options, codecs, on_progress))


def _restore(
    archive: Path,
    target: Path,
    options: RestoreOptions,
    codecs: CodecPool | None,
    on_progress: Progress | None,
) -> RestoreResult:
    with ArchiveReader(archive, salvage=True) as reader:
        if reader.wrong_length and not options.keep_going:
            message = f"{reader.wrong_length}; --keep-going restores what is left"
            raise DamagedArchiveError(message, archive)
        if is_source_file_wanted(reader.header, options, target):
            return restore_source_file(reader, target, options, on_progress)
        options, plan = _planned(reader, target, options)
        may_replace = options.force
        if os.path.lexists(target):
            origin = read_provenance(target, TargetError)
            if not options.force and origin == plan.digest(reader, whole=True):
                return _up_to_date(archive, target, plan)
            # Files that an earlier run could not restore whole are retried.
            may_replace = options.force or origin == plan.digest(reader, whole=False)
            if origin is None:  # first, so that nobody is told to use --force in vain
                require_replaceable(target, archive, reader.header.source)
            if not may_replace:
                raise TargetError(
                    "already exists with other content; use --force to replace it", target
                )
        with ExitStack() as stack:
            pool = codecs or stack.enter_context(CodecPool())
            return _Restoration(reader, target, options, plan, pool, on_progress).run(may_replace)


def restored_already(
    archive: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: RestoreOptions | None = None,
) -> RestoreResult | None:
    """Return what `restore_file` does for a ``target`` that is up to date, None for any other.

    Opens the header of the archive and the metadata of ``target``. None is also for files that are odd
    or not there, with ``options.force``, which restores again, and where ``target`` is to be the source
    file itself: only its bytes tell. Raises nothing; loads no torch.
    """
    archive, target = Path(archive), Path(target)
    options = options or RestoreOptions()
    if options.force:
        return None
    try:
        origin = read_provenance(target, TargetError)
        if origin is None:
            return None
        with ArchiveReader(archive, salvage=options.keep_going) as reader:
            if is_source_file_wanted(reader.header, options, target):
                return None
            _options, plan = _planned(reader, target, options)
            same = origin == plan.digest(reader, whole=True)
    except (ArchiveError, TargetError, UsageError):
        return None
    return _up_to_date(archive, target, plan) if same else None


def _planned(
    reader: ArchiveReader, target: Path, options: RestoreOptions
) -> tuple[RestoreOptions, RestorePlan]:
    """Return the options that hold for ``target``, and what they write if the archive is whole."""
    require_own_container(options, target)
    options = options.for_target(target)
    exact = reader.header.exact is not None
    return options, plan_restore(reader.header, options, reader.path, exact=exact)


def _up_to_date(archive: Path, target: Path, plan: RestorePlan) -> RestoreResult:
    return RestoreResult("up_to_date", archive, target, plan.duration_s, plan.n_out)


@dataclass
class _Restoration:
    """The writing of one file."""

    reader: ArchiveReader
    target: Path
    options: RestoreOptions
    plan: RestorePlan
    """What is written if the archive is whole."""
    codecs: CodecPool
    on_progress: Progress | None

    @cached_property
    def codec(self) -> Codec:
        """What decodes the archive's segments."""
        return codec_of(self.reader, self.codecs)

    def run(self, may_replace: bool) -> RestoreResult:
        """Write the target, from the exact copy if there is one."""
        self.reader.require_work()
        is_coded = self.reader.header.exact is None
        if is_coded:
            _ = self.codec  # a model that is not installed is reported before anything else
        with self._advice("restores the sound without them"):
            saved = read_saved_tags(self.reader, keep_going=self.options.keep_going)
        make_folder(self.target)
        if is_coded:
            with self._advice("restores the rest, with silence there"):
                return self._write(saved, self.plan, None, may_replace)
        try:
            return self._write(saved, self.plan, self.reader.exact_copy(), may_replace)
        except ArchiveError as error:  # of the copy, as nothing else is read here
            if not self.options.keep_going:
                message = f"{error.message}; --keep-going restores the coded sound"
                raise type(error)(message, self.reader.path) from error
            warning = f"{error.message}: restored from the coded sound"
        header, options = self.reader.header, self.options
        plan = plan_restore(header, options, self.reader.path, exact=False)
        plan = replace(plan, warnings=(*plan.warnings, warning))
        return self._write(saved, plan, None, may_replace)

    @contextmanager
    def _advice(self, what: str) -> Iterator[None]:
        """Say of damage what --keep-going does."""
        try:
            yield
        except DamagedArchiveError as error:
            raise DamagedArchiveError(
                f"{error.message}; --keep-going {what}", error.path
            ) from error

    def _write(
        self, saved: SavedTags, plan: RestorePlan, copy: BinaryIO | None, may_replace: bool
    ) -> RestoreResult:
        header = self.reader.header
        lost_exact = header.exact is not None and copy is None
        mode = private_as(self.reader.status)
        # If there was no target, a newer one is not replaced.
        with (
            atomic_path(self.target, replace=may_replace, mode=mode) as temporary,
            _errors_about(self.target, temporary),
        ):
            decoded, n_overs = self._write_sound(temporary, plan, copy)
            lost = decoded.lost if decoded else {}
            whole = not (lost or lost_exact or saved.is_damaged or self.reader.wrong_length)
            write_provenance(temporary, self.plan.digest(self.reader, whole=whole))
            tags, losses = tags_of_range(saved.tags, plan, header)
            losses += write_tags(temporary, tags) if tags is not None else []
            set_mtime(temporary, header.source.mtime_ns, self.target)
        return RestoreResult(
            status="written",
            archive=self.reader.path,
            target=self.target,
            duration_s=plan.duration_s,
            n_samples=plan.n_out,
            n_overs=n_overs,
            exact=copy is not None,
            lost_exact=lost_exact,
            lost_segments=decoded.lost_segments if decoded else (),
            silences=tuple(map(header.segment_name, decoded.lost_segments)) if decoded else (),
            lost_pictures=saved.lost_pictures,
            lost_tags=saved.is_damaged and saved.tags is None,
            wrong_length=self.reader.wrong_length,
            tag_losses=tuple(losses),
            warnings=plan.warnings + (decoded.warnings if decoded else ()) + saved.warnings,
        )

    def _write_sound(
        self, path: Path, plan: RestorePlan, copy: BinaryIO | None
    ) -> tuple[CodedSound | None, int]:
        """Write the planned samples to ``path``.

        Return what they were decoded from, unless from ``copy``, and how many are beyond full scale.
        """
        start, end = plan.start, plan.end
        if copy is None:
            keep_going = self.options.keep_going
            decoded = CodedSound(self.reader, self.codec, start, end, keep_going=keep_going)
            return decoded, self._write_blocks(path, plan, decoded.blocks())
        with copy:
            exact = ExactSound(self.reader, copy, start, end, at_source_rate=plan.as_source)
            if not plan.all_channels:
                return None, self._write_blocks(path, plan, exact.blocks())
            self._write_all_channels(path, plan, exact.channel_blocks())
            return None, 0

    def _write_all_channels(self, path: Path, plan: RestorePlan, blocks: Iterable[Audio]) -> None:
        source = self.reader.header.source
        bits = exact_flac_bits(source)
        assert bits is not None
        try:
            with path.open("wb") as file:
                reported = self._reported(blocks, plan.rate)
                write_exact_flac(file, reported, plan.rate, source.channels, bits)
        except OSError as error:
            raise TargetError(f"cannot be written: {error.strerror}", path) from error

    def _write_blocks(self, path: Path, plan: RestorePlan, sound: Iterable[Audio]) -> int:
        """Write stereo at ``plan.position_rate`` as planned; return how many samples pass full scale."""
        blocks = self._reported(sound, plan.position_rate)
        if plan.rate != plan.position_rate or plan.n_out != plan.end - plan.start:
            blocks = resample_to(blocks, plan.position_rate, plan.rate, plan.n_out)
        with AudioWriter(
            path,
            container=plan.container,
            sample_rate=plan.rate,
            channels=1 if plan.channels == 1 else 2,
            bits=plan.bits,
            dither=plan.dither,
            n_samples=plan.n_out,
        ) as writer:
            for block in blocks:
                writer.write(block)
        return writer.n_overs

    def _reported(self, blocks: Iterable[Audio], rate: int) -> Iterator[Audio]:
        for block in blocks:
            yield block
            if self.on_progress:
                self.on_progress(block.shape[1] / rate)


@contextmanager
def _errors_about(target: Path, temporary: Path) -> Iterator[None]:
    """Report errors on the temporary file under the target's name."""
    try:
        yield
    except EarzipError as error:
        if error.path != os.fspath(temporary):
            raise
        raise type(error)(error.message, target) from error
