"""Networks whose layers are packed for a CPU compute what they did before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from earzip.network import packed as module
from earzip.network.packed import PackedLinear, packed
from earzip.network.spectral import ConvNeXtBlock


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(24, 32), ConvNeXtBlock(32, 3, 7, 2), nn.Linear(32, 5, bias=False)
    )


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_a_packed_network_computes_the_same(dtype, error):
    plain = network()
    x = torch.randn(1, 40, 24)
    with torch.inference_mode():
        fast = packed(plain, dtype)
        assert sum(isinstance(each, PackedLinear) for each in fast.modules()) == 4
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            found = fast(x).float()
        wanted = plain(x)
    assert (found - wanted).abs().max() < error * wanted.abs().max()
    assert type(plain[0]) is nn.Linear  # the network that was given stays as it is


def test_results_do_not_depend_on_what_is_computed_before():
    with torch.inference_mode():
        fast = packed(network(), torch.float32)
        x = torch.randn(1, 40, 24)
        first = fast(x)
        fast(torch.randn(1, 7, 24))
        assert torch.equal(fast(x), first)


def _missing(*_: object) -> None:
    raise RuntimeError("no such operator")


def _without_bias(x, weight, *_):
    return x @ weight.t()


@pytest.mark.parametrize("broken", [_missing, _without_bias])
def test_where_the_operator_is_missing_or_wrong_the_network_stays(monkeypatch, broken):
    class Operators:
        _reorder_linear_weight = staticmethod(lambda weight, _: weight)
        _linear_pointwise = staticmethod(broken)

    monkeypatch.setattr(module.torch.ops, "mkldnn", Operators, raising=False)
    plain = network()
    assert packed(plain, torch.float32) is plain
