from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from earzip.errors import UsageError
from earzip.metrics.zimtohrli import (
    SAMPLE_RATE,
    SHORTEST,
    ZimtohrliMeter,
    mos,
    zimtohrli_distance,
)

pytest.importorskip("zimtohrli")

Audio = NDArray[np.float32]


def noise(seed: int, seconds: float = 2, level: float = 0.1) -> Audio:
    random = np.random.default_rng(seed)
    return (level * random.standard_normal((2, round(seconds * SAMPLE_RATE)))).astype(np.float32)


def test_equal_sounds_have_no_distance() -> None:
    assert zimtohrli_distance(noise(0), noise(0)) == 0
    assert mos(0) == 5


def test_a_change_of_level_is_hardly_one() -> None:
    assert zimtohrli_distance(0.5 * noise(0), noise(0)) < 0.001
    assert zimtohrli_distance(noise(1), noise(0)) > 0.002


def test_more_noise_is_farther() -> None:
    y = noise(0)
    y[:, ::2] = 0
    found = [zimtohrli_distance(y + noise(1, level=x), y) for x in (0.003, 0.01, 0.03, 0.1)]
    assert found == sorted(found)
    assert found[-1] > 3 * found[0]
    scores = [mos(each) for each in found]
    assert scores == sorted(scores, reverse=True)


def test_a_channel_counts_half() -> None:
    y = noise(0)
    both = zimtohrli_distance(np.stack([noise(1)[0], noise(1)[0]]), np.stack([y[0], y[0]]))
    assert zimtohrli_distance(np.stack([noise(1)[0], y[0]]), np.stack([y[0], y[0]])) == (
        pytest.approx(both / 2)
    )


def test_the_parts_of_a_long_sound_give_what_the_whole_does() -> None:
    import zimtohrli  # noqa: PLC0415

    y = noise(0, 13)
    x = y + noise(1, 13, 0.03)
    meter = ZimtohrliMeter()
    for start in range(0, y.shape[1], 70_000):
        meter.add(x[:, start : start + 70_000], y[:, start : start + 70_000])
    whole = np.mean([zimtohrli.Pyohrli().distance(a, b) for a, b in zip(x, y, strict=True)])
    assert meter.distance() == pytest.approx(whole, rel=0.05)


@pytest.mark.parametrize(
    "y",
    [noise(0, 0), noise(0, SHORTEST / SAMPLE_RATE)[:, 1:], noise(0) * math.nan],
    ids=["empty", "short", "nan"],
)
def test_what_is_not_defined_is_none(y: Audio) -> None:
    meter = ZimtohrliMeter()
    meter.add(y, y)
    assert meter.distance() is None
    with pytest.raises(ValueError, match="fewer than 12000 samples"):
        zimtohrli_distance(y, y)


def test_the_shortest_sound_has_a_distance() -> None:
    y = noise(0, SHORTEST / SAMPLE_RATE)
    assert zimtohrli_distance(y, y) == 0


def test_silence_has_a_distance() -> None:
    y = noise(0)
    assert zimtohrli_distance(0 * y, 0 * y) == 0
    assert zimtohrli_distance(0 * y, y) > 0.01


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        zimtohrli_distance(noise(0), noise(0)[:, 1:])


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "earzip.metrics.find_spec",
        lambda name: None if name == "zimtohrli" else find_spec(name),
    )
    for use in (ZimtohrliMeter, lambda: mos(0)):
        with pytest.raises(UsageError, match="pip install zimtohrli"):
            use()
