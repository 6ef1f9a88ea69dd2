"""Whole runs of `earzip compress` on a device, for `benchmarks.gpu`: their time, and what a kill does."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from earzip.formats.geometry import SAMPLE_RATE

Sound = NDArray[np.float32]

N_FILES = 8


def compressed(
    work: Path, device: str, model: str, seconds: float, sound: Callable[[float, int], Sound]
) -> dict[str, Any]:
    """Return what a whole `compress` of `N_FILES` tracks of so many seconds takes."""
    music = work / "music"
    music.mkdir()
    for i in range(N_FILES):
        soundfile.write(music / f"{i}.flac", sound(seconds, i).T, SAMPLE_RATE)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    run = subprocess.run(command(work, device, model), check=False)
    elapsed_s = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "model": model,
        "exit_code": run.returncode,
        "sound_s": N_FILES * seconds,
        "elapsed_s": round(elapsed_s, 2),
        "cpu_s": round(cpu_s, 2),
        "cores_used": round(cpu_s / elapsed_s, 2),
    }


def command(work: Path, device: str, model: str, *options: str) -> list[str]:
    earzip = [sys.executable, "-m", "earzip", "compress", str(work / "music")]
    return [*earzip, "-o", str(work / "out"), "--devices", device, "--model", model, *options]


def killed(work: Path, device: str, model: str) -> dict[str, Any]:
    """Return what became of a run of which one process was killed, and of the next run."""
    shutil.rmtree(work / "out")
    run = subprocess.Popen(command(work, device, model, "--processes", "2"))
    victim = None
    deadline = time.monotonic() + 300
    while run.poll() is None and victim is None and time.monotonic() < deadline:
        victim = next(iter(workers(run.pid)), None)
        time.sleep(0.02)
    while run.poll() is None and not list((work / "out").rglob("*.earz")):
        time.sleep(0.02)  # until they work
    if victim is not None and run.poll() is None:
        os.kill(victim, signal.SIGKILL)
    first = run.wait(600)
    second = subprocess.run(command(work, device, model), check=False).returncode
    n_archives = len(list((work / "out").rglob("*.earz")))
    return {
        "killed": victim is not None,
        "exit_code": first,
        "next_exit_code": second,
        "complete": n_archives == N_FILES and second == 0,
    }


def workers(pid: int) -> list[int]:
    """Return the children of a process that are workers, not Python's own helper."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    found = []
    for child in children:
        words = Path(f"/proc/{child}/cmdline")
        if words.exists() and b"spawn_main" in words.read_bytes():
            found.append(int(child))
    return found


def waits_for(network_share: float, cores_share: float) -> str:
    """Return what a run waits for most, by the shares of time that network and cores are busy."""
    if max(network_share, cores_share) < 0.5:
        return "starting, files and the interpreter"
    return "the network" if network_share > cores_share else "the cores of the CPU"
