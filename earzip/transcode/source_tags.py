"""The tags of a source as an archive keeps them."""

from __future__ import annotations

from pathlib import Path

from earzip.errors import TagError
from earzip.formats.tags.cue_file import sheet_beside
from earzip.formats.tags.cue_sheet import parse_cue
from earzip.formats.tags.model import TagSet
from earzip.formats.tags.read import read_tags

CUE_SHEET = "cuesheet"


def read_source_tags(source: Path) -> TagSet:
    """Return the tags of a source, with the cue sheet beside it if they have none that has titles.

    A block of FLAC's has none. Raises SourceError if the source cannot be read.
    """
    tags = read_tags(source)
    if not any(map(_has_titles, tags.fields.get(CUE_SHEET, ()))):
        sheet = sheet_beside(source.parent, source.name)
        tags.add(CUE_SHEET, *([sheet] if sheet else []))
    return tags


def _has_titles(text: str) -> bool:
    try:
        return parse_cue(text).has_titles
    except TagError:
        return False
