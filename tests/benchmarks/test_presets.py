"""``python -m benchmarks.presets``: a table of rates and measures."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import soundfile

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.presets import main
from tests.conftest import MODELS, tones


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a transform whose presets have dead zones, each of its own width."""
    shutil.copy(MODELS / "tiny-transform.safetensors", tmp_path)
    spec = json.loads((MODELS / "tiny-transform.json").read_text())
    for quality, rounding in (("low", 0.1), ("medium", 0.2), ("high", 0.3)):
        spec["presets"][quality]["rounding"] = rounding
    path = tmp_path / "tiny-transform.json"
    path.write_text(json.dumps(spec))
    return path


def test_rates_are_those_of_the_rounding_of_the_preset_medium(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, tones(44_100).T, 44_100)
    tables = []
    for options in ([], ["--rounding", "0.2"], ["--rounding", "0.5"]):
        words = ["calibrate", str(model), str(clip), "--exponents", "0", *options]
        monkeypatch.setattr("sys.argv", words)
        main()
        tables.append(capsys.readouterr().out.splitlines())
    assert [len(table) for table in tables] == [2, 2, 2]
    assert tables[0] == tables[1]
    kbps = [float(table[1].split()[1]) for table in tables]
    assert 0 < kbps[1] < kbps[2]
