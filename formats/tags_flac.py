"""Tags of FLAC files: metadata blocks found, and written through mutagen."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from mutagen import MutagenError
from mutagen.flac import FLAC, MetadataBlock

from earzip.errors import TargetError
from earzip.formats.containers.walk import flac_blocks
from earzip.formats.tags_found import Found

STREAMINFO, APPLICATION, COMMENT, CUESHEET, PICTURE = 0, 2, 4, 5, 6
STREAMINFO_SIZE = 34
MAX_BLOCK = 2**24 - 1
_MAX_CUESHEET = 1 << 20  # 100 tracks of 100 indices take an eighth of it
_PADDING_CODE = 1
_PADDING = 4096  # room for a tagger to add a field without moving the audio
_KINDS = {COMMENT: "flac-comment", PICTURE: "flac-picture"}


def find_flac_tags(file: BinaryIO) -> Found:
    """The tag blocks of a FLAC file.

    A cue sheet is preceded by the STREAMINFO block: its offsets count samples at that rate.
    """
    found = Found()
    streaminfo = b""
    for code, body, size in flac_blocks(file, 4):
        if code == STREAMINFO:
            streaminfo = file.read(min(size, STREAMINFO_SIZE))
        elif code in _KINDS:
            found.take(file, _KINDS[code], body, size)
        elif code == CUESHEET and not any(kind == "flac-cuesheet" for kind, _ in found.blocks):
            if size > _MAX_CUESHEET:
                found.problems.append(f"the cue sheet block of {size} bytes is not archived")
            else:
                found.blocks.append(("flac-cuesheet", streaminfo + file.read(size)))
    # Comments lead, whatever the order in the file.
    found.blocks.sort(key=lambda block: block[0] != "flac-comment")
    return found


def open_flac(path: Path) -> FLAC:
    """A FLAC file that earzip wrote, for its tags to be written. Raises TargetError."""
    try:
        return FLAC(path)
    except (MutagenError, OSError) as error:
        raise TargetError(f"cannot be opened for tagging: {error}", path) from error


def save_flac(file: FLAC, path: Path, blocks: list[tuple[int, bytes]]) -> None:
    """Replace all tag blocks by ``blocks``, (code, body). Raises TargetError if it cannot."""
    replaced = (_PADDING_CODE, COMMENT, CUESHEET, PICTURE)
    kept = [block for block in file.metadata_blocks if block.code not in replaced]
    file.metadata_blocks = kept + [_block(code, body) for code, body in blocks]
    _save(file, path)


def add_flac_block(path: Path, code: int, body: bytes) -> None:
    """Add a block to a FLAC file that has no tags yet. Raises TargetError if it cannot.

    Tags that are there would be re-encoded by mutagen; ``save_flac`` keeps what this has added.
    """
    file = open_flac(path)
    file.metadata_blocks.append(_block(code, body))
    _save(file, path)


def _save(file: FLAC, path: Path) -> None:
    try:
        file.save(padding=lambda _: _PADDING)
    except (MutagenError, OSError) as error:
        raise TargetError(f"tags cannot be written: {error}", path) from error


def _block(code: int, body: bytes) -> MetadataBlock:
    # A plain block writes its bytes as they are; mutagen's own classes would re-encode them.
    block = MetadataBlock(body)
    setattr(block, "code", code)  # noqa: B010  (only the subclasses declare it)
    return block
