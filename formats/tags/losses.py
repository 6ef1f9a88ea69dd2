"""What tags that were written lack of those that were wanted, a sentence for each loss."""

from __future__ import annotations

from collections.abc import Collection

from earzip.errors import count
from earzip.formats.tag_payload import Chapter
from earzip.formats.tags.lyrics import sync_from_lrc
from earzip.formats.tags.model import Picture, TagView, kind_name, quoted
from earzip.formats.tags.names import ID3_PAIR_FRAMES, SYNONYMS, split_pair

_TOTALS = dict(ID3_PAIR_FRAMES.values())


def losses_between(wanted: TagView, got: TagView, target: str) -> list[str]:
    """A sentence for each field, picture or chapter of ``wanted`` that ``got`` lacks or changes.

    ``target`` names the kind of file. Spellings that mean the same ("3/12" and two fields, a
    synchronised line's "0.5" and "0.500") are no loss.
    """
    losses = []
    have = _comparable(got.fields)
    for name, values in _comparable(wanted.fields).items():
        if name not in have:
            empty = "" if any(values) else "the empty "
            losses.append(f"{target} cannot store {empty}field {name!r}; it stays in the archive")
        elif have[name] != values:
            losses.append(
                f"field {name!r} is changed in {target}: {quoted(values)} "
                f"became {quoted(have[name])}"
            )
    losses += _picture_losses(wanted.pictures, got.pictures, target)
    losses += _chapter_losses(wanted.chapters, got.chapters, target)
    return losses


def raw_only_losses(
    raw_only: dict[str, list[str]], written: Collection[str], target: str
) -> list[str]:
    """A sentence for each part without neutral form of the kinds not among ``written``."""
    return [
        f"{kind_name(kind)}: {name} is not written to {target}; it stays in the archive"
        for kind, names in raw_only.items()
        if kind not in written
        for name in names
    ]


def _comparable(fields: dict[str, list[str]]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for original, values in fields.items():
        better = SYNONYMS.get(original, original)
        name = original if better in fields else better
        if name in _TOTALS and len(values) == 1 and "/" in values[0]:
            number, total = split_pair(values[0])
            result[name] = [number]
            result.setdefault(_TOTALS[name], []).append(total)
        elif name == "syncedlyrics":
            result[name] = [str(sync_from_lrc(value) or value) for value in values]
        else:
            result.setdefault(name, []).extend(values)
    return result


def _picture_losses(wanted: list[Picture], got: list[Picture], target: str) -> list[str]:
    losses = []
    left = list(got)
    for number, picture in enumerate(wanted, 1):
        same = [other for other in left if other.data == picture.data]
        exact = [other for other in same if _label(other) == _label(picture)]
        name = f"picture {number} ({picture.mime}, {len(picture.data)} bytes)"
        if not same:
            losses.append(f"{target} cannot store {name}; it stays in the archive")
            continue
        if not exact:
            losses.append(
                f"{name} is changed in {target}: {_label(picture)} became {_label(same[0])}"
            )
        left.remove((exact or same)[0])
    return losses


def _label(picture: Picture) -> tuple[int, str, str]:
    return picture.type, picture.mime, picture.description


def _chapter_losses(wanted: list[Chapter], got: list[Chapter], target: str) -> list[str]:
    kept = list(zip(wanted, got, strict=False))
    changed = len(wanted) - sum((a.start_ms, a.title) == (b.start_ms, b.title) for a, b in kept)
    losses = []
    if changed:
        losses.append(
            f"{target} cannot store {changed} of {count(len(wanted), 'chapter')}; the archive has all"
        )
    # An end that the next chapter's start, or the end of the track, says anyway is no loss.
    following = [chapter.start_ms for chapter in wanted[1:]]
    if any(
        a.end_ms not in (None, b.end_ms) and (b.end_ms is not None or a.end_ms != start)
        for (a, b), start in zip(kept, following, strict=False)
    ):
        losses.append(f"{target} cannot store the ends of chapters; they stay in the archive")
    return losses
