"""Transforms and levels in C give what tensors give: to the bit where archives depend on it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from earzip.native import LIBRARY, array_of
from earzip.network import drawing, levels, native, short_transform
from earzip.network.config import LevelConfig
from earzip.network.level_vae import LevelVae
from earzip.network.mdct import Mdct
from earzip.network.switched import SwitchedMdct

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the loops in C are not compiled here")

SMALL = LevelConfig(n_bins=1600, width=16, decoder_depth=1, encoder_width=16, encoder_depth=1)


def test_loops_take_arrays_and_tensors_of_their_type_without_gaps_alone():
    floats = array_of("float32")
    right = torch.zeros(4, 3)
    assert floats.from_param(right).value == right.data_ptr()
    assert floats.from_param(right.numpy()).value == right.data_ptr()
    for wrong in (right.double(), right.to(torch.complex64), right.t(), right[:, :2]):
        for given in (wrong, wrong.numpy()):
            with pytest.raises(TypeError, match="expected float32 without gaps"):
                floats.from_param(given)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def strokes(n_frames: int) -> Tensor:
    """Steady noise, then strokes of it, ``[1, 2, n_frames · 2048]``."""
    t = torch.arange(n_frames * 2048)
    loudness = torch.where(t < len(t) // 2, 1.0, torch.exp(-(t % 9000) / 800.0))
    return 0.2 * noise(1, 2, len(t)) * loudness


@torch.inference_mode()
def both_ways(compute) -> tuple:
    """Return what ``compute`` returns in C, and what it does on tensors."""
    in_c = compute()
    with native.left_out():
        return in_c, compute()


@pytest.mark.parametrize("n_bins", [4, 32, 256, 512, 2048])
@pytest.mark.parametrize("n_frames", [1, 2, 9])
def test_an_mdct_and_its_inverse_are_the_same_to_the_bit(n_bins, n_frames):
    mdct, x = Mdct(n_bins), noise(1, 2, n_bins * n_frames)
    in_c, on_tensors = both_ways(lambda: mdct(x))
    assert in_c.shape == (1, 2, n_frames, n_bins)
    assert torch.equal(in_c, on_tensors)
    assert torch.equal(*both_ways(lambda: mdct.inverse(on_tensors)))


@pytest.mark.parametrize("pattern", ["0000000", "1111111", "0100110", "1010001"])
def test_a_switched_mdct_is_the_same_to_the_bit(pattern):
    mdct, x = SwitchedMdct(2048, 256), noise(1, 2, 7 * 2048)
    is_short = torch.tensor([[c == "1" for c in pattern]])
    in_c, on_tensors = both_ways(lambda: mdct(x, is_short))
    assert torch.equal(in_c, on_tensors)
    cut = on_tensors[..., :1600]  # as networks have it
    sound_in_c, sound = both_ways(lambda: mdct.inverse(cut, is_short))
    torch.testing.assert_close(sound_in_c, sound, atol=1e-6, rtol=0)


def test_what_is_measured_is_the_same_to_the_bit():
    transform, x = short_transform.ShortTransform(), strokes(12)
    in_c, on_tensors = both_ways(lambda: levels.measure(x, 16, transform))
    assert on_tensors.course.is_attack.any()
    assert not on_tensors.course.is_attack.all()
    for mine, theirs in zip(in_c[:4], on_tensors[:4], strict=True):
        assert torch.equal(mine, theirs)
    for name in ("course", "onset"):
        for mine, theirs in zip(getattr(in_c, name), getattr(on_tensors, name), strict=True):
            assert torch.equal(mine, theirs)


def test_the_latents_of_a_network_are_the_same_to_the_bit():
    torch.manual_seed(0)
    vae, x = LevelVae(SMALL).eval(), strokes(12)
    in_c, on_tensors = both_ways(lambda: vae.encode(x).mean)
    assert torch.equal(in_c, on_tensors)
    assert in_c[0, SMALL.rest_slice("short").start - 1].isfinite().all()


def test_the_sound_of_a_network_is_the_same_but_for_rounding():
    torch.manual_seed(0)
    vae, x = LevelVae(SMALL).eval(), strokes(12)
    with torch.inference_mode():
        latents = vae.encode(x).mean.round()
    in_c, on_tensors = both_ways(lambda: vae.decode(latents))
    error = (in_c - on_tensors).square().mean() / on_tensors.square().mean()
    assert 0 < error < 1e-11  # −110 dB


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e3])
def test_gates_and_features_are_the_same_but_for_rounding(scale):
    fine, gates = scale * noise(1, 2, 8, 512), 6 * noise(1, 8, 2, 512, seed=1)
    fine[..., 3] = 0
    rms, step = noise(2, 512, seed=2).abs() + 0.1, noise(2, 1600, seed=3).abs()
    edges = torch.tensor(levels.fine_edges(512))
    bands = drawing.FineBands(edges, short_transform.band_matrix(edges.tolist(), 512))
    for compute in (
        lambda: drawing.features(fine, 2),
        lambda: drawing.open_coefficients(fine, gates, rms, step, 2048, bands),
        lambda: drawing.shape_energies(gates, rms, bands),
    ):
        in_c, on_tensors = both_ways(compute)
        pairs = (
            zip(in_c, on_tensors, strict=True) if isinstance(in_c, tuple) else [(in_c, on_tensors)]
        )
        for mine, theirs in pairs:
            torch.testing.assert_close(mine, theirs, rtol=2e-5, atol=1e-20)
    amplitudes = noise(1, 2, 8, short_transform.N_LEVELS, seed=4).abs()
    drawn = both_ways(lambda: drawing.with_drawn(fine.clone(), gates, rms, amplitudes, bands))
    torch.testing.assert_close(*drawn, rtol=1e-5, atol=1e-6)


def test_what_needs_gradients_or_is_too_wide_stays_on_tensors():
    assert native.is_usable(noise(1, 2, 8))
    assert not native.is_usable(noise(1, 2, 8).requires_grad_())
    assert not native.is_usable(noise(1, 2, 8).double())
    assert not native.is_usable(noise(1, 2, 8), 5000)
    with native.left_out():
        assert not native.is_usable(noise(1, 2, 8))
    assert native.is_usable(noise(1, 2, 8))
    wide = Mdct(8192)
    sound = noise(1, 3 * 8192)
    assert wide(sound).shape == (1, 3, 8192)
