"""Models of finished runs of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file, save_file

from earzip.errors import ModelDamagedError, SourceError, UsageError
from earzip.models.install import import_model
from earzip.models.trained import RUN_WEIGHTS, write_run_network
from earzip.network.networks import build_network
from earzip.options import CompressOptions
from earzip.training.trainer import Trainer
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file
from tests.earzip.models.conftest import contents, options
from tests.earzip.training.conftest import SPECTRAL, TRANSFORM, load, write_pool


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    Trainer(
        load(SPECTRAL, steps=2), write_pool(tmp_path / "pools", "music"), folder, workers=0
    ).run()
    return folder


def test_a_trained_model_archives_and_restores(run: Path, music: Path, tmp_path: Path) -> None:
    imported = import_model(run, [music], options(name="ours", config=None))
    assert imported.architecture == "spectral"
    assert imported.geometry["core"] * imported.geometry["hop"] == 1 << 20
    # The scales of a spectral network are its own numbers, whatever the music.
    trained = load_file(run / "weights.safetensors")["log_scale"].double()
    exponents = (trained / np.log(2) * 16).round().int().tolist()
    assert list(imported.step_exponents) == exponents
    # The finest, the middle and the coarsest step that its decoder met: 0.35 to 3 scales.
    exponents_of = {quality: preset.exponent for quality, preset in imported.presets.items()}
    assert exponents_of == {"high": -24, "medium": 1, "low": 25}
    rates = [imported.presets[quality].kbps or 0 for quality in ("low", "medium", "high")]
    assert 0 < rates[0] < rates[1] < rates[2]
    source = music / "one.flac"
    archived = compress_file(source, tmp_path / "a.earz", CompressOptions(model="ours"))
    restore_file(archived.target, tmp_path / "a.wav")
    assert len(soundfile.read(tmp_path / "a.wav")[0]) == len(soundfile.read(source)[0])


def run_of(folder: Path, base: dict[str, Any] = TRANSFORM, **changes: int) -> Path:
    """Make a finished run of a small network, of random weights."""
    network = build_network(base["architecture"], base["model"] | changes)
    folder.mkdir()
    save_file(network.state_dict(), folder / RUN_WEIGHTS)
    write_run_network(folder, base["architecture"], network.config, "round", (0.35, 3.0), 0.5)
    return folder


@pytest.mark.parametrize(
    ("base", "changes", "core"),
    [
        (TRANSFORM, {}, 1024),  # the most that are coded by context
        (TRANSFORM, {"hop": 1024, "n_bins": 1024}, 1022),  # of 2052 latents: 4 MiB
        (TRANSFORM, {"hop": 2048, "n_bins": 1000}, 512),
        (SPECTRAL, {"hop": 64, "short_hop": 32}, 8192),  # half of a window's usual samples
    ],
)
def test_a_core_is_as_long_as_a_segment_may_be(
    music: Path, tmp_path: Path, base: dict[str, Any], changes: dict[str, int], core: int
) -> None:
    run = run_of(tmp_path / "run", base, **changes)
    imported = import_model(run, [music], options(name="wide", config=None))
    assert imported.geometry["core"] == core
    archive = compress_file(music / "one.flac", tmp_path / "a.earz", CompressOptions("wide"))
    restore_file(archive.target, tmp_path / "a.wav")


def test_what_makes_no_model_is_refused_before_it_is_calibrated(
    music: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "run", kernel_size=9001)
    with monkeypatch.context() as patched:
        patched.setattr("earzip.models.install.encode_music", None)
        with pytest.raises(
            ModelDamagedError, match=r"run: cannot be made into a model: .* wider than the core"
        ):
            import_model(run, [music], options(name="deep", config=None))
    assert contents(folder) == []


def test_scales_too_far_apart_for_an_archive_calibrate_nothing(
    music: Path, tmp_path: Path, folder: Path
) -> None:
    run = run_of(tmp_path / "run", SPECTRAL)
    weights = load_file(run / RUN_WEIGHTS)
    weights["log_scale"][0] = 20 * np.log(2)  # 320 exponents above the others
    save_file(weights, run / RUN_WEIGHTS)
    with pytest.raises(
        SourceError, match=r"music: cannot be calibrated with: steps of \w+ have exp"
    ):
        import_model(run, [music], options(name="apart", config=None))
    assert contents(folder) == []


def test_weights_can_be_read_by_whoever_may_read_the_folder(run: Path, music: Path) -> None:
    imported = import_model(run, [music], options(name="ours", config=None))
    for path in (
        imported.weights_path,
        run / "weights.safetensors",
        run / "checkpoint.safetensors",
    ):
        assert path.stat().st_mode & 0o777 == imported.path.stat().st_mode & 0o777


def test_a_run_that_is_not_finished_is_refused(run: Path, music: Path) -> None:
    (run / "weights.json").unlink()
    with pytest.raises(UsageError, match=r"run: is not a finished training run"):
        import_model(run, [music], options(name="ours", config=None))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"architecture": "ear", "config": {}}',
        '{"architecture": "ear", "config": {}, "noise": "pink", "step_scales": [1, 2]}',
        '{"architecture": "ear", "config": {}, "noise": "round", "step_scales": [2, 1]}',
    ],
)
def test_a_run_that_describes_no_network_is_refused(run: Path, music: Path, text: str) -> None:
    (run / "weights.json").write_text(text)
    with pytest.raises(ModelDamagedError, match=r"weights.json: does not describe a network"):
        import_model(run, [music], options(name="ours", config=None))


def test_a_run_and_a_published_configuration_contradict_each_other(run: Path, music: Path) -> None:
    with pytest.raises(UsageError, match="has its own configuration"):
        import_model(run, [music], options(name="ours"))
