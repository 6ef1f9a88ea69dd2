from __future__ import annotations

import pytest
import torch

from earzip.network.mdct import Mdct
from earzip.network.switched import SwitchedMdct

N, SHORT, FRAMES = 64, 8, 12


def audio(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 2, FRAMES * N, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "pattern", ["000000000000", "111111111111", "001000110100", "010101010101"]
)
def test_a_round_trip_is_exact_whatever_frames_are_short(pattern: str) -> None:
    mdct = SwitchedMdct(N, SHORT)
    is_short = torch.tensor([[c == "1" for c in pattern]]).expand(2, -1)
    restored = mdct.inverse(mdct(audio(), is_short), is_short)
    torch.testing.assert_close(restored[..., N:-N], audio()[..., N:-N], atol=1e-5, rtol=0)


def test_items_of_a_batch_switch_apart() -> None:
    mdct = SwitchedMdct(N, SHORT)
    is_short = torch.zeros(2, FRAMES, dtype=torch.bool)
    is_short[1, 5] = True
    together, alone = mdct(audio(), is_short), mdct(audio()[:1], is_short[:1])
    torch.testing.assert_close(together[:1], alone)
    assert not torch.allclose(together[1, :, 5], Mdct(N)(audio())[1, :, 5])


def test_without_short_frames_it_is_the_plain_transform() -> None:
    is_short = torch.zeros(2, FRAMES, dtype=torch.bool)
    torch.testing.assert_close(SwitchedMdct(N, SHORT)(audio(), is_short), Mdct(N)(audio()))


def test_an_index_of_a_short_frame_stands_for_the_same_frequency() -> None:
    t = torch.arange(FRAMES * N)
    tone = torch.sin(torch.pi * (20.5 / N) * t).expand(1, 2, -1)
    short = torch.ones(1, FRAMES, dtype=torch.bool)
    energies = SwitchedMdct(N, SHORT)(tone, short)[0, 0, 4].square()
    n_blocks = N // SHORT
    assert energies[20 // n_blocks * n_blocks :][:n_blocks].sum() > 0.6 * energies.sum()


def test_a_short_frame_keeps_a_click_from_spreading() -> None:
    mdct = SwitchedMdct(N, SHORT)
    click = torch.zeros(1, 2, FRAMES * N)
    click[..., 6 * N + 40] = 1.0
    for is_short in (True, False):
        frames = torch.zeros(1, FRAMES, dtype=torch.bool)
        frames[0, 5:7] = is_short
        coefficients = mdct(click, frames)
        rough = torch.round(coefficients * 4) / 4
        error = (mdct.inverse(rough, frames) - click)[0, 0, 6 * N - 24 : 6 * N + 24].abs().max()
        assert (error < 1e-6) == is_short


def test_blocks_must_fill_a_frame() -> None:
    with pytest.raises(ValueError, match="64 bins cannot be split into transforms of 7"):
        SwitchedMdct(64, 7)
