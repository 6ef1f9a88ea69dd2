"""The table of the page as data: a list a column, in as much detail as its share of the page holds."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from earzip.page.facts import TrackFacts

MAIN_TAGS = (
    "title", "artist", "album", "albumartist", "date", "genre", "tracknumber", "discnumber", "composer",
)  # fmt: skip
MEASURES = ("si_sdr_db", "mel", "stft", "icpc", "ccpc", "dbtp")
_MAX_VALUE = 300  # characters of a tag's value: lyrics and cue sheets are in the archive
_SHORT_VALUE = 120


class Detail(IntEnum):
    """How much of each track the table has."""

    ALL_TAGS = 0
    """Every tag, values cut at 300 characters, and every fact."""
    MAIN_TAGS = 1
    """The tags that players show, and no checksums."""
    BARE = 2
    """The table's own columns."""


@dataclass
class TrackEntry:
    """One row: the facts and what came of looking at the sound."""

    name: str
    """The archive's path below the folder that all archives of the page share."""
    facts: TrackFacts
    measures: Mapping[str, float] | None = None
    problem: str | None = None
    """What is wrong, as the page shows it: without the user's directories."""
    problem_in_full: str | None = None
    """The same with full paths, for the terminal."""
    is_undecoded: bool = False
    """What is wrong cost the track's pictures."""
    notes: list[str] = field(default_factory=list)
    cover: int | None = None
    """Which of the page's thumbnails is its."""
    view: int | None = None
    """Which of the page's views is its."""

    def add_problem(self, message: str, in_full: str | None = None) -> None:
        """Note one more thing that is wrong with the archive."""
        self.problem = _joined(self.problem, message)
        self.problem_in_full = _joined(self.problem_in_full, in_full or message)


def _joined(before: str | None, message: str) -> str:
    return f"{before}; {message}" if before else message


def names_below(paths: Iterable[Path]) -> dict[Path, str]:
    """Return each path below the folder that all share: a page need not tell whose files they are."""
    absolute = {path: path.absolute() for path in paths}
    if not absolute:
        return {}
    shared = os.path.commonpath([path.parent for path in absolute.values()])
    return {
        path: os.fsencode(whole.relative_to(shared)).decode("utf-8", "replace")
        for path, whole in absolute.items()
    }


def pack_rows(entries: Sequence[TrackEntry], detail: Detail) -> str:
    """Return the columns as JSON, compressed (zlib) and in base64."""
    columns = _columns(entries, detail)
    text = json.dumps(columns, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    packed = zlib.compress(text.encode("utf-8", "replace"), 9)
    return base64.b64encode(packed).decode()


def _columns(entries: Sequence[TrackEntry], detail: Detail) -> dict[str, list[Any]]:
    facts = [entry.facts for entry in entries]
    columns: dict[str, list[Any]] = {
        "name": [entry.name for entry in entries],
        "title": [cut(f.tag("title"), _SHORT_VALUE) for f in facts],
        "artist": [cut(f.tag("artist") or f.tag("albumartist"), _SHORT_VALUE) for f in facts],
        "album": [cut(f.tag("album"), _SHORT_VALUE) for f in facts],
        "duration": [round(f.duration_s, 2) for f in facts],
        "kbps": [round(f.kbps, 2) for f in facts],
        "bytes": [f.archive_bytes for f in facts],
        "picture_bytes": [f.picture_bytes for f in facts],
        "source_bytes": [f.source_bytes for f in facts],
        "quality": [f.quality for f in facts],
        "model": [f.model for f in facts],
        "cover": [entry.cover for entry in entries],
        "view": [entry.view for entry in entries],
        "problem": [entry.problem for entry in entries],
        "undecoded": [int(entry.is_undecoded) for entry in entries],
        "notes": [entry.notes for entry in entries],
    }
    for name in MEASURES:
        columns[name] = [
            None if entry.measures is None else _significant(entry.measures[name])
            for entry in entries
        ]
    if detail <= Detail.MAIN_TAGS:
        columns["source"] = [_source(f, with_sha256=detail == Detail.ALL_TAGS) for f in facts]
        columns["tags"] = [_tags(f, detail) for f in facts]
    if detail == Detail.ALL_TAGS:
        columns["encoder"] = [f.encoder for f in facts]
        columns["model_sha256"] = [f.model_sha256 for f in facts]
        columns["exact_bytes"] = [f.exact_bytes for f in facts]
        columns["gain_db"] = [f.gain_db for f in facts]
    return columns


def _significant(value: float) -> float:
    return float(f"{value:.4g}")


def cut(text: str, limit: int) -> str:
    """Return the first ``limit`` characters of ``text``, and how many there were if it had more."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def _tags(facts: TrackFacts, detail: Detail) -> dict[str, list[str]]:
    limit = _MAX_VALUE if detail == Detail.ALL_TAGS else _SHORT_VALUE
    return {
        cut(name, _SHORT_VALUE): [cut(value, limit) for value in values]
        for name, values in facts.tags.items()
        if detail == Detail.ALL_TAGS or name in MAIN_TAGS
    }


def _source(facts: TrackFacts, *, with_sha256: bool) -> dict[str, Any]:
    names = ["name", "container", "codec", "sample_rate", "channels", "bit_depth", "lossless"]
    names += ["downmix", "truncated"]
    names += ["sha256"] if with_sha256 else []
    return {name: facts.source[name] for name in names}
