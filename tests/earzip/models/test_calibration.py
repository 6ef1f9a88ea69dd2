"""Steps and rates of models, from the music they are calibrated with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file, save_file

from earzip.errors import ModelNotFoundError, SourceError, UsageError
from earzip.models.install import calibrate_model, import_model
from earzip.models.spec import ModelSpec
from earzip.models.store import find_model, load_codec
from earzip.network.ear import EarVae
from earzip.options import CompressOptions
from earzip.runtime import Runtime
from earzip.transcode.compress import compress_file
from earzip.transcode.inspect import read_info
from tests.conftest import tones
from tests.earzip.models.conftest import CHECKPOINT, options


def test_steps_are_the_mean_posterior_scales(spec: ModelSpec, music: Path) -> None:
    codec = load_codec(spec, Runtime("cpu", threads=1))
    audio = [soundfile.read(p, dtype="float32")[0].T for p in sorted(music.iterdir())]
    # −20 dBFS RMS, as every track is brought to before it is encoded.
    audio = [a * 10 ** (np.round(10 * (-20 - level_db(a))) / 200) for a in audio]
    scales = np.concatenate(
        [p[1] for a in audio for p in codec.encode_posterior([a.astype("f4")])], 1
    )
    wanted = np.log2(scales.mean(1)) * 16
    np.testing.assert_allclose(spec.step_exponents, wanted, atol=0.75)


def level_db(audio: np.ndarray) -> float:
    blocks = [audio[:, i : i + 17_640] for i in range(0, audio.shape[1] - 17_639, 17_640)]
    powers = np.array([np.mean(np.square(b)) for b in blocks])
    return float(10 * np.log10(powers[powers > powers.mean() / 10].mean()))


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
    wide = options(name="large", runtime=Runtime("cpu", "float16"))
    with pytest.raises(SourceError, match=r"one.flac: its latents overflow in float16"):
        import_model(tmp_path / "large.safetensors", [music], wide)
    with pytest.raises(ModelNotFoundError):
        find_model("large")


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
