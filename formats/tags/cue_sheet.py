"""Cue sheets, parsed: which tracks there are in which file, where they begin and what they are called.

After the appendix of the CDRWIN guide and what EAC, foobar2000 and CUETools write. Times are of 75 frames
a second: a frame is 588 samples at 44.1 kHz.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath

from earzip.errors import TagError

CD_FRAMES = 75
"""Frames a second, in the times of a sheet."""
_MAX_TRACKS = 1000
_QUOTED = re.compile(r'"([^"]*)"?')
_INDEX = re.compile(r"(\d{1,2})\s+(\d{1,4}):([0-5]?\d):(\d{1,2})", re.ASCII)
_TRACK = re.compile(r"(\d{1,3})(?:\s+(\S+))?", re.ASCII)


@dataclass
class CueTrack:
    """A track: its text fields by their commands in lower case, and where it is."""

    number: int
    fields: dict[str, str] = field(default_factory=dict)
    file: int = -1
    """Which file it begins in, counted from 0; −1 before that is known."""
    start: int | None = None
    """Where in that file it begins, in frames: at its index 1, else its first."""
    has_index_1: bool = False


@dataclass
class CueSheet:
    """A sheet: text fields of all of it, the names of its files, and its tracks of sound in order."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    tracks: list[CueTrack] = field(default_factory=list)

    @property
    def has_titles(self) -> bool:
        """Whether it says what its tracks are called."""
        return any("title" in track.fields for track in self.tracks)

    def tracks_of(self, file: int) -> list[CueTrack]:
        """The tracks that begin in a file, counted from 0."""
        return [track for track in self.tracks if track.file == file]


def parse_cue(text: str) -> CueSheet:
    """The sheet that ``text`` spells.

    Fields of ``REM`` are among the others; lines that mean nothing here are passed over. File names are
    without folders, which may be those of another system. Raises TagError if there is no track, one has
    no place, or they are not in order.
    """
    sheet = CueSheet()
    track: CueTrack | None = None
    for line in text.splitlines():
        command, rest = _first_word(line)
        if command == "file":
            sheet.files.append(_file_name(rest))
        elif command == "track":
            track = _new_track(rest)
            sheet.tracks.append(track)
            if len(sheet.tracks) > _MAX_TRACKS:
                raise TagError(f"it has more than {_MAX_TRACKS} tracks")
        elif command == "index":
            if track is not None:
                _add_index(track, rest, max(0, len(sheet.files) - 1))
        elif command:
            _add_field(sheet.fields if track is None else track.fields, command, rest)
    _require_places(sheet)
    return sheet


def _first_word(text: str) -> tuple[str, str]:
    """The first word in lower case, and what follows it."""
    words = text.split(None, 1)
    return (words[0].lower() if words else ""), (words[1].rstrip() if len(words) > 1 else "")


def _file_name(rest: str) -> str:
    quoted = _QUOTED.match(rest)
    name = quoted[1] if quoted else rest.rpartition(" ")[0] or rest  # behind it stands its kind
    return PurePosixPath(name.replace("\\", "/")).name


def _new_track(rest: str) -> CueTrack:
    found = _TRACK.match(rest)
    if not found:
        raise TagError(f"a track is called {rest[:40]!r}, which is no number")
    return CueTrack(int(found[1]), {"mode": (found[2] or "AUDIO").upper()})


def _add_index(track: CueTrack, rest: str, file: int) -> None:
    found = _INDEX.match(rest)
    if not found:
        raise TagError(f"index {rest[:40]!r} of track {track.number} is no time")
    index, minutes, seconds, frame = (int(found[i]) for i in range(1, 5))
    # A gap may be in the file before: there it belongs to the track before.
    if index == 1 or not (track.has_index_1 or (track.file == file)):
        track.start = (minutes * 60 + seconds) * CD_FRAMES + frame
        track.file, track.has_index_1 = file, index == 1


def _add_field(fields: dict[str, str], command: str, rest: str) -> None:
    if command == "rem":
        command, rest = _first_word(rest)
    quoted = _QUOTED.match(rest)
    value = (quoted[1] if quoted else rest).strip()
    if value:
        fields.setdefault(command, value)


def _require_places(sheet: CueSheet) -> None:
    sheet.tracks = [track for track in sheet.tracks if track.fields.pop("mode") == "AUDIO"]
    if not sheet.tracks:
        raise TagError("it has no track")
    for track in sheet.tracks:
        if track.start is None:
            raise TagError(f"track {track.number} has no index")
    for one, other in pairwise(sheet.tracks):
        assert one.start is not None
        assert other.start is not None
        if (other.file, other.start) <= (one.file, one.start):
            raise TagError(f"track {other.number} does not begin behind track {one.number}")
