"""Any channel layout to stereo, by the coefficients of ITU-R BS.775.

Left and right keep their level. The centre goes to both sides at -3 dB, each surround channel (side
or back) to its own side at -3 dB, a single back centre to both sides at -6 dB (BS.775 splits it
into two surrounds at -3 dB first). The LFE is left out, as BS.775 allows. The sum is not scaled, so
that the level of the front never changes; it may pass full scale, and the caller keeps it as float.

Where a file names no speaker positions, the layouts of FLAC (RFC 9639, section 9.1.3) and
WAVEFORMATEXTENSIBLE are taken by channel count:

    3  FL FR FC            L + 0.707 C
    4  FL FR BL BR         L + 0.707 Ls
    5  FL FR FC BL BR      L + 0.707 C + 0.707 Ls
    6  5 with an LFE       the same
    7  FL FR FC LFE BC SL SR
    8  FL FR FC LFE BL BR SL SR

One channel goes to both sides unchanged; two are stereo whatever they are called. More than eight
channels, and positions that BS.775 does not place (heights, for instance), are refused.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Layout = tuple[str, ...]
"""Speaker positions in the order of the channels, by FFmpeg's names."""

MAX_CHANNELS = 8
DEFAULT_LAYOUTS: dict[int, Layout] = {
    1: ("FC",),
    2: ("FL", "FR"),
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
# Vorbis and Opus (RFC 7845, section 5.1.1.2) have an order of their own, and libsndfile keeps it.
VORBIS_LAYOUTS: dict[int, Layout] = {
    **{count: DEFAULT_LAYOUTS[count] for count in (1, 2, 4)},
    3: ("FL", "FC", "FR"),
    5: ("FL", "FC", "FR", "BL", "BR"),
    6: ("FL", "FC", "FR", "BL", "BR", "LFE"),
    7: ("FL", "FC", "FR", "SL", "SR", "BC", "LFE"),
    8: ("FL", "FC", "FR", "SL", "SR", "BL", "BR", "LFE"),
}
_NAMES = {3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_MINUS_3_DB = math.sqrt(0.5)
_TO_STEREO = {
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "FC": (_MINUS_3_DB, _MINUS_3_DB),
    "LFE": (0.0, 0.0),
    "BL": (_MINUS_3_DB, 0.0),
    "BR": (0.0, _MINUS_3_DB),
    "SL": (_MINUS_3_DB, 0.0),
    "SR": (0.0, _MINUS_3_DB),
    "BC": (0.5, 0.5),
    "FLC": (1.0, 0.0),
    "FRC": (0.0, 1.0),
}
_MASK_BITS = ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR")


def layout_from_mask(mask: int, channels: int) -> Layout | None:
    """Return the positions that a WAVEFORMATEXTENSIBLE mask names, None if it does not fit."""
    layout = tuple(name for bit, name in enumerate(_MASK_BITS) if mask >> bit & 1)
    return layout if len(layout) == channels and mask < 1 << len(_MASK_BITS) else None


def can_downmix(layout: Layout) -> bool:
    """Whether every position of the layout has a place in stereo."""
    return len(layout) <= 2 or all(position in _TO_STEREO for position in layout)


def downmix_name(layout: Layout) -> str:
    """Return the name of the downmix, for the archive's header."""
    if len(layout) == 1:
        return "mono-duplicated"
    if len(layout) == 2:
        return "stereo"
    usual = {frozenset(DEFAULT_LAYOUTS[len(layout)]), frozenset(VORBIS_LAYOUTS[len(layout)])}
    name = _NAMES[len(layout)] if frozenset(layout) in usual else "+".join(layout)
    return f"itu-r-bs775-{name}"


def downmix(block: npt.NDArray[np.float32], layout: Layout) -> npt.NDArray[np.float32]:
    """Return float32 ``[2, T]`` from float32 ``[C, T]`` with the given positions, unclipped."""
    if len(layout) == 1:
        return np.repeat(block, 2, axis=0)
    if len(layout) == 2:
        return block
    # Channel by channel, not as a matrix product: BLAS may sum in another order with more threads.
    stereo = np.zeros((2, block.shape[1]), np.float32)
    for samples, position in zip(block, layout, strict=True):
        for side, weight in enumerate(_TO_STEREO[position]):
            stereo[side] += np.float32(weight) * samples
    return stereo
