from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import spectrograms
from benchmarks.spectrograms import FLOOR_DB, Sound, names_of, spectrogram_db
from tests.conftest import tones

RATE = 44_100


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/song-opus.wav", "x/song-mini.wav"], ["song-opus", "song-mini"]),
        (["opus/song.wav", "mini/song.wav"], ["opus", "mini"]),
        (["opus/song.wav", "opus/song.flac"], ["opus/song.wav", "opus/song.flac"]),
        (["opus/song.wav"], ["song"]),
    ],
)
def test_versions_are_called_by_what_tells_them_apart(paths: list[str], names: list[str]) -> None:
    assert names_of([Path(path) for path in paths]) == names


def test_a_sine_of_full_scale_is_0_db_and_silence_the_floor() -> None:
    t = np.arange(RATE) / RATE
    sine = np.sin(2 * np.pi * 100 * RATE / 2048 * t).astype(np.float32)
    # Channels that cancel: power is averaged, not samples.
    found = spectrogram_db(Sound(np.stack([sine, -sine], 1), RATE, 0.0))
    assert found[100] == pytest.approx(0, abs=1e-3)
    assert spectrogram_db(Sound(np.zeros((5000, 2), np.float32), RATE, 0.0)).max() == FLOOR_DB


def test_a_set_makes_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / name / "song.wav" for name in ("original", "opus", "mini")]
    for number, file in enumerate(files):
        file.parent.mkdir()
        soundfile.write(file, tones(20_000, number).T, RATE)
    arguments = ["spectrograms", "--out", str(tmp_path / "out"), "--set", *map(str, files)]
    monkeypatch.setattr(sys, "argv", arguments)
    spectrograms.main()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["song-set.png"]
