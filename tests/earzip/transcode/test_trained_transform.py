"""From music to archives by a transform of one's own: trained, imported, and its archives restored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earzip.formats.symbols.layout import Layout
from earzip.models.install import ImportOptions, import_model
from earzip.models.store import find_model
from earzip.options import CompressOptions
from earzip.training.trainer import Trainer
from earzip.transcode.compress import compress_file
from earzip.transcode.inspect import read_info
from earzip.transcode.restore import restore_file
from tests.earzip.training.conftest import TRANSFORM, load, write_pool


def test_a_trained_transform_archives_by_context_with_the_dead_zone_of_its_run(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    config = load(TRANSFORM, steps=4, bottleneck__rounding=0.3)
    Trainer(config, write_pool(tmp_path / "pools", "music"), tmp_path / "run", workers=0).run()
    import_model(tmp_path / "run", [song], ImportOptions("ours", "MIT", "a test"))
    spec = find_model("ours")
    assert (spec.architecture, spec.layout) == ("transform", Layout(400))
    assert [preset.rounding for preset in spec.presets.values()] == [0.3] * 3

    sizes = {}
    for quality, preset in spec.presets.items():
        archive = tmp_path / f"{quality}.earz"
        compress_file(song, archive, CompressOptions("ours", quality))
        info = read_info(archive)
        assert info.header.symbols == "context-1"
        assert info.header.quantizer.step_exponents == tuple(spec.exponents_at(preset))
        sizes[quality] = info.sizes.sound
        # The rate that was measured on import is that of archives.
        kbps = 8 * info.sizes.sound / info.header.duration_s / 1000
        assert preset.kbps == pytest.approx(kbps, abs=0.005)
    assert sizes["low"] < sizes["medium"] < sizes["high"]

    restore_file(tmp_path / "high.earz", tmp_path / "restored.wav")
    source, restored = (soundfile.read(p)[0] for p in (song, tmp_path / "restored.wav"))
    assert restored.shape == source.shape
    assert np.corrcoef(source.ravel(), restored.ravel())[0, 1] > 0.9
