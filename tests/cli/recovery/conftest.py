"""Archives with recovery data, and damage to them."""

from __future__ import annotations

import os
from pathlib import Path

import mutagen.flac
import numpy as np
import pytest

from tests.cli.conftest import write_sound


def write_song(path: Path, seed: int, picture_bytes: int = 60_000) -> Path:
    """Write a short sound with a picture that makes its archive as large as one of a long track."""
    plain = write_sound(path.with_name("plain.flac"))
    tagged = mutagen.flac.FLAC(plain)
    picture = mutagen.flac.Picture()
    picture.mime, picture.data = "image/jpeg", np.random.default_rng(seed).bytes(picture_bytes)
    tagged.add_picture(picture)
    tagged.save()
    return plain.rename(path)  # libsndfile takes no name that is not text


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Two albums of four tracks each."""
    for i in range(8):
        write_song(tmp_path / "music" / "AB"[i // 4] / f"{i % 4}.flac", i)
    return tmp_path / "music"


@pytest.fixture
def archives(earzip, music: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    assert earzip("compress", "--model", "tiny", music, "-o", out).exit_code == 0
    return out


@pytest.fixture
def protected(earzip, archives: Path) -> Path:
    assert earzip("protect", archives, "--redundancy", 60).exit_code == 0
    return archives


def flip(path: Path, *offsets: int) -> None:
    """Change bytes, but neither size nor time."""
    data, before = bytearray(path.read_bytes()), path.stat()
    for offset in offsets:
        data[offset] ^= 0xFF
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def tree(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return content, time and mode of each archive."""
    return {
        str(path.relative_to(folder)): (
            path.read_bytes(),
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in folder.rglob("*.earz")
    }
