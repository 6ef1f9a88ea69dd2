"""How a training run takes its devices and processes, with stand-ins for GPUs."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import DistributedType
from torch.distributed import distributed_c10d

from earzip.errors import DeviceError, EarzipError, UsageError
from earzip.training import processes
from earzip.training.processes import (
    ANSWER,
    errors_told,
    join_processes,
    leave_processes,
    make_accelerator,
)
from tests.earzip.training.conftest import SPECTRAL, load


def with_an_accelerator(
    monkeypatch: pytest.MonkeyPatch, device: str, kind: DistributedType = DistributedType.NO
) -> None:
    def made(**_options: object) -> Any:
        return SimpleNamespace(device=torch.device(device), distributed_type=kind)

    monkeypatch.setattr(processes, "Accelerator", made)


def test_a_device_that_accelerate_refuses_bfloat16_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of_an_old_gpu(**_options: object) -> None:
        raise ValueError("bf16 mixed precision requires PyTorch >= 1.10 and a supported device.")

    monkeypatch.setattr("earzip.training.processes.Accelerator", of_an_old_gpu)
    with pytest.raises(UsageError, match=r"cannot train in bfloat16: .* a supported device"):
        make_accelerator("bfloat16")
    with pytest.raises(ValueError, match="bf16"):  # there it is no such thing
        make_accelerator("float32")


def test_a_gpu_that_emulates_bfloat16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch says of each GPU that it can, and accelerate asks PyTorch."""
    with_an_accelerator(monkeypatch, "cuda:0")
    asked = []

    def is_supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    with pytest.raises(UsageError, match=r"this GPU cannot train in bfloat16.* 8\.0"):
        make_accelerator("bfloat16")
    make_accelerator("float32")
    assert asked == [False]


def test_gpus_compute_float32_as_archives_do() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.deterministic = False
    make_accelerator("float32")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.deterministic


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.DEEPSPEED])
def test_a_launcher_that_splits_the_network_is_refused(
    kind: DistributedType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_an_accelerator(monkeypatch, "cpu", kind)
    with pytest.raises(UsageError, match=f"set to {kind.value}, which splits the network"):
        make_accelerator("float32")


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earzip.runtime.version", lambda _name: "2.13.0+cu130")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match="process 3 of this machine has no GPU, for there are 2"):
        join_processes(1)


def test_accelerates_own_word_for_the_cpu_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert join_processes(1).device == "cpu"
    assert make_accelerator("bfloat16").device.type == "cpu"


def test_a_process_among_others_has_its_threads_and_waits_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_PORT": free.getsockname()[1], "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**place, "RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("OMP_NUM_THREADS", "0")  # as good as unset: accelerate sets a number
    with pytest.warns(UserWarning, match="OMP_NUM_THREADS"):
        join_processes(5)
    try:
        assert torch.get_num_threads() == 5
        group = distributed_c10d._get_default_group()
        backend: Any = group._get_backend(torch.device("cpu"))
        assert backend.options._timeout == ANSWER
    finally:
        leave_processes()
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("n_processes", "changes", "advice"),
    [
        (1, {}, "for 12 crops at once: split the batch_size of 12 into more passes .*=2"),
        (2, {"accumulation": 2}, "for 3 crops at once: split the batch_size of 12 .*=6"),
        (4, {"accumulation": 3}, "for a crop of 48 frames: it takes a new run with a smaller"),
    ],
)
def test_memory_that_is_too_small_is_told_with_what_helps(
    n_processes: int, changes: dict[str, int], advice: str
) -> None:
    config = load(SPECTRAL, batch_size=12, **changes)
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ):
        with (
            pytest.raises(DeviceError, match=f"^GPU memory is too small {advice}"),
            errors_told(config, n_processes),
        ):
            raise error


def test_other_errors_of_processes_and_gpus_are_told_in_a_line() -> None:
    with (
        pytest.raises(EarzipError, match=r"another process of this run has ended.*10 minutes"),
        errors_told(load(SPECTRAL), 2),
    ):
        raise torch.distributed.DistBackendError("NCCL communicator was aborted on rank 1.")
    with (
        pytest.raises(DeviceError, match=r"^CUDA error: an illegal memory .*; run again to go on"),
        errors_told(load(SPECTRAL), 2),
    ):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with …")
    with pytest.raises(RuntimeError, match="a mistake of ours"), errors_told(load(SPECTRAL), 2):
        raise RuntimeError("a mistake of ours")
