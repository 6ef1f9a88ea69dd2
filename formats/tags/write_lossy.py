"""Writing tags to restored Opus, MP3 and AAC files."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Literal

from earzip.errors import TargetError
from earzip.formats.containers.lame_frame import insert_bytes
from earzip.formats.tags.flac import COMMENT, PICTURE
from earzip.formats.tags.gains import with_r128_gains, with_replaygain
from earzip.formats.tags.losses import losses_between, raw_only_losses
from earzip.formats.tags.model import SoundFacts, TagSet
from earzip.formats.tags.mp4_build import write_mp4_items
from earzip.formats.tags.opus_file import comments_of, read_opus, replace_comments
from earzip.formats.tags.read import read_tags
from earzip.formats.tags.vorbis import PICTURE_KEY
from earzip.formats.tags.write import flac_blocks, id3_for_mp3

_OPUS, _M4A = "an Opus file", "an m4a file"


def write_lossy_tags(
    path: Path, container: Literal["opus", "mp3", "aac"], tags: TagSet, sound: SoundFacts
) -> list[str]:
    """Write tags to a file that earzip encoded, without tags yet; a sentence for each loss.

    Gains become those that players of the format read (`earzip.formats.tags.gains`). Chapters of an AAC
    file are in it already. Raises TargetError if the disk refuses.
    """
    writers = {"opus": _write_opus, "mp3": _write_mp3, "aac": _write_mp4}
    return writers[container](path, tags, sound)


def _write_opus(path: Path, tags: TagSet, sound: SoundFacts) -> list[str]:
    tags, losses = with_r128_gains(tags)
    # A block of FLAC's has no place here; what it says goes into a comment.
    tags = replace(tags, raw=[block for block in tags.raw if block.kind != "flac-cuesheet"])
    blocks, more = flac_blocks(tags, sound, b"", _OPUS)
    comments = [each for code, body in blocks if code == COMMENT for each in comments_of(body)]
    comments += [
        PICTURE_KEY.upper().encode() + b"=" + b64encode(body)
        for code, body in blocks
        if code == PICTURE
    ]
    try:
        with path.open("rb") as file:
            found = read_opus(file)
    except OSError as error:
        raise _refused(error, path) from error
    replace_comments(path, comments, found.note if found else b"")
    return losses + more


def _write_mp3(path: Path, tags: TagSet, sound: SoundFacts) -> list[str]:
    tag, losses = id3_for_mp3(with_replaygain(tags), sound.duration_ms)
    if not tag:
        return losses
    try:
        with path.open("r+b") as file:
            insert_bytes(file, 0, len(tag))
            file.seek(0)
            file.write(tag)
    except OSError as error:
        raise _refused(error, path) from error
    return losses


def _write_mp4(path: Path, tags: TagSet, _sound: SoundFacts) -> list[str]:
    tags = with_replaygain(tags)
    write_mp4_items(path, tags)
    got = read_tags(path)
    return losses_between(tags, got, _M4A) + raw_only_losses(tags.raw_only, (), _M4A)


def _refused(error: OSError, path: Path) -> TargetError:
    return TargetError(f"tags cannot be written: {error.strerror or error}", path)
