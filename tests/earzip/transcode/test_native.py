"""Archives are the same with loops in C and without it; their sound is too, but for rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earzip import native
from earzip.options import CompressOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file
from tests.conftest import MODELS, strokes, tones

pytestmark = [
    pytest.mark.usefixtures("tiny_model"),
    pytest.mark.skipif(native.LIBRARY is None, reason="the loops in C are not compiled here"),
]

_WITHOUT = """
import sys
from pathlib import Path
from earzip import native
from earzip.options import CompressOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file

assert native.LIBRARY is None
model, source, target, restored = sys.argv[1:]
compress_file(Path(source), Path(target), CompressOptions(model=model))
restore_file(Path(target), Path(restored))
"""


@pytest.mark.parametrize("model", ["tiny", "tiny-transform", "tiny-levels"])
def test_archives_are_the_same_without_it(model: str, tmp_path: Path) -> None:
    source = tmp_path / "song.wav"
    sound = np.concatenate([tones(60_000), np.zeros((2, 40_000)), strokes(70_000)], 1)
    soundfile.write(source, sound.T, 44_100, subtype="PCM_16")
    paths = [tmp_path / name for name in ("with.earz", "with.flac", "without.earz", "without.flac")]
    archive, restored, other_archive, other_restored = paths
    compress_file(source, archive, CompressOptions(model=model))
    restore_file(archive, restored)
    subprocess.run(
        [sys.executable, "-c", _WITHOUT, model, source, other_archive, other_restored],
        check=True,
        timeout=300,
        env=os.environ | {"EARZIP_NATIVE": "0", "EARZIP_MODELS": str(MODELS)},
    )
    assert archive.read_bytes() == other_archive.read_bytes()
    sounds = [soundfile.read(path)[0] for path in (restored, other_restored)]
    np.testing.assert_allclose(*sounds, rtol=0, atol=1e-6)  # sums of a decoder round as they may
