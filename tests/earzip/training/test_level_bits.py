from __future__ import annotations

import numpy as np
import pytest

from earzip.network.config import LevelConfig
from earzip.training.level_bits import choose_rest

CONFIG = LevelConfig()
N_REST = CONFIG.n_latents - CONFIG.n_coefficients
N_LEVELS = CONFIG.layout["levels"]
N_COURSE = CONFIG.layout["course"]
FIRST_OF_COURSE = N_REST - 1 - CONFIG.layout["tonal"] - N_COURSE
STEPS = np.ones(N_REST, np.float32)


def rest(n_frames: int = 60) -> np.ndarray:
    return np.zeros((N_REST, n_frames), np.float32)


def test_what_stays_the_same_costs_next_to_nothing() -> None:
    still = rest()
    still[:N_LEVELS] = 5.0
    q, bits = choose_rest(still, STEPS, CONFIG)
    assert (q[:N_LEVELS] == 5).all()
    assert sum(bits.values()) / 60 < 20


def test_without_thrift_integers_are_the_nearest() -> None:
    values = rest()
    values[:FIRST_OF_COURSE] = np.random.default_rng(0).normal(0, 2, (FIRST_OF_COURSE, 60))
    q, _ = choose_rest(values, STEPS, CONFIG, thrift=0.0)
    assert np.abs(q - values)[:FIRST_OF_COURSE].max() <= 0.5 + 1e-6


def test_thrift_saves_bits_and_costs_accuracy() -> None:
    values = rest()
    values[:N_LEVELS] = np.cumsum(np.random.default_rng(0).normal(0, 0.4, (N_LEVELS, 60)), 1)
    found = []
    for thrift in (0.0, 0.1, 0.5):
        q, bits = choose_rest(values, STEPS, CONFIG, thrift)
        found.append((bits["levels"], float(np.square(q - values)[:N_LEVELS].mean())))
    costs, errors = zip(*found, strict=True)
    assert costs[0] > costs[1] > costs[2]
    assert errors[0] < errors[1] < errors[2]


def test_course_and_flags_are_kept_and_cost_bits_where_they_are() -> None:
    values = rest()
    first = FIRST_OF_COURSE
    values[first : first + N_COURSE, 7] = np.random.default_rng(0).normal(0, 4, N_COURSE)
    values[-1, 7] = values[-3, 20:40] = 8.0
    q, bits = choose_rest(values, STEPS, CONFIG, thrift=0.0)
    assert q[first : first + N_COURSE, 7].any()
    assert not q[first : first + N_COURSE, :7].any()
    assert q[-1, 7] == 8
    assert (q[-3, 20:40] == 8).all()
    assert bits["course"] > 80
    assert bits["tonal"] == pytest.approx(30, abs=25)
