"""``earzip latents``: archives into a file each, of safetensors or npy."""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import load_file

from earzip import read_info
from earzip.transcode import latents
from tests.cli.conftest import write_sound


def test_latents_are_written_as_one_float32_array(earzip, tiny_model, tmp_path, monkeypatch):
    song = write_sound(tmp_path / "in" / "a.wav")
    earzip("compress", "--model", tiny_model, song)
    monkeypatch.delenv("EARZIP_MODELS")
    outcome = earzip("latents", tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert outcome.exit_code == 0
    header = read_info(f"{song}.earz").header
    record = outcome.records[0]
    assert (record["n_latents"], record["n_frames"]) == (header.model.n_latents, header.n_frames)
    (array,) = load_file(tmp_path / "out" / "a.wav.safetensors").values()
    assert array.dtype == np.float32
    assert array.shape == (header.model.n_latents, header.n_frames)


def test_an_existing_file_is_not_replaced_without_force(earzip, tiny_model, tmp_path):
    song = write_sound(tmp_path / "a.wav")
    earzip("compress", "--model", tiny_model, song)
    target = tmp_path / "x.safetensors"
    target.write_bytes(b"precious")
    assert earzip("latents", f"{song}.earz", "-o", target).exit_code == 3
    assert target.read_bytes() == b"precious"
    assert earzip("latents", f"{song}.earz", "-o", target, "--force").exit_code == 0


def test_float16_is_safetensors_too(earzip, tiny_model, tmp_path):
    song = write_sound(tmp_path / "a.wav")
    earzip("compress", "--model", tiny_model, song)
    for dtype in ("float32", "float16"):
        target = tmp_path / f"{dtype}.safetensors"
        assert earzip("latents", f"{song}.earz", "-o", target, "--dtype", dtype).exit_code == 0
        assert earzip("latents", f"{song}.earz", "-o", target, "--dtype", dtype).exit_code == 0
    whole, half = (
        load_file(tmp_path / f"{dtype}.safetensors")["latents"] for dtype in ("float32", "float16")
    )
    np.testing.assert_array_equal(half, whole.astype(np.float16))
    assert half.dtype == np.float16


def test_npy_has_facts_beside_it_and_is_written_once(earzip, tiny_model, tmp_path):
    song = write_sound(tmp_path / "in" / "a.wav")
    earzip("compress", "--model", tiny_model, song)
    arguments = ("latents", tmp_path / "in", "-o", tmp_path / "out", "--format", "npy", "--json")
    assert [earzip(*arguments).records[0]["status"] for _ in range(2)] == ["written", "up_to_date"]
    array, facts = tmp_path / "out" / "a.wav.npy", tmp_path / "out" / "a.wav.json"
    assert np.load(array).shape == (52, json.loads(facts.read_text())["n_frames"])
    facts.write_text("precious")
    assert earzip(*arguments).exit_code == 3
    assert facts.read_text() == "precious"
    array.unlink()
    assert earzip(*arguments, "--force").exit_code == 0
    assert json.loads(facts.read_text())["name"] == "a.wav"


def test_latents_too_large_for_float16_are_refused(earzip, tiny_model, tmp_path, monkeypatch):
    song = write_sound(tmp_path / "a.wav")
    earzip("compress", "--model", tiny_model, song)
    read = latents.read_segment
    monkeypatch.setattr(latents, "read_segment", lambda *args: read(*args) * np.float32(1e6))
    target = tmp_path / "x.safetensors"
    outcome = earzip("latents", f"{song}.earz", "-o", target, "--dtype", "float16")
    assert outcome.exit_code == 3
    assert "has latents beyond 65504, the most that float16 holds" in outcome.stderr
    assert not target.exists()
