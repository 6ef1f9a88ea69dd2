"""Integer latents of a segment to bytes and back, in the symbol codings that SPEC.md names."""

from __future__ import annotations

import numpy as np

from earzip.arrays import Symbols
from earzip.errors import DamagedArchiveError
from earzip.formats.symbols import context, packed
from earzip.formats.symbols.packed import MAX_SYMBOL, PieceReader

PACKED, CONTEXT = "packed-1", "context-1"
SYMBOL_CODINGS = (PACKED, CONTEXT)

__all__ = [
    "CONTEXT",
    "MAX_SYMBOL",
    "PACKED",
    "SYMBOL_CODINGS",
    "Symbols",
    "coding_for",
    "pack",
    "unpack",
]

_UNPACK = {PACKED: packed.unpack, CONTEXT: context.unpack}


def coding_for(n_sparse: int) -> str:
    """Return the coding of latents whose first ``n_sparse`` channels are coefficients of a transform."""
    return CONTEXT if n_sparse else PACKED


def pack(symbols: Symbols, n_sparse: int = 0) -> list[bytes]:
    """Return the pieces of a segment in the coding `coding_for`, each of one distribution.

    ``symbols``: ``[D, F]`` within ±32767, D at most 4096, F at least 1.
    """
    assert np.abs(symbols).max(initial=0) <= MAX_SYMBOL
    assert 0 <= n_sparse <= len(symbols)
    if n_sparse:
        return context.pack(symbols, n_sparse)
    return packed.pack(symbols)


def unpack(data: bytes, coding: str, n_latents: int, n_frames: int) -> Symbols:
    """Return the symbols ``[n_latents, n_frames]`` of the joined pieces ``data`` in ``coding``.

    Raises DamagedArchiveError for data that no writer writes.
    """
    reader = PieceReader(data)
    symbols = _UNPACK[coding](reader, n_latents, n_frames)
    reader.finish()
    if np.any(np.abs(symbols) > MAX_SYMBOL):
        raise DamagedArchiveError(f"segment has a latent beyond ±{MAX_SYMBOL}")
    return symbols
