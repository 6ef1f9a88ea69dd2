"""Latents to integers by rate and distortion: an integer that costs many bits must be worth them.

The encoder's choice alone: readers dequantise any integers.
"""

from __future__ import annotations

from ctypes import c_int64
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from earzip import native
from earzip.arrays import Latents, Symbols
from earzip.coding.quantizer import step_sizes
from earzip.formats.symbols.packed import MAX_SYMBOL
from earzip.network.config import LevelConfig
from earzip.network.levels import fine_edges

Scaled = NDArray[np.float32]
Integers = NDArray[np.int32]
Places = tuple[NDArray[np.intp], ...]
"""Where values are, as `np.nonzero` gives it."""

# Bits that a ±1 costs beyond a 0 by the weighted sum of the magnitudes around it, at sums that double
# from 1: measured once on music coded as `context-1`, and straight between.
_SUMS = np.array([0, 1, 2, 4, 8, 16, 32], np.float32)
_BITS_OF_ONE = np.array([9.5, 7.5, 6.0, 4.6, 3.2, 2.0, 1.2], np.float32)
_STAYING = 0.62
"""Steps within which the later half of a frame counts as as loud as the earlier."""
_BITS_OF_CHANGE = np.array([0.3, 2.2, 4.0, 5.2, 6.2, 7.0, 7.8, 8.4, 9.0, 9.5])
"""About what a level takes by how much it differs from the one before."""
_WORTH_OF_BIT = 0.15
"""Squared steps of error of a level: of 0.06 to 0.22, what takes the fewest bits for the same sound."""
_BITS_OF_MORE = 1.3
"""That a magnitude above 1 costs beyond the one below it."""

_native_paths = native.loop(
    "cheapest_paths",
    *(native.array_of(np.float32), native.array_of(np.float32), c_int64, c_int64),
    *(native.array_of(np.float64), c_int64),
    native.array_of(np.int8),
)


def round_coefficients(scaled: Scaled, thrift: float | Scaled, n_channels: int = 2) -> Integers:
    """Return integers ``[n, F]`` for coefficients ``scaled`` ``[n, F]`` to their steps.

    ``thrift``: squared steps of error that a bit is worth, one number or ``[n, F]``; 0 rounds to the
    nearest. ``n_channels``: parts of the first axis that are no neighbours of each other. A magnitude is
    rounded down where the error that adds, 2·part − 1 squared steps, is worth fewer bits than it saves.
    What is around is that of rounding with a fixed dead zone: two frames before, one behind, and two
    coefficients on each side.
    """
    every_size = np.abs(scaled)
    result = np.zeros(scaled.shape, np.int32)
    # Nothing below half a step is worth a bit, and that is nearly all of them.
    flat = np.flatnonzero(every_size >= 0.5)
    places = np.divmod(flat, scaled.shape[1])
    size = every_size[places]
    worth = thrift if isinstance(thrift, float) else thrift[places]
    # In place, as each pass over all coefficients takes as long as the rest.
    nearly: Scaled = every_size + np.float32(0.4)
    np.minimum(np.floor(nearly, out=nearly), 15, out=nearly)
    around = _around(nearly, places, n_channels)
    saved = np.interp(around, _SUMS, _BITS_OF_ONE).astype(np.float32)
    whole = np.floor(size)
    least = 0.5 + 0.5 * worth * np.where(whole == 0, saved, _BITS_OF_MORE)
    magnitude = whole + (size - whole >= least)
    # From 1.0 on a lone 1 may still not be worth its bits: an error of size² is added.
    is_one = magnitude == 1
    gain = size**2 - (size - 1) ** 2
    magnitude[is_one & (gain < worth * saved)] = 0
    result[places] = np.sign(scaled[places]) * magnitude
    return result


def _around(magnitudes: Scaled, places: Places, n_channels: int) -> Scaled:
    """Return weighted sums of the magnitudes ``[n, F]`` about those at ``places``."""
    n, n_frames = magnitudes.shape
    padded = np.pad(magnitudes.reshape(n_channels, -1, n_frames), ((0, 0), (2, 2), (2, 1)))
    width = n_frames + 3
    channel, bins = np.divmod(places[0], n // n_channels)
    own = (channel * padded.shape[1] + 2 + bins) * width + 2 + places[1]
    flat = padded.ravel()

    def at(bin_: int, frame: int) -> Scaled:
        found: Scaled = flat[own + (bin_ * width + frame)]
        return found

    sums = 2 * at(0, -1) + at(0, 1) + at(0, -2)
    sums = (
        sums + at(-1, -1) + at(1, -1) + 1.5 * (at(-1, 0) + at(1, 0)) + 0.5 * (at(-2, 0) + at(2, 0))
    )
    result: Scaled = sums
    return result


def quantize_levels(
    latents: Latents, exponents: NDArray[np.int32], config: LevelConfig, thrift: float
) -> Symbols:
    """Return the integers of finite ``latents`` ``[D, F]`` of a `LevelVae`, within ±32767.

    ``thrift``: what a bit of coefficients is worth, as `round_coefficients` takes it; where the sound is
    tonal it is 0, as partials that are not coded are not drawn either.
    """
    n = config.n_coefficients
    scaled = latents / step_sizes(exponents)[:, None]
    tonal = scaled[n:][config.rest_slice("tonal")] > 0
    coefficients = round_coefficients(scaled[:n], _thrift_of_cells(tonal, config, thrift))
    symbols: Symbols = np.concatenate([coefficients, _round_levels(scaled[n:], config)])
    return np.clip(symbols, -MAX_SYMBOL, MAX_SYMBOL, out=symbols)


def _thrift_of_cells(tonal: NDArray[np.bool_], config: LevelConfig, thrift: float) -> Scaled:
    """Return the thrift of each coefficient ``[2 · n_bins, F]``, given the tonal bands ``[n, F]``."""
    cells = np.full((config.n_bins, tonal.shape[1]), thrift, np.float32)
    for (low, high), is_tonal in zip(pairwise(fine_edges(config.hop)[::2]), tonal, strict=True):
        cells[low:high, is_tonal] = 0
    return np.concatenate([cells, cells])


def _round_levels(scaled: Scaled, config: LevelConfig) -> Integers:
    """Return the integers of latents behind the coefficients: at rest unless they move enough."""
    symbols = np.empty(scaled.shape, np.int32)
    first = 0
    for kind, size in config.layout.items():
        if kind == "coefficients":
            continue
        own, rounded = scaled[first : first + size], symbols[first : first + size]
        first += size
        if kind in ("levels", "balance", "width"):
            rounded[:] = _cheapest_paths(own)
        elif kind == "course":
            blocks = own.reshape(config.n_blocks, -1)
            rounded.reshape(blocks.shape)[:] = _cheapest_paths(blocks.T, begins_at_0=True).T
        elif kind in ("contrast", "onset_block", "onset_part"):
            rounded[:] = np.rint(own)
        elif kind == "halves":
            rounded[:] = np.where(np.abs(own) < _STAYING, 0, np.rint(own))
        else:  # flags
            rounded[:] = np.where(own > 0, np.maximum(1, np.rint(own)), 0)
    return symbols


def _cheapest_paths(scaled: Scaled, *, begins_at_0: bool = False) -> Integers:
    """Return the integers for levels ``[n, F]`` that are best in error and bits, each row by itself.

    They are within 1 of the nearest ones, chosen by the Viterbi algorithm. ``begins_at_0``: whether the
    first takes bits too, by how much it differs from 0.
    """
    if native.LIBRARY is not None:
        return _cheapest_paths_in_c(scaled, begins_at_0)
    candidates = np.rint(scaled)[:, None] + np.array([-1, 0, 1])[:, None]
    errors = (scaled[:, None] - candidates) ** 2
    cost = errors[..., 0]
    if begins_at_0:
        cost = cost + _worth_of(candidates[..., 0])
    changes = candidates[:, None, :, 1:] - candidates[:, :, None, :-1]
    worth = np.ascontiguousarray(np.moveaxis(_worth_of(changes), -1, 0))  # [F - 1, n, from, to]
    best = np.empty(candidates.shape, np.intp)
    for f in range(1, scaled.shape[1]):
        through = cost[:, :, None] + worth[f - 1]
        best[..., f] = through.argmin(1)
        cost = through.min(1) + errors[..., f]
    rows, at = np.arange(len(scaled)), cost.argmin(1)
    result = np.empty(scaled.shape, np.int32)
    for f in reversed(range(scaled.shape[1])):
        result[:, f] = candidates[rows, at, f]
        at = best[rows, at, f]
    return result


def _cheapest_paths_in_c(scaled: Scaled, begins_at_0: bool) -> Integers:
    contiguous = np.ascontiguousarray(scaled, np.float32)
    nearest, moves = np.rint(contiguous), np.empty(scaled.shape, np.int8)
    worth = _WORTH_OF_BIT * _BITS_OF_CHANGE
    if _native_paths(contiguous, nearest, *scaled.shape, worth, begins_at_0, moves):
        raise MemoryError
    result = np.empty(scaled.shape, np.int32)
    result[:] = nearest.astype(np.float64) + moves
    return result


def _worth_of(changes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the error that the bits of ``changes`` are worth, in squared steps."""
    magnitudes = np.minimum(np.abs(changes), len(_BITS_OF_CHANGE) - 1).astype(np.intp)
    return _WORTH_OF_BIT * _BITS_OF_CHANGE[magnitudes]
