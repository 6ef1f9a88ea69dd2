"""One archive to a sound file with its tags."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from earzip.errors import ArchiveError, EarzipError, TargetError, UsageError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.atomic import (
    atomic_path,
    is_taken,
    look_again,
    make_folder,
    private_as,
    set_mtime,
)
from earzip.formats.tags.model import SoundFacts, TagSet
from earzip.formats.tags.provenance import read_provenance, write_provenance
from earzip.formats.tags.write import write_tags
from earzip.formats.tags.write_lossy import write_lossy_tags
from earzip.models.pool import CodecPool
from earzip.options import RestoreOptions, as_lossy
from earzip.results import Progress
from earzip.transcode.restoration import Restoration, planned, require_length
from earzip.transcode.restore_plan import RestorePlan
from earzip.transcode.results import RestoreResult
from earzip.transcode.saved_tags import SavedTags, chapter_marks, tags_of_range
from earzip.transcode.source_file import (
    is_source_file_wanted,
    require_no_source,
    restore_source_file,
)
from earzip.transcode.split import Piece, tags_of_piece


def restore_file(
    archive: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: RestoreOptions | None = None,
    *,
    codecs: CodecPool | None = None,
    on_progress: Progress | None = None,
) -> RestoreResult:
    """Restore ``archive`` to the sound file ``target`` with its tags; return what was done.

    The sound is that of the exact copy, if the archive has one; with ``options.as_source`` to the bit,
    and ``target`` is the source file itself if the copy is that file and no container is requested.
    Opus, MP3 and AAC need PyAV.

    A target that was restored whole from the same archive with the same options is left as it is;
    any other is refused without ``options.force``, the archive and its source even then. Raises
    ArchiveError (DamagedArchiveError for damage, unless ``options.keep_going``),
    ModelNotFoundError, ModelDamagedError, TargetError, or UsageError for a range that begins beyond
    the track's end and for a sample rate that FLAC cannot hold.
    """
    archive, target = Path(archive), Path(target)
    options = options or RestoreOptions()
    return look_again(lambda: _restore(archive, target, None, options, codecs, on_progress))


def restore_piece(
    archive: Path,
    target: Path,
    piece: Piece,
    options: RestoreOptions,
    *,
    codecs: CodecPool | None = None,
    on_progress: Progress | None = None,
) -> RestoreResult:
    """Restore a track of ``archive``, whose range is in ``options``, with its own tags.

    All else is as `restore_file` does it.
    """
    return look_again(lambda: _restore(archive, target, piece, options, codecs, on_progress))


def _restore(
    archive: Path,
    target: Path,
    piece: Piece | None,
    options: RestoreOptions,
    codecs: CodecPool | None,
    on_progress: Progress | None,
) -> RestoreResult:
    with ArchiveReader(archive, salvage=True) as reader:
        require_length(reader, options)
        if is_source_file_wanted(reader.header, options, target):
            return restore_source_file(reader, target, options, on_progress)
        options, plan = planned(reader, target, options)
        plan = replace(plan, described=piece.described) if piece else plan
        may_replace = options.force
        if is_taken(target):
            origin = read_provenance(target, TargetError)
            if not options.force and origin == plan.digest(reader, whole=True):
                return _up_to_date(archive, target, plan)
            # Files that an earlier run could not restore whole are retried.
            may_replace = options.force or origin == plan.digest(reader, whole=False)
            if origin is None:  # first, so that nobody is told to use --force in vain
                require_no_source(target, reader)
            if not may_replace:
                raise TargetError(
                    "already exists with other content; to replace it, restore this archive alone "
                    "with --force",
                    target,
                )
        with ExitStack() as stack:
            pool = codecs or stack.enter_context(CodecPool())
            return _FileRestoration(
                reader, options, plan, pool, on_progress, target, may_replace, piece
            ).run()


def restored_already(
    archive: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: RestoreOptions | None = None,
    piece: Piece | None = None,
) -> RestoreResult | None:
    """Return what `restore_file` does for a ``target`` that is up to date, None for any other.

    With a ``piece`` that is what `restore_piece` does.

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
            _options, plan = planned(reader, target, options)
            plan = replace(plan, described=piece.described) if piece else plan
            same = origin == plan.digest(reader, whole=True)
    except (ArchiveError, TargetError, UsageError):
        return None
    return _up_to_date(archive, target, plan) if same else None


def _up_to_date(archive: Path, target: Path, plan: RestorePlan) -> RestoreResult:
    return RestoreResult("up_to_date", archive, target, plan.duration_s, plan.n_out)


@dataclass
class _FileRestoration(Restoration):
    """The writing of one file."""

    target: Path
    may_replace: bool
    piece: Piece | None

    @property
    def can_begin_again(self) -> bool:
        """True: a file that is not whole does not appear."""
        return True

    def write(self, saved: SavedTags, plan: RestorePlan, copy: BinaryIO | None) -> RestoreResult:
        """Write the target, which appears whole or not at all."""
        header = self.reader.header
        tags, losses = (
            (tags_of_piece(saved.tags or TagSet(), self.piece), list[str]())
            if self.piece
            else tags_of_range(saved.tags, plan, header)
        )
        lost_exact = header.exact is not None and copy is None
        make_folder(self.target)
        mode = private_as(self.reader.status)
        # If there was no target, a newer one is not replaced.
        with (
            atomic_path(self.target, replace=self.may_replace, mode=mode) as temporary,
            errors_about(self.target, temporary),
        ):
            marks = chapter_marks(tags, plan) if tags else ()
            decoded, n_overs = self.write_sound(temporary, plan, copy, marks=marks)
            lost = decoded.lost if decoded else {}
            whole = not (lost or lost_exact or saved.is_damaged or self.reader.wrong_length)
            write_provenance(temporary, self.plan.digest(self.reader, whole=whole))
            losses += _write_tags(temporary, tags, plan) if tags is not None else []
            set_mtime(temporary, header.source.mtime_ns, self.target)
        return self.result(self.target, saved, plan, decoded, n_overs, losses)


def _write_tags(path: Path, tags: TagSet, plan: RestorePlan) -> list[str]:
    if lossy := as_lossy(plan.container):
        sound = SoundFacts(plan.rate, plan.channels, plan.n_out)
        return write_lossy_tags(path, lossy, tags, sound)
    return write_tags(path, tags)


@contextmanager
def errors_about(target: Path, temporary: Path) -> Iterator[None]:
    """Report errors on the temporary file under the target's name."""
    try:
        yield
    except EarzipError as error:
        if error.path != os.fspath(temporary):
            raise
        raise type(error)(error.message, target) from error
