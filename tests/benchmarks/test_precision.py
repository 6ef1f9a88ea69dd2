"""What the comparison of precisions says, with the tiny model."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.precision import Comparison, Steps, compare, snr_db, to_row
from earzip.models.store import find_model, load_codec
from earzip.runtime import Runtime
from tests.conftest import tones


def compared(model: str, precision: str, *, random_weights: bool = False) -> Comparison:
    spec = find_model(model)
    full, other = (
        load_codec(spec, Runtime("cpu", precision=p, threads=1)) for p in ("float32", precision)
    )
    steps = None if random_weights else Steps.of(spec, "medium")
    return compare(full, other, [tones(60_000), tones(50_000, 1)], steps)


def test_the_noise_of_a_tenth_is_20_db_down() -> None:
    reference = tones(1000)
    assert snr_db(reference * np.float32(1.1), reference) == pytest.approx(20, abs=1e-3)
    assert math.isinf(snr_db(reference, reference))


def test_float32_is_no_different_from_itself(tiny_model: str) -> None:
    found = compared(tiny_model, "float32")
    assert all(math.isinf(snr) for snr in found.latents_snr_db + found.sound_snr_db)
    assert found.differing == found.change("mel") == 0
    assert found.kbps[0] == found.kbps[1] > 1


def test_bfloat16_differs_by_little(tiny_model: str) -> None:
    found = compared(tiny_model, "bfloat16")
    assert len(found.latents_snr_db) == len(found.encode_ratio) == 2
    assert all(40 < snr < 90 for snr in found.latents_snr_db + found.sound_snr_db)
    assert 0 < found.differing < 0.05
    assert found.kbps[0] == pytest.approx(found.kbps[1], rel=0.02)
    assert 0 < abs(found.change("si_sdr_db")) < 0.1


def test_a_row_has_the_cells_of_the_head(tiny_model: str) -> None:
    known = to_row("tiny", "bfloat16", compared(tiny_model, "bfloat16"))
    random = to_row("tiny", "bfloat16", compared(tiny_model, "bfloat16", random_weights=True))
    assert known.count("|") == random.count("|") == 12
    assert random.count("–") == 5
