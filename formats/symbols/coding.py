"""Integer latents of a segment to bytes and back, in the symbol codings that SPEC.md names."""

from __future__ import annotations

import numpy as np

from earzip.arrays import Symbols
from earzip.errors import DamagedArchiveError
from earzip.formats.symbols import context, levels, packed
from earzip.formats.symbols.layout import CONTEXT, LEVELS, PACKED, Layout
from earzip.formats.symbols.packed import MAX_SYMBOL, PieceReader

_UNPACK = {PACKED: packed.unpack, CONTEXT: context.unpack, LEVELS: levels.unpack}


def pack(symbols: Symbols, layout: Layout = Layout()) -> list[bytes]:  # noqa: B008  # frozen
    """Return the pieces of a segment in the coding of ``layout``, each of one distribution.

    ``symbols``: ``[D, F]`` within ±32767, D at most 4096, F at least 1.
    """
    assert np.abs(symbols).max(initial=0) <= MAX_SYMBOL
    assert 0 <= layout.n_sparse <= len(symbols)
    if layout.groups:
        return levels.pack(symbols, layout)
    if layout.n_sparse:
        return context.pack(symbols, layout.n_sparse)
    return packed.pack(symbols)


def unpack(data: bytes, coding: str, n_latents: int, n_frames: int) -> Symbols:
    """Return the symbols ``[n_latents, n_frames]`` of the joined pieces ``data`` in ``coding``.

    Both are 1 or more. Raises DamagedArchiveError for data that no writer writes.
    """
    reader = PieceReader(data)
    symbols = _UNPACK[coding](reader, n_latents, n_frames)
    reader.finish()
    if np.any(np.abs(symbols) > MAX_SYMBOL):
        raise DamagedArchiveError(f"segment has a latent beyond ±{MAX_SYMBOL}")
    return symbols
