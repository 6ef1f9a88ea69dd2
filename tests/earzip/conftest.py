from __future__ import annotations

from pathlib import Path

import pytest

from earzip.transcode import compress_file
from tests.earzip.tiny_archives import TINY


@pytest.fixture
def archive(song: Path, tmp_path: Path, tiny_model: str) -> Path:
    """Return an archive of `song` by the tiny model."""
    return compress_file(song, tmp_path / "song.flac.earz", TINY).target
