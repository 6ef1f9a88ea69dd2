"""The tags of a source as an archive keeps them."""

from __future__ import annotations

from pathlib import Path

from earzip.formats.tags.cue_file import sheet_beside
from earzip.formats.tags.model import TagSet
from earzip.formats.tags.read import read_tags

CUE_SHEET = "cuesheet"


def read_source_tags(source: Path) -> TagSet:
    """Return the tags of a source, and as a field of theirs the cue sheet beside it, if they have none.

    Raises SourceError if the source cannot be read.
    """
    tags = read_tags(source)
    if CUE_SHEET not in tags.fields:
        sheet = sheet_beside(source.parent, source.name)
        tags.add(CUE_SHEET, *([sheet] if sheet else []))
    return tags
