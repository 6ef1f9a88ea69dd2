from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from earzip.errors import SourceError
from earzip.page.originals import Originals
from tests.earzip.page.records import facts

SOUND = b"what was archived"


def track(path: Path, name: str = "named otherwise.flac"):
    source = facts().source | {"name": name, "sha256": hashlib.sha256(SOUND).hexdigest()}
    return facts(path=path, source=source)


def put(path: Path, data: bytes = SOUND) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_an_original_is_found_in_the_mirrored_tree(tmp_path):
    archive = put(tmp_path / "archive" / "a" / "b.flac.earz", b"")
    original = put(tmp_path / "music" / "a" / "b.flac")
    put(tmp_path / "music" / "b.flac", b"another of that name")
    originals = Originals(tmp_path / "music", [tmp_path / "archive"])
    assert originals.find(track(archive)) == original


@pytest.mark.parametrize("name", ["b.flac", "named otherwise.flac"])
def test_the_original_of_a_single_archive_is_found_by_either_name(tmp_path, name):
    archive = put(tmp_path / "far" / "away" / "b.flac.earz", b"")
    original = put(tmp_path / "music" / name)
    assert Originals(tmp_path / "music", [archive]).find(track(archive)) == original


def test_other_bytes_are_told_and_not_used(tmp_path):
    archive = put(tmp_path / "b.flac.earz", b"")
    other = put(tmp_path / "music" / "b.flac", b"edited since")
    with pytest.raises(SourceError, match="SHA-256") as caught:
        Originals(tmp_path / "music", [archive]).find(track(archive))
    assert caught.value.path == str(other)


def test_a_missing_original_is_told(tmp_path):
    archive = put(tmp_path / "b.flac.earz", b"")
    with pytest.raises(SourceError, match="original was not found"):
        Originals(tmp_path, [archive]).find(track(archive, name=""))
