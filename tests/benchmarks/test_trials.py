"""Networks are judged in training as archives of theirs would be."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("zimtohrli")

from benchmarks import trials  # noqa: E402  # after what it needs


def test_mini_is_judged_at_each_setting():
    clip = np.random.default_rng(0).normal(0, 0.1, (2, 44_100)).astype(np.float32)
    network, spec = trials.load("mini")
    presets = trials.presets_of(spec, [(-16, None), (16, None)])
    fine, coarse = trials.judge(network, spec, presets, {"noise": clip}, all_of_them=False)
    assert fine["kbps"] > 1.5 * coarse["kbps"]
    assert 0 < fine["d"] < coarse["d"]
