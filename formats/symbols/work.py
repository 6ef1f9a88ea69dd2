"""How much work an archive may ask for: SPEC.md, "Work".

Integers that are nearly all 0 take next to no bytes, and are decoded one after the other all the same.
So a small archive could keep a reader busy for long. What a segment asks for is counted from its first
bytes, in units of about a quarter of a microsecond, before any of it is done.
"""

from __future__ import annotations

import numpy as np

from earzip.errors import DamagedArchiveError
from earzip.formats.geometry import MAX_LATENTS
from earzip.formats.symbols import context, sparse
from earzip.formats.symbols.layout import CONTEXT, LEVELS
from earzip.formats.symbols.lists import require_lanes
from earzip.formats.symbols.packed import PieceReader

FREE_UNITS = 1 << 20
UNITS_A_BYTE = 4096
"""Silence of `mini-2` asks for 0.62 of it, constant sound for 0.54, and music for a few hundredths."""

WORK_HEAD_BYTES = 2 + MAX_LATENTS // 8 + 4 * sparse.N_CLASSES + sparse.HEADS_BYTES + 2
"""Of a segment: more say nothing about its work."""

_SEGMENT_UNITS = 2048
_INTEGERS_A_UNIT = 16
_CONTEXT_FRAME_UNITS, _CONTEXT_CHANNELS_A_UNIT = 256, 4
_LISTS_UNITS = 16_384
_PASS_UNITS, _PASS_CHANNELS_A_UNIT = 192, 2
_STEP_UNITS = 32
_LEVEL_UNITS = 1152


def work_limit(n_bytes: int) -> int:
    """Return the units that an archive of ``n_bytes`` may ask for."""
    return FREE_UNITS + UNITS_A_BYTE * n_bytes


def segment_work(data: bytes, coding: str, n_latents: int, n_frames: int) -> int:
    """Return the units that a segment asks for, whose joined pieces are ``data``.

    Raises DamagedArchiveError where its first bytes are wrong: then nothing is decoded.
    """
    reader = PieceReader(data)
    units = _SEGMENT_UNITS + n_latents * n_frames // _INTEGERS_A_UNIT
    if coding not in (CONTEXT, LEVELS):
        return units
    n_sparse = reader.integer(2)
    if n_sparse > n_latents:
        raise DamagedArchiveError(f"segment has {n_sparse} coefficients of {n_latents} latents")
    sounding = reader.bits(n_sparse)
    n_classes = context.N_CLASSES if coding == CONTEXT else sparse.N_CLASSES
    counts = reader.take(4 * n_classes).view("<u4").astype(np.int64)
    n_integers = int(counts.sum())
    if n_integers > int(sounding.sum()) * n_frames:
        raise DamagedArchiveError(f"segment has {n_integers} integers, more than there are places")
    if coding == CONTEXT:
        a_frame = _CONTEXT_FRAME_UNITS + -(-int(sounding.sum()) // _CONTEXT_CHANNELS_A_UNIT)
        return units + (n_frames * a_frame if n_integers else 0)
    reader.take(sparse.HEADS_BYTES)
    n_lanes = require_lanes(reader.integer(2), 2 * n_integers)
    units += _LISTS_UNITS + _LEVEL_UNITS * (n_latents - n_sparse)
    if n_integers:
        units += n_frames * _frame_units(sparse.pass_sizes(sounding))
        units += _STEP_UNITS * -(-2 * n_integers // max(n_lanes, 1))
    return units


def most_work(coding: str, n_latents: int, n_frames: int) -> int:
    """Return units that no segment of this shape passes that can be decoded at all."""
    units = _SEGMENT_UNITS + n_latents * n_frames // _INTEGERS_A_UNIT
    if coding == CONTEXT:
        units += n_frames * (_CONTEXT_FRAME_UNITS + n_latents)
    if coding == LEVELS:
        units += _LISTS_UNITS + _LEVEL_UNITS * n_latents
        units += n_frames * _frame_units([n_latents] * 4) + _STEP_UNITS * 2048
    return units


def _frame_units(pass_sizes: list[int]) -> int:
    return sum(_PASS_UNITS + -(-size // _PASS_CHANNELS_A_UNIT) for size in pass_sizes)
