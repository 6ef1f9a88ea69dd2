"""Where the network runs, and how a run is spread over the devices."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from earzip.coding import device as devices
from earzip.coding.device import choose_device, refused_devices, require_float32, usable_runtime
from earzip.errors import DeviceError, UsageError
from earzip.runtime import Runtime, tell
from tests.earzip.batch.backends import environment_of

Fault = Callable[[torch.Tensor], torch.Tensor]


@pytest.mark.parametrize("name", ["meta", "mps", "cuda:", "cuda:-1", "cpu:0", "CPU", "cuda:99999"])
def test_other_devices_than_cpus_and_gpus_are_usage_errors(name):
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        choose_device(name)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_cpu_computes_in_every_precision(precision):
    assert usable_runtime(Runtime("cpu", precision)) == Runtime("cpu", precision)


def test_a_precision_that_a_device_does_not_have_is_a_usage_error(monkeypatch):
    def not_implemented(*_: object, **__: object) -> None:
        raise RuntimeError('"conv" not implemented for Half\nat somewhere')

    with pytest.raises(UsageError, match="'half', expected one of float32, bfloat16, float16"):
        usable_runtime(Runtime("cpu", "half"))
    with monkeypatch.context() as patched:
        # What autocast does where it does not know the type: it warns and leaves all in float32.
        patched.setattr("torch.autocast", lambda *_: nullcontext())
        with pytest.raises(UsageError, match=r"device 'cpu' cannot compute in bfloat16$"):
            usable_runtime(Runtime("cpu", "bfloat16"))
    monkeypatch.setattr("torch.nn.functional.conv1d", not_implemented)
    with pytest.raises(UsageError, match=r"cannot compute in float16: .* for Half$"):
        usable_runtime(Runtime("cpu", "float16"))
    assert usable_runtime(Runtime("cpu", "float32")) == Runtime("cpu", "float32")


@pytest.mark.parametrize("operation", ["linear", "conv1d", "conv_transpose1d"])
@pytest.mark.parametrize("fault", [lambda y: y.roll(1, -1), lambda y: y * float("nan")])
def test_a_precision_that_a_device_computes_wrongly_in_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, operation: str, fault: Fault
) -> None:
    right = getattr(torch.nn.functional, operation)

    def wrong_in_bfloat16(*args: object, **options: object) -> torch.Tensor:
        result: torch.Tensor = right(*args, **options)
        return fault(result) if result.dtype == torch.bfloat16 else result

    monkeypatch.setattr(f"torch.nn.functional.{operation}", wrong_in_bfloat16)
    with pytest.raises(UsageError, match="device 'cpu' gives wrong results in bfloat16"):
        usable_runtime(Runtime("cpu", "bfloat16"))
    assert usable_runtime(Runtime("cpu", "float16")) == Runtime("cpu", "float16")
    assert usable_runtime(Runtime("cpu", "float32")) == Runtime("cpu", "float32")


def test_few_channels_that_go_wrong_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.nn.functional.conv_transpose1d

    def wrong_when_narrow(x: torch.Tensor, *args: object, **options: object) -> torch.Tensor:
        result: torch.Tensor = right(x, *args, **options)  # type: ignore[arg-type]
        return -result if result.dtype == torch.bfloat16 and x.shape[1] < 32 else result

    monkeypatch.setattr("torch.nn.functional.conv_transpose1d", wrong_when_narrow)
    with pytest.raises(UsageError, match="gives wrong results"):
        usable_runtime(Runtime("cpu", "bfloat16"))


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_an_accelerator_that_is_not_cuda_is_left_alone_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    state = SimpleNamespace(device=torch.device(kind))
    empty = torch.empty
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: state.device)
    monkeypatch.setattr(torch, "empty", lambda n, device: empty(n))
    tell.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert [choose_device("auto") for _ in range(2)] == ["cpu", "cpu"]
    said = f"no {kind} device is used: earzip computes on CPUs and CUDA GPUs"
    assert [r.getMessage() for r in caplog.records] == [f"earzip: note: {said}; the CPU is used"]
    assert said in refused_devices()


def test_a_card_that_this_build_of_pytorch_cannot_use_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "has_nvidia_gpu", lambda: False)
    assert refused_devices() == []
    monkeypatch.setattr(devices, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "an NVIDIA GPU is there and not used: this PyTorch" in refused_devices()[0]
    assert refused_devices()[0].endswith("is built without CUDA")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "is built for CUDA 13.0, and finds none" in refused_devices()[0]


@pytest.fixture
def _on_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let cuda:0 be the CPU."""
    to = torch.Tensor.to
    monkeypatch.setattr(devices, "choose_device", lambda name: name)
    monkeypatch.setattr(
        torch.Tensor, "to", lambda x, *where: x if where == ("cuda:0",) else to(x, *where)
    )


def _round_as_tf32(y: torch.Tensor) -> torch.Tensor:
    return (y.view(torch.int32) & ~0x1FFF).view(torch.float32)


@pytest.mark.usefixtures("_on_a_stand_in")
@pytest.mark.parametrize("operation", ["linear", "conv1d", "conv_transpose1d"])
@pytest.mark.parametrize(
    "fault", [lambda y: y.roll(1, -1), lambda y: y * float("nan"), _round_as_tf32]
)
def test_a_gpu_that_computes_wrongly_in_float32_is_refused(
    monkeypatch: pytest.MonkeyPatch, operation: str, fault: Fault
) -> None:
    right = getattr(torch.nn.functional, operation)
    assert usable_runtime(Runtime("cuda:0")) == Runtime("cuda:0")

    def wrong_in_float32(*args: object, **options: object) -> torch.Tensor:
        result: torch.Tensor = right(*args, **options)
        return fault(result) if result.dtype == torch.float32 else result

    monkeypatch.setattr(f"torch.nn.functional.{operation}", wrong_in_float32)
    with pytest.raises(DeviceError, match="device 'cuda:0' gives wrong results in float32"):
        usable_runtime(Runtime("cuda:0"))


@pytest.mark.usefixtures("_on_a_stand_in")
def test_a_gpu_without_kernels_for_it_is_an_error_of_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with")

    monkeypatch.setattr("torch.nn.functional.conv1d", none)
    with pytest.raises(DeviceError, match=r"'cuda:0' cannot compute: .* is available$"):
        usable_runtime(Runtime("cuda:0"))


def test_a_cpu_computes_in_ieee_float32() -> None:
    require_float32("cpu")


@pytest.mark.usefixtures("_on_a_stand_in")
def test_tf32_is_for_gpus_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"'cpu' cannot compute in tf32: it takes .* 8\.0$"):
        usable_runtime(Runtime("cpu", "tf32"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(UsageError, match="'cuda:0' cannot compute in tf32"):
        usable_runtime(Runtime("cuda:0", "tf32"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert usable_runtime(Runtime("cuda:0", "tf32")) == Runtime("cuda:0", "tf32")


def test_the_device_of_a_lone_file_under_torchrun_starts_no_process_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment_of(0, 1, 29_500).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("earzip.runtime.version", lambda _name: "2.13.0+cu130")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    monkeypatch.setattr("torch.empty", lambda *_, **__: None)
    assert choose_device("auto") == "cuda"
    assert not torch.distributed.is_initialized()
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert choose_device("auto") == "cpu"
