from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from earzip.errors import DamagedArchiveError, ModelNotFoundError, SourceError, UsageError
from earzip.evaluate.files import evaluate_pair
from earzip.formats.geometry import n_samples_at
from earzip.metrics.loudness import LoudnessMeter
from earzip.metrics.measures import measure
from earzip.options import CompressOptions, Floor, RestoreOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file
from tests.conftest import tones
from tests.earzip.tiny_archives import damage_segment

pytest.importorskip("auraloss")
pytestmark = pytest.mark.usefixtures("tiny_model")


def write(path: Path, audio: np.ndarray, rate: int = 44_100) -> Path:
    soundfile.write(path, audio.T, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def test_files_are_measured_and_heard(tmp_path: Path) -> None:
    y = tones(150_000)
    x = 0.5 * y + 0.01 * tones(150_000, seed=1)
    found = evaluate_pair(write(tmp_path / "y.wav", y), write(tmp_path / "x.wav", x))
    assert found.measures == measure(torch.from_numpy(x), torch.from_numpy(y))
    assert found.n_samples == 150_000
    assert found.duration_s == 150_000 / 44_100
    assert found.lag is None
    meter = LoudnessMeter()
    meter.add(y)
    before, after = found.loudness_of_original, found.loudness_of_restored
    assert before == meter.loudness()
    assert before.lufs is not None
    assert after.lufs == pytest.approx(before.lufs - 6, abs=0.2)
    assert before.lra is not None
    assert found.warnings == ()


def test_an_archive_is_measured_as_what_is_restored_of_it(
    song: Path, archive: Path, tmp_path: Path
) -> None:
    restored = tmp_path / "restored.wav"
    restore_file(archive, restored, RestoreOptions(bits="float"))
    heard: list[float] = []
    decoded = evaluate_pair(song, archive, on_progress=heard.append)
    assert decoded == replace(evaluate_pair(song, restored), restored=archive)
    assert sum(heard) == pytest.approx(decoded.duration_s)
    assert evaluate_pair(archive, song).loudness_of_original == decoded.loudness_of_restored


def test_an_exact_copy_is_measured_where_there_is_one(song: Path, tmp_path: Path) -> None:
    options = CompressOptions(model="tiny", floor=Floor(min_si_sdr_db=100, below="lossless"))
    archive = compress_file(song, tmp_path / "exact.earz", options).target
    found = evaluate_pair(song, archive)
    assert found.measures is not None
    assert found.measures.si_sdr_db == 200


@pytest.mark.parametrize("rate", [22_050, 48_000, 96_000])
def test_sources_of_other_rates_and_channels_are_compared_as_44_1_khz_stereo(
    tmp_path: Path, rate: int
) -> None:
    source = write(tmp_path / "mono.wav", tones(70_001)[:1], rate)
    archive = compress_file(source, tmp_path / "a.earz", CompressOptions(model="tiny")).target
    found = evaluate_pair(source, archive)
    assert found.n_samples == n_samples_at(70_001, rate)
    assert found.measures is not None
    assert found.measures.icpc > 0.95
    as_source = tmp_path / "as_source.wav"
    restore_file(archive, as_source, RestoreOptions(as_source=True, bits="float"))
    assert evaluate_pair(source, as_source).n_samples == found.n_samples


def test_lengths_that_differ_are_told_with_what_helps(song: Path, tmp_path: Path) -> None:
    long = write(tmp_path / "long.wav", tones(300_000))
    with pytest.raises(SourceError) as caught:
        evaluate_pair(song, long)
    assert str(caught.value) == (
        f"{long}: has 300000 samples at 44.1 kHz, {song} has 70001; "
        "--align finds the lag and compares what they share"
    )
    with pytest.raises(SourceError, match=r"has 70001 samples at 44.1 kHz, .* has 300000; --align"):
        evaluate_pair(long, song)


def test_an_archive_of_another_length_may_be_of_another_file(archive: Path, tmp_path: Path) -> None:
    long = write(tmp_path / "long.wav", tones(300_000))
    for pair in ((long, archive), (archive, long)):
        with pytest.raises(SourceError, match=r"\(was the archive made of another file\?\)"):
            evaluate_pair(*pair)


@pytest.mark.parametrize("lag", [1105, -3001, 1])
def test_tracks_are_aligned_where_that_is_asked_for(tmp_path: Path, lag: int) -> None:
    whole = tones(150_000) + 0.01 * np.random.default_rng(0).standard_normal((2, 150_000))
    y = write(tmp_path / "y.wav", whole[:, max(0, lag) :])
    x = write(tmp_path / "x.wav", whole[:, max(0, -lag) :])
    found = evaluate_pair(y, x, align=True)
    assert found.lag == lag
    assert found.n_samples == 150_000 - abs(lag)
    assert found.measures is not None
    assert found.measures.si_sdr_db == 200
    seconds = f"{abs(lag) / 44_100:.3f} s ({abs(lag)} sample{'s' * (lag != 1)})"
    assert found.warnings == (f"{seconds} of {x if lag > 0 else y} are not compared",)
    with pytest.raises(SourceError):
        evaluate_pair(y, x)


def test_what_either_track_has_beyond_the_other_is_told(tmp_path: Path) -> None:
    whole = tones(150_000) + 0.01 * np.random.default_rng(0).standard_normal((2, 150_000))
    y = write(tmp_path / "y.wav", whole[:, 2000:])
    x = write(tmp_path / "x.wav", whole[:, :-44_100])
    assert evaluate_pair(y, x, align=True).warnings == (
        f"1.000 s (44100 samples) of {y} are not compared",
        f"0.045 s (2000 samples) of {x} are not compared",
    )


def test_a_lag_that_may_be_another_is_told(tmp_path: Path) -> None:
    loop = np.tile(np.random.default_rng(0).standard_normal((2, 44_100)) * 0.1, 4)
    y, x = (write(tmp_path / f"{name}.wav", loop) for name in "yx")
    found = evaluate_pair(y, x, align=True)
    assert found.lag == 0
    assert [w.partition(":")[0] for w in found.warnings] == ["the lag may differ"]


def test_a_short_track_may_begin_after_the_end_of_the_other(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).standard_normal((2, 4 * 44_100)) * 0.1
    y = write(tmp_path / "y.wav", sound)
    x = write(tmp_path / "x.wav", np.pad(sound, ((0, 0), (5 * 44_100, 0))))
    assert evaluate_pair(y, x, align=True).lag == 5 * 44_100
    assert evaluate_pair(x, y, align=True).lag == -5 * 44_100


@pytest.mark.parametrize("audio", [tones(0), tones(1), tones(2), np.zeros((2, 50_000))])
def test_a_track_of_no_sound_fits_itself(tmp_path: Path, audio: np.ndarray) -> None:
    path = write(tmp_path / "y.wav", audio)
    found = evaluate_pair(path, path, align=True)
    assert found == replace(evaluate_pair(path, path), lag=0)


def test_a_request_to_stop_is_heard_while_the_lag_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "y.wav", tones(150_000))
    heard: list[float] = []
    evaluate_pair(path, path, align=True, on_progress=heard.append)
    assert heard[0] == 0
    assert sum(heard) == pytest.approx(150_000 / 44_100)

    def stop(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("earzip.evaluate.files._Meters", None)  # nothing is measured before
    with pytest.raises(KeyboardInterrupt):
        evaluate_pair(path, path, align=True, on_progress=stop)


def test_archives_are_aligned_too(song: Path, archive: Path, tmp_path: Path) -> None:
    cut = write(tmp_path / "cut.wav", tones(70_001)[:, 5000:])
    found = evaluate_pair(cut, archive, align=True)
    assert (found.lag, found.n_samples) == (5000, 65_001)
    assert found.measures is not None
    assert found.measures.si_sdr_db > 15


def test_tracks_with_nothing_in_common_are_not_aligned(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [
        write(tmp_path / f"{i}.wav", rng.standard_normal((2, 100_000)) * 0.1) for i in range(2)
    ]
    with pytest.raises(SourceError, match=r"1.wav: has no sound in common with .*0.wav at any lag"):
        evaluate_pair(*paths, align=True)


@pytest.mark.parametrize(
    ("audio", "why"),
    [
        (np.zeros((2, 50_000)), "has no measures: the original is digital silence"),
        (tones(2048), "has no measures: it is shorter than 2049 samples"),
        (tones(0), "has no measures: it is shorter than 2049 samples"),
        (1e25 * tones(50_000), "has no measures: its samples or the original's are too large"),
    ],
    ids=["silence", "short", "empty", "huge"],
)
def test_what_has_no_measures_says_why_and_is_no_nan(
    tmp_path: Path, audio: np.ndarray, why: str
) -> None:
    path = write(tmp_path / "y.wav", audio)
    found = evaluate_pair(path, shutil.copy(path, tmp_path / "x.wav"))
    assert found.measures is None
    assert found.warnings == (why,)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["measures"] is None


def test_a_file_that_is_cut_short_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "y.wav", tones(50_000))
    path.write_bytes(path.read_bytes()[:200_000])
    found = evaluate_pair(path, shutil.copy(path, tmp_path / "x.wav"))
    assert [warning.partition(" is cut short: ")[0] for warning in found.warnings] == [
        str(path), str(tmp_path / "x.wav"),
    ]  # fmt: skip


def test_damage_and_absent_models_are_errors(
    song: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delenv("EARZIP_MODELS")
        with pytest.raises(ModelNotFoundError, match="tiny"):
            evaluate_pair(song, archive)
    damage_segment(archive, 1)
    with pytest.raises(DamagedArchiveError, match=r"0:00\.37–0:00\.74: bytes"):
        evaluate_pair(song, archive)


def test_the_packages_it_needs_are_named(song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earzip.metrics.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=r"pip install '\.\[eval\]'"):
        evaluate_pair(song, song)
