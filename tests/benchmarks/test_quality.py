import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import quality, quality_report
from benchmarks.data.pcm import SAMPLE_RATE, Samples
from benchmarks.opus_share import Point, geometric_mean, opus_kbps, share_of_opus
from benchmarks.quality import complete, gather, hash_clips
from benchmarks.results import Key, Result, ResultCache
from earzip.metrics.measures import Measures
from tests.conftest import tones
from tests.formats.audio.audio_files import needs_ffmpeg, needs_opusenc

LADDER = [Point(10, 1.0), Point(20, 5.0), Point(40, 7.0)]
MEASURES = Measures(si_sdr_db=5.0, mel=0.5, stft=1.0, icpc=0.9, ccpc=0.9, dbtp=0.1)
RESULT = Result(n_bytes=50_000, n_samples=20 * SAMPLE_RATE, lag=0, measures=MEASURES)


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


def row(
    codec: str, setting: str, kbps: float, si_sdr_db: float, model: str | None = None
) -> quality_report.Row:
    """Two clips of 20 s, one of them 2 dB better."""
    n_bytes = round(kbps * 1000 / 8 * 20)
    results = [
        replace(
            RESULT, n_bytes=n_bytes, measures=replace(MEASURES, si_sdr_db=si_sdr_db + difference)
        )
        for difference in (0, 2)
    ]
    return quality_report.Row(codec, setting, f"{codec} 1", results, model)


class TestReport:
    TIER = quality_report.Tier(
        "T1",
        2,
        40.0,
        [
            row("opus", "12", 12, 3),
            row("opus", "20", 20, 6),
            row("mp3", "64", 64, 7),
            row("earzip", "medium", 10, 5, "mini"),
            row("earzip", "medium", 20, 5, "ear"),
        ],
    )

    def test_rate_is_pooled_over_the_clips(self) -> None:
        short = replace(RESULT, n_bytes=10_000, n_samples=10 * SAMPLE_RATE)
        pooled = quality_report.Row("opus", "20", "1", [RESULT, short])
        assert pooled.kbps == pytest.approx(60_000 * 8 / 30 / 1000)

    def test_a_shortfall_counts_clips_and_points_the_right_way(self) -> None:
        found = quality_report.shortfalls(self.TIER.rows[3], self.TIER.rows[1])
        assert found["si_sdr_db"].gain == pytest.approx(-1)
        assert found["si_sdr_db"].n_clips_short == 2
        assert found["mel"].gain == found["mel"].n_clips_short == 0

    def test_json_holds_rates_shares_and_shortfalls(self) -> None:
        found = json.loads(quality_report.to_json([self.TIER]))["T1"]
        settings = [(setting["codec"], setting["model"]) for setting in found["settings"]]
        assert settings[2:] == [("mp3", None), ("earzip", "mini"), ("earzip", "ear")]
        rates = [setting["kbps"] for setting in found["settings"]]
        assert rates == pytest.approx([12, 20, 64, 10, 20])
        for model, kbps in (("mini", 10), ("ear", 20)):
            share = found["share_of_opus"][model]["medium"]["si_sdr_db"]["share"]
            assert share == pytest.approx(kbps / (12 * (20 / 12) ** (2 / 3)))
            assert found["medium_beside_opus_20"][model]["si_sdr_db"]["n_clips_short"] == 2

    def test_markdown_has_every_codec_and_its_version(self) -> None:
        text = quality_report.to_markdown([self.TIER])
        for name, rate in (("opus 12", 12), ("mp3 64", 64), ("earzip ear medium", 20)):
            assert f"| {name} | {rate:.2f} |" in text
        versions = [line for line in text.splitlines() if line.startswith("- ")]
        assert versions == [
            "- opus: opus 1",
            "- mp3: mp3 1",
            "- earzip mini medium: earzip 1",
            "- earzip ear medium: earzip 1",
        ]

    def test_markdown_says_where_medium_falls_short(self) -> None:
        text = quality_report.to_markdown([self.TIER])
        for model, kbps in (("mini", 10), ("ear", 20)):
            assert f"| T1 (2) | {model} | {kbps:.2f} | 20.00 | **6.00 (−1.00; 2)** |" in text
        assert text.rstrip().endswith("| SI-SDR |")

    def test_the_treble_is_told_where_every_clip_has_it(self) -> None:
        with_treble = [replace(RESULT, treble_db=treble_db) for treble_db in (3.0, 4.0)]
        rows = [
            quality_report.Row("opus", "20", "1", with_treble),
            quality_report.Row("opus", "24", "1", [with_treble[0], RESULT]),
        ]
        tier = replace(self.TIER, rows=rows)
        lines = quality_report.to_markdown([tier]).splitlines()
        assert [line.split(" | ")[-1] for line in lines if line.startswith("| opus")] == [
            "3.50 |",
            "– |",
        ]
        found = json.loads(quality_report.to_json([tier]))["T1"]["settings"]
        assert [setting["treble_db"] for setting in found] == [3.5, None]

    def test_opus_alone_makes_a_report(self) -> None:
        text = quality_report.to_markdown([replace(self.TIER, rows=self.TIER.rows[:2])])
        assert "| opus 20 | 20.00 |" in text
        assert "Share" not in text

    def test_a_lag_is_told(self) -> None:
        late = replace(RESULT, lag=3)
        tier = replace(self.TIER, rows=[quality_report.Row("opus", "20", "1", [RESULT, late])])
        assert "0 samples, but for opus 20 in T1: 1 clips" in quality_report.to_markdown([tier])


class Halving:
    """A coder that halves every sample."""

    codec, model, setting, version = "halving", None, "1", "1"

    def __init__(self) -> None:
        self.n_coded = 0

    def code(self, wav: Path, folder: Path) -> tuple[int, Samples]:
        self.n_coded += 1
        sound: Samples = soundfile.read(wav, dtype="float32")[0]
        return 1000, sound / 2


class TestRun:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """A folder of a clip of 1.5 s in each of two tiers."""
        folder = tmp_path / "root" / "tiers"
        folder.mkdir(parents=True)
        listed = []
        for number, tier in enumerate(("T1", "T2")):
            name = f"{tier}.wav"
            sound = tones(66_150, number).T
            soundfile.write(folder / name, sound, SAMPLE_RATE, "PCM_24")
            listed.append({"tier": tier, "file": name, "name": name, "seconds": 1.5})
        (folder / "tiers.json").write_text(json.dumps(listed), encoding="utf-8")
        return tmp_path / "root"

    def test_only_what_is_complete_for_a_tier_is_gathered(self, root: Path) -> None:
        clips = hash_clips(root, ["T1", "T2"])
        cache = ResultCache(root / "cache.jsonl")
        coder = Halving()
        assert complete(coder, clips[:1], cache) == 1
        assert [(t.name, len(t.rows)) for t in gather([coder], clips, cache)] == [
            ("T1", 1),
            ("T2", 0),
            ("all", 0),
        ]

    def test_after_a_torn_cache_only_the_torn_clip_is_coded_again(self, root: Path) -> None:
        clips = hash_clips(root, ["T1", "T2"])
        path = root / "cache.jsonl"
        coder = Halving()
        assert complete(coder, clips, ResultCache(path)) == 2
        text = path.read_text(encoding="utf-8")
        path.write_text(text[:-40], encoding="utf-8")
        assert complete(coder, clips, ResultCache(path)) == 1
        assert complete(coder, clips, ResultCache(path)) == 0
        assert coder.n_coded == 3
        tiers = gather([coder], clips, ResultCache(path))
        assert [len(tier.rows) for tier in tiers] == [1, 1, 1]
        assert tiers[0].rows[0].treble_db is not None

    @needs_ffmpeg
    @needs_opusenc
    def test_one_command_writes_tables_figures_and_curves(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folders = [
            "--root",
            str(root),
            "--cache",
            str(root / "c.jsonl"),
            "--out",
            str(root / "out"),
        ]
        chosen = ["--codecs", "aac,mp3,opus", "--bitrates", "96,64", "--tiers", "T1"]
        monkeypatch.setattr(sys, "argv", ["quality", *folders, *chosen])
        quality.main()
        ran = re.findall(r"^(\w+ \d+) 1/1 T1.wav$", capsys.readouterr().err, re.MULTILINE)
        assert ran == ["aac 96", "aac 64", "mp3 96", "mp3 64", "opus 96", "opus 64"]
        out = root / "out"
        assert sorted(path.name for path in out.iterdir()) == [
            "quality-tiers.png",
            "quality.json",
            "quality.md",
            "quality.png",
        ]
        found = json.loads((out / "quality.json").read_text(encoding="utf-8"))["T1"]["settings"]
        assert sorted((one["codec"], one["setting"]) for one in found) == sorted(
            tuple(one.split()) for one in ran
        )
        assert all(one["n_clips_with_lag"] == 0 for one in found)
        assert all(one["si_sdr_db"] > 5 for one in found)
        quality.main()
        assert capsys.readouterr().err == ""
