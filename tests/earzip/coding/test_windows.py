from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from earzip.coding.waiting import wait_for
from earzip.coding.windows import LINGER_S, Network, SingleWindows, WindowBatches, WindowEngine
from earzip.errors import DeviceError
from earzip.models.store import find_model, load_codec
from earzip.runtime import Runtime
from tests.conftest import tones
from tests.earzip.conftest import TorchCuda

Window = NDArray[np.float32]
NEVER = 1000.0
TIMEOUT = 60.0
BATCH = 4


class Doubling:
    """A network that doubles its windows and notes which ones each of its batches had."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.sizes: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, batch: Tensor) -> Tensor:
        self.batches.append([float(row[0]) for row in batch if row[0] != 0])
        self.sizes.add(len(batch))
        assert self.gate.wait(TIMEOUT)
        return 2 * batch


def window(value: float, size: int = 3) -> Window:
    return np.full(size, value, np.float32)


def track(*values: float) -> Iterator[tuple[Window, float]]:
    return ((window(value), value) for value in values)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[WindowBatches]:
    engine = WindowBatches(torch.device("cpu"), BATCH, getattr(request, "param", LINGER_S))
    yield engine
    engine.close()


full_batches_only = pytest.mark.parametrize("engine", [NEVER], indirect=True, ids=["full batches"])
"""Lets a batch that is not full wait longer than any test."""


@full_batches_only
def test_tracks_share_a_batch(engine: WindowBatches) -> None:
    network = Doubling()
    with ThreadPoolExecutor(4) as threads:
        tracks = [
            threads.submit(lambda i=i: list(engine.computed(network, track(i))))
            for i in range(1, 5)
        ]
        results = [each.result(TIMEOUT) for each in tracks]
    assert [float(result[0]) for ((result, _),) in results] == [2, 4, 6, 8]
    assert [sorted(batch) for batch in network.batches] == [[1, 2, 3, 4]]


@pytest.mark.parametrize("kind", ["batches", "single"])
def test_results_keep_the_order_of_their_track(engine: WindowBatches, kind: str) -> None:
    network = Doubling()
    chosen: WindowEngine = engine if kind == "batches" else SingleWindows(3)

    def of_track(i: int) -> list[tuple[float, float]]:
        values = [1000 * i + j for j in range(1, 101)]
        return [(float(r[0]), tag) for r, tag in chosen.computed(network, track(*values))]

    with ThreadPoolExecutor(4) as threads:
        for i, results in enumerate(threads.map(of_track, range(4))):
            wanted = [1000 * i + j for j in range(1, 101)]
            assert results == [(2 * value, value) for value in wanted]
    chosen.close()


def test_a_batch_that_does_not_fill_runs_at_its_full_size(engine: WindowBatches) -> None:
    network = Doubling()
    torch.use_deterministic_algorithms(True)  # which puts NaN into memory that nobody has set
    try:
        results = list(engine.computed(network, track(1, 2, 3)))
    finally:
        torch.use_deterministic_algorithms(False)
    assert [float(result[0]) for result, _ in results] == [2, 4, 6]
    assert network.batches == [[1, 2, 3]]
    assert network.sizes == {BATCH}


@full_batches_only
def test_windows_of_another_network_or_shape_are_not_mixed_in(engine: WindowBatches) -> None:
    first, second = Doubling(), Doubling()
    futures = [
        engine.submit(network, window(value, size))
        for value in range(1, BATCH + 1)
        for network, size in ((first, 3), (second, 3), (second, 5))
    ]
    wait(futures, TIMEOUT)
    assert {future.result(0).shape for future in futures} == {(3,), (5,)}
    assert first.batches == [[1, 2, 3, 4]]
    assert second.batches == 2 * [[1, 2, 3, 4]]


def test_what_does_not_fill_a_batch_does_not_wait_for_ever_behind_full_ones(
    engine: WindowBatches,
) -> None:
    is_enough = threading.Event()

    def endless(batch: Tensor) -> Tensor:
        for _ in range(0 if is_enough.is_set() else BATCH):
            engine.submit(endless, window(1))
        return batch

    for _ in range(2 * BATCH):  # so that there is always a full batch of these
        engine.submit(endless, window(1))
    try:
        assert engine.submit(Doubling(), window(1)).result(20)[0] == 2
    finally:
        is_enough.set()


@full_batches_only
def test_a_track_that_ends_early_leaves_nothing_behind(engine: WindowBatches) -> None:
    network = Doubling()
    ended = engine.computed(network, track(*range(1, 100)))
    next(ended)  # 1 to 8 are handed in: two batches
    network.gate.clear()
    for _ in range(3):  # 9 to 11
        next(ended)
    ended.close()
    assert engine._n_tracks == 0
    network.gate.set()
    assert len(list(engine.computed(network, track(*range(101, 101 + BATCH))))) == BATCH
    assert network.batches == [[1, 2, 3, 4], [5, 6, 7, 8], [101, 102, 103, 104]]


@full_batches_only
def test_a_track_whose_reading_fails_cancels_its_own_windows_only(engine: WindowBatches) -> None:
    network = Doubling()

    def broken() -> Iterator[tuple[Window, None]]:
        yield window(1), None
        yield window(2), None
        raise OSError("disk")

    other = engine.submit(network, window(101))
    with pytest.raises(OSError, match="disk"):
        list(engine.computed(network, broken()))
    futures = [engine.submit(network, window(v)) for v in range(102, 101 + 2 * BATCH)]
    assert other.result(TIMEOUT)[0] == 202
    wait(futures, TIMEOUT)
    assert not {1, 2} & {value for batch in network.batches for value in batch}


def failing_at(value: float, error: Exception) -> Callable[[Tensor], Tensor]:
    def network(batch: Tensor) -> Tensor:
        if (batch == value).any():
            raise error
        return 2 * batch

    return network


@full_batches_only
def test_an_error_reaches_its_batch_only(engine: WindowBatches) -> None:
    network = failing_at(6, ValueError("no such thing"))
    values = [1, 2, 3, 4, *([5, 6, 7, 8] * 3), 9, 10, 11, 12]
    futures = [engine.submit(network, window(value)) for value in values]
    for value, future in zip(values, futures, strict=True):
        if 5 <= value <= 8:
            with pytest.raises(ValueError, match="no such thing"):
                future.result(TIMEOUT)
        else:
            assert future.result(TIMEOUT)[0] == 2 * value


def test_too_little_memory_names_the_option(engine: WindowBatches) -> None:
    network = failing_at(1, torch.OutOfMemoryError("CUDA out of memory"))
    message = "too small for a batch of 4 windows; use a smaller --batch-size"
    with pytest.raises(DeviceError, match=message) as caught:
        list(engine.computed(network, track(1)))
    assert caught.value.__cause__ is caught.value.__context__ is None


@full_batches_only
def test_closing_cancels_what_waits(engine: WindowBatches) -> None:
    network = Doubling()
    future = engine.submit(network, window(1))
    engine.close()
    with pytest.raises(CancelledError):
        future.result(0)
    with pytest.raises(RuntimeError, match="after the end"):
        engine.submit(network, window(2))
    assert not any(thread.is_alive() for thread in engine._threads)


def _never_done(answer_s: float) -> Callable[..., Callable[[], Window]]:
    """Return a stand-in for starting a batch on a GPU that never comes to its event."""

    def start(_network: Network, _windows: list[Window], _size: int) -> Callable[[], Window]:
        def results() -> Window:
            wait_for(lambda: False, answer_s)
            raise AssertionError

        return results

    return start


@pytest.mark.parametrize("hangs", ["as it starts a batch", "with a batch"])
def test_a_device_that_hangs_fails_all_windows_and_blocks_nobody(
    hangs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = WindowBatches(torch.device("cpu"), BATCH, answer_s=0.3)
    network = Doubling()
    if hangs == "with a batch":
        monkeypatch.setattr(engine, "_start", _never_done(0.3))
    network.gate.clear()
    futures = [engine.submit(network, window(value)) for value in range(1, 4 * BATCH)]
    for future in futures:
        with pytest.raises(DeviceError, match=r"no answer for 0\.3 s"):
            future.result(TIMEOUT)
    with pytest.raises(DeviceError, match="no answer"):
        list(engine.computed(network, track(1)))
    engine.close()
    network.gate.set()  # too late, and no harm
    for thread in engine._threads:
        thread.join(TIMEOUT)


def test_waiting_for_a_batch_ends_with_it() -> None:
    asked: list[bool] = []
    wait_for(lambda: bool(asked.append(True)) or len(asked) == 3, at_most_s=TIMEOUT)
    assert len(asked) == 3


def test_both_threads_of_a_gpu_work_on_it(torch_cuda: TorchCuda) -> None:
    on_device: list[int | None] = []

    def network(batch: Tensor) -> Tensor:
        on_device.append(torch_cuda.current())
        return 2 * batch

    engine = WindowBatches(torch.device("cpu"), BATCH)
    engine._device = torch.device("cuda:3")
    assert engine.submit(network, window(1)).result(TIMEOUT)[0] == 2
    engine.close()
    assert on_device == [3]
    assert torch_cuda.calls == [("earzip-start", 3), ("earzip-finish", 3)]


@pytest.mark.parametrize("n_tracks", [1, 2, 16])
def test_what_is_in_flight_does_not_grow_with_the_tracks(
    engine: WindowBatches, n_tracks: int
) -> None:
    """Each track reads ahead by its share, two windows at the least."""
    n_in_flight = 0

    def counted() -> Iterator[tuple[Window, None]]:
        nonlocal n_in_flight
        while True:
            n_in_flight += 1
            yield window(1), None

    tracks = [engine.computed(Doubling(), counted()) for _ in range(n_tracks)]
    for _ in range(3 * BATCH):  # at first each takes the shares of those that have not begun
        for each in tracks:
            next(each)
            n_in_flight -= 1
    assert n_in_flight <= max(2 * BATCH, 2 * n_tracks)


@pytest.mark.parametrize("kind", ["batches", "single"])
def test_tracks_side_by_side_come_out_as_one_after_the_other(
    tiny_model: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    codec = load_codec(find_model(tiny_model), Runtime("cpu", threads=2))
    if kind == "batches":
        monkeypatch.setattr(codec, "_engine", WindowBatches(torch.device("cpu"), BATCH))
    tracks = [tones(n, seed) for seed, n in enumerate((70_000, 3_000, 0, 120_001, 20_000))]

    def coded(audio: Window) -> tuple[list[Window], list[Window], Window | None]:
        latents = list(codec.encode([audio]))
        n_samples = audio.shape[1]
        sound = list(codec.decode(lambda i: latents[i], n_samples, range(len(latents))))
        ends = (latents[0], latents[-1], n_samples) if latents else None
        return latents, sound, codec.decode_ends(*ends) if ends else None

    alone = [coded(audio) for audio in tracks]
    with ThreadPoolExecutor(len(tracks)) as threads:
        together = list(threads.map(coded, tracks))
    # Other neighbours and another place in its batch change nothing but, on some processors, rounding.
    tolerance = 0.0 if kind == "single" else 1e-5
    for one, other in zip(alone, together, strict=True):
        for a, b in zip([*one[0], *one[1], one[2]], [*other[0], *other[1], other[2]], strict=True):
            if a is not None and b is not None:
                np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
    codec.close()


def test_the_first_result_does_not_wait_for_windows_behind_it() -> None:
    engine = SingleWindows(threads=4)
    futures: list[Future[Window]] = []
    submit = engine.submit

    def noted(network: Network, one: Window) -> Future[Window]:
        futures.append(submit(network, one))
        return futures[-1]

    def windows() -> Iterator[tuple[Window, float]]:
        for each in track(1, 2, 3, 4, 5, 6):
            yield each
            wait(futures[:1], TIMEOUT)

    engine.submit = noted  # type: ignore[method-assign]
    results = engine.computed(Doubling(), windows())
    assert next(results)[1] == 1
    assert len(futures) <= 2
    assert [value for _, value in results] == [2, 3, 4, 5, 6]
    engine.close()
