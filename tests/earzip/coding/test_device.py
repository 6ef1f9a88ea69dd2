"""Where the network runs, and how a run is spread over the devices."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch

from earzip.coding.device import choose_device, usable_runtime
from earzip.errors import UsageError
from earzip.runtime import Runtime
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


def test_the_device_of_a_lone_file_under_torchrun_starts_no_process_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment_of(0, 1, 29_500).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    monkeypatch.setattr("torch.empty", lambda *_, **__: None)
    assert choose_device("auto") == "cuda"
    assert not torch.distributed.is_initialized()
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert choose_device("auto") == "cpu"
