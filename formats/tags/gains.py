"""Gains of tracks and albums in the fields that the players of a format read.

RFC 7845 gives Opus fields of its own, ``R128_TRACK_GAIN`` and ``R128_ALBUM_GAIN``: a gain to −23 LUFS in
1/256 dB. All other formats have ReplayGain: to −18 LUFS, in dB.
"""

from __future__ import annotations

import re

from earzip.formats.tags.model import TagSet
from earzip.formats.tags.raw import RawBlock
from earzip.formats.tags.vorbis import COMMENT_KINDS, without_comments

_REFERENCE_DB = 5  # by how much ReplayGain is louder
_UNITS = 256  # of R128 gains, in a dB
_LOWEST, _HIGHEST = -(2**15), 2**15 - 1
_R128 = re.compile(r"[-+]?\d{1,5}", re.ASCII)
_REPLAYGAIN = re.compile(r"\s*([-+]?\d{1,3}(?:\.\d*)?|[-+]?\.\d+)\s*(?:dB)?\s*", re.ASCII | re.I)
_FIELDS = {
    "replaygain_track_gain": "r128_track_gain",
    "replaygain_album_gain": "r128_album_gain",
}
_OF_REPLAYGAIN = re.compile(r"replaygain_\w+", re.ASCII)


def with_r128_gains(tags: TagSet) -> tuple[TagSet, list[str]]:
    """The tags with the gains of Opus in place of ReplayGain, and what that leaves out.

    The blocks of the result are as ``write_tags`` takes them; they are not for an archive.
    """
    gone = {name for name in tags.fields if _OF_REPLAYGAIN.fullmatch(name)}
    fields = {name: values for name, values in tags.fields.items() if name not in gone}
    losses = []
    for name in sorted(gone):
        r128 = _FIELDS.get(name)
        gain = _r128_of(tags.fields[name][0]) if r128 else None
        if r128 and gain is not None:
            fields.setdefault(r128, [gain])
        elif r128:
            losses.append(f"field {name!r} is left out: {tags.fields[name][0][:40]!r} is no gain")
    if any(name not in _FIELDS for name in gone):
        losses.append("ReplayGain's peaks and reference are left out: Opus has gains alone")
    return _changed(tags, fields, gone), losses


def with_replaygain(tags: TagSet) -> TagSet:
    """The tags with ReplayGain in place of the gains of Opus; ReplayGain that is there stays."""
    fields = dict(tags.fields)
    gone = set()
    for name, r128 in _FIELDS.items():
        values = fields.get(r128, ())
        if values and _R128.fullmatch(values[0]):
            gone.add(r128)
            del fields[r128]
            gain_db = int(values[0]) / _UNITS + _REFERENCE_DB
            fields.setdefault(name, [f"{gain_db:+.2f} dB"])
    return _changed(tags, fields, gone) if gone else tags


def _r128_of(text: str) -> str | None:
    found = _REPLAYGAIN.fullmatch(text)
    if not found:
        return None
    units = round((float(found[1]) - _REFERENCE_DB) * _UNITS)
    return str(max(_LOWEST, min(units, _HIGHEST)))


def _changed(tags: TagSet, fields: dict[str, list[str]], gone: set[str]) -> TagSet:
    """The tags with these fields, and comment blocks without those that are gone."""
    pictures = [picture.data for picture in tags.pictures]
    raw = []
    for block in tags.raw:
        data = block.join(pictures)
        if block.kind in COMMENT_KINDS:
            data = without_comments(data, gone.__contains__)
        raw.append(RawBlock(block.kind, data))
    return TagSet(
        fields, tags.pictures, tags.chapters, tags.family, raw, tags.raw_only, tags.problems
    )
