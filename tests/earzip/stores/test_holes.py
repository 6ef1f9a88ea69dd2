"""Files that stand in for objects, with a store that is a list of bytes."""

from __future__ import annotations

from pathlib import Path

from earzip.stores import holes
from earzip.stores.holes import StandIn
from earzip.stores.store import Store, Stored


class OneObject(Store):
    """A store of one object, which remembers what was read of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.spans: list[tuple[int, int]] = []

    def read(self, _key: str, start: int, stop: int) -> bytes:
        self.spans.append((start, stop))
        return self.data[start:stop]


def test_a_large_object_is_fetched_in_pieces_that_fit_into_memory(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(holes, "MOST_AT_ONCE_BYTES", 1000)
    store = OneObject(bytes(range(256)) * 10)
    file = StandIn(tmp_path / "x", store, Stored("x", 2560, 10**9, ""))
    file.make()
    file.fill(0, None)
    assert store.spans == [(0, 1000), (1000, 2000), (2000, 2560)]
    assert (tmp_path / "x").read_bytes() == store.data
