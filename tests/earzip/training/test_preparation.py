from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earzip.batch.signals import StopRequested
from earzip.coding.level import LevelMeter
from earzip.errors import LockedError, TargetError
from earzip.training.data import MusicPool
from earzip.training.filtering import Limits
from earzip.training.preparation import (
    Preparation,
    PreparationOptions,
    TrackReport,
    find_tracks,
    prepare,
)

RATE = 44_100
SHORT = Limits(min_duration_s=2)


def music(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Bursts of noise in true stereo, ``[T, 2]``, within ±0.5."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    bursts = 0.02 + (np.arange(n) // (rate // 4) % 3 == 0)
    return 0.1 * np.clip(rng.normal(0, 1, (n, 2)) * bursts[:, None], -5, 5)


def low_passed(audio: np.ndarray, edge_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(audio, axis=0)
    spectrum[np.fft.rfftfreq(len(audio), 1 / RATE) > edge_hz] = 0
    return np.fft.irfft(spectrum, len(audio), axis=0)


@pytest.fixture
def music_folder(tmp_path: Path) -> Path:
    """Return a folder of good and bad tracks in several formats."""
    root = tmp_path / "music"
    (root / "album").mkdir(parents=True)
    good = music(3)
    soundfile.write(root / "a good.flac", good, RATE, subtype="PCM_24")
    soundfile.write(root / "album" / "b 48k.wav", music(3, 48_000, 1), 48_000, subtype="FLOAT")
    soundfile.write(root / "album" / "c.ogg", music(3, seed=2), RATE)
    soundfile.write(root / "album" / "d too high.wav", music(3, seed=3) * 4, RATE, subtype="FLOAT")
    soundfile.write(root / "e dull.flac", low_passed(good, 11_000), RATE)
    soundfile.write(root / "f mono.aiff", good[:, :1], RATE)
    soundfile.write(root / "g clipped.wav", np.clip(good * 8, -0.5, 0.5), RATE)
    soundfile.write(root / "h short.wav", good[:RATE], RATE)
    soundfile.write(root / "i silent.wav", np.zeros((3 * RATE, 2)), RATE)
    soundfile.write(root / "j dead channel.wav", good * [1, 0], RATE)
    (root / "k broken.flac").write_bytes((root / "a good.flac").read_bytes()[:200_000])
    soundfile.write(root / "l empty.wav", np.zeros((0, 2)), RATE)
    (root / "cover.jpg").write_bytes(b"\xff\xd8")
    (root / ".hidden.wav").write_bytes(b"")
    return root


def run(
    folder: Path, target: Path, options: PreparationOptions | None = None
) -> tuple[Preparation, dict[str, TrackReport]]:
    tracks: dict[str, TrackReport] = {}
    done = prepare(
        find_tracks([folder]),
        target,
        options or PreparationOptions(limits=SHORT),
        lambda track, _job: tracks.update({track.path.name: track}),
        lambda _seconds: None,
    )
    return done, tracks


def report_of(target: Path) -> list[dict[str, Any]]:
    text = target.with_name(f"{target.name}.report.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_each_track_is_kept_or_rejected_with_its_reasons(music_folder, tmp_path):
    done, _ = run(music_folder, tmp_path / "pool" / "stage")
    report = {Path(line["path"]).name: line for line in report_of(tmp_path / "pool" / "stage")}
    assert list(report) == [
        "a good.flac", "e dull.flac", "f mono.aiff", "g clipped.wav", "h short.wav",
        "i silent.wav", "j dead channel.wav", "k broken.flac", "l empty.wav",
        "b 48k.wav", "c.ogg", "d too high.wav",
    ]  # fmt: skip
    kept = {name for name, line in report.items() if line["kept"]}
    assert kept == {"a good.flac", "b 48k.wav", "c.ogg", "d too high.wav"}
    reasons = {name: line["reasons"] for name, line in report.items() if not line["kept"]}
    assert reasons.pop("k broken.flac")[0].startswith("cannot be decoded: it is ")
    clipped = report["g clipped.wav"]["clipping"] * 100
    assert 1 < clipped < 60
    bandwidth = report["e dull.flac"]["bandwidth_hz"] / 1000
    assert bandwidth == pytest.approx(11, abs=0.3)
    assert reasons == {
        "e dull.flac": [f"nothing above {bandwidth:.1f} kHz; the minimum is 18 kHz"],
        "f mono.aiff": ["mono: side over mid is -120.0 dB; the minimum is -40 dB"],
        "g clipped.wav": [
            f"{clipped:.3g} % of the samples are clipped; the maximum is 0.02 %",
        ],
        "h short.wav": ["1.0 s long; the minimum is 2 s"],
        "i silent.wav": [
            "nothing above 0.0 kHz; the minimum is 18 kHz",
            "100 % of it is silence; the maximum is 20 %",
            "mono: side over mid is -120.0 dB; the minimum is -40 dB",
            "its level is -120.0 dBFS; the minimum is -50 dBFS",
        ],
        "j dead channel.wav": [
            "the right channel is 120.0 dB below the other; the maximum is 20 dB"
        ],
        "l empty.wav": ["cannot be decoded: it has no sound"],
    }
    assert report["b 48k.wav"]["duration_s"] == 3
    assert "duration_s" not in report["k broken.flac"]
    assert (done.n_kept, done.n_rejected, done.n_failed) == (4, 8, 2)
    assert done.kept_s == pytest.approx(12)
    assert done.reasons == {
        "bandwidth": 2, "stereo": 3, "clipping": 1, "length": 1, "silence": 1, "level": 1,
        "unreadable": 2,
    }  # fmt: skip


def test_a_music_pool_reads_what_was_kept(music_folder, tmp_path):
    run(music_folder, tmp_path / "stage")
    pool = MusicPool(tmp_path / "stage.s16", RATE)
    assert pool.hours == pytest.approx(12 / 3600)
    entries = json.loads((tmp_path / "stage.json").read_text())
    samples = np.fromfile(tmp_path / "stage.s16", "<i2").reshape(-1, 2)
    assert [Path(entry["name"]).name[0] for entry in entries] == list("abcd")
    assert [entry["start"] for entry in entries] == [0, 132_300, 264_600, 396_900]
    assert {entry["frames"] for entry in entries} == {132_300}
    assert len(samples) == 529_200
    original, _ = soundfile.read(music_folder / "a good.flac")
    assert np.abs(samples[:132_300] - original * 32_768).max() <= 0.5
    for entry in entries:
        track = samples[entry["start"] : entry["start"] + entry["frames"]]
        meter = LevelMeter()
        meter.add(track.T.astype(np.float32) / 32_768)
        assert entry["rms_db"] == pytest.approx(meter.level_db(), abs=0.01)


def test_a_track_above_full_scale_is_turned_down(music_folder, tmp_path):
    run(music_folder, tmp_path / "stage")
    samples = np.fromfile(tmp_path / "stage.s16", "<i2").reshape(-1, 2)[396_900:]
    original, _ = soundfile.read(music_folder / "album" / "d too high.wav")
    scaled = original / np.abs(original).max() * 32_768
    assert np.abs(samples - np.clip(scaled, -32_768, 32_767)).max() <= 0.51


def test_clipping_at_another_rate_is_seen_before_resampling(tmp_path):
    t = np.arange(3 * 96_000) / 96_000
    clipped = np.clip(np.sin(2 * np.pi * np.outer(t, [100, 150])), -0.5, 0.5)
    soundfile.write(tmp_path / "clipped.wav", clipped, 96_000)
    _, tracks = run(tmp_path / "clipped.wav", tmp_path / "stage")
    measures = tracks["clipped.wav"].measures
    assert measures is not None
    assert measures.clipping == pytest.approx(2 / 3, abs=0.01)


def test_keep_all_only_converts_and_still_reports(music_folder, tmp_path):
    options = PreparationOptions(limits=SHORT, keep_all=True)
    done, tracks = run(music_folder, tmp_path / "stage", options)
    assert (done.n_kept, done.n_rejected, done.n_failed) == (10, 2, 2)
    assert tracks["h short.wav"].kept
    assert tracks["h short.wav"].reasons == (("length", "1.0 s long; the minimum is 2 s"),)
    assert len(json.loads((tmp_path / "stage.json").read_text())) == 10


def test_the_files_are_the_same_for_any_number_of_jobs(music_folder, tmp_path):
    for jobs in (1, 2, 5):
        run(music_folder, tmp_path / str(jobs) / "s", PreparationOptions(limits=SHORT, jobs=jobs))
    for name in ("s.s16", "s.json", "s.report.jsonl"):
        assert len({(tmp_path / str(jobs) / name).read_bytes() for jobs in (1, 2, 5)}) == 1
    assert sorted(p.name for p in (tmp_path / "1").iterdir()) == [
        "s.json",
        "s.report.jsonl",
        "s.s16",
    ]


def test_a_long_track_goes_through_the_disk(music_folder, tmp_path, monkeypatch):
    run(music_folder, tmp_path / "memory")
    monkeypatch.setattr("earzip.training.preparation._HELD_BYTES", 10_000)
    run(music_folder, tmp_path / "disk")
    assert (tmp_path / "memory.s16").read_bytes() == (tmp_path / "disk.s16").read_bytes()


def test_sound_that_is_missing_is_a_reason(tmp_path):
    soundfile.write(tmp_path / "cut.ogg", music(10), RATE)
    data = (tmp_path / "cut.ogg").read_bytes()
    (tmp_path / "cut.ogg").write_bytes(data[: len(data) // 2])
    done, tracks = run(tmp_path / "cut.ogg", tmp_path / "stage")
    assert tracks["cut.ogg"].reasons[0].kind == "damage"
    assert tracks["cut.ogg"].reasons[0].sentence.startswith("sound is missing: ")
    assert (done.n_kept, done.n_failed) == (0, 0)


def test_a_path_that_is_not_there_is_reported_and_one_given_twice_is_taken_once(
    music_folder, tmp_path
):
    twice = [music_folder / "a good.flac", music_folder, tmp_path / "nowhere.flac"]
    plan = find_tracks(twice)
    assert [job.source.name for job in plan.jobs].count("a good.flac") == 1
    assert plan.jobs[0].source.name == "a good.flac"
    done = prepare(
        plan, tmp_path / "s", PreparationOptions(), lambda *_: None, lambda _seconds: None
    )
    assert done.n_failed == 3
    first = report_of(tmp_path / "s")[0]
    assert first["reasons"] == ["cannot be decoded: No such file or directory"]


@pytest.mark.parametrize("name", ["stage.s16", "stage.json"])
def test_a_pool_that_is_there_is_refused_before_any_work(music_folder, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(TargetError, match="already exists; add --force to replace it"):
        run(music_folder, tmp_path / "stage")
    assert (tmp_path / name).read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["music", name])


def test_the_report_of_an_attempt_that_kept_nothing_is_in_nobodys_way(music_folder, tmp_path):
    run(music_folder / "f mono.aiff", tmp_path / "stage")
    run(music_folder / "album", tmp_path / "stage")
    assert len(report_of(tmp_path / "stage")) > 1


def test_force_replaces_a_pool(music_folder, tmp_path):
    run(music_folder / "album", tmp_path / "stage")
    run(music_folder, tmp_path / "stage.s16", PreparationOptions(limits=SHORT, force=True))
    assert len(json.loads((tmp_path / "stage.json").read_text())) == 4
    assert len(report_of(tmp_path / "stage")) == 12


def test_without_a_track_only_the_report_is_written(music_folder, tmp_path):
    done, _ = run(music_folder / "f mono.aiff", tmp_path / "stage")
    assert (done.n_kept, done.n_rejected) == (0, 1)
    assert {p.name for p in tmp_path.glob("*stage*")} == {"stage.report.jsonl"}


def test_a_pool_that_another_run_writes_is_left_to_it(music_folder, tmp_path):
    def prepare_it_again(_seconds: float) -> None:
        run(music_folder, tmp_path / "stage")

    with pytest.raises(LockedError, match="another run is writing it"):
        prepare(
            find_tracks([music_folder]),
            tmp_path / "stage",
            PreparationOptions(),
            lambda *_: None,
            prepare_it_again,
        )


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_request_to_stop_leaves_nothing(music_folder, tmp_path, jobs):
    seconds = 0.0

    def stop_late(more: float) -> None:
        nonlocal seconds
        seconds += more
        if seconds > 10:
            raise StopRequested

    with pytest.raises(StopRequested):
        prepare(
            find_tracks([music_folder]),
            tmp_path / "stage",
            PreparationOptions(jobs=jobs),
            lambda *_: None,
            stop_late,
        )
    assert [p.name for p in tmp_path.iterdir()] == ["music"]


def test_a_killed_run_leaves_no_name_and_the_next_one_clears_up(music_folder, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for i in range(60):
        os.link(music_folder / "a good.flac", many / f"{i:02}.flac")
    out = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from earzip.training.preparation import *\n"
        "prepare(find_tracks([Path(sys.argv[1])]), Path(sys.argv[2]),"
        " PreparationOptions(keep_all=True), lambda track, job: print(1, flush=True), lambda s: None)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, many, out / "stage"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(5):
        assert process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    left = [p.name for p in out.iterdir()]
    assert left
    assert all(name.startswith(".") for name in left)
    run(music_folder, out / "stage")
    assert sorted(p.name for p in out.iterdir()) == [
        "stage.json",
        "stage.report.jsonl",
        "stage.s16",
    ]


def test_an_index_never_stands_beside_samples_that_are_not_its_own(
    music_folder, tmp_path, monkeypatch
):
    run(music_folder / "album", tmp_path / "stage")
    old = (tmp_path / "stage.s16").read_bytes()
    replace = Path.replace

    def fail_at_index(self: Path, target: Path) -> Path:
        if Path(target).name == "stage.json":
            raise OSError(28, os.strerror(28))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_at_index)
    with pytest.raises(TargetError, match="No space left"):
        run(music_folder, tmp_path / "stage", PreparationOptions(limits=SHORT, force=True))
    assert (tmp_path / "stage.s16").read_bytes() != old
    assert not (tmp_path / "stage.json").exists()


def test_memory_does_not_grow_with_the_number_of_tracks(music_folder, tmp_path):
    """At most as many tracks as jobs, and one more, are decoded before the first is taken."""
    done_s = 0.0
    ahead: list[float] = []

    def on_progress(seconds: float) -> None:
        nonlocal done_s
        done_s += seconds

    def on_track(track: TrackReport, _job: object) -> None:
        time.sleep(0.1)  # the threads may run as far ahead as they are let
        taken = sum(ahead) + (track.measures.duration_s if track.measures else 0)
        ahead.append(track.measures.duration_s if track.measures else 0)
        assert done_s - taken <= 2 * 3 + 3 + 0.01

    prepare(
        find_tracks([music_folder]),
        tmp_path / "s",
        PreparationOptions(jobs=2, keep_all=True),
        on_track,
        on_progress,
    )
    assert len(ahead) == 12
