"""Onsets of attacks, finer in time than the levels of bands: found, and what is before them hushed."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from earzip.formats.geometry import SAMPLE_RATE
from earzip.network.short_transform import FLOOR, HOP, SIZE

ONSET_HOP = 32  # samples, 0.7 ms
_ONSET_AFTER, _ONSET_BEFORE, _ONSET_HUSHED = 4, 8, 6  # steps of it
_LEAST_RISE_DB = 10.0
_HUSHED_BELOW = 0.25  # of the energy there is: sound by chance 6 dB above its mean is let be
_TREBLE_HZ = 1400.0
_RAMP = 16  # samples
_DB = math.log(10) / 10  # nepers of energy


class Onset(NamedTuple):
    """The strongest onset of an attack frame, finer in time than its course."""

    contrast_db: Tensor
    """``[B, F]``: the 2.9 ms from it on over the 5.8 ms before it, above 1.4 kHz; 0 for none."""
    place: Tensor
    """Integers ``[B, F]``: where in the frame it is, in steps of `ONSET_HOP` samples."""


def find_onset(audio: Tensor, is_attack: Tensor) -> Onset:
    """Return the onset of each attack frame of ``audio`` ``[B, 2, T]``, left and right."""
    if not bool(is_attack.any()):
        none = torch.zeros_like(is_attack)
        return Onset(none.float(), none.long())
    wanted = _blocks_around(is_attack, audio.shape[-1] // HOP)
    power = _onset_powers(_treble(audio, wanted), wanted)
    after, before = _mean_from(power, _ONSET_AFTER), _mean_before(power, _ONSET_AFTER)
    rise = (torch.log(after + FLOOR) - torch.log(before + FLOOR)) / _DB
    most, place = rise.unflatten(1, (is_attack.shape[1], -1)).max(-1)
    is_onset = is_attack & (most >= _LEAST_RISE_DB)
    at = _places(place, rise.shape[1])
    calm = _mean_before(power, _ONSET_BEFORE).gather(1, at)
    contrast = (torch.log(after.gather(1, at) + FLOOR) - torch.log(calm + FLOOR)) / _DB
    return Onset(contrast.clamp(0, 60) * is_onset, place * is_onset)


@torch.no_grad()
def _hush_gains(power: Tensor, onset: Onset) -> Tensor:
    """Return gains ``[B, T / ONSET_HOP]`` that bring the treble before onsets down to their contrast."""
    at = _places(onset.place, power.shape[1])
    after = _mean_from(power, _ONSET_AFTER).gather(1, at)
    wanted = after * torch.exp(-_DB * onset.contrast_db)
    gains = torch.ones_like(power)
    for back in range(1, _ONSET_HUSHED + 1):
        before = (at - back).clamp(min=0)
        share = wanted / (power.gather(1, before) + FLOOR)
        is_loud = (onset.contrast_db > 0) & (at >= back) & (share < _HUSHED_BELOW)
        gain = torch.where(is_loud, torch.sqrt(share), torch.ones_like(share))
        gains = gains.scatter_reduce(1, before, gain, "amin")
    return gains


def _ramped(gains: Tensor, wanted: Tensor) -> Tensor:
    """Return the gains ``[n, HOP]`` of the samples of blocks that are wanted, without steps upwards."""
    n_steps = HOP // ONSET_HOP
    around = F.pad(gains, (1, 1), value=1.0).unfold(1, n_steps + 2, n_steps)[wanted]
    of_samples = around.repeat_interleave(ONSET_HOP, 1)
    beside = ONSET_HOP - _RAMP // 2
    ramped = F.avg_pool1d(of_samples[:, None, beside:-beside], _RAMP + 1, 1)[:, 0]
    result: Tensor = torch.minimum(of_samples[:, ONSET_HOP:-ONSET_HOP], ramped)
    return result


def hush_before(audio: Tensor, onset: Onset) -> Tensor:
    """Return ``audio`` ``[B, 2, T]`` without the treble that spectra spread before onsets."""
    is_onset = onset.contrast_db > 0
    if not bool(is_onset.any()):
        return audio
    wanted = _blocks_around(is_onset, audio.shape[-1] // HOP)
    treble = _treble(audio, wanted)
    gains = _ramped(_hush_gains(_onset_powers(treble, wanted), onset), wanted)
    items, blocks = wanted.nonzero(as_tuple=True)
    at = items[:, None], torch.arange(audio.shape[1], device=audio.device), blocks[:, None]
    removed = treble * (gains - 1)[:, None]
    hushed: Tensor = audio.unflatten(-1, (-1, HOP)).index_put(at, removed, accumulate=True)
    return hushed.flatten(-2)


def _blocks_around(is_wanted: Tensor, n_blocks: int) -> Tensor:
    """Return the blocks of `HOP` of frames that are wanted, and what their onsets see beside them.

    ``is_wanted``: bool ``[B, F]``; the result is bool ``[B, n_blocks]``.
    """
    of_blocks = is_wanted.float().repeat_interleave(n_blocks // is_wanted.shape[1], 1)
    reach = -(-max(_ONSET_BEFORE, _ONSET_AFTER, _ONSET_HUSHED) * ONSET_HOP // HOP)
    return F.max_pool1d(of_blocks[:, None], 2 * reach + 1, 1, reach)[:, 0] > 0


def _treble(audio: Tensor, wanted: Tensor) -> Tensor:
    """Return what is above 1.4 kHz, without delay: ``audio`` less a low-pass of 129 taps.

    ``audio``: ``[B, 2, T]``, T a multiple of `HOP`; ``wanted``: bool ``[B, T / HOP]``, in which blocks.
    The result is these blocks, ``[n, 2, HOP]``.
    """
    # As products of a matrix: many times as fast as a convolution of one channel.
    reach = F.pad(audio, (HOP // 2, HOP // 2)).unfold(-1, SIZE, HOP).transpose(1, 2)[wanted]
    blocks = audio.unflatten(-1, (-1, HOP)).transpose(1, 2)[wanted]
    treble: Tensor = blocks - reach @ _low_pass().to(audio.device)
    return treble


@cache
def _low_pass() -> Tensor:
    """Return the matrix ``[SIZE, HOP]`` of a windowed sinc of 129 taps that passes 0 unchanged."""
    with torch.inference_mode(False):  # training needs it as well, whoever asks first
        n = torch.arange(-HOP // 2, HOP // 2 + 1, dtype=torch.float64)
        taps = torch.sinc(2 * _TREBLE_HZ / SAMPLE_RATE * n) * torch.hann_window(131, False)[1:-1]
        taps = (taps / taps.sum()).float()
        ahead = torch.arange(SIZE)[:, None] - torch.arange(HOP)
        is_reached = (ahead >= 0) & (ahead < len(taps))
        low_pass: Tensor = taps[ahead.clamp(0, len(taps) - 1)] * is_reached
    return low_pass


def _onset_powers(treble: Tensor, wanted: Tensor) -> Tensor:
    """Return mean powers of both channels by steps of `ONSET_HOP`: ``[B, T / ONSET_HOP]``.

    ``treble``: that of the blocks ``wanted``, as `_treble` has it; others count as silent.
    """
    powers = treble.new_zeros(*wanted.shape, HOP // ONSET_HOP)
    powers[wanted] = treble.square().unflatten(-1, (-1, ONSET_HOP)).mean((1, 3))
    return powers.flatten(1)


def _mean_from(power: Tensor, n: int) -> Tensor:
    """Return the mean of each of ``power`` ``[B, N]`` and the ``n`` − 1 behind it."""
    padded = F.pad(power[:, None], (0, n - 1), mode="replicate")
    mean: Tensor = F.avg_pool1d(padded, n, 1)[:, 0]
    return mean


def _mean_before(power: Tensor, n: int) -> Tensor:
    """Return the mean of the ``n`` before each of ``power`` ``[B, N]``."""
    padded = F.pad(power[:, None], (n, 0), mode="replicate")
    mean: Tensor = F.avg_pool1d(padded, n, 1)[:, 0, :-1]
    return mean


def _places(place: Tensor, n: int) -> Tensor:
    """Return where in ``n`` steps the places in frames ``[B, F]`` are."""
    n_frames = place.shape[1]
    first = torch.arange(n_frames, device=place.device) * (n // n_frames)
    return (first + place.clamp(0, n // n_frames - 1)).long()
