from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from earzip import native
from earzip.errors import DeviceError, EarzipError, UsageError
from earzip.models import devices
from earzip.models.spec import ModelSpec
from earzip.models.store import list_models
from earzip.runtime import Runtime
from tests.conftest import MODELS


@pytest.fixture(autouse=True)
def _without_mini_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is counted by computing."""

    def found() -> tuple[list[ModelSpec], list[EarzipError]]:
        specs, problems = list_models()
        return [spec for spec in specs if spec.name != "mini-2"], problems

    monkeypatch.setattr("earzip.cli.devices.list_models", found)


def test_the_cpu_is_listed_with_what_is_used_of_it(earzip, tiny_model):
    outcome = earzip("devices")
    assert outcome.exit_code == 0
    lines = outcome.stdout.splitlines()
    assert lines[0].startswith("cpu  ")
    said = dict(line.strip().split("  ", 1) for line in lines[1:5])
    assert list(said) == ["instructions", "decodes in", "loops in C", "packed layers"]
    heading = lines.index(next(line for line in lines if line.startswith("model ")))
    rows = [line.split()[:2] for line in lines[heading + 1 :]]
    assert ["tiny", "float32"] in rows
    assert ["mini", "bfloat16"] in rows
    assert not [row for row in rows if "tf32" in row]


def test_json_has_the_same_for_programs(earzip, tiny_model):
    found = json.loads(earzip("devices", "--json").stdout)
    assert set(found) == {"torch", "cpu", "gpus", "refused", "models"}
    assert found["cpu"]["cores"] >= 1
    tiny = next(row for row in found["models"] if row["model"] == "tiny")
    assert set(tiny) == {"model", "precision", "weights_bytes", "window_bytes", "windows"}
    assert tiny["weights_bytes"] > 10_000


def test_what_is_not_used_is_named_with_the_reason(earzip, tiny_model, monkeypatch):
    monkeypatch.setattr(devices, "refused_devices", lambda: ["no mps device is used: reason"])
    monkeypatch.setattr(devices, "packed", lambda network, _: network)
    monkeypatch.setattr(native, "LIBRARY", None)
    monkeypatch.setenv("EARZIP_NATIVE", "0")
    said = earzip("devices").stdout
    assert "not used  no mps device is used: reason" in said
    assert "loops in C     not used: EARZIP_NATIVE is 0" in said
    assert "packed layers  not used: this PyTorch lacks these layers" in said
    monkeypatch.delenv("EARZIP_NATIVE")
    monkeypatch.setattr(native, "find_spec", lambda _: None)
    assert "they were not compiled" in native.absence()
    monkeypatch.setattr(native, "find_spec", lambda _: SimpleNamespace(origin="x"))
    assert "another version" in native.absence()


def test_a_model_with_damaged_weights_is_named_and_left_out(earzip, tmp_path, monkeypatch):
    for name in ("tiny.json", "tiny.safetensors", "tiny-levels.json"):
        shutil.copy(MODELS / name, tmp_path)
    (tmp_path / "tiny-levels.safetensors").write_bytes(b"damage")
    monkeypatch.setenv("EARZIP_MODELS", str(tmp_path))
    outcome = earzip("devices")
    assert outcome.exit_code == 0
    assert "tiny-levels.safetensors" in outcome.stderr
    assert "tiny  " in outcome.stdout
    assert "tiny-levels" not in outcome.stdout


@pytest.fixture
def _three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three cards: one that can do it all, one that is old, one that computes wrongly."""

    def usable(runtime: Runtime) -> Runtime:
        if runtime.device == "cuda:2":
            raise DeviceError("device 'cuda:2' gives wrong results in float32")
        if runtime.device == "cuda:1" and runtime.precision != "float32":
            raise UsageError("cannot")
        return runtime

    def properties(i: int) -> SimpleNamespace:
        return SimpleNamespace(name=f"Card {i}", major=9 - i, minor=0)

    monkeypatch.setattr(devices, "usable_runtime", usable)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1_200_000_000, 8_000_000_000))


@pytest.mark.usefixtures("_three_gpus")
def test_gpus_are_listed_with_their_memory_and_what_fits(earzip, tiny_model):
    outcome = earzip("devices")
    lines = outcome.stdout.splitlines()
    assert (
        "cuda:0  Card 0, 8 GB, 1.2 GB free, compute capability 9.0; computes in float32, bfloat16, "
        "float16, tf32" in lines
    )
    assert any(line.startswith("cuda:1  Card 1") and line.endswith("in float32") for line in lines)
    assert "cuda:2  Card 2, not used: device 'cuda:2' gives wrong results in float32" in lines
    rows = {tuple(line.split()[:2]): line.split()[-2:] for line in lines}
    assert rows["tiny", "float32"] == ["16", "16"]
    assert rows["tiny", "tf32"] == ["16", "–"]
    assert rows["mini", "float32"] == [
        "0",
        "0",
    ]  # weights and a gigabyte for libraries leave nothing
    assert outcome.exit_code == 0
