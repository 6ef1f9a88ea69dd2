"""Where the network runs, and how a run is spread over the devices."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from earzip.device import choose_device
from earzip.errors import UsageError


@pytest.mark.parametrize("name", ["meta", "mps", "cuda:", "cuda:-1", "cpu:0", "CPU", "cuda:99999"])
def test_other_devices_than_cpus_and_gpus_are_usage_errors(name):
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        choose_device(name)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_cpu_computes_in_every_precision(precision):
    assert choose_device("cpu", precision) == "cpu"


def test_a_precision_that_a_device_does_not_have_is_a_usage_error(monkeypatch):
    def not_implemented(*_: object) -> None:
        raise RuntimeError('"conv" not implemented for Half\nat somewhere')

    with pytest.raises(UsageError, match="'half', expected one of float32, bfloat16, float16"):
        choose_device("cpu", "half")
    with monkeypatch.context() as patched:
        # What autocast does where it does not know the type: it warns and leaves all in float32.
        patched.setattr("torch.autocast", lambda *_: nullcontext())
        with pytest.raises(UsageError, match=r"device 'cpu' cannot compute in bfloat16$"):
            choose_device("cpu", "bfloat16")
    monkeypatch.setattr("torch.nn.functional.conv1d", not_implemented)
    with pytest.raises(UsageError, match=r"cannot compute in float16: .* for Half$"):
        choose_device("cpu", "float16")
    assert choose_device("cpu", "float32") == "cpu"
