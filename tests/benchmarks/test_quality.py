import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import quality_report
from benchmarks.clips import Clip, join, lag, read_clips, sound_sha256
from benchmarks.coders import OpusCoder
from benchmarks.data.pcm import SAMPLE_RATE
from benchmarks.opus_share import Point, geometric_mean, opus_kbps, share_of_opus
from benchmarks.results import Key, Result, ResultCache
from earzip.metrics.measures import Measures

LADDER = [Point(10, 1.0), Point(20, 5.0), Point(40, 7.0)]
MEASURES = Measures(si_sdr_db=5.0, mel=0.5, stft=1.0, icpc=0.9, ccpc=0.9, dbtp=0.1)
RESULT = Result(n_bytes=50_000, n_samples=20 * SAMPLE_RATE, lag=0, measures=MEASURES)


def noise(n_samples: int) -> np.ndarray:
    sound = np.random.default_rng(0).standard_normal((n_samples, 2)) / 10
    return sound.astype(np.float32)


class TestOpusRate:
    @pytest.mark.parametrize(("score", "kbps"), [(1.0, 10), (5.0, 20), (7.0, 40)])
    def test_opus_s_own_scores_give_its_own_rates(self, score: float, kbps: float) -> None:
        assert opus_kbps(score, LADDER, "si_sdr_db") == (pytest.approx(kbps), None)

    def test_between_two_rates_the_logarithm_is_interpolated(self) -> None:
        assert opus_kbps(6.0, LADDER, "si_sdr_db") == (pytest.approx(math.sqrt(20 * 40)), None)

    def test_a_lower_distance_needs_more_bits(self) -> None:
        ladder = [Point(10, 0.9), Point(20, 0.5), Point(40, 0.3)]
        assert opus_kbps(0.4, ladder, "mel") == (pytest.approx(math.sqrt(20 * 40)), None)
        assert opus_kbps(1.0, ladder, "mel") == (10, "below")
        assert opus_kbps(0.2, ladder, "mel") == (40, "above")

    def test_scores_beyond_the_ladder_are_clamped(self) -> None:
        assert opus_kbps(0.9, LADDER, "si_sdr_db") == (10, "below")
        assert opus_kbps(7.1, LADDER, "si_sdr_db") == (40, "above")

    def test_the_order_of_the_ladder_does_not_matter(self) -> None:
        assert opus_kbps(6.0, LADDER[::-1], "icpc") == opus_kbps(6.0, LADDER, "icpc")

    def test_where_more_bits_are_worse_the_fewer_count(self) -> None:
        ladder = [Point(10, 1.0), Point(20, 5.0), Point(30, 4.0), Point(40, 7.0)]
        kbps, _ = opus_kbps(4.5, ladder, "si_sdr_db")
        assert 10 < kbps < 20
        assert opus_kbps(6.0, ladder, "si_sdr_db")[0] == pytest.approx(30 * (40 / 30) ** (2 / 3))

    @given(
        scores=st.lists(st.floats(-20, 40), min_size=1, max_size=9),
        ours=st.floats(-30, 50),
        better=st.floats(0, 10),
    )
    def test_a_better_score_never_needs_fewer_bits(
        self, scores: list[float], ours: float, better: float
    ) -> None:
        ladder = [Point(10 * 1.5**i, score) for i, score in enumerate(scores)]
        low, high = (opus_kbps(score, ladder, "si_sdr_db")[0] for score in (ours, ours + better))
        assert ladder[0].kbps <= low <= high * (1 + 1e-12)
        assert high <= ladder[-1].kbps * (1 + 1e-12)


class TestShare:
    def test_half_the_bits_for_the_same_scores_is_a_share_of_a_half(self) -> None:
        ours = [Point(point.kbps / 2, point.score) for point in LADDER]
        share = share_of_opus(ours, [LADDER] * 3, "ccpc")
        assert share.share == pytest.approx(0.5)
        assert share.n_below == share.n_above == 0

    def test_clips_count_geometrically_and_clamped_ones_are_counted(self) -> None:
        ours = [Point(5, 5.0), Point(20, 0.0), Point(40, 9.0)]
        share = share_of_opus(ours, [LADDER] * 3, "si_sdr_db")
        assert share.share == pytest.approx(geometric_mean([5 / 20, 20 / 10, 40 / 40]))
        assert (share.n_clips, share.n_below, share.n_above) == (3, 1, 1)

    def test_every_clip_needs_a_ladder(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            share_of_opus([Point(10, 1.0)] * 2, [LADDER], "mel")


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


class TestOpus:
    @pytest.mark.parametrize("n_samples", [44_100, 50_001, 99_991])
    def test_decoded_sound_is_aligned_and_of_the_same_length(
        self, n_samples: int, tmp_path: Path
    ) -> None:
        original = noise(n_samples)
        wav = tmp_path / "original.wav"
        soundfile.write(wav, original, SAMPLE_RATE, "PCM_24")
        n_bytes, decoded = OpusCoder(96).code(wav, tmp_path)
        assert decoded.shape == original.shape
        assert lag(decoded, original) == 0
        assert 1000 < n_bytes < n_samples

    def test_a_file_that_opusenc_refuses_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "text.wav").write_text("not sound", encoding="utf-8")
        with pytest.raises(RuntimeError, match=r"opusenc .*text\.wav"):
            OpusCoder(20).code(tmp_path / "text.wav", tmp_path)


class TestCache:
    KEY = Key("opus", "20", "opusenc 1", "00")

    def test_what_was_added_is_there_in_the_next_run(self, tmp_path: Path) -> None:
        ResultCache(tmp_path / "sub" / "cache.jsonl").add(self.KEY, RESULT, "a clip")
        assert ResultCache(tmp_path / "sub" / "cache.jsonl").results == {self.KEY: RESULT}

    def test_a_torn_line_costs_only_itself(self, tmp_path: Path) -> None:
        path = tmp_path / "cache.jsonl"
        ResultCache(path).add(self.KEY, RESULT, "a clip")
        text = path.read_text(encoding="utf-8")
        path.write_text(text + text[: len(text) // 2], encoding="utf-8")
        other = replace(self.KEY, setting="24")
        ResultCache(path).add(other, RESULT, "a clip")
        assert set(ResultCache(path).results) == {self.KEY, other}


def row(codec: str, setting: str, kbps: float, si_sdr_db: float) -> quality_report.Row:
    """Two clips of 20 s, one of them 2 dB better."""
    n_bytes = round(kbps * 1000 / 8 * 20)
    results = [
        replace(
            RESULT, n_bytes=n_bytes, measures=replace(MEASURES, si_sdr_db=si_sdr_db + difference)
        )
        for difference in (0, 2)
    ]
    return quality_report.Row(codec, setting, "1", results)


class TestReport:
    TIER = quality_report.Tier(
        "T1",
        2,
        40.0,
        [row("opus", "12", 12, 3), row("opus", "20", 20, 6), row("earzip", "medium", 10, 5)],
    )

    def test_rate_is_pooled_over_the_clips(self) -> None:
        short = replace(RESULT, n_bytes=10_000, n_samples=10 * SAMPLE_RATE)
        pooled = quality_report.Row("opus", "20", "1", [RESULT, short])
        assert pooled.kbps == pytest.approx(60_000 * 8 / 30 / 1000)

    def test_a_shortfall_counts_clips_and_points_the_right_way(self) -> None:
        found = quality_report.shortfalls(self.TIER.rows[2], self.TIER.rows[1])
        assert found["si_sdr_db"].gain == pytest.approx(-1)
        assert found["si_sdr_db"].n_clips_short == 2
        assert found["mel"].gain == found["mel"].n_clips_short == 0

    def test_json_holds_rates_shares_and_shortfalls(self) -> None:
        found = json.loads(quality_report.to_json([self.TIER]))["T1"]
        assert [setting["kbps"] for setting in found["settings"]] == pytest.approx([12, 20, 10])
        share = found["share_of_opus"]["medium"]["si_sdr_db"]["share"]
        assert share == pytest.approx(10 / (12 * (20 / 12) ** (2 / 3)))
        assert found["medium_beside_opus_20"]["si_sdr_db"]["n_clips_short"] == 2

    def test_markdown_says_where_medium_falls_short(self) -> None:
        text = quality_report.to_markdown([self.TIER])
        assert "| T1 (2) | 10.00 | 20.00 | **6.00 (−1.00; 2)** |" in text
        assert text.rstrip().endswith("| SI-SDR |")

    def test_opus_alone_makes_a_report(self) -> None:
        text = quality_report.to_markdown([replace(self.TIER, rows=self.TIER.rows[:2])])
        assert "| opus 20 | 20.00 |" in text
        assert "Share" not in text

    def test_a_lag_is_told(self) -> None:
        late = replace(RESULT, lag=3)
        tier = replace(self.TIER, rows=[quality_report.Row("opus", "20", "1", [RESULT, late])])
        assert "0 samples, but for opus 20 in T1: 1 clips" in quality_report.to_markdown([tier])
