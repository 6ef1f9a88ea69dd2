"""Loops in C, in the sources beside this, that are called through ctypes.

setuptools compiles them where there is a compiler. Where there is none, or with ``EARZIP_NATIVE=0`` in
the environment, ``LIBRARY`` is None, and callers take their own way in numpy or torch, which is slower.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

_VERSION = 3  # that of symbols.c


def _load() -> ctypes.CDLL | None:
    """Return the library, None where there is none of this version."""
    if os.environ.get("EARZIP_NATIVE") == "0":
        return None
    spec = find_spec("earzip.native._loops")
    if spec is None or spec.origin is None:
        return None
    try:
        library = ctypes.CDLL(spec.origin)
        is_ours = library.earzip_native_version() == _VERSION
    except (OSError, AttributeError):  # of another machine, or not ours
        return None
    return library if is_ours else None


LIBRARY = _load()


def absence() -> str | None:
    """Return why there is no `LIBRARY`, in words; None if there is one."""
    if LIBRARY is not None:
        return None
    if os.environ.get("EARZIP_NATIVE") == "0":
        return "EARZIP_NATIVE is 0"
    if find_spec("earzip.native._loops") is None:
        return "they were not compiled; install earzip again where there is a C compiler"
    return "they were compiled for another version or machine; install earzip again"


def array_of(dtype: DTypeLike) -> Any:
    """Return the type of an argument of `loop` that is an array: of this type, without gaps."""
    return np.ctypeslib.ndpointer(dtype, flags="C_CONTIGUOUS")


def loop(name: str, *arguments: Any) -> Callable[..., int]:
    """Return the function of this name in `LIBRARY`, with arguments of these types.

    It returns an int64, and ctypes.ArgumentError is raised for other arguments. Where there is no library
    it cannot be called.
    """
    if LIBRARY is None:
        return _absent
    function = LIBRARY[name]
    function.argtypes, function.restype = arguments, ctypes.c_int64
    return function


def _absent(*_arguments: Any) -> int:
    raise AssertionError("the loops in C are not compiled")
