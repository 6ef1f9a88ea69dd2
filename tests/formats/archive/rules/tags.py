"""Rules of the tag part and of its payload broken."""

from __future__ import annotations

import copy
from typing import Any

from tests.formats.archive.hostile_frames import compress
from tests.formats.archive.rules.registry import TAGS as TAGS_PART
from tests.formats.archive.rules.registry import Break, breaks
from tests.formats.archive.samples import BLOCKS, TAGS, Pieces, canonical, tag_part

NUMBERS = [0, 1, 0]  # the picture part of each picture
OTHERS = [None, True, 1, "x", [], {}]


def good() -> dict[str, Any]:
    """Return a payload with everything in it, of two blocks and three pictures."""
    payload: dict[str, Any] = copy.deepcopy(TAGS)
    payload["chapters"] = [
        {"start_ms": 0, "end_ms": 10, "title": "I"},
        {"start_ms": 10, "title": ""},
    ]
    payload["raw"][1]["cuts"] = [
        {"at": 3, "picture": 0},
        {"at": 5, "picture": 1, "coding": "base64", "head": 4},
        {"at": 9, "picture": 2, "coding": "unsync"},
    ]
    payload["raw_only"] = {"id3v1": ["x"]}
    return payload


def put(pieces: Pieces, payload: object, **parts: Any) -> None:
    """Put a tag part with ``payload`` into the archive."""
    blocks = parts.get("blocks", BLOCKS)
    sizes = parts.get("sizes", [len(block) for block in blocks])
    text = _ordered(sizes, payload, parts.get("numbers", NUMBERS))
    raw = tag_part(text, b"".join(blocks), parts.get("n_json"))
    pieces.change_part(TAGS_PART, compress(raw))


def _ordered(sizes: object, payload: object, numbers: object) -> bytes:
    return canonical({"blocks": sizes, "payload": payload, "pictures": numbers})


def with_value(path: list[str | int], value: object) -> Break:
    """Set a value of the payload or, with `...`, remove it."""

    def make(pieces: Pieces) -> None:
        payload = good()
        target: Any = payload
        for key in path[:-1]:
            target = target[key]
        if value is ...:
            del target[path[-1]]
        else:
            target[path[-1]] = value
        put(pieces, payload)

    return make


def with_parts(**parts: Any) -> Break:
    return lambda pieces: put(pieces, good(), **parts)


PAYLOAD: list[tuple[list[str | int], list[object]]] = [
    (["family"], [..., "", "x" * 65, None, 1, [], {}]),
    (["fields"], [{}, [], None, 1, "x"]),
    (["fields", "title"], [[], {}, "x", None, 1, [1], [None], ["x", []], ["x"] * 20_001]),
    (["fields", ""], [["x"]]),
    (["fields", "Title"], [["x"]]),
    (["fields", "tITLE"], [["x"]]),
    (["fields", "zusÄtzlich A"], [["x"]]),
    (["pictures"], [..., [], {}, None, 1, [{"type": 3, "mime": ""}] * 2, [None] * 3]),
    (["pictures", 0, "type"], [..., -1, 2**32, True, "3", None, []]),
    (["pictures", 0, "mime"], [..., None, 1, [], {}]),
    (["pictures", 0, "description"], ["", None, 1, [], {}]),
    *(
        (["pictures", 0, key], [0, -1, 2**32, "5", None, True, []])
        for key in ("width", "height", "depth", "colors")
    ),
    (["chapters"], [[], {}, None, "x", [{}], [None], [{"start_ms": 0, "title": ""}] * 10_001]),
    (["chapters", 0, "start_ms"], [..., -1, 11, 2**53 + 1, "0", None, True, []]),
    (["chapters", 0, "end_ms"], [-1, 2**53 + 1, "0", None, True, []]),
    (["chapters", 0, "title"], [..., None, 1, []]),
    (["raw"], [..., [], {}, None, "x", [{"kind": "id3v1"}], [{"kind": "id3v1"}] * 3, [None] * 2]),
    (["raw", 0, "kind"], [..., "", "x" * 65, None, 1, [], {}]),
    (["raw", 1, "cuts"], [[], {}, None, "x", [None], [{}], [{"at": 3, "picture": 0}] * 1001]),
    (["raw", 1, "cuts", 0, "at"], [..., -1, 6, 41, "0", None, True, []]),
    (["raw", 1, "cuts", 1, "at"], [2, 6, 37, 40]),
    (["raw", 1, "cuts", 0, "picture"], [..., -1, 3, 2**40, "0", None, True, []]),
    (["raw", 1, "cuts", 0, "coding"], ["plain", "", "rot13", "Base64", None, 1, [], {}]),
    (["raw", 1, "cuts", 0, "head"], [0, 1, -1, "0", None, True, []]),
    (["raw", 1, "cuts", 2, "head"], [1, 0, 31]),
    (["raw", 1, "cuts", 1, "head"], [0, -1, 5, 36, 2**40, "4", None, True, []]),
    (["raw_only"], [{}, [], None, 1, "x"]),
    (["raw_only", "id3v1"], [[], {}, "x", None, 1, [1], [None], ["x"] * 20_001]),
    (["raw_only", ""], [["x"]]),
    (["raw_only", "x" * 65], [["x"]]),
]
for path, values in PAYLOAD:
    for i, value in enumerate(values):
        shown = "absent" if value is ... else repr(value)[:24]
        breaks("Payload", f"{'.'.join(map(str, path))} {shown} ({i})", with_value(path, value))


def many_values(key: str) -> Break:
    def make(pieces: Pieces) -> None:
        payload = good()
        payload[key] = {f"a{i}": ["x"] * 10_000 for i in range(3)}
        put(pieces, payload)

    return make


breaks("Payload", "30,000 values in three fields", many_values("fields"))
breaks("Payload", "30,000 names in three kinds", many_values("raw_only"))


def large_pictures(pieces: Pieces) -> None:
    pieces.parts[-2] = (3, bytes(43 << 20))
    payload = good() | {"raw": [{"kind": "id3v1"}] * 2}
    payload["pictures"] *= 2
    put(pieces, payload, numbers=[0, 1, 0] * 2)


breaks("Payload", "pictures of 172 MiB, counted as often as named", large_pictures)


def large_blocks(cut: dict[str, object]) -> Break:
    """Put a picture of 100 kB back a thousand times."""

    def make(pieces: Pieces) -> None:
        pieces.parts[-2] = (3, bytes(100_000))
        payload = good()
        payload["raw"][1]["cuts"] = [{"at": 3, "picture": 0, **cut}] * 1000
        put(pieces, payload)

    return make


breaks("Payload", "blocks of 100 MB with their pictures", large_blocks({}))
breaks("Payload", "blocks of 133 MB with their pictures", large_blocks({"coding": "base64"}))
breaks("Payload", "blocks of 100 MB, unsynchronised", large_blocks({"coding": "unsync"}))
breaks("Payload", "a block of 65 MiB and 1", with_parts(blocks=[BLOCKS[0], bytes(65 << 20)]))


def many_cuts(pieces: Pieces) -> None:
    payload = good()
    payload["raw"] = [{"kind": "id3v2", "cuts": [{"at": 0, "picture": 0}] * 1000}] * 11
    put(pieces, payload, blocks=[b""] * 11)


breaks("Payload", "11,000 cuts", many_cuts)

# The part around it

for sizes in (
    [],
    [15],
    [15, 41],
    [15, 39],
    [14, 41, 0],
    [15, -1],
    [-15, 70],
    ["15", 40],
    [15, None],
    [True, 54],
    [2**40, 40],
    [0] * 2001,
    None,
    {},
    "x",
):
    breaks("Tags", f"blocks {sizes!r}"[:60], with_parts(sizes=sizes))
for numbers in (
    [],
    [0],
    [0, 0, 0],
    [0, 1],
    [0, 1, 2],
    [0, 1, 0, 1],
    [0, 1, -1],
    [0, 1, None],
    [0, 1, True],
    [0, 1, "0"],
    [0, 1] * 501,
    None,
    {},
    "x",
    [2**40, 1, 0],
):
    breaks("Tags", f"pictures {numbers!r}"[:60], with_parts(numbers=numbers))
for n_json in (0, 1, 100, 2**22 + 1, 2**32 - 1):
    breaks("Tags", f"JSON size {n_json}", with_parts(n_json=n_json))
for payload in OTHERS:
    breaks("Tags", f"payload {payload!r}", lambda pieces, payload=payload: put(pieces, payload))
for n in range(4):
    breaks(
        "Tags", f"{n + 1} bytes", lambda p, n=n: p.change_part(TAGS_PART, compress(b"a" * (n + 1)))
    )


def other_keys(keys: tuple[str, ...]) -> Break:
    def make(pieces: Pieces) -> None:
        values = {
            "blocks": [len(block) for block in BLOCKS],
            "payload": good(),
            "pictures": NUMBERS,
        }
        text = b",".join(b'"%s":%s' % (key.encode(), canonical(values.get(key, 1))) for key in keys)
        pieces.change_part(TAGS_PART, compress(tag_part(b"{" + text + b"}", b"".join(BLOCKS))))

    return make


for keys in (
    ("payload", "blocks", "pictures"),
    ("blocks", "pictures", "payload"),
    ("pictures", "payload", "blocks"),
    ("blocks", "payload"),
    ("payload", "pictures"),
    ("blocks", "pictures"),
    ("blocks", "payload", "pictures", "zz"),
    ("aa", "blocks", "payload", "pictures"),
    (),
):
    breaks("Tags", f"keys {' '.join(keys)}", other_keys(keys))


def too_much_json(pieces: Pieces) -> None:
    payload = good()
    payload["fields"]["title"] = ["x" * (1 << 20)] * 5
    put(pieces, payload)


breaks("Tags", "JSON of 5 MiB", too_much_json)
