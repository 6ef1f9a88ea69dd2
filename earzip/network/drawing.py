"""What a decoder of levels does to the coefficients of its fine MDCT, bin by bin: closes, opens, draws.

Each step has two ways: on tensors, for training and for GPUs, and in C (`earzip.network.native`), many
times as fast, for a sound alone on a CPU. Their results differ by some 1e-7 of the sound.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from earzip.network import native
from earzip.network.transform import SURE_SHARE, doubt, least_opened, seen_levels

GATE_RANGE = (-8.0, 1.0)  # nepers


class FineBands(NamedTuple):
    """The bands of levels in bins of the fine MDCT."""

    edges: Tensor
    """Int64 ``[bands + 1]``, on the CPU."""
    matrix: Tensor
    """Float32 ``[bands, bins]``, 1 where a bin belongs to a band."""


class Opened(NamedTuple):
    """Coefficients after their gates."""

    coefficients: Tensor
    """``[B, 2, T, bins]``."""
    before: Tensor
    after: Tensor
    """Energies by band, ``[B, 2, T, bands]``, of the coefficients before and after."""


def features(fine: Tensor, n_together: int) -> Tensor:
    """Return what a network sees of ``fine`` ``[B, 2, T, bins]``: ``[B, T / n, n · 4 · bins]``."""
    if native.is_usable(fine, fine.shape[-1]) and len(fine) == 1:
        return native.levels_features(fine, n_together)
    seen = fine.transpose(1, 2).flatten(2).unflatten(1, (-1, n_together))
    return torch.cat(seen_levels(seen.flatten(2)), -1)


def open_coefficients(
    fine: Tensor, gates: Tensor, rms: Tensor, step: Tensor, hop: int, bands: FineBands
) -> Opened:
    """Return ``fine`` ``[B, 2, T, bins]``, in units of ``rms`` ``[2, bins]``, after its gates.

    ``gates``: nepers, ``[B, T, 2, bins]``; ``step``: as `least_opened` has it.
    """
    if native.is_usable(fine, fine.shape[-1]) and native.is_usable(gates) and len(fine) == 1:
        doubtful = doubt(step, rms, hop)
        return Opened(
            *native.levels_open(fine, gates, rms, doubtful, GATE_RANGE, SURE_SHARE, bands.edges)
        )
    opened = torch.exp(gates.transpose(1, 2).clamp(*GATE_RANGE))
    opened = torch.maximum(opened, least_opened(fine, step, rms, hop))
    scaled = fine * rms[:, None]
    result = scaled * opened
    before, after = (x.square() @ bands.matrix.t() for x in (scaled, result))
    return Opened(result, before, after)


def shape_energies(shapes: Tensor, rms: Tensor, bands: FineBands) -> Tensor:
    """Return the energies ``[B, 2, T, bands]`` of ``shapes`` ``[B, T, 2, bins]`` in units of ``rms``."""
    if native.is_usable(shapes, shapes.shape[-1]) and len(shapes) == 1:
        return native.levels_shape_energies(shapes, rms, bands.edges)
    return (shapes.transpose(1, 2) * rms[:, None]).square() @ bands.matrix.t()


def with_drawn(
    coefficients: Tensor, shapes: Tensor, rms: Tensor, amplitudes: Tensor, bands: FineBands
) -> Tensor:
    """Return ``coefficients`` ``[B, 2, T, bins]``, maybe changed, and ``shapes`` at ``amplitudes``.

    ``shapes``: as `shape_energies`; ``amplitudes``: ``[B, 2, T, bands]``.
    """
    if (
        native.is_usable(coefficients)
        and native.is_usable(shapes, shapes.shape[-1])
        and len(shapes) == 1
    ):
        native.levels_draw(coefficients, shapes, rms, amplitudes, bands.edges)
        return coefficients
    drawn = shapes.transpose(1, 2) * rms[:, None] * (amplitudes @ bands.matrix)
    return coefficients + drawn
