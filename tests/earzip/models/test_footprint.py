"""Memory counted over tensors without any is that of computing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from earzip.models import footprint as module
from earzip.models.footprint import Footprint, footprint, peak_of
from earzip.models.store import find_model

MB = 1_000_000

MEASURED = """
import torch
from earzip.models.footprint import footprint
from earzip.models.store import find_model
from earzip.network import native
from earzip.network.networks import build_network, ready_to_run

spec = find_model("mini")
torch.set_num_threads(1)  # as a window is computed; each thread has memory of its own
network = build_network(spec.architecture, spec.config)
ready_to_run(network, network.state_dict())
frames = spec.geometry["core"] + 2 * spec.geometry["decoder_context"]

def resident(which):
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(which))

with torch.inference_mode(), native.left_out():
    network.decode(torch.randn(1, spec.n_latents, 4))
    latents = torch.randn(1, spec.n_latents, frames)
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # the greatest from here on
    before = resident("VmRSS")
    network.decode(latents)
print(latents.nbytes + resident("VmHWM") - before, footprint(spec, "float32").window)
"""


def test_the_most_at_one_time_is_counted() -> None:
    x = torch.zeros(1000)

    def three_at_once(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        y = y * 2  # the first is there until this is done
        return y + 1

    assert peak_of(three_at_once, x) == 3 * x.nbytes
    assert peak_of(lambda x: x.add_(1).view(10, 100), x.clone()) == x.nbytes


@pytest.mark.parametrize("name", ["tiny", "tiny-transform"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_counting_without_computing_gives_the_same(
    tiny_model: str, monkeypatch: pytest.MonkeyPatch, name: str, precision: str
) -> None:
    spec = find_model(name)
    counted = footprint(spec, precision)

    def not_without_values(*_: object) -> None:
        raise module.DataDependentOutputException("aten.item")  # type: ignore[arg-type]

    monkeypatch.setattr(module, "FakeTensorMode", not_without_values)
    assert footprint(spec, precision) == counted


def test_a_network_that_asks_for_values_computes(tiny_model: str) -> None:
    assert footprint(find_model("tiny-levels"), "float32").window > 10_000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="not on Linux")
def test_what_is_counted_is_what_a_cpu_takes() -> None:
    # Without pages that the C library keeps of arrays that are gone, as many as it happens to.
    exactly = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    run = subprocess.run(
        [sys.executable, "-c", MEASURED],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **exactly, "MALLOC_ARENA_MAX": "1"},
    )
    measured, counted = map(int, run.stdout.split())
    assert counted == pytest.approx(measured, rel=0.25)


def test_windows_are_halved_until_they_fit() -> None:
    takes = Footprint(weights=600 * MB, window=700 * MB)
    sizes = {gb: takes.batch_in(gb * 1000 * MB) for gb in (80, 12, 8, 6, 4, 2)}
    assert sizes == {80: 16, 12: 8, 8: 8, 6: 4, 4: 2, 2: 0}
