"""FLAC CUESHEET blocks: as CUE text for other formats, and moved to another sample rate."""

from __future__ import annotations

import struct

from mutagen.flac import CueSheet, CueSheetTrackIndex, StreamInfo
from mutagen.flac import error as FLACError

from earzip.errors import TagError
from earzip.formats.tags_flac import STREAMINFO_SIZE
from earzip.formats.tags_model import BlockView

_CD_FRAMES = 75  # a second, in CUE times
_LEAD_OUT = (170, 255)


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


def cuesheet_for(block: bytes, target: StreamInfo) -> bytes | None:
    """The CUESHEET body for a file of another rate; None if it does not span that file.

    Offsets are scaled and rounded. An unchanged rate and length give the source's bytes.
    """
    info, sheet = _load(block)
    if (info.sample_rate, info.total_samples) == (target.sample_rate, target.total_samples):
        return block[STREAMINFO_SIZE:]

    def scaled(offset: int) -> int:
        return (2 * offset * target.sample_rate + info.sample_rate) // (2 * info.sample_rate)

    if abs(scaled(info.total_samples) - target.total_samples) > 1:
        return None
    for track in sheet.tracks:
        start = scaled(track.start_offset)
        track.indexes = [
            CueSheetTrackIndex(
                index.index_number, scaled(track.start_offset + index.index_offset) - start
            )
            for index in track.indexes
        ]
        track.start_offset = target.total_samples if track.track_number in _LEAD_OUT else start
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
