"""One archive to a stream: its tags first, then the sound as it is decoded."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, cast

from earzip.errors import EarzipError, UsageError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.audio.flac_stream import Stream, flac_vendor
from earzip.formats.geometry import clock
from earzip.formats.tags.ahead import tags_ahead
from earzip.formats.tags.model import SoundFacts, TagSet
from earzip.models.pool import CodecPool
from earzip.options import Lossless, RestoreOptions, as_lossy
from earzip.results import Progress
from earzip.transcode.restoration import Restoration, planned, require_length
from earzip.transcode.restore_plan import RestorePlan
from earzip.transcode.results import RestoreResult
from earzip.transcode.saved_tags import SavedTags, tags_of_range
from earzip.transcode.source_file import STREAM, is_source_file_wanted, send_source_file


def restore_to_stream(
    archive: str | os.PathLike[str],
    stream: Stream,
    options: RestoreOptions | None = None,
    *,
    codecs: CodecPool | None = None,
    on_progress: Progress | None = None,
) -> RestoreResult:
    """Send what `earzip.transcode.restore.restore_file` writes, front to back; return what was done.

    Tags go ahead of the sound, and each block leaves as soon as it is decoded. Where the archive turns
    out to be damaged later, the stream ends early, and the error says where. Raises as `restore_file`,
    and what ``stream`` raises if that is no OSError.
    """
    options = options or RestoreOptions()
    if as_lossy(options.container):
        raise UsageError(f"a stream is FLAC or WAV; name a file for {options.container}")
    with ArchiveReader(archive, salvage=True) as reader:
        require_length(reader, options)
        if is_source_file_wanted(reader.header, options, STREAM):
            return send_source_file(reader, stream, on_progress)
        options, plan = planned(reader, STREAM, options)
        with ExitStack() as stack:
            pool = codecs or stack.enter_context(CodecPool())
            return _StreamRestoration(reader, options, plan, pool, on_progress, stream).run()


@dataclass
class _StreamRestoration(Restoration):
    """The sending of one archive's sound."""

    stream: Stream

    @property
    def can_begin_again(self) -> bool:
        """Whether nothing has been sent."""
        return not self.n_written

    def write(self, saved: SavedTags, plan: RestorePlan, copy: BinaryIO | None) -> RestoreResult:
        """Send everything."""
        tags, losses = tags_of_range(saved.tags, plan, self.reader.header)
        channels = self.reader.header.source.channels if plan.all_channels else plan.channels
        facts = SoundFacts(plan.rate, channels, plan.n_out)
        container = cast(Lossless, plan.container)
        ahead, more = tags_ahead(container, tags or TagSet(), facts, flac_vendor())
        try:
            decoded, n_overs = self.write_sound(self.stream, plan, copy, ahead)
        except EarzipError as error:
            if not self.n_written:
                raise
            done, of = (clock(n / plan.rate, 2) for n in (self.n_written, plan.n_out))
            sent = f"only {done} of {of} were sent"
            raise type(error)(f"{error.message}; {sent}", error.path) from error
        return self.result(STREAM, saved, plan, decoded, n_overs, losses + more)
