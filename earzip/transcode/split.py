"""The tracks that an archive's cue sheet or chapters cut it into, and their tags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from earzip.errors import ArchiveError, TagError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.geometry import clock
from earzip.formats.names import name_without_archive_suffix, name_without_sound_suffix
from earzip.formats.tags.cue_file import TOTAL_TRACKS, sheet_beside
from earzip.formats.tags.cue_sheet import CD_FRAMES, CueSheet, CueTrack, parse_cue
from earzip.formats.tags.model import TagSet
from earzip.transcode.source_tags import CUE_SHEET

_HIDDEN_S = 5
"""What stands before the first track and is longer is a track of its own; else it belongs to the first.
Most CDs have some frames of silence there."""
_HIDDEN = "Hidden track"
_MAX_NAME_BYTES = 180  # of a title in a file's name
_TOTAL = re.compile(r"\d{1,3}", re.ASCII)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')

_OF_TRACK = {"performer": "artist", "songwriter": "composer", "composer": "composer"}
_OF_SHEET = {
    "title": "album",
    "performer": "albumartist",
    "date": "date",
    "genre": "genre",
    "catalog": "barcode",
    "discnumber": "discnumber",
    "totaldiscs": "disctotal",
    "replaygain_album_gain": "replaygain_album_gain",
    "replaygain_album_peak": "replaygain_album_peak",
}
_AS_THEY_ARE = ("title", "isrc", "date", "genre", "replaygain_track_gain", "replaygain_track_peak")
# Of the whole file, so not of a track.
_WHOLE = re.compile(
    r"title|titlesort|tracknumber|tracktotal|totaltracks|isrc|cuesheet|length|lyrics|unsyncedlyrics|"
    r"syncedlyrics|musicbrainz_(?:trackid|releasetrackid|workid)|acoustid_\w+|chapter\d{1,3}\w*|"
    r"cue_track\d+_\w+|replaygain_track_\w+|r128_track_gain"
)
_GAINS = {
    "replaygain_track_gain": "replaygain_album_gain",
    "replaygain_track_peak": "replaygain_album_peak",
    "r128_track_gain": "r128_album_gain",
}


@dataclass(frozen=True)
class Piece:
    """A track of an archive: from ``start_s`` to ``end_s``, or to the end if that is None."""

    number: int
    total: int
    start_s: float
    end_s: float | None
    own: Mapping[str, str]
    """The fields of this track."""
    shared: Mapping[str, str]
    """The fields of all tracks, as the cue sheet says them."""

    @property
    def described(self) -> str:
        """All that the tags of the track follow from, beside those of the archive."""
        facts = (self.number, self.total, sorted(self.own.items()), sorted(self.shared.items()))
        return repr(facts)

    def name(self, suffix: str) -> str:
        """Return the name of the track's file: ``01 Title.flac``."""
        title = _UNSAFE.sub("_", self.own.get("title", "")).strip().rstrip(".")
        title = (
            title.encode("utf-8", "replace")[:_MAX_NAME_BYTES].decode("utf-8", "ignore").rstrip()
        )
        width = max(2, len(str(self.total)))
        return f"{self.number:0{width}} {title}".rstrip() + suffix


def pieces_of(reader: ArchiveReader) -> list[Piece]:
    """Return the tracks of an archive, none if it is a single one.

    Its own cue sheet counts, then one beside it, then its chapters; a sheet with titles before one
    without. Together the tracks are all of its sound. Raises ArchiveError if its sheet cannot be used,
    DamagedArchiveError if its tags are damaged.
    """
    payload: dict[str, Any] = reader.tags.payload if reader.tags else {}
    fields: dict[str, list[str]] = payload.get("fields", {})
    duration_s = reader.header.duration_s
    name = name_without_archive_suffix(reader.path.name)
    found: list[tuple[CueSheet, list[CueTrack]]] = []
    problem = None
    beside = sheet_beside(reader.path.parent, name)
    for text in [*fields.get(CUE_SHEET, []), *([beside] if beside else [])]:
        try:
            sheet = parse_cue(text)
            tracks = sheet.tracks_of(_file_of(sheet, {name, reader.header.source.name}))
            _require_within(tracks, duration_s)
        except TagError as error:
            problem = problem or error.message
            continue
        if len(tracks) > 1:
            found.append((sheet, tracks))
    if found:
        return _of_sheet(
            *next((each for each in found if each[0].has_titles), found[0]), duration_s
        )
    chapters: Sequence[Mapping[str, Any]] = payload.get("chapters", [])
    if len(chapters) > 1:
        return _of_chapters(chapters, duration_s)
    if problem:
        raise ArchiveError(
            f"its cue sheet cannot be used: {problem}; without --split it is restored whole",
            reader.path,
        )
    return []


def _file_of(sheet: CueSheet, names: set[str]) -> int:
    """Return which of a sheet's files the archive is of. Raises TagError."""
    if len(sheet.files) < 2:
        return 0
    stems = {name_without_sound_suffix(name).casefold() for name in names}
    for file, named in enumerate(sheet.files):
        if name_without_sound_suffix(named).casefold() in stems:
            return file
    raise TagError(f"it is of {len(sheet.files)} files, none of this name")


def _require_within(tracks: list[CueTrack], duration_s: float) -> None:
    """Raise TagError if a track begins where there is no sound: the sheet is of another file."""
    for track in tracks:
        begins_s = (track.start or 0) / CD_FRAMES
        if begins_s >= duration_s:
            raise TagError(
                f"track {track.number} begins at {clock(begins_s)}, the sound ends at "
                f"{clock(duration_s)}"
            )


def _of_sheet(sheet: CueSheet, tracks: list[CueTrack], duration_s: float) -> list[Piece]:
    shared = {_OF_SHEET[k]: v for k, v in sheet.fields.items() if k in _OF_SHEET}
    total = sheet.fields.get(TOTAL_TRACKS, "")
    n_all = int(total) if _TOTAL.fullmatch(total) else len(sheet.tracks)
    numbers = [track.number for track in tracks]
    if len(set(numbers)) < len(numbers) or 0 in numbers:
        numbers = list(range(1, len(tracks) + 1))
    parts = [
        ((track.start or 0) / CD_FRAMES, number, _own_fields(track))
        for track, number in zip(tracks, numbers, strict=True)
    ]
    return _joined(parts, max(n_all, *numbers), shared, duration_s, _HIDDEN)


def _own_fields(track: CueTrack) -> dict[str, str]:
    own = {name: track.fields[name] for name in _AS_THEY_ARE if name in track.fields}
    return own | {_OF_TRACK[k]: v for k, v in track.fields.items() if k in _OF_TRACK}


def _of_chapters(chapters: Sequence[Mapping[str, Any]], duration_s: float) -> list[Piece]:
    """Return a track for each chapter; of those that begin at one place, for the first."""
    starts: dict[int, str] = {}
    for chapter in sorted(chapters, key=lambda each: each["start_ms"]):
        starts.setdefault(chapter["start_ms"], chapter["title"])
    parts = [
        (start_ms / 1000, number, {"title": title} if title else {})
        for number, (start_ms, title) in enumerate(starts.items(), 1)
    ]
    return _joined(parts, len(parts), {}, duration_s, "")


def _joined(
    parts: list[tuple[float, int, dict[str, str]]],
    total: int,
    shared: dict[str, str],
    duration_s: float,
    hidden: str,
) -> list[Piece]:
    """Return tracks that follow each other from the beginning to the end of the sound."""
    parts = [part for part in parts if part[0] < duration_s]
    if parts and parts[0][0] > _HIDDEN_S and parts[0][1] > 0:
        parts.insert(0, (0.0, 0, {"title": hidden} if hidden else {}))
    starts = [0.0, *(start for start, _, _ in parts[1:])]
    ends: list[float | None] = [end for _, end in pairwise(starts)] + [None]
    return [
        Piece(number, total, start, end, own, shared)
        for (_, number, own), start, end in zip(parts, starts, ends, strict=False)
    ]


def tags_of_piece(tags: TagSet, piece: Piece) -> TagSet:
    """Return the tags of a track: what the archive says of all of it, and what is said of the track.

    They have no blocks of the source's, and are not for an archive.
    """
    fields = {name: list(v) for name, v in tags.fields.items() if not _WHOLE.fullmatch(name)}
    whole = {name: list(values) for name, values in tags.fields.items()}
    for of_track, of_album in _GAINS.items():
        if of_track in whole:
            fields.setdefault(of_album, whole[of_track])
    for name, value in piece.shared.items():
        if name == "album" or name not in fields:
            fields[name] = [value]
    if "album" not in fields and "title" in whole:
        fields["album"] = whole["title"]
    if "albumartist" not in fields and "artist" in whole:
        fields["albumartist"] = whole["artist"]
    if "albumartist" in piece.shared:
        fields["artist"] = [piece.shared["albumartist"]]
    fields |= {name: [value] for name, value in piece.own.items()}
    fields["tracknumber"], fields["tracktotal"] = [str(piece.number)], [str(piece.total)]
    return replace(tags, fields=fields, chapters=[], raw=[])
