"""Networks are judged in training as archives of theirs would be."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("zimtohrli")

from benchmarks import trials  # noqa: E402  # after what it needs


def test_mini_is_judged_at_each_setting():
    clip = np.random.default_rng(0).normal(0, 0.1, (2, 44_100)).astype(np.float32)
    settings = {"fine": (-16, 0), "coarse": (16, 0)}
    fine, coarse = trials.judge("mini", {"noise": clip}, settings, 0.35, all_of_them=False)
    assert fine["kbps"] > 1.5 * coarse["kbps"]
    assert 0 < fine["d"] < coarse["d"]
