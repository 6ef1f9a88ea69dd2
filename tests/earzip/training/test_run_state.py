"""Weights as they are written for use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from earzip.errors import ModelDamagedError
from earzip.model.networks import build_network
from earzip.training.run_state import save_weights
from tests.earzip.training.conftest import TRANSFORM


def test_levels_are_written_exactly_and_matrices_in_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network("transform", TRANSFORM["model"])
    state = network.state_dict()
    generator = torch.Generator().manual_seed(1)
    for name in ("rms", "fine_rms", "log_step"):
        state[name].copy_(torch.randn(state[name].shape, generator=generator))
    save_weights(network, tmp_path / "w.safetensors")
    written = load_file(tmp_path / "w.safetensors")
    assert written.keys() == state.keys()
    for name in ("rms", "fine_rms", "log_step", "log_scale", "envelope_mean"):
        assert torch.equal(written[name], state[name]), name
    for name in ("encoder_in.weight", "envelope_analysis.weight"):
        assert torch.equal(written[name], state[name].half()), name


def test_weights_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    network = build_network("transform", TRANSFORM["model"])
    network.state_dict()["encoder_in.weight"][0, 0] = 1e5
    with pytest.raises(ModelDamagedError, match=r"encoder_in\.weight is not finite in float16"):
        save_weights(network, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())
