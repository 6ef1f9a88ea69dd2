"""Tags of FLAC files: metadata blocks found, and written through mutagen."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from mutagen import MutagenError
from mutagen.flac import FLAC, CueSheet, CueSheetTrackIndex, MetadataBlock, StreamInfo
from mutagen.flac import error as FLACError

from earzip.errors import TagError, TargetError
from earzip.formats.containers.walk import flac_blocks
from earzip.formats.tag_payload import MAX_PICTURES
from earzip.formats.tags.model import BlockView, Found, SoundFacts
from earzip.formats.tags.unread import note_blocks

STREAMINFO, APPLICATION, COMMENT, CUESHEET, PICTURE = 0, 2, 4, 5, 6
STREAMINFO_SIZE = 34
MAX_BLOCK = 2**24 - 1
_MAX_CUESHEET = 1 << 20  # 100 tracks of 100 indices take an eighth of it
_PADDING_CODE = 1
_LAST = 0x80  # added to the code of the last block
_PADDING = 4096  # room for a tagger to add a field without moving the audio
_SOUND_BLOCKS = (STREAMINFO, 1, 3)  # and padding, and the seek table
OUR_APPLICATION = b"earz"  # of a file that was restored by earzip
_KINDS = {COMMENT: "flac-comment", PICTURE: "flac-picture"}
_CD_FRAMES = 75  # a second, in CUE times
_LEAD_OUT = (170, 255)


def find_flac_tags(file: BinaryIO) -> Found:
    """The tag blocks of a FLAC file."""
    found = Found()
    streaminfo = b""
    others: list[str] = []
    # Comments lead, whatever the order in the file: pictures may take all the room there is.
    for code, body, size in sorted(flac_blocks(file, 4), key=lambda block: block[0] != COMMENT):
        file.seek(body)
        if code == STREAMINFO:
            streaminfo = file.read(min(size, STREAMINFO_SIZE))
        elif code in _KINDS:
            found.take(file, _KINDS[code], body, size)
        elif code not in _SOUND_BLOCKS:
            take_flac_block(
                found, code, file.read(min(size, _MAX_CUESHEET + 1)), streaminfo, others
            )
    note_blocks(found, others)
    return found


def take_flac_block(
    found: Found, code: int, body: bytes, streaminfo: bytes, others: list[str]
) -> None:
    """Take one block, or put its name into ``others``.

    A cue sheet is preceded by the STREAMINFO block: its offsets count samples at that rate.
    """
    if code in _KINDS:
        found.blocks.append((_KINDS[code], body))
    elif code == CUESHEET and len(body) <= _MAX_CUESHEET and len(found.blocks) < MAX_PICTURES:
        found.blocks.append(("flac-cuesheet", streaminfo[:STREAMINFO_SIZE] + body))
    elif code == APPLICATION and body[:4] != OUR_APPLICATION:
        others.append(f"APPLICATION {body[:4].decode('latin-1')!r}")
    elif code not in (APPLICATION, *_SOUND_BLOCKS):
        others.append("CUESHEET" if code == CUESHEET else f"type {code}")


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


def pack_flac_blocks(blocks: list[tuple[int, bytes]]) -> bytes:
    """Blocks, (code, body), and room for a tagger, as the end of a FLAC file's metadata."""
    blocks = [*blocks, (_PADDING_CODE | _LAST, bytes(_PADDING))]
    return b"".join(bytes([code]) + len(body).to_bytes(3, "big") + body for code, body in blocks)


def parse_cuesheet(block: bytes) -> BlockView:
    """A cue sheet (STREAMINFO body, then CUESHEET body) as one ``cuesheet`` field.

    Raises TagError if it is malformed.
    """
    info, sheet = _load(block)
    lines = []
    if sheet.media_catalog_number:
        lines.append(f"CATALOG {_ascii(sheet.media_catalog_number)}")
    lines.append('FILE "audio.flac" WAVE')
    for track in sheet.tracks:
        if track.track_number in _LEAD_OUT:
            continue
        lines.append(f"  TRACK {track.track_number:02} {'MODE1/2352' if track.type else 'AUDIO'}")
        if track.pre_emphasis:
            lines.append("    FLAGS PRE")
        if track.isrc:
            lines.append(f"    ISRC {_ascii(track.isrc)}")
        for index in track.indexes:
            frames = (track.start_offset + index.index_offset) * _CD_FRAMES // info.sample_rate
            seconds, frame = divmod(frames, _CD_FRAMES)
            time = f"{seconds // 60:02}:{seconds % 60:02}:{frame:02}"
            lines.append(f"    INDEX {index.index_number:02} {time}")
    view = BlockView()
    view.add("cuesheet", "\r\n".join(lines))
    return view


def cuesheet_for(block: bytes, target: SoundFacts) -> bytes | None:
    """The CUESHEET body for a file of another rate; None if it does not span that file.

    Offsets are scaled and rounded. An unchanged rate and length give the source's bytes.
    """
    info, sheet = _load(block)
    if (info.sample_rate, info.total_samples) == (target.sample_rate, target.n_samples):
        return block[STREAMINFO_SIZE:]

    def scaled(offset: int) -> int:
        return (2 * offset * target.sample_rate + info.sample_rate) // (2 * info.sample_rate)

    if abs(scaled(info.total_samples) - target.n_samples) > 1:
        return None
    for track in sheet.tracks:
        start = scaled(track.start_offset)
        track.indexes = [
            CueSheetTrackIndex(
                index.index_number, scaled(track.start_offset + index.index_offset) - start
            )
            for index in track.indexes
        ]
        track.start_offset = target.n_samples if track.track_number in _LEAD_OUT else start
    # A CD's offsets are multiples of 588 samples at 44.1 kHz; these no longer are.
    sheet.compact_disc = False
    sheet.lead_in_samples = 0
    try:
        return bytes(sheet.write())
    except struct.error:
        return None  # an offset behind the sheet's own end, scaled past 64 bits


def _load(block: bytes) -> tuple[StreamInfo, CueSheet]:
    try:
        return StreamInfo(block[:STREAMINFO_SIZE]), CueSheet(block[STREAMINFO_SIZE:])
    except (FLACError, struct.error) as error:
        raise TagError(f"the cue sheet is malformed: {error}") from error


def _ascii(field: bytes) -> str:
    return field.decode("ascii", "replace")
