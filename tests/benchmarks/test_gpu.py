"""The benchmark of a GPU, dry, with tiny models on the CPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import gpu
from benchmarks.gpu_runs import waits_for

DRY = ("--device", "cpu", "--windows", "2", "--track-seconds", "2", "--size", "64", "--no-ear")


def test_a_dry_run_measures_and_checks_everything(
    tiny_model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    models = ("--model", tiny_model, "--model", "tiny-levels")
    assert gpu.main([*DRY, *models, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text())
    rows = {(row["model"], row["precision"]): row for row in found["rows"]}
    assert len(rows) == 8
    for (_, precision), row in rows.items():
        assert row["problems"] == []
        if precision == "tf32":
            assert "cannot compute in tf32" in row["lacking"]
            continue
        assert row["same_twice"]
        assert row["sound_snr_db"] > gpu.LEAST_SNR_DB[precision]
        assert min(row["encode_realtime"], row["decode_gflop"], row["encode_share"]) > 0
        assert row["counted_window_bytes"] > 10_000
    assert rows["tiny", "float32"]["sound_snr_db"] == 300
    assert rows["tiny", "bfloat16"]["sound_snr_db"] < 60
    whole = found["compress"]
    assert whole["exit_code"] == 0
    assert whole["elapsed_s"] > 0
    assert found["kill"]["complete"]
    text = (tmp_path / "gpu.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 10
    assert {line.count("|") for line in table} == {11}
    assert text in capfd.readouterr().out


def test_what_differs_from_the_cpu_is_a_failure(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)

    def other_each_time(*arguments: object) -> gpu.Sound:
        restored = right(*arguments)  # type: ignore[arg-type]
        return restored + rng.standard_normal(restored.shape).astype(np.float32)

    right = gpu.decode
    monkeypatch.setattr(gpu, "decode", other_each_time)
    monkeypatch.setattr(gpu, "compressed", lambda *_: {"exit_code": 0, "sound_s": 1, "elapsed_s": 1,
                                                       "cores_used": 1, "model": "tiny"})  # fmt: skip
    monkeypatch.setattr(
        gpu, "killed", lambda *_: {"complete": True, "exit_code": 3, "next_exit_code": 0}
    )
    words = [*DRY, "--model", tiny_model, "--precisions", "float32", "--out", str(tmp_path)]
    assert gpu.main(words) == 1
    (row,) = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    first, second = row["problems"]
    assert first.startswith("sound: ")
    assert second == "a second pass gives other bytes"


def test_what_a_run_waits_for_is_what_is_busy() -> None:
    assert waits_for(0.9, 0.3) == "the network"
    assert waits_for(0.2, 0.95) == "the cores of the CPU"
    assert waits_for(0.2, 0.3) == "starting, files and the interpreter"
