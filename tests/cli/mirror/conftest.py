"""A library, and its archive as it should be."""

from __future__ import annotations

import os
from pathlib import Path

import mutagen.flac
import pytest
import soundfile

from tests.conftest import tones


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Two albums of two tracks each."""
    folder = tmp_path / "Music"
    for i, name in enumerate(("A/1.flac", "A/2.flac", "B/1.flac", "B/2.flac")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tones(20_000, seed=i).T, 44_100, subtype="PCM_16")
        tags = mutagen.flac.FLAC(path)
        tags["title"] = name
        tags.save()
    return folder


def compress(earzip, library: Path, *options: str):
    out = library.parent / "Archive"
    return earzip("compress", "--model", "tiny", library, "-o", out, "--json", *options)


def archives(library: Path) -> list[str]:
    folder = library.parent / "Archive"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.earz"))


def statuses(outcome, library: Path) -> dict[str, str]:
    return {
        os.path.relpath(record["source"], library.parent): record["status"]
        for record in outcome.records[:-1]
        if record["status"] != "up_to_date"
    }
