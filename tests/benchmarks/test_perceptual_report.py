from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import perceptual_report, quality
from benchmarks.data.pcm import SAMPLE_RATE, Samples
from benchmarks.quality import complete, gather, hash_clips
from benchmarks.quality_report import Row, Tier
from benchmarks.results import Key, Result, ResultCache
from earzip.metrics.measures import Measures
from earzip.metrics.perceptual import PerceptualMeasures
from tests.conftest import tones
from tests.formats.audio.audio_files import needs_opusenc

MEASURES = Measures(si_sdr_db=5.0, mel=0.5, stft=1.0, icpc=0.9, ccpc=0.9, dbtp=0.1)
HEARD = PerceptualMeasures(0.01, 40.0, -2.0, -3.0, 6.0, 2.0, -25.0, 9)
CLIPS = ("castanets", "organ")


def row(codec: str, setting: str, kbps: float, *heard: PerceptualMeasures | None) -> Row:
    n_bytes = round(kbps * 1000 / 8 * 20)
    results = [Result(n_bytes, 20 * SAMPLE_RATE, 0, MEASURES, each) for each in heard]
    return Row(codec, setting, f"{codec} 1", results, "mini" if codec == "earzip" else None)


def by_distance(*distances: float) -> list[PerceptualMeasures]:
    return [replace(HEARD, zimtohrli=each) for each in distances]


TIER = Tier(
    "T1",
    2,
    40.0,
    [
        row("opus", "12", 12, *by_distance(0.010, 0.008)),
        row("opus", "48", 48, *by_distance(0.002, 0.004)),
        row("mp3", "64", 64, None, None),
        row("earzip", "medium", 12, *by_distance(0.002, 0.012)),
    ],
    CLIPS,
)


def test_a_share_is_the_rate_over_opuss_at_the_same_score() -> None:
    found = perceptual_report.share_spread(TIER.rows[3], TIER.rows[:2], CLIPS, "zimtohrli")
    # A quarter on the castanets; on the organ, worse than Opus's lowest rate, as much as that.
    assert found is not None
    assert found.geometric_mean == pytest.approx(math.sqrt(0.25 * 1))
    assert (found.worst, found.worst_clip) == (1, "organ")
    assert (found.n_clips, found.n_below, found.n_above) == (2, 1, 0)


def test_more_of_the_2f_model_is_better() -> None:
    scored = [replace(HEARD, two_f=each) for each in (30.0, 60.0)]
    opus = [
        row("opus", str(kbps), kbps, heard) for kbps, heard in zip((12, 48), scored, strict=True)
    ]
    ours = row("earzip", "medium", 12, replace(HEARD, two_f=45.0))
    found = perceptual_report.share_spread(ours, opus, CLIPS[:1], "two_f")
    assert found is not None
    assert found.geometric_mean == pytest.approx(0.5)
    worst = perceptual_report.spread(row("opus", "1", 1, *scored), CLIPS, "two_f")
    assert worst is not None
    assert (worst.worst, worst.worst_clip) == (30, "castanets")


def test_the_worst_tenth_and_the_worst_clip_are_told() -> None:
    distances = by_distance(*(0.001 * number for number in range(11)))
    names = [f"clip {number}" for number in range(11)]
    found = perceptual_report.spread(row("opus", "12", 12, *distances), names, "zimtohrli")
    assert found is not None
    assert found.mean == pytest.approx(0.005)
    assert found.worst_tenth == pytest.approx(0.009)
    assert (found.worst, found.worst_clip, found.n_clips) == (0.01, "clip 10", 11)


def test_clips_without_a_figure_are_left_out() -> None:
    heard = [replace(HEARD, pre_echo_db=None), HEARD]
    found = perceptual_report.spread(row("opus", "12", 12, *heard), CLIPS, "pre_echo_db")
    assert found is not None
    assert (found.n_clips, found.worst_clip) == (1, "organ")
    none = row("opus", "12", 12, replace(HEARD, two_f=None))
    assert perceptual_report.spread(none, CLIPS[:1], "two_f") is None
    assert perceptual_report.share_spread(none, [none], CLIPS[:1], "two_f") is None


def test_markdown_has_every_codec_with_measures_and_the_shares() -> None:
    text = perceptual_report.to_markdown([TIER])
    assert "| opus 12 | 12.00 | 0.0090 / 0.0098 / 0.0100 | 40.0 / 40.0 / 40.0 | −2.00 /" in text
    assert "| earzip mini medium | 12.00 | **0.50** (−1) | 1.00 organ |" in text
    assert "mp3" not in text


def test_json_has_the_figures_of_every_clip() -> None:
    found = json.loads(perceptual_report.to_json([TIER]))["T1"]
    assert [one["setting"] for one in found] == ["12", "48", "medium"]
    assert found[2]["share_of_opus"]["zimtohrli"]["worst_clip"] == "organ"
    assert found[2]["clips"]["castanets"]["zimtohrli"] == 0.002
    assert found[0]["share_of_opus"] == {}


def test_the_newest_opus_that_was_measured_is_the_one_to_beat() -> None:
    newer = [
        row("opus-av", "12", 12, *by_distance(0.008, 0.012)),
        row("opus-av", "48", 48, *by_distance(0.001, 0.002)),
    ]
    found = json.loads(perceptual_report.to_json([replace(TIER, rows=[*newer, *TIER.rows])]))["T1"]
    shares = {(one["codec"], one["setting"]): one["share_of_opus"] for one in found}
    assert shares["earzip", "medium"]["zimtohrli"]["geometric_mean"] != pytest.approx(0.5)
    assert shares["earzip", "medium"]["zimtohrli"]["n_clips"] == 2
    assert [key for key, share in shares.items() if share] == [("earzip", "medium")]


def test_without_perceptual_measures_there_is_no_section() -> None:
    assert perceptual_report.to_markdown([replace(TIER, rows=TIER.rows[2:3])]) == ""


def test_results_with_and_without_them_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    with_them, without = (Result(1000, SAMPLE_RATE, 0, MEASURES, each) for each in (HEARD, None))
    keys = [Key("opus", "20", "1", str(number)) for number in range(2)]
    cache = ResultCache(path)
    for key, result in zip(keys, (with_them, without), strict=True):
        cache.add(key, result, "a clip")
    lines = path.read_text(encoding="utf-8").splitlines()
    old = json.loads(lines[1])
    del old["result"]["perceptual"]  # as it was before there were any
    path.write_text("\n".join([lines[0], json.dumps(old), ""]), encoding="utf-8")
    assert ResultCache(path).results == dict(zip(keys, (with_them, without), strict=True))


class Halving:
    """A coder that halves every sample."""

    codec, model, setting, version = "halving", None, "1", "1"

    def __init__(self) -> None:
        self.n_coded = 0

    def code(self, wav: Path, folder: Path) -> tuple[int, Samples]:
        self.n_coded += 1
        sound: Samples = soundfile.read(wav, dtype="float32")[0]
        return 1000, sound / 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "tiers"
    folder.mkdir(parents=True)
    soundfile.write(folder / "T1.wav", tones(88_200).T, SAMPLE_RATE, "PCM_24")
    listed = [{"tier": "T1", "file": "T1.wav", "name": "chords", "seconds": 2.0}]
    (folder / "tiers.json").write_text(json.dumps(listed), encoding="utf-8")
    return tmp_path / "root"


def test_what_the_cache_has_without_them_is_coded_again_for_them(root: Path) -> None:
    pytest.importorskip("zimtohrli")
    clips, coder = hash_clips(root, ["T1"]), Halving()
    path = root / "cache.jsonl"
    assert complete(coder, clips, ResultCache(path)) == 1
    assert complete(coder, clips, ResultCache(path)) == 0
    assert complete(coder, clips, ResultCache(path), perceptual=True) == 1
    assert complete(coder, clips, ResultCache(path), perceptual=True) == 0
    assert complete(coder, clips, ResultCache(path)) == 0
    assert coder.n_coded == 2
    (tier,) = gather([coder], clips, ResultCache(path))
    assert tier.clips == ("chords",)
    heard = tier.rows[0].results[0].perceptual
    assert heard is not None
    assert heard.zimtohrli is not None
    assert heard.zimtohrli < 0.001


@needs_opusenc
def test_one_command_reports_them(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("zimtohrli")
    folders = ["--root", str(root), "--cache", str(root / "c.jsonl"), "--out", str(root / "out")]
    chosen = ["--codecs", "opus", "--bitrates", "96,16", "--tiers", "T1", "--perceptual"]
    monkeypatch.setattr(sys, "argv", ["quality", *folders, *chosen])
    quality.main()
    text = (root / "out" / "quality.md").read_text(encoding="utf-8")
    assert "## Perceptual measures" in text
    low, high = json.loads((root / "out" / "perceptual.json").read_text(encoding="utf-8"))["T1"]
    assert (low["setting"], high["setting"]) == ("16", "96")
    assert high["measures"]["nmr_db"]["mean"] < low["measures"]["nmr_db"]["mean"]
