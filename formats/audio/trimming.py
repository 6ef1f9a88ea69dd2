"""Decoded sound without what encoders and decoders add at its ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

Audio = npt.NDArray[np.float32]

# An encoder pads the end to whole frames. More than two of the longest is not padding.
MAX_PADDING = 2 * 2048


def without_padding(
    pieces: Iterable[Audio], end: int, n_more: Callable[[], int]
) -> Iterator[Audio]:
    """Yield the first ``end`` samples of ``pieces``, float32 ``[C, T]``.

    If more than `MAX_PADDING` follow, or nothing would be left, ``end`` is wrong and all are sound. Else
    ``n_more()`` samples of the padding are sound too; it is asked at the end.
    """
    n_done = n_held = 0
    held: list[Audio] = []
    is_wrong = False
    for samples in pieces:
        if is_wrong:
            yield samples
            continue
        n_inside = min(samples.shape[1], end - n_done)
        yield samples[:, :n_inside]
        n_done += n_inside
        held.append(samples[:, n_inside:])
        n_held += samples.shape[1] - n_inside
        if n_held > MAX_PADDING:
            yield from held
            is_wrong, held = True, []
        if not n_held:
            held = []
    if held and not n_done:
        yield from held
    elif held and (n_kept := n_more()) > 0:
        yield np.concatenate(held, axis=1)[:, :n_kept]


def without_delay(pieces: Iterable[Audio], n_before: int, n_wanted: int | None) -> Iterator[Audio]:
    """Yield ``n_wanted`` samples of ``pieces``, float32 ``[C, T]``, after the first ``n_before``.

    If more than `MAX_PADDING` follow, or nothing would be left, ``n_wanted`` is wrong and all are sound,
    as they are if it is None. Silence stands for an end that a decoder keeps back.
    """
    held: deque[Audio] = deque()
    n_held = n_done = n_seen = 0
    begin: list[Audio] = []
    for samples in pieces:
        n_skipped = min(samples.shape[1], max(0, n_before - n_seen))
        n_seen += samples.shape[1]
        begin += [samples] if n_done + n_held == 0 else []
        held.append(samples[:, n_skipped:])
        n_held += samples.shape[1] - n_skipped
        while held and n_held - held[0].shape[1] >= MAX_PADDING:
            n_held -= held[0].shape[1]
            n_done += held[0].shape[1]
            yield held.popleft()
    if not held:
        return
    rest = np.concatenate(held, axis=1)
    if n_wanted is None or n_wanted < n_done:
        yield rest
    elif n_wanted == 0:
        yield from begin
    else:
        n_silent = min(max(0, n_wanted - n_done - n_held), n_before)
        yield np.pad(rest[:, : n_wanted - n_done], ((0, 0), (0, n_silent)))
