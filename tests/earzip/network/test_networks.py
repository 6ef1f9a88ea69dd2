"""Networks of every architecture, before their weights are set."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from earzip.models.trained import published_dimensions
from earzip.network.networks import WithoutDrawing, build_network
from tests.earzip.network.test_ear import TINY as EAR
from tests.earzip.network.test_level_vae import SMALL as LEVELS
from tests.earzip.network.test_spectral import SMALL as SPECTRAL
from tests.earzip.network.test_transform import SMALL as TRANSFORM

NETWORKS = {
    "ear": published_dimensions(EAR),
    "levels": LEVELS,
    "spectral": SPECTRAL,
    "transform": TRANSFORM,
}


@pytest.mark.parametrize("architecture", sorted(NETWORKS))
def test_no_weight_is_drawn_where_all_are_set_later(architecture: str) -> None:
    config: dict[str, Any] = NETWORKS[architecture].to_json()
    before = torch.get_rng_state()
    with WithoutDrawing():
        network = build_network(architecture, config)
    assert torch.equal(torch.get_rng_state(), before)
    drawn = build_network(architecture, config)
    assert not torch.equal(torch.get_rng_state(), before)
    kept, expected = dict(network.named_buffers()), dict(drawn.named_buffers())
    assert kept.keys() == expected.keys()
    for name, buffer in expected.items():
        torch.testing.assert_close(kept[name], buffer, rtol=0, atol=0, msg=name)
