from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.data.pcm import SAMPLE_RATE
from benchmarks.treble import treble_error_db


def noise(n_samples: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((2, n_samples)) / 10).float()


def test_half_the_magnitude_is_6_db_off() -> None:
    assert treble_error_db(noise(20_000) / 2, noise(20_000)) == pytest.approx(6.02, abs=0.01)


def test_below_10_khz_nothing_counts() -> None:
    t = torch.arange(20_000) / SAMPLE_RATE
    tone = (0.1 * torch.sin(2 * torch.pi * 1000 * t)).expand(2, -1)
    inside = slice(4096, -4096)  # the ends of the file cut the tone
    assert treble_error_db((noise(20_000) + tone)[:, inside], noise(20_000)[:, inside]) < 0.3
