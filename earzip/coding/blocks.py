"""Two streams of blocks side by side, whatever the lengths of their blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from earzip.arrays import Audio


def zip_blocks(first: Iterable[Audio], second: Iterable[Audio]) -> Iterator[tuple[Audio, Audio]]:
    """Yield blocks of both streams, float32 ``[C, T]``, that belong together: equally long, none empty.

    Ends with the shorter stream. Of a longer one nothing but the current block is read.
    """
    mine, other = (_not_empty(blocks) for blocks in (first, second))
    a, b = next(mine, None), next(other, None)
    while a is not None and b is not None:
        n = min(a.shape[1], b.shape[1])
        yield a[:, :n], b[:, :n]
        a = a[:, n:] if n < a.shape[1] else next(mine, None)
        b = b[:, n:] if n < b.shape[1] else next(other, None)


def _not_empty(blocks: Iterable[Audio]) -> Iterator[Audio]:
    return (block for block in blocks if block.shape[1])
