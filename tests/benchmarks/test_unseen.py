from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.behaviour_sources import mono
from benchmarks.clips import Clip
from benchmarks.data.pcm import SAMPLE_RATE, Samples
from benchmarks.quality import HashedClip
from benchmarks.results import Key
from benchmarks.treble import treble_error_db
from benchmarks.unseen import (
    Row,
    ScoreCache,
    Scores,
    Tier,
    code_and_score,
    complete,
    gather,
    to_json,
    to_markdown,
    visqol_scorer,
)

KEY = Key("opus", "20", "opusenc 1", "00")
SCORES = Scores(n_bytes=50_000, n_samples=20 * SAMPLE_RATE, treble_db=6.0, moslqo=4.0)


def noise(n_samples: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((2, n_samples)) / 10).float()


class TestTreble:
    def test_half_the_magnitude_is_6_db_off(self) -> None:
        assert treble_error_db(noise(20_000) / 2, noise(20_000)) == pytest.approx(6.02, abs=0.01)

    def test_below_10_khz_nothing_counts(self) -> None:
        t = torch.arange(20_000) / SAMPLE_RATE
        tone = (0.1 * torch.sin(2 * torch.pi * 1000 * t)).expand(2, -1)
        inside = slice(4096, -4096)  # the ends of the file cut the tone
        assert treble_error_db((noise(20_000) + tone)[:, inside], noise(20_000)[:, inside]) < 0.3


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
def clips(tmp_path: Path) -> list[HashedClip]:
    found = []
    for name, tier in (("a", "T1"), ("b", "T2")):
        file = tmp_path / f"{name}.wav"
        soundfile.write(file, noise(22_050).numpy().T, SAMPLE_RATE, "PCM_24")
        found.append(HashedClip(Clip(tier, name, (file,)), name, 22_050))
    return found


class TestCoding:
    def test_decoded_and_original_are_scored_in_this_order(self, clips: list[HashedClip]) -> None:
        def mos(decoded: Samples, original: Samples) -> float:
            return float(np.abs(original).max() / np.abs(decoded).max())

        scores = code_and_score(Halving(), clips[0].clip, mos)
        assert (scores.n_bytes, scores.n_samples, scores.moslqo) == (1000, 22_050, 2.0)
        assert scores.treble_db == pytest.approx(6.02, abs=0.01)

    def test_what_is_scored_is_not_coded_again(
        self, clips: list[HashedClip], tmp_path: Path
    ) -> None:
        coder = Halving()
        for _ in range(2):
            complete(coder, clips, ScoreCache(tmp_path / "cache.jsonl"), None)
        assert coder.n_coded == 2

    def test_scores_without_visqol_are_made_up_for(
        self, clips: list[HashedClip], tmp_path: Path
    ) -> None:
        complete(Halving(), clips, ScoreCache(tmp_path / "cache.jsonl"), None)
        complete(Halving(), clips, ScoreCache(tmp_path / "cache.jsonl"), lambda *_: 3.0)
        scores = ScoreCache(tmp_path / "cache.jsonl").scores
        assert [one.moslqo for one in scores.values()] == [3.0, 3.0]

    def test_only_what_is_complete_for_a_tier_is_gathered(
        self, clips: list[HashedClip], tmp_path: Path
    ) -> None:
        cache = ScoreCache(tmp_path / "cache.jsonl")
        complete(Halving(), clips[:1], cache, None)
        assert [(t.name, len(t.rows)) for t in gather([Halving()], clips, cache)] == [
            ("T1", 1),
            ("T2", 0),
            ("all", 0),
        ]


class TestCache:
    def test_a_torn_line_costs_only_itself(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "sub" / "cache.jsonl"
        ScoreCache(path).add(KEY, SCORES, "a clip")
        text = path.read_text(encoding="utf-8")
        path.write_text(text + text[: len(text) // 2], encoding="utf-8")
        other = replace(KEY, setting="24")
        ScoreCache(path).add(other, SCORES, "a clip")
        assert ScoreCache(path).scores == {KEY: SCORES, other: SCORES}
        assert "left out" in capsys.readouterr().err


class TestReport:
    ROW = Row("earzip", "medium", "1", [("a", SCORES), ("b", replace(SCORES, moslqo=3.0))])

    def test_the_worst_clip_is_named(self) -> None:
        text = to_markdown([Tier("T1", 2, 40.0, [self.ROW])])
        assert "| earzip medium | 20.00 | 6.00 | 3.500 | 3.000 | b |" in text
        found = json.loads(to_json([Tier("T1", 2, 40.0, [self.ROW])]))["T1"]["settings"][0]
        assert (found["moslqo"], found["moslqo_worst"]) == (3.5, 3.0)
        assert found["clips"]["a"]["moslqo"] == 4.0

    def test_without_visqol_the_treble_stands_alone(self) -> None:
        row = replace(self.ROW, clips=[("a", SCORES), ("b", replace(SCORES, moslqo=None))])
        text = to_markdown([Tier("T1", 2, 40.0, [row])])
        assert "| earzip medium | 20.00 | 6.00 | – | – | – |" in text


def test_without_the_package_there_is_no_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "visqol", None)
    assert visqol_scorer() is None


@pytest.mark.slow
def test_visqol_scores_the_original_high_and_noise_low() -> None:
    pytest.importorskip("visqol")
    mos = visqol_scorer()
    assert mos is not None
    original = mono()[: 5 * SAMPLE_RATE]
    assert mos(original, original) == pytest.approx(4.73, abs=0.01)
    assert 3.5 < mos(original + noise(len(original)).numpy().T / 100, original) < 4.5
    assert mos(noise(len(original)).numpy().T, original) == 1
    assert mos(np.zeros_like(original), original) == 1
