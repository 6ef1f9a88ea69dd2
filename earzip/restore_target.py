"""What a restored file may replace: never a source, even one whose tags were edited since."""

from __future__ import annotations

import hashlib
from pathlib import Path

from earzip.errors import SourceError, TargetError
from earzip.formats.archive.header import SourceRecord
from earzip.formats.audio.source import open_source


def require_replaceable(target: Path, archive: Path, source: SourceRecord) -> None:
    """Refuse what even ``force`` must not replace: the archive itself, and what it was made of.

    People edit the tags of a source after it was archived, so sound of the source's own format, rate,
    channels and length that earzip has not written may be it.
    """
    try:
        if not target.is_file():
            return
        if target.samefile(archive):
            raise TargetError("is the archive itself, which is never overwritten", target)
        same_size = target.stat().st_size == source.n_bytes
        with target.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest() if same_size else None
    except OSError as error:
        raise TargetError(f"cannot be compared to the source: {error.strerror}", target) from error
    if sha256 == source.sha256:
        raise TargetError("is the source of this archive, which is never overwritten", target)
    if _is_sound_like(target, source):
        raise TargetError(
            "may be the source of this archive with other tags, which is never overwritten: "
            "move it away to restore here",
            target,
        )


def _is_sound_like(path: Path, source: SourceRecord) -> bool:
    try:
        with open_source(path) as reader:
            facts = reader.facts
    except SourceError:
        return False
    same_kind = (facts.container, facts.sample_rate, facts.channels) == (
        source.container,
        source.sample_rate,
        source.channels,
    )
    return same_kind and facts.n_frames in (0, source.n_frames)
