"""Loops in C, `native.c`, that are called through ctypes.

setuptools compiles them where there is a compiler. Where there is none, or with ``EARZIP_NATIVE=0`` in the
environment, ``LIBRARY`` is None, and callers take their own way in numpy or torch, which is slower.
"""

from __future__ import annotations

import ctypes
import os
from importlib.util import find_spec

_VERSION = 1  # that of native.c


def _load() -> ctypes.CDLL | None:
    """Return the library, None where there is none of this version."""
    if os.environ.get("EARZIP_NATIVE") == "0":
        return None
    spec = find_spec("earzip._native")
    if spec is None or spec.origin is None:
        return None
    try:
        library = ctypes.CDLL(spec.origin)
        is_ours = library.earzip_native_version() == _VERSION
    except (OSError, AttributeError):  # of another machine, or not ours
        return None
    return library if is_ours else None


LIBRARY = _load()
