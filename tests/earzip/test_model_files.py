"""Models imported, calibrated and exported, with the published network at four base channels."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from earzip.checkpoints import find_model, load_codec, model_folders
from earzip.errors import (
    ModelDamagedError,
    ModelNotFoundError,
    SourceError,
    TargetError,
    UsageError,
)
from earzip.inspect import read_info
from earzip.model.ear import EarVae
from earzip.model.networks import build_network
from earzip.model_files import ImportOptions, calibrate_model, export_model, import_model
from earzip.model_spec import ModelSpec
from earzip.network_files import RUN_WEIGHTS, write_run_network
from earzip.options import CompressOptions
from earzip.training.trainer import Trainer
from earzip.transcode import compress_file, restore_file
from tests.conftest import tones
from tests.earzip.training.conftest import SPECTRAL, TRANSFORM, load, write_pool

PUBLISHED = Path(__file__).parents[1] / "data" / "published"
CHECKPOINT = PUBLISHED / "tiny_ear_vae.safetensors"
CONFIG = PUBLISHED / "tiny_ear_vae.config.json"


def options(**changes: object) -> ImportOptions:
    values = {"name": "tiny-ear", "licence": "Apache-2.0", "source": "random", "config": CONFIG}
    return ImportOptions(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    for name, seconds in (("one.flac", 2.0), ("two.wav", 0.5)):
        audio = tones(round(seconds * 44_100), seed=len(name))
        soundfile.write(folder / name, audio.T, 44_100)
    return folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that models are installed in, empty at first."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return model_folders()[-1]


@pytest.fixture
def spec(music: Path) -> ModelSpec:
    return import_model(CHECKPOINT, [music], options())


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_an_imported_model_is_found_by_its_name(spec: ModelSpec, folder: Path) -> None:
    assert find_model("tiny-ear") == spec
    assert contents(folder) == ["tiny-ear.json", "tiny-ear.safetensors"]
    assert (spec.licence, spec.source) == ("Apache-2.0", "random")


def test_steps_are_the_mean_posterior_scales(spec: ModelSpec, music: Path) -> None:
    codec = load_codec(spec, threads=1)
    audio = [soundfile.read(p, dtype="float32")[0].T for p in sorted(music.iterdir())]
    # −20 dBFS RMS, as every track is brought to before it is encoded.
    audio = [a * 10 ** (np.round(10 * (-20 - level_db(a))) / 200) for a in audio]
    scales = np.concatenate(
        [p[1] for a in audio for p in codec.encode_posterior([a.astype("f4")])], 1
    )
    wanted = np.log2(scales.mean(1)) * 16
    np.testing.assert_allclose(spec.step_exponents, wanted, atol=0.75)


def test_rates_of_the_presets_are_those_of_archives(
    spec: ModelSpec, music: Path, tmp_path: Path
) -> None:
    rates = {}
    # Finer steps, for at its own most of this network's integers are 0.
    finer = {name: replace(p, exponent=p.exponent - 64) for name, p in spec.presets.items()}
    calibrate_model(replace(spec, presets=finer), [music])
    for quality, preset in find_model("tiny-ear").presets.items():
        n_bytes, duration_s = 0, 0.0
        for song in music.iterdir():
            archive = tmp_path / f"{song.name}.{quality}.earz"
            compress_file(song, archive, CompressOptions("tiny-ear", quality))
            info = read_info(archive)
            n_bytes += info.sizes.sound
            duration_s += info.header.duration_s
        rates[quality] = 8 * n_bytes / duration_s / 1000
        assert preset.kbps == pytest.approx(rates[quality], abs=0.005)
    assert 0.5 < rates["low"] < rates["medium"] < rates["high"]


def test_rates_are_of_the_middle_of_a_track_and_are_measured_in_one_pass(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = np.zeros((2, 40 * 44_100), np.float32)
    audio[:, 5 * 44_100 : 35 * 44_100] = tones(30 * 44_100)
    soundfile.write(tmp_path / "long.wav", audio.T, 44_100)
    n_passes, encode = [], EarVae.encode
    monkeypatch.setattr(EarVae, "encode", lambda vae, x: n_passes.append(1) or encode(vae, x))
    first = calibrate_model(spec, [tmp_path / "long.wav"])
    assert len(n_passes) == load_codec(spec).geometry.n_segments(30 * 44_100)
    soundfile.write(tmp_path / "middle.wav", audio.T[5 * 44_100 : 35 * 44_100], 44_100)
    second = calibrate_model(spec, [tmp_path / "middle.wav"])
    for quality, preset in second.presets.items():
        assert preset.kbps == pytest.approx(first.presets[quality].kbps, rel=0.05)


def test_latents_that_overflow_calibrate_nothing(
    spec: ModelSpec, music: Path, tmp_path: Path
) -> None:
    weights = load_file(CHECKPOINT)
    weights["encoder.layers.0.weight_g"] *= 1e7
    save_file(weights, tmp_path / "large.safetensors")
    wide = options(name="large", precision="float16")
    with pytest.raises(SourceError, match=r"one.flac: its latents overflow in float16"):
        import_model(tmp_path / "large.safetensors", [music], wide)
    with pytest.raises(ModelNotFoundError):
        find_model("large")


def level_db(audio: np.ndarray) -> float:
    blocks = [audio[:, i : i + 17_640] for i in range(0, audio.shape[1] - 17_639, 17_640)]
    powers = np.array([np.mean(np.square(b)) for b in blocks])
    return float(10 * np.log10(powers[powers > powers.mean() / 10].mean()))


@pytest.mark.parametrize("n_samples", [0, 1, 1023, 1024, 256 * 1024 + 5])
def test_archives_of_an_imported_model_come_back(
    spec: ModelSpec, tmp_path: Path, n_samples: int
) -> None:
    song, archive, restored = (tmp_path / n for n in ("s.wav", "s.wav.earz", "r.wav"))
    soundfile.write(song, tones(n_samples).T, 44_100)
    compress_file(song, archive, CompressOptions(model="tiny-ear"))
    assert read_info(archive).header.model.sha256 == spec.sha256
    restore_file(archive, restored)
    assert soundfile.info(restored).frames == n_samples


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_archives_do_not_depend_on_threads(spec: ModelSpec, precision: str) -> None:
    audio = tones(600_000)
    one, two = (
        list(load_codec(spec, precision=precision, threads=threads).encode([audio]))
        for threads in (1, 2)
    )
    assert len(one) > 2
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_pickled_checkpoint_gives_the_same_model(
    spec: ModelSpec, music: Path, tmp_path: Path
) -> None:
    torch.save(load_file(CHECKPOINT), tmp_path / "tiny.pyt")
    again = import_model(tmp_path / "tiny.pyt", [music], options(), tmp_path / "models")
    assert again.sha256 == spec.sha256


def test_nothing_in_a_pickle_is_run(music: Path, tmp_path: Path, folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "owned",)  # type: ignore[return-value]

    (tmp_path / "evil.pyt").write_bytes(pickle.dumps({"weight": Evil()}, protocol=2))
    torch.save({"weight": Evil()}, tmp_path / "evil2.pyt")
    for name in ("evil.pyt", "evil2.pyt"):
        with pytest.raises(ModelDamagedError, match=f"{name}: cannot be read as a checkpoint"):
            import_model(tmp_path / name, [music], options())
    assert not (tmp_path / "owned").exists()
    assert contents(folder) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("decoder.layers.7.weight_g"), "decoder.layers.7.weight_g is missing"),
        (lambda w: w.update(extra=torch.ones(1)), "extra is not a part of the network"),
        (
            lambda w: w.update({"encoder.layers.0.bias": torch.ones(5)}),
            r"encoder.layers.0.bias has the shape \(5,\), expected \(4,\)",
        ),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(
    music: Path, tmp_path: Path, folder: Path, change, message: str
) -> None:
    weights = load_file(CHECKPOINT)
    change(weights)
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(ModelDamagedError, match=message):
        import_model(tmp_path / "other.safetensors", [music], options())
    assert contents(folder) == []


def test_the_configuration_of_the_full_size_is_the_default(music: Path) -> None:
    with pytest.raises(ModelDamagedError, match=r"expected \(128,"):
        import_model(CHECKPOINT, [music], options(config=None))


@pytest.mark.parametrize("text", ["{", "[]", '{"encoder": 3}'])
def test_a_bad_configuration_is_a_usage_error(music: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=r"config.json: not the configuration of an εar-VAE"):
        import_model(CHECKPOINT, [music], options(config=tmp_path / "config.json"))


def test_a_model_of_that_name_is_replaced_by_force_alone(spec: ModelSpec, music: Path) -> None:
    with pytest.raises(TargetError, match=r"tiny-ear.safetensors: exists already"):
        import_model(CHECKPOINT, [music], options())
    forced = import_model(CHECKPOINT, [music], options(force=True, licence="MIT"))
    assert find_model("tiny-ear") == forced
    assert forced.licence == "MIT"


def test_music_that_cannot_be_read_leaves_the_installed_model_alone(
    spec: ModelSpec, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "text.flac").write_text("no music")
    with pytest.raises(SourceError, match=r"text.flac"):
        import_model(CHECKPOINT, [tmp_path / "text.flac"], options(force=True))
    with pytest.raises(SourceError, match="no sound file to calibrate with"):
        import_model(CHECKPOINT, [folder], options(force=True))
    with pytest.raises(SourceError, match="there is no such file"):
        import_model(CHECKPOINT, [tmp_path / "nowhere"], options(force=True))
    assert find_model("tiny-ear") == spec
    assert contents(folder) == ["tiny-ear.json", "tiny-ear.safetensors"]


def test_calibration_anew_keeps_the_identity_and_changes_the_steps(
    spec: ModelSpec, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (44_100, 2))
    soundfile.write(tmp_path / "noise.wav", noise, 44_100)
    again = calibrate_model(spec, [tmp_path / "noise.wav"])
    assert again == find_model("tiny-ear")
    assert again.sha256 == spec.sha256
    assert again.step_exponents != spec.step_exponents


def test_the_embedded_model_is_not_calibrated(music: Path) -> None:
    with pytest.raises(UsageError, match="mini is embedded"):
        calibrate_model(find_model("mini"), [music])


def test_silence_calibrates_nothing_away(spec: ModelSpec, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), 44_100)
    with pytest.raises(SourceError, match="no sound to calibrate with"):
        calibrate_model(spec, [tmp_path / "empty.wav"])
    soundfile.write(tmp_path / "silence.wav", np.zeros((44_100, 2)), 44_100)
    assert len(calibrate_model(spec, [tmp_path / "silence.wav"]).step_exponents) == 64


def test_an_export_is_all_that_archives_need(
    spec: ModelSpec, tmp_path: Path, song: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "song.earz"
    compress_file(song, archive, CompressOptions(model="tiny-ear"))
    kept = tmp_path / "kept"
    exported = export_model(spec, kept)
    assert contents(kept) == ["SPEC.md", "tiny-ear.json", "tiny-ear.safetensors"]
    assert sorted(exported) == sorted(kept.iterdir())
    for path in folder.iterdir():
        path.unlink()
    monkeypatch.setenv("EARZIP_MODELS", str(kept))
    restore_file(archive, tmp_path / "restored.flac")
    with pytest.raises(TargetError, match="exists already"):
        export_model(find_model("tiny-ear"), kept)


def test_damaged_weights_are_not_exported(spec: ModelSpec, tmp_path: Path) -> None:
    data = bytearray(spec.weights_path.read_bytes())
    data[-1] ^= 1
    spec.weights_path.write_bytes(data)
    with pytest.raises(ModelDamagedError, match="weights have SHA-256"):
        export_model(spec, tmp_path / "kept")


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 65])
def test_names_that_models_cannot_have_are_usage_errors(music: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a model"):
        import_model(CHECKPOINT, [music], options(name=name))


# ---- runs of training


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
        patched.setattr("earzip.model_files.encode_music", None)
        with pytest.raises(ModelDamagedError, match=r"run: makes no model: .* wider than the core"):
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
    with pytest.raises(UsageError, match=r"run: is no finished run of training"):
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


def test_a_track_that_cannot_be_read_is_told_and_left_out(music: Path) -> None:
    (music / "text.flac").write_text("no music")
    told: list[SourceError] = []
    spec = import_model(CHECKPOINT, [music], options(on_unreadable=told.append))
    assert [Path(str(error.path)).name for error in told] == ["text.flac"]
    (music / "text.flac").unlink()
    again = import_model(CHECKPOINT, [music], options(force=True))
    assert again.step_exponents == spec.step_exponents


def test_the_name_of_an_embedded_model_is_refused(music: Path) -> None:
    with pytest.raises(UsageError, match="'mini' is the name of an embedded model"):
        import_model(CHECKPOINT, [music], options(name="mini"))
