"""A store whose answers are lost on the way, with a client that is a dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from earzip.stores import store as store_module
from earzip.stores.store import Store

DATA = bytes(range(256)) * 10


class LosesAnswers:
    """A file system of fsspec in which the first object that is put is there, but no answer comes."""

    def __init__(self, changes: bytes | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.changes = changes
        self.spans: list[tuple[int, int]] = []

    def invalidate_cache(self) -> None:
        pass

    def info(self, key: str) -> dict[str, Any]:
        if key not in self.objects:
            raise FileNotFoundError(key)
        return {"type": "file", "size": len(self.objects[key])}

    def put_file(self, path: str, key: str, *, mode: str, **_more: object) -> None:
        if mode == "create" and key in self.objects:
            raise FileExistsError(key)
        self.objects[key] = self.changes or Path(path).read_bytes()
        raise TimeoutError("no answer")

    def cat_file(self, key: str, start: int, end: int) -> bytes:
        self.spans.append((start, end))
        return self.objects[key][start:end]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(store_module, "_WAITS_S", (0.0, 0.0))
    monkeypatch.setattr(store_module, "MOST_AT_ONCE_BYTES", 1000)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "x").write_bytes(DATA)
    return tmp_path / "x"


def test_an_object_that_is_there_after_a_lost_answer_is_ours_if_it_is_the_same(file):
    client = LosesAnswers()
    Store(client, "s3", "b").put(file, "b/x", must_be_new=True)
    assert client.objects == {"b/x": DATA}
    assert client.spans == [(0, 1000), (1000, 2000), (2000, 2560)]


@pytest.mark.parametrize("other", [DATA[:-1], DATA[:-1] + b"!", DATA + b"!"])
def test_another_object_that_is_there_after_a_lost_answer_is_not_ours(file, other):
    client = LosesAnswers(changes=other)
    with pytest.raises(FileExistsError, match="is there already"):
        Store(client, "s3", "b").put(file, "b/x", must_be_new=True)


def test_an_object_that_was_there_before_is_not_ours_though_it_is_the_same(file):
    client = LosesAnswers()
    client.objects["b/x"] = DATA
    with pytest.raises(FileExistsError):
        Store(client, "s3", "b").put(file, "b/x", must_be_new=True)
