"""A track gets the rate or the floor that is asked for, by the quality that gives it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earzip import read_info
from earzip.errors import UsageError
from earzip.formats.archive.verify import verify_structure
from earzip.models.store import find_model
from earzip.options import CompressOptions, Floor, quality_name
from earzip.transcode.compress import compress_file

RATE = 44_100
FLOOR = Floor(min_si_sdr_db=15, below="raise")


@pytest.fixture(scope="module")
def tune(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of plucked chords over soft noise: what makes archives of many rates."""
    rng = np.random.default_rng(3)
    t = np.arange(12 * RATE) / RATE
    audio = rng.normal(0, 0.003, (2, len(t)))
    for beat in range(24):
        pitch = 110 * 2 ** (rng.integers(0, 25) / 12)
        since = np.clip(t - beat / 2, 0, None)
        decay = np.exp(-4 * since) * (t >= beat / 2)
        for k in range(1, 13):
            wave = np.sin(2 * np.pi * k * pitch * since) * decay / k
            audio += 0.1 * rng.uniform(0.2, 1, (2, 1)) * wave
    path = tmp_path_factory.mktemp("tune") / "tune.flac"
    soundfile.write(path, audio.T, RATE)
    return path


@pytest.mark.parametrize(
    ("model", "kbps"), [("mini", 6.0), ("mini", 20.0), ("mini-2", 2.5), ("mini-2", 5.0)]
)
def test_a_track_gets_its_bitrate(tune: Path, tmp_path: Path, model: str, kbps: float) -> None:
    options = CompressOptions(model, bitrate_kbps=kbps)
    result = compress_file(tune, tmp_path / "a.earz", options)
    assert result.kbps == pytest.approx(kbps, rel=0.03)
    assert result.warnings == ()
    assert verify_structure(tmp_path / "a.earz") == []
    assert compress_file(tune, tmp_path / "a.earz", options).status == "up_to_date"
    other = compress_file(tune, tmp_path / "a.earz", replace(options, bitrate_kbps=2 * kbps))
    assert other.status == "written"
    (warning, *_) = other.warnings
    assert warning.endswith(f" → {2 * kbps:g} kbps")


def test_a_bitrate_is_that_of_all_but_the_pictures(tune: Path, tmp_path: Path) -> None:
    """The bytes are those of an archive at the quality that was found."""
    compress_file(tune, tmp_path / "a.earz", CompressOptions(bitrate_kbps=9))
    quality = read_info(tmp_path / "a.earz").header.quantizer.quality
    compress_file(tune, tmp_path / "b.earz", CompressOptions(quality=quality))
    a, b = (read_info(tmp_path / name) for name in ("a.earz", "b.earz"))
    assert a.sizes.sound == b.sizes.sound
    assert replace(a.header, settings=b.header.settings) == b.header


def test_a_bitrate_out_of_reach_gives_the_nearest_and_says_so(tune: Path, tmp_path: Path) -> None:
    result = compress_file(tune, tmp_path / "a.earz", CompressOptions(bitrate_kbps=1))
    (warning,) = result.warnings
    assert warning == f"{result.kbps:.3g} kbps at quality 0 is the nearest to 1 kbps"


@pytest.mark.parametrize("n_samples", [0, 1, 3_000])
def test_a_track_too_short_for_a_bitrate_is_archived(tmp_path: Path, n_samples: int) -> None:
    source = tmp_path / "a.wav"
    soundfile.write(source, np.full((n_samples, 2), 0.1), RATE)
    assert compress_file(source, tmp_path / "a.earz", CompressOptions(bitrate_kbps=8)).kbps >= 0


def test_rates_rise_with_the_quality(tune: Path, tmp_path: Path) -> None:
    rates = [
        compress_file(tune, tmp_path / f"{q}.earz", CompressOptions(quality=q)).kbps
        for q in ("0", "low", "3.5", "medium", "6.5", "high", "10")
    ]
    assert rates == sorted(rates)
    assert rates[-1] > 4 * rates[0]


def test_a_floor_raises_the_quality_until_it_is_met(tune: Path, tmp_path: Path) -> None:
    pytest.importorskip("auraloss")
    at_low = compress_file(tune, tmp_path / "a.earz", CompressOptions(quality="low", check=True))
    assert at_low.measures is not None
    si_sdr_db = at_low.measures["si_sdr_db"]
    raising = CompressOptions(quality="low", floor=replace(FLOOR, min_si_sdr_db=si_sdr_db + 3))
    result = compress_file(tune, tmp_path / "b.earz", raising)
    assert (result.below_floor, result.exact_bytes) == ((), 0)
    found = float(read_info(tmp_path / "b.earz").header.quantizer.quality)
    before = CompressOptions(quality=f"{found - 1:g}", check=True)
    below = compress_file(tune, tmp_path / "c.earz", before).measures
    assert below is not None
    assert below["si_sdr_db"] < si_sdr_db + 3
    assert compress_file(tune, tmp_path / "b.earz", raising).status == "up_to_date"


def test_a_floor_that_no_quality_meets_gets_an_exact_copy(tune: Path, tmp_path: Path) -> None:
    pytest.importorskip("auraloss")
    options = CompressOptions(floor=replace(FLOOR, min_si_sdr_db=90))
    result = compress_file(tune, tmp_path / "a.earz", options)
    assert result.exact_bytes
    assert read_info(tmp_path / "a.earz").header.quantizer.quality == "10"


@pytest.mark.parametrize(
    ("asked", "name"), [("2", "low"), ("5.0", "medium"), ("8", "high"), ("7.50", "7.5"), ("0", "0")]
)
def test_qualities_have_one_name(asked: str, name: str) -> None:
    assert quality_name(asked) == name
    assert CompressOptions(quality=asked).quality == name


@pytest.mark.parametrize("asked", ["11", "-1", "nan", "best", "", "10.01"])
def test_other_qualities_are_refused(asked: str) -> None:
    with pytest.raises(UsageError, match="expected low, medium, high or a number from 0 to 10"):
        CompressOptions(quality=asked)


@pytest.mark.parametrize("kbps", [0, -3, 501, float("nan")])
def test_other_bitrates_are_refused(kbps: float) -> None:
    with pytest.raises(UsageError, match="expected 1 to 500"):
        CompressOptions(bitrate_kbps=kbps)


def test_numbers_lie_between_the_named_qualities() -> None:
    spec = find_model("mini")
    low, medium, high = (spec.presets[name].exponent for name in ("low", "medium", "high"))
    assert spec.preset_at("3.5").exponent == round((low + medium) / 2)
    assert spec.preset_at("6.5").exponent == round((medium + high) / 2)
    assert spec.preset_at("0").exponent > low > medium > high > spec.preset_at("10").exponent
