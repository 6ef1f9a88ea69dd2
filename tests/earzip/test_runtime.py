"""What a process does for its own sake: when it looks for garbage, and what it does with memory."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
from importlib.metadata import version

import pytest

from earzip import runtime
from earzip.runtime import Runtime, garbage_left


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
