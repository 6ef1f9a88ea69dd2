"""What a process does for its own sake: when it looks for garbage, and what it does with memory."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
from importlib.metadata import version

import pytest
import torch

from earzip import runtime
from earzip.errors import DeviceError, SourceError, UsageError
from earzip.runtime import (
    Runtime,
    device_error,
    garbage_left,
    placements,
    tracks_at_once,
    usable_cores,
    use_device,
)


def test_garbage_is_looked_for_again_once_a_library_is_loaded() -> None:
    assert gc.isenabled()
    with garbage_left():
        assert not gc.isenabled()
        with garbage_left():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_who_looks_for_no_garbage_goes_on_so() -> None:
    gc.disable()
    try:
        with garbage_left():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(("keeping", "stays"), [("", "False"), ("keep_what_is_loaded()\n", "True")])
def test_what_is_loaded_is_garbage_to_nobody_where_the_process_is_our_own(
    keeping: str, stays: str
) -> None:
    program = (
        "import gc, weakref\n"
        "from earzip.runtime import garbage_left, keep_what_is_loaded\n"
        "class Loaded: pass\n"
        f"{keeping}"
        "with garbage_left():\n"
        "    loaded = Loaded()\n"
        "    loaded.itself, seen = loaded, weakref.ref(loaded)\n"
        "del loaded\n"
        "gc.collect()\n"
        "print(seen() is not None)\n"
        "new = Loaded()\n"
        "new.itself, seen = new, weakref.ref(new)\n"
        "del new\n"
        "gc.collect()\n"
        "print(seen() is not None)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [stays, "False"]


@pytest.mark.parametrize(
    ("build", "devices"), [("2.13.0+cpu", ["auto", "auto"]), ("2.13.0", ["cuda:0", "cuda:1"])]
)
def test_gpus_are_looked_for_in_builds_that_know_some(
    build: str, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "version", lambda _name: build)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    places = runtime.placements(Runtime("auto"), 2, n_jobs=5)
    assert [place.runtime.device for place in places] == devices


@pytest.mark.skipif(not version("torch").endswith("+cpu"), reason="this build knows GPUs")
def test_who_hands_out_files_to_processes_of_a_cpu_build_does_not_load_torch() -> None:
    program = (
        "import sys\n"
        "from earzip.runtime import Runtime, placements\n"
        "placements(Runtime('auto'), 2, 5)\n"
        "print('torch' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "False\n"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the option is of glibc")
def test_memory_of_one_array_serves_for_the_next() -> None:
    program = (
        "import resource\n"
        "from earzip.runtime import keep_freed_memory\n"
        "keep_freed_memory()\n"
        "def n_faults():\n"
        "    for _ in range(5): [bytearray(b'1') * (20 << 20) for _ in range(4)]\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "print(-n_faults() + n_faults())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 1000  # of 5 times 20,480 pages


def test_the_cap_of_16_cores_is_one_of_each_process(monkeypatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(128)), raising=False)
    monkeypatch.setattr("earzip.runtime.n_gpus", lambda: 8)
    places = placements(Runtime(), None, n_jobs=1000)
    assert [place.runtime.device for place in places] == [f"cuda:{i}" for i in range(8)]
    assert {place.runtime.threads for place in places} == {16}
    assert {tracks_at_once(place.runtime) for place in places} == {8}
    assert usable_cores() == 16
    assert [usable_cores(n) for n in (4, 32, 200)] == [16, 4, 1]


@pytest.mark.parametrize(
    ("devices", "n_gpus", "is_named"),
    [("auto", 2, False), ("cuda", 2, False), ("cuda:0,cuda:1", 2, True), ("auto", 0, True)],
)
def test_a_run_can_do_without_a_gpu_that_the_user_has_not_named(
    monkeypatch, devices, n_gpus, is_named
) -> None:
    monkeypatch.setattr("earzip.runtime.n_gpus", lambda: n_gpus)
    assert {p.is_named for p in placements(Runtime(devices), None, n_jobs=9)} == {is_named}


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("an error of a type that says all"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("cuFFT error: CUFFT_INTERNAL_ERROR"),
        RuntimeError("CUDA driver error: unknown error"),
        RuntimeError("no kernel image is available for execution on the device"),
        DeviceError("the GPU gave no answer"),
    ],
)
def test_errors_of_a_gpu_are_known_as_such(error) -> None:
    found = device_error(error)
    assert isinstance(found, DeviceError)
    assert found.message == str(error).partition("\n")[0]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] can't allocate memory"),
        ValueError("CUDA error: of a tag"),
        SourceError("CUDA error: the name of a track"),
        MemoryError(),
    ],
)
def test_other_errors_are_not_taken_for_those_of_a_gpu(error) -> None:
    assert device_error(error) is None


def test_a_thread_works_on_the_gpu_that_it_is_given(torch_cuda) -> None:
    use_device("cpu")
    use_device("auto")
    use_device("cuda")  # the one that there is for this process
    assert torch_cuda.calls == []
    use_device("cuda:3")
    assert torch_cuda.current() == 3


def test_a_gpu_that_can_not_be_used_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError, match="device 'cuda:3' cannot be used: "):
        use_device("cuda:3")
