"""The state of a run, and weights as they are written for use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from earzip.errors import ModelDamagedError
from earzip.network.networks import build_network
from earzip.training.run_state import RunState, load_state, save_state, save_weights
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


def test_an_optimiser_does_not_take_over_what_it_knew_of_other_parameters(tmp_path: Path) -> None:
    weight, bias = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(2))
    (weight.sum() + bias.sum()).backward()
    before, after = torch.optim.AdamW([weight, bias]), torch.optim.AdamW([bias, weight])
    before.step()
    save_state(RunState({}, {"optimiser": before}, {}), tmp_path / "state")
    load_state(RunState({}, {"optimiser": before}, {}), tmp_path / "state")
    with pytest.raises(ModelDamagedError, match=r"parameter 0 was \[2, 3\], not \[2\]"):
        load_state(RunState({}, {"optimiser": after}, {}), tmp_path / "state")
