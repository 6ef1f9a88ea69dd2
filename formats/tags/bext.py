"""The ``bext`` chunk of Broadcast WAV files (EBU Tech 3285), parsed; `riff` finds it.

It is archived and read, never written. Its time reference counts samples of the source's own rate,
so that it is no field either: it would be wrong in a restored file of another rate.
"""

from __future__ import annotations

import struct

from earzip.errors import TagError
from earzip.formats.tags.model import BlockView
from earzip.formats.tags.names import BEXT_TEXTS
from earzip.formats.tags.riff import unmarked_text

_FIXED = struct.Struct("<256s32s32s10s8sQH64s10s180x")  # before the coding history
_LOUDNESS_VERSION = 2  # the first that has the five loudness values


def parse_bext(block: bytes) -> BlockView:
    """A bext chunk's data in neutral terms. Raises TagError if it is shorter than its fixed part."""
    if len(block) < _FIXED.size:
        raise TagError(f"it has {len(block)} bytes, at least {_FIXED.size} are needed")
    *texts, time_reference, version, umid, loudness = _FIXED.unpack_from(block)
    view = BlockView()
    for name, value in zip(BEXT_TEXTS, [*texts, block[_FIXED.size :]], strict=True):
        if text := unmarked_text(value).strip():
            view.add(name, text)
    if time_reference:
        view.raw_only.append(f"time reference {time_reference}")
    if version and any(umid):
        view.raw_only.append("UMID")
    if version >= _LOUDNESS_VERSION and any(loudness):
        view.raw_only.append("loudness")
    return view
