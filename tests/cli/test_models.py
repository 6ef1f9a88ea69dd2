"""``earzip models``: what is installed, and whether it is whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from earzip.models.store import find_model
from earzip.options import QUALITIES


@pytest.fixture
def own_models(tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of models that a test may damage; it holds `tiny`."""
    shutil.copytree(os.environ["EARZIP_MODELS"], tmp_path / "models")
    monkeypatch.setenv("EARZIP_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_models_are_listed_by_name(earzip, own_models):
    outcome = earzip("models", "list")
    assert outcome.exit_code == 0
    sha256 = find_model("tiny").sha256
    assert any(line.split()[:2] == ["tiny", sha256[:16]] for line in outcome.stdout.splitlines())


def test_the_list_as_json_has_the_whole_digest(earzip, own_models):
    tiny = next(m for m in earzip("models", "list", "--json").records if m["name"] == "tiny")
    assert tiny["sha256"] == find_model("tiny").sha256
    assert tiny["path"] == str(own_models / "tiny.json")


def test_the_list_tells_the_rate_of_each_quality(earzip, own_models):
    outcome = earzip("models", "list")
    measured = {name: preset.kbps for name, preset in find_model("mini").presets.items()}
    listed = ", ".join(f"{name} {kbps:.1f}" for name, kbps in measured.items())
    assert f"  3224 latents  {listed} kbps  " in outcome.stdout
    assert "  52 latents  low ?, medium ?, high ? kbps  " in outcome.stdout
    rates = {m["name"]: m["kbps"] for m in earzip("models", "list", "--json").records}
    assert rates["mini"] == measured
    assert rates["tiny"] == {"low": None, "medium": None, "high": None}


def test_whole_weights_are_intact(earzip, own_models):
    outcome = earzip("models", "verify", "tiny", "--json")
    assert outcome.exit_code == 0
    assert outcome.statuses() == {"tiny.safetensors": "intact"}


def test_damaged_weights_end_with_4(earzip, own_models):
    weights = own_models / "tiny.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    outcome = earzip("models", "verify", "tiny")
    assert outcome.exit_code == 4
    assert outcome.stderr.startswith(f"earzip: damaged: {weights}: weights have SHA-256 ")


def test_missing_weights_end_with_3(earzip, own_models):
    (own_models / "tiny.safetensors").unlink()
    assert earzip("models", "verify").exit_code == 3


def test_a_file_that_is_no_model_is_named_and_the_others_are_listed(earzip, own_models):
    (own_models / "a.json").write_text("{}")
    outcome = earzip("models", "list", "--json")
    assert outcome.exit_code == 3
    assert "tiny" in [model["name"] for model in outcome.records]
    assert outcome.stderr.startswith(f"earzip: {own_models / 'a.json'}: not a model specification")


def test_a_file_that_is_no_model_is_damage_when_all_are_checked(earzip, own_models):
    (own_models / "a.json").write_text("{}")
    assert earzip("models", "verify", "tiny").exit_code == 0
    outcome = earzip("models", "verify", "--json")
    assert outcome.exit_code == 4
    assert outcome.statuses()["a.json"] == "damaged"
    assert outcome.statuses()["tiny.safetensors"] == "intact"


def test_a_name_that_is_not_installed_is_fatal(earzip, own_models):
    assert earzip("models", "verify", "none").exit_code == 1


PUBLISHED = Path(__file__).parents[1] / "data" / "published"


def test_a_checkpoint_is_imported_used_and_exported(earzip, music, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    checkpoint, config = (PUBLISHED / f"tiny_ear_vae.{e}" for e in ("safetensors", "config.json"))
    (music / "album" / "text.flac").unlink()
    imported = earzip("models", "import", checkpoint, "--config", config, "--music", music)
    assert imported.exit_code == 0
    assert imported.stdout.startswith("tiny-ear-vae  ")
    assert "64 latents" in imported.stdout
    rates = find_model("tiny-ear-vae").presets
    shown = ", ".join(f"{name} {rates[name].kbps:.1f}" for name in QUALITIES)
    assert f"  {shown} kbps  " in imported.stdout

    model = ("--model", "tiny-ear-vae")
    archives = earzip("compress", music / "one.flac", "-o", tmp_path / "one.flac.earz", *model)
    assert archives.exit_code == 0
    reduced = ("--precision", "bfloat16")
    alone = ("models", "calibrate", "tiny-ear-vae", "--music", music / "one.flac")
    calibrated = earzip(*alone, *reduced)
    assert calibrated.exit_code == 0
    assert " kbps  " in calibrated.stdout
    steps = find_model("tiny-ear-vae").step_exponents
    assert earzip(*alone).exit_code == 0
    # As near as half precision is: most steps are the same.
    pairs = zip(steps, find_model("tiny-ear-vae").step_exponents, strict=True)
    assert max(abs(a - b) for a, b in pairs) <= 1
    exported = earzip("models", "export", "tiny-ear-vae", "-o", tmp_path / "kept")
    assert exported.exit_code == 0
    assert sorted(exported.stdout.split()) == sorted(map(str, (tmp_path / "kept").iterdir()))

    shutil.rmtree(tmp_path / "home")
    restored = earzip("restore", tmp_path / "one.flac.earz", "-o", tmp_path / "back.flac")
    assert restored.exit_code == 3
    assert "needs model 'tiny-ear-vae' with SHA-256" in restored.stderr
    monkeypatch.setenv("EARZIP_MODELS", str(tmp_path / "kept"))
    assert (
        earzip("restore", tmp_path / "one.flac.earz", "-o", tmp_path / "back.flac").exit_code == 0
    )


@pytest.mark.parametrize(
    ("arguments", "message", "exit_code"),
    [
        (["nowhere.pyt"], "nowhere.pyt: cannot be read as a checkpoint: ", 1),
        (["--name", "a/b", "x.pyt"], "'a/b' cannot name a model", 2),
    ],
)
def test_what_cannot_be_imported_is_named(earzip, music, arguments, message, exit_code):
    outcome = earzip("models", "import", "--music", music, *arguments)
    assert outcome.exit_code == exit_code
    assert message in outcome.stderr
