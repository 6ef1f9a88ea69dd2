"""The stopwatch that shares CPU time out among stages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.stages import REST, STAGES, START, Stopwatch, _owner


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stopwatch(clock: Clock) -> Stopwatch:
    return Stopwatch(clock)


def _spent(stopwatch: Stopwatch) -> dict[str, float]:
    return {name: seconds for name, seconds in stopwatch.stop().items() if seconds}


def test_all_before_the_first_stage_is_start_up_and_what_is_between_stages_the_rest(
    clock, stopwatch
):
    clock.now = 3
    with stopwatch.stage(START):
        clock.now = 4
    clock.now = 5
    with stopwatch.stage("reading"):
        clock.now = 7
    clock.now = 15
    with stopwatch.stage(START):
        clock.now = 16
    assert _spent(stopwatch) == {START: 6, "reading": 2, REST: 8}


def test_a_stage_within_another_is_not_counted_twice(clock, stopwatch):
    with stopwatch.stage("writing"):
        clock.now = 1
        with stopwatch.stage("network"):
            clock.now = 5
        clock.now = 7
    assert _spent(stopwatch) == {"writing": 3, "network": 4}


def test_the_steps_of_a_generator_are_timed_and_not_what_is_done_between_them(clock, stopwatch):
    def blocks(n: int) -> Iterator[int]:
        for i in range(n):
            clock.now += 1
            yield i
        clock.now += 0.5

    for _ in (read := stopwatch.timed("reading", blocks)(3)):
        clock.now += 10
    assert next(read, None) is None
    assert _spent(stopwatch) == {"reading": 3.5, REST: 30}


def test_a_stage_ends_when_its_function_raises(clock, stopwatch):
    def fail() -> None:
        clock.now += 1
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        stopwatch.timed("integers", fail)()
    clock.now += 2
    assert _spent(stopwatch) == {"integers": 1, REST: 2}


@pytest.mark.parametrize("name", [name for names in STAGES.values() for name in names])
def test_what_is_timed_exists(name):
    owner, attribute = _owner(name)
    assert callable(getattr(owner, attribute))
