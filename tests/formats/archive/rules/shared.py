"""Rules of shared pictures broken, under right checksums."""

from __future__ import annotations

import json
from typing import Any

from tests.formats.archive.rules.header import several
from tests.formats.archive.rules.registry import PICTURE, TAGS, Break, breaks
from tests.formats.archive.rules.tags import good, put
from tests.formats.archive.samples import BOOKLET, COVER, Pieces, shared_record

RECORD = shared_record(COVER)
SECTION = "Shared pictures"
MIB = 1 << 20


def _shared(records: object) -> Break:
    return several(shared=records, critical=["shared"])


for i, records in enumerate(
    [
        [],
        {},
        "x",
        None,
        1,
        [None],
        [[]],
        ["x"],
        [{}],
        [{"bytes": 204}],
        [{"sha256": RECORD["sha256"]}],
        [RECORD, RECORD],
        [RECORD, RECORD | {"bytes": 1}],
        [{"bytes": n, "sha256": f"{n:064x}"} for n in range(1001)],
        *([RECORD | {"bytes": value}] for value in (-1, (128 * MIB) + 1, True, "1", None, [])),
        *(
            [RECORD | {"sha256": value}]
            for value in ("", "0" * 63, "0" * 65, "A" * 64, "../" + "0" * 61, 1, None, [])
        ),
    ]
):
    breaks(SECTION, f"list {records!r:.40} ({i})", _shared(records))


def _moved(pieces: Pieces, critical: object = ("shared",)) -> None:
    """Take the cover out of the archive: the picture parts are the booklet alone, the cover is shared."""
    pieces.parts = [part for part in pieces.parts if part[0] != PICTURE] + [(PICTURE, BOOKLET)]
    pieces.parts.sort(key=lambda part: part[0])
    members: dict[str, Any] = json.loads(pieces.header)
    members["shared"] = [RECORD]
    pieces.header = json.dumps(members).encode()
    pieces.change_header("critical", ... if critical is None else critical)


def _with_critical(critical: object) -> Break:
    def make(pieces: Pieces) -> None:
        _moved(pieces, critical)
        put(pieces, good(), numbers=[1, 0, 1])

    return make


def _with_numbers(numbers: list[int]) -> Break:
    def make(pieces: Pieces) -> None:
        _moved(pieces)
        put(pieces, good(), numbers=numbers)

    return make


breaks(SECTION, "critical does not list it", _with_critical(["gain"]))
for numbers in ([0, 0, 0], [1, 1, 1], [1, 0, 2], [2, 0, 2]):
    breaks(SECTION, f"pictures {numbers}", _with_numbers(numbers))


def _without_tags(pieces: Pieces) -> None:
    _moved(pieces)
    pieces.parts = [part for part in pieces.parts if part[0] not in (TAGS, PICTURE)]


breaks(SECTION, "no tags", _without_tags)


def _too_large(pieces: Pieces) -> None:
    """Three pictures of 128 MiB together are allowed, but not one of 64 MiB thrice."""
    _moved(pieces)
    pieces.change_header("shared", [RECORD | {"bytes": 65 * MIB}])
    put(pieces, good(), numbers=[1, 0, 1])


breaks(SECTION, "pictures of 130 MiB, counted as often as named", _too_large)
