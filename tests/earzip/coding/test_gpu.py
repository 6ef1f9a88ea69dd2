"""What a GPU is told and what it may lack, with a device that only says that it is one."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from earzip.coding import gpu
from earzip.coding.codec import Codec
from earzip.coding.gpu import arithmetic, fitting_batch, moved, wait_for_all
from earzip.errors import DeviceError
from earzip.formats.geometry import Geometry
from earzip.network.config import EarConfig
from earzip.network.ear import EarVae
from earzip.network.vae import Posterior
from earzip.runtime import tell
from tests.conftest import tones

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
]
HOP, CORE = 8, 4
NOT_A_GPU = "mps"


class Small(nn.Module):
    """A network of frames' means that has memory for so many windows, and notes how many it gets."""

    def __init__(self, most: int, error: RuntimeError) -> None:
        super().__init__()
        self.most, self.error = most, error
        self.sizes: list[tuple[str, int]] = []

    def encode(self, audio: Tensor) -> Posterior:
        self._take("encode", audio)
        mean = audio.unflatten(-1, (-1, HOP)).mean(-1)
        return Posterior(mean, torch.ones_like(mean))

    def decode(self, latents: Tensor) -> Tensor:
        self._take("decode", latents)
        return latents.repeat_interleave(HOP, -1)

    def _take(self, what: str, batch: Tensor) -> None:
        self.sizes.append((what, len(batch)))
        if len(batch) > self.most:
            raise self.error


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a codec think that it is on a GPU; and let each test be told anew."""
    zeros = torch.zeros
    monkeypatch.setattr("earzip.coding.codec.moved", lambda *_: None)
    monkeypatch.setattr(torch, "zeros", lambda *shape, device=None: zeros(shape))
    tell.cache_clear()


def codec_of(network: nn.Module, batch_size: int | None = None) -> Codec:
    geometry = Geometry(44_100, HOP, 0, CORE, 1, 1)
    return Codec(network, geometry, 2, device=NOT_A_GPU, batch_size=batch_size)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: str(e)[-20:])
def test_memory_for_4_windows_runs_4_at_once_and_says_so_once(
    error: RuntimeError, caplog: pytest.LogCaptureFixture
) -> None:
    network = Small(4, error)
    with caplog.at_level(logging.WARNING):
        codec = codec_of(network)
        tried = [size for what, size in network.sizes if what == "encode"]
        latents = np.concatenate(list(codec.encode([tones(20 * HOP * CORE)])), 1)
    assert tried == [16, 8, 4]
    assert latents.shape == (2, 20 * CORE)
    assert {size for _, size in network.sizes[len(tried) + 1 :]} == {4}
    assert [record.getMessage() for record in caplog.records] == [
        "earzip: note: GPU memory is too small for 16 windows at once: it takes 4"
    ]
    codec.close()


def test_where_16_windows_fit_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    network = Small(16, OUT_OF_MEMORY[0])
    codec_of(network).close()
    assert network.sizes == [("encode", 16), ("decode", 16)]
    assert not caplog.records


def test_memory_for_no_window_and_a_batch_of_the_user_are_refused() -> None:
    with pytest.raises(DeviceError, match="too small for one window"):
        codec_of(Small(0, OUT_OF_MEMORY[1]))
    network = Small(4, OUT_OF_MEMORY[0])
    with pytest.raises(DeviceError, match="batch of 8 windows; use a smaller --batch-size"):
        codec_of(network, batch_size=8)
    assert network.sizes == [("encode", 8)]


def test_other_errors_of_the_trial_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="no kernel image"):
        codec_of(Small(0, RuntimeError("CUDA error: no kernel image is available")))


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: str(e)[-20:])
def test_a_network_that_does_not_fit_is_an_error_of_the_device(error: RuntimeError) -> None:
    class Large(nn.Module):
        def to(self, *_: object) -> Large:  # type: ignore[override]
            raise error

    with pytest.raises(DeviceError, match="too small for the network itself"):
        moved(Large(), torch.device("cuda"))


def test_memory_that_runs_out_later_is_an_error_of_the_device() -> None:
    network = Small(16, OUT_OF_MEMORY[1])
    codec = codec_of(network)
    network.most = 0
    with pytest.raises(DeviceError, match="batch of 16 windows"):
        list(codec.encode([tones(100)]))
    codec.close()


def test_the_ends_of_a_track_are_a_batch_of_2() -> None:
    network = Small(16, OUT_OF_MEMORY[0])
    codec = codec_of(network)
    network.sizes.clear()
    first, last = np.full((2, 3), 0.1, np.float32), np.full((2, 3), 0.2, np.float32)
    ends = codec.decode_ends(first, last, 100 * HOP)
    assert network.sizes == [("decode", 2)]
    assert np.array_equal(ends, np.array([[0.1, 0.2]] * 2, np.float32))
    codec.close()


@pytest.fixture
def _flags_are_set_back() -> Iterator[None]:
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = cuda.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    yield
    cuda.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before


@pytest.mark.usefixtures("_flags_are_set_back")
def test_an_open_codec_computes_in_ieee_float32_and_the_same_each_time() -> None:
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    cuda.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = (
        True,
        True,
        False,
        True,
    )
    codec_of(Small(16, OUT_OF_MEMORY[0])).close()
    now = cuda.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    assert now == (False, False, True, False)
    for precision in ("tf32", "bfloat16"):
        with arithmetic(precision):
            assert cuda.allow_tf32 == cudnn.allow_tf32 == (precision == "tf32")
            assert cudnn.deterministic


@pytest.mark.usefixtures("_flags_are_set_back")
def test_tf32_is_for_the_network_and_not_for_the_ends_of_tracks() -> None:
    seen: list[tuple[str, bool]] = []

    class Watching(Small):
        def _take(self, what: str, batch: Tensor) -> None:
            seen.append((f"{what} {len(batch)}", torch.backends.cudnn.allow_tf32))

    geometry = Geometry(44_100, HOP, 0, CORE, 1, 1)
    network = Watching(16, OUT_OF_MEMORY[0])
    codec = Codec(network, geometry, 2, device=NOT_A_GPU, precision="tf32")
    assert codec.precision == "tf32"
    list(codec.encode([tones(100)]))
    codec.decode_ends(*[np.zeros((2, 3), np.float32)] * 2, 100 * HOP)
    codec.close()
    assert seen == [
        ("encode 16", True), ("decode 16", True), ("encode 16", True), ("decode 2", False)
    ]  # fmt: skip


@pytest.fixture(scope="module")  # and so made before torch.zeros is another
def ear_on_meta() -> EarVae:
    with torch.device("meta"):
        return EarVae(EarConfig())


class Shapes(nn.Module):
    """Notes the batches and frames that the published network would get."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int, int]] = []

    def encode(self, audio: Tensor) -> Posterior:
        self.seen.append(("encode", len(audio), audio.shape[-1] // EarConfig().hop))
        mean = audio[:, :1, :: EarConfig().hop]
        return Posterior(mean, mean)

    def decode(self, latents: Tensor) -> Tensor:
        self.seen.append(("decode", *latents.shape[::2]))
        return latents[:, :1].expand(-1, 2, -1).repeat_interleave(EarConfig().hop, -1)


def test_the_ends_are_a_small_part_of_encoding_a_track(ear_on_meta: EarVae) -> None:
    """Of four minutes by the published network, whose operations are counted on `meta`."""
    config, shapes = EarConfig(), Shapes()
    reach = config.encoder_reach, config.decoder_reach + 32
    geometry = Geometry(44_100, config.hop, 0, 256, *reach)
    codec = Codec(shapes, geometry, 1, device=NOT_A_GPU)
    shapes.seen.clear()
    for _ in codec.encode([np.zeros((2, 240 * 44_100), np.float32)]):
        pass
    of_track, shapes.seen = shapes.seen, []
    ends = [np.zeros((1, codec.end_frames), np.float32)] * 2
    codec.decode_ends(*ends, 240 * 44_100)
    codec.close()

    def flops(batches: list[tuple[str, int, int]]) -> int:
        total = 0
        for what, n, n_frames in batches:
            shape = (n, 2, n_frames * config.hop) if what == "encode" else (n, 64, n_frames)
            with FlopCounterMode(display=False) as counter, torch.inference_mode():
                getattr(ear_on_meta, what)(torch.empty(shape, device="meta"))
            total += counter.get_total_flops()
        return total

    assert 0 < flops(shapes.seen) < 0.05 * flops(of_track)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_trial_waits_for_the_gpu_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    class Event:
        asked = 0

        def record(self, stream: object) -> None:
            assert stream == "its stream"

        def query(self) -> bool:
            Event.asked += 1
            return not hangs and Event.asked > 3

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: "its stream")
    monkeypatch.setattr(gpu, "ANSWER_S", 0.1)
    wait_for_all(torch.device("cpu"))
    assert Event.asked == 0
    if hangs:
        with pytest.raises(DeviceError, match=r"no answer for 0\.1 s"):
            wait_for_all(torch.device("cuda"))
    else:
        wait_for_all(torch.device("cuda"))
    assert Event.asked > 3


def test_halving_ends_at_what_fits() -> None:
    tried: list[int] = []

    def passes(n: int) -> None:
        tried.append(n)
        if n > 1:
            raise OUT_OF_MEMORY[0]

    assert fitting_batch(passes, None) == 1
    assert tried == [16, 8, 4, 2, 1]
