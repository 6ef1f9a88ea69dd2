"""``earzip latents``: archives into safetensors."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import load_file

from earzip import read_info
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
    (latents,) = load_file(tmp_path / "out" / "a.wav.safetensors").values()
    assert latents.dtype == np.float32
    assert latents.shape == (header.model.n_latents, header.n_frames)


def test_an_existing_file_is_not_replaced_without_force(earzip, tiny_model, tmp_path):
    song = write_sound(tmp_path / "a.wav")
    earzip("compress", "--model", tiny_model, song)
    target = tmp_path / "x.safetensors"
    target.write_bytes(b"precious")
    assert earzip("latents", f"{song}.earz", "-o", target).exit_code == 3
    assert target.read_bytes() == b"precious"
    assert earzip("latents", f"{song}.earz", "-o", target, "--force").exit_code == 0
