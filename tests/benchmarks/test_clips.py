from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.clips import Clip, join, lag, read_clips, sound_sha256
from benchmarks.data.pcm import SAMPLE_RATE


def noise(n_samples: int) -> np.ndarray:
    sound = np.random.default_rng(0).standard_normal((n_samples, 2)) / 10
    return sound.astype(np.float32)


class TestJoin:
    def test_long_clips_stay_alone(self) -> None:
        assert join([20.0, 20.0, 25.0]) == [[0], [1], [2]]

    def test_short_clips_are_joined_in_turn_until_they_are_long_enough(self) -> None:
        assert join([8.0, 7.0, 6.0, 20.0, 15.0, 5.0]) == [[0, 1, 2], [3], [4, 5]]

    def test_leftovers_go_to_the_last_joined_file(self) -> None:
        assert join([15.0, 6.0, 20.0, 7.0]) == [[0, 1, 3], [2]]

    def test_short_clips_alone_make_one_file(self) -> None:
        assert join([5.0, 6.0, 20.0]) == [[0, 1], [2]]

    def test_nothing_gives_nothing(self) -> None:
        assert join([]) == []

    @given(st.lists(st.floats(0.1, 30)))
    def test_every_clip_is_coded_once(self, durations_s: list[float]) -> None:
        groups = join(durations_s)
        assert sorted(index for group in groups for index in group) == list(range(len(durations_s)))
        short = [group for group in groups if sum(durations_s[i] for i in group) < 20]
        assert len(short) <= 1


class TestClips:
    def test_short_clips_of_a_tier_become_one_file_of_the_same_samples(
        self, tmp_path: Path
    ) -> None:
        folder = tmp_path / "tiers"
        (folder / "T2").mkdir(parents=True)
        listed = []
        for name, seconds, tier in (("a", 11, "T2"), ("b", 12, "T2"), ("c", 20, "T3")):
            file = f"T2/{name}.wav"
            soundfile.write(folder / file, noise(seconds * SAMPLE_RATE), SAMPLE_RATE, "PCM_16")
            listed.append({"tier": tier, "file": file, "name": name, "seconds": seconds})
        (folder / "tiers.json").write_text(json.dumps(listed), encoding="utf-8")

        joined, alone = read_clips(tmp_path, ["T2", "T3"])

        assert [file.name for file in joined.files] == ["a.wav", "b.wav"]
        assert (joined.tier, alone.tier) == ("T2", "T3")
        assert alone.wav(tmp_path) == alone.files[0]
        written, _ = soundfile.read(joined.wav(tmp_path), dtype="float32")
        assert len(written) == 23 * SAMPLE_RATE
        assert np.array_equal(written, joined.load())

    def test_the_hash_is_of_the_samples(self, tmp_path: Path) -> None:
        sound = np.round(noise(1000) * 2**15) / np.float32(2**15)
        for container, subtype in (("flac", "PCM_16"), ("wav", "PCM_24")):
            soundfile.write(tmp_path / f"x.{container}", sound, SAMPLE_RATE, subtype)
        files = [Clip("T1", "x", (tmp_path / name,)) for name in ("x.flac", "x.wav")]
        assert len({sound_sha256(clip.load()) for clip in files}) == 1
        assert sound_sha256(sound) != sound_sha256(-sound)


class TestLag:
    @pytest.mark.parametrize("late", [-312, -1, 0, 1, 5000])
    def test_a_shift_is_found_by_sign_and_sample(self, late: int) -> None:
        original = noise(60_000)
        decoded = np.roll(original, late, axis=0) * np.float32(0.5)
        assert lag(decoded, original, span=1 << 15) == late

    def test_a_clip_shorter_than_the_span_is_compared_whole(self) -> None:
        original = noise(3000)
        assert lag(np.roll(original, 7, axis=0), original) == 7
