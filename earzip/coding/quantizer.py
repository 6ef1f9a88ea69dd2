"""Latents to integers and back.

A channel's step is a power of two to a sixteenth: ``step = 2 ** (exponent / 16)``. A model knows the
exponent of each channel at which its decoder was trained (its mean posterior scale); a quality preset
adds one number to them, or a share of it (`preset_shares`). The archive stores the exponents, so that
latents can be read without the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earzip.arrays import Latents, Symbols
from earzip.formats.symbols.layout import Layout
from earzip.formats.symbols.packed import MAX_SYMBOL

STEPS_PER_OCTAVE = 16


def step_sizes(exponents: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return the steps ``2 ** (exponents / 16)``, float32 ``[D]``."""
    return np.exp2(exponents.astype(np.float64) / STEPS_PER_OCTAVE).astype(np.float32)


def preset_shares(n_latents: int, layout: Layout) -> NDArray[np.float32]:
    """Return for each latent the share of a preset's exponent that is added to its own, ``[D]``.

    That is 1, but ½ for those behind coefficients: what describes the sound that is not coded is worth
    its bits the more, the fewer coefficients are coded. It is 0 for integers by nature.
    """
    shares = np.ones(n_latents, np.float32)
    if layout.n_sparse:
        shares[layout.n_sparse :] = 0.5
    shares[n_latents - layout.n_exact :] = 0
    return shares


def preset_exponents(
    exponents: Sequence[int], added: int, others: int | None, layout: Layout
) -> NDArray[np.int32]:
    """Return the exponents of the steps at a preset, int32 ``[D]``.

    It adds ``added``, or ``others`` behind coefficients; None for a share of ``added``.
    """
    n = len(exponents)
    raised = np.rint(added * preset_shares(n, layout)).astype(np.int32)
    if others is not None:
        raised[layout.n_sparse : n - layout.n_exact] = others
    return np.array(exponents, np.int32) + raised


def quantize(latents: Latents, exponents: NDArray[np.int32], rounding: float = 0.5) -> Symbols:
    """Return the integers of finite ``latents`` ``[D, F]``, int32 within ±32767.

    A magnitude of s steps becomes ``floor(s + rounding)``. With ``rounding`` below a half, values
    near the middle between two integers go to the smaller, which costs fewer bits for the noise it
    adds (a dead zone); any reader dequantises both alike.
    """
    scaled = latents / step_sizes(exponents)[:, None]
    magnitude = np.floor(np.abs(scaled) + np.float32(rounding))
    symbols: Symbols = (np.sign(scaled) * np.minimum(magnitude, MAX_SYMBOL)).astype(np.int32)
    return symbols


def dequantize(symbols: Symbols, exponents: NDArray[np.int32]) -> Latents:
    """Return the latents of ``symbols`` ``[D, F]``: float32, each an integer times its step."""
    return symbols.astype(np.float32) * step_sizes(exponents)[:, None]
