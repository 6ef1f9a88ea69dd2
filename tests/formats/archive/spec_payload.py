"""What SPEC.md says of a payload of tags, in plain checks: by someone who never saw earzip's."""

from __future__ import annotations

from typing import Any

MIB = 1 << 20


def check_payload(payload: Any, blocks: list[bytes], pictures: list[bytes]) -> None:
    """AssertionError for what must not be; ``pictures`` as often as the tag part names them."""
    assert type(payload) is dict
    assert is_name(payload["family"])
    for key in ("fields", "pictures", "chapters", "raw", "raw_only"):
        assert key not in payload or payload[key] not in ([], {}, "", None, 0)
    for name, is_kind in (("fields", False), ("raw_only", True)):
        check_names(payload.get(name, {}), is_kind=is_kind)
    described, raw = payload.get("pictures", []), payload.get("raw", [])
    assert type(described) is type(raw) is list
    assert (len(described), len(raw)) == (len(pictures), len(blocks))
    for picture in described:
        check_picture(picture)
    check_chapters(payload.get("chapters", []))
    assert sum(map(len, pictures)) <= 128 * MIB
    n_bytes = n_cuts = 0
    for entry, block in zip(raw, blocks, strict=True):
        assert type(entry) is dict
        assert is_name(entry["kind"])
        cuts = entry.get("cuts", [])
        assert type(cuts) is list
        assert "cuts" not in entry or 1 <= len(cuts) <= 1000
        n_cuts += len(cuts)
        n_bytes += len(block) + check_cuts(cuts, len(block), [len(each) for each in pictures])
    assert n_bytes <= 65 * MIB
    assert n_cuts <= 10_000


def is_name(value: Any) -> bool:
    return type(value) is str and 1 <= len(value) <= 64


def is_number(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def check_names(names: Any, *, is_kind: bool) -> None:
    assert type(names) is dict
    n_values = 0
    for name, values in names.items():
        assert name
        assert is_name(name) if is_kind else not any("A" <= each <= "Z" for each in name)
        assert type(values) is list
        assert values
        assert all(type(value) is str for value in values)
        n_values += len(values)
    assert n_values <= 20_000


def check_picture(picture: Any) -> None:
    assert type(picture) is dict
    assert is_number(picture["type"], 2**32 - 1)
    assert type(picture["mime"]) is str
    if "description" in picture:
        assert type(picture["description"]) is str
        assert picture["description"]
    for key in ("width", "height", "depth", "colors"):
        assert key not in picture or (picture[key] != 0 and is_number(picture[key], 2**32 - 1))


def check_chapters(chapters: Any) -> None:
    assert type(chapters) is list
    assert len(chapters) <= 10_000
    for chapter in chapters:
        assert type(chapter) is dict
        assert is_number(chapter["start_ms"], 2**53)
        assert type(chapter["title"]) is str
        if "end_ms" in chapter:
            assert is_number(chapter["end_ms"], 2**53)
            assert chapter["end_ms"] >= chapter["start_ms"]


def check_cuts(cuts: list[Any], n_block: int, n_pictures: list[int]) -> int:
    """Return the bytes that putting the pictures back adds."""
    n_added = end = 0
    for cut in cuts:
        assert type(cut) is dict
        at, picture, head = cut["at"], cut["picture"], cut.get("head", 0)
        assert is_number(at, n_block)
        assert is_number(picture, len(n_pictures) - 1)
        assert is_number(head, n_block)
        assert "head" not in cut or head > 0
        assert "coding" not in cut or cut["coding"] in ("unsync", "base64")
        assert head == 0 or cut.get("coding") == "base64"
        assert at >= end
        end = at + head
        assert end <= n_block
        if cut.get("coding") == "base64":
            n_added += (head + n_pictures[picture] + 2) // 3 * 4 - head
        else:
            n_added += n_pictures[picture]
    return n_added
