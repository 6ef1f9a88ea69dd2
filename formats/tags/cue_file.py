"""The cue sheet in a file of its own that belongs to a sound file in the same directory."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Collection
from pathlib import Path

from earzip.errors import TagError
from earzip.formats.names import name_without_sound_suffix
from earzip.formats.tags.cue_sheet import CueSheet, parse_cue

_SUFFIX = ".cue"
_MAX_BYTES = 1 << 20
_MAX_SHEETS = 200  # of a directory that are looked at
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LINE = re.compile(r"\s*(FILE|TRACK|INDEX)\s+(.*)", re.IGNORECASE)
TOTAL_TRACKS = "totaltracks"
"""The REM field that says how many tracks a sheet has of which only a part is kept."""


def sheet_beside(folder: Path, name: str) -> str | None:
    """The text of the cue sheet in ``folder`` that cuts the sound file called ``name`` into tracks.

    A sheet belongs to a file that it names; or, since sheets are often of a file that was converted
    since, to one that has the name of such a file or of the sheet but for the extension, if the file
    that it names is not there. Of a sheet of several files, what is about this one. None if there is no
    sheet that can be read and has two tracks or more in the file.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return None
    sheets = [each for each in names if each.lower().endswith(_SUFFIX)][:_MAX_SHEETS]
    there = {each.casefold() for each in names}
    best: tuple[int, str] | None = None
    for each in sheets:
        text = _read(folder / each)
        try:
            sheet = parse_cue(text) if text else None
        except TagError:
            continue
        found = _belongs(sheet, each, name, there) if sheet else None
        if sheet and text and found and (best is None or found[0] > best[0]):
            kept = text if len(sheet.files) < 2 else _part(text, sheet, found[1])
            best = (found[0], kept)
    return best[1] if best else None


def sheet_text(data: bytes) -> str:
    """The text of a sheet: in the encoding that its first bytes tell, else UTF-8 or Windows-1252."""
    for mark, encoding in _BOMS.items():
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        # What Windows-1252 leaves undefined is a control character, as in Latin-1.
        return "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in data)


def _read(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None
        return sheet_text(path.read_bytes())
    except OSError:
        return None


def _belongs(
    sheet: CueSheet, sheet_name: str, name: str, there: Collection[str]
) -> tuple[int, int] | None:
    """How surely a sheet is about the file ``name``, and which of its files that is; None if not."""
    stem = name_without_sound_suffix(name).casefold()
    sheet_stem = sheet_name[: -len(_SUFFIX)].casefold()
    for file, named in enumerate(sheet.files or [""]):
        if len(sheet.tracks_of(file)) < 2:
            continue
        if named.casefold() == name.casefold():
            return 3, file
        if named.casefold() in there:
            continue
        if name_without_sound_suffix(named).casefold() == stem:
            return 2, file
        if len(sheet.files) < 2 and sheet_stem in (stem, name.casefold()):
            return 1, file
    return None


def _part(text: str, sheet: CueSheet, file: int) -> str:
    """The lines of a sheet of several files that are about one of them, and how many tracks there are.

    A track's own lines may stand before the line of the file that it begins in.
    """
    numbers = iter([(track.number, track.file) for track in sheet.tracks])
    head: list[str] = []
    kept: list[str] = []
    file_line = ""
    n_files, is_kept, in_head = 0, False, True
    current: tuple[int, int] | None = next(numbers, None)
    for line in text.splitlines():
        found = _LINE.match(line)
        command = found[1].upper() if found else ""
        if command == "FILE":
            file_line = line if n_files == file else file_line
            n_files += 1
            in_head = False
        elif command == "TRACK":
            in_head = False
            is_kept = False
            if found and current and re.match(rf"0*{current[0]}\b", found[2]):
                is_kept = current[1] == file
                current = next(numbers, None)
            if is_kept:
                kept.append(line)
        elif in_head:
            head.append(line)
        elif is_kept and (command != "INDEX" or n_files - 1 == file):
            kept.append(line)
    total = f"REM {TOTAL_TRACKS.upper()} {len(sheet.tracks)}"
    return "\r\n".join([*head, total, file_line, *kept]) + "\r\n"
