"""Loops in C, called through ctypes: `loop` and `procedure` are the way to them.

setuptools compiles the sources beside this where there is a compiler. Where there is none, or with
``EARZIP_NATIVE=0`` in the environment, ``LIBRARY`` is None, and callers take their own way in numpy or
torch, which is slower.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

_VERSION = 4  # that of symbols.c


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


class Tensor(Protocol):
    """What is needed of tensors of torch, which is not loaded here."""

    dtype: Any

    def is_contiguous(self) -> bool:
        """Return whether it is without gaps, in the order of its axes."""

    def data_ptr(self) -> int:
        """Return where its memory begins."""


class _ArrayOf:
    """A type of arguments, for ctypes."""

    def __init__(self, dtype: DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._name_in_torch = (
            f"torch.{self._dtype}"  # once: numpy's names take longer than most loops
        )

    def from_param(self, given: NDArray[Any] | Tensor) -> ctypes.c_void_p:
        if isinstance(given, np.ndarray):
            is_right, address = given.dtype == self._dtype, given.ctypes.data
            is_dense = given.flags.c_contiguous
        else:
            is_right, address = str(given.dtype) == self._name_in_torch, given.data_ptr()
            is_dense = given.is_contiguous()
        if not (is_right and is_dense):
            raise TypeError(f"an array of {given.dtype}, expected {self._dtype} without gaps")
        return ctypes.c_void_p(address)


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
    """Return a type of arguments: arrays, or tensors on a CPU, of ``dtype`` and without gaps."""
    return _ArrayOf(dtype)


def loop(name: str, *arguments: Any) -> Callable[..., int]:
    """Return the function of this name in `LIBRARY`, with arguments of these types; it returns an int64.

    It raises ctypes.ArgumentError for others. Where there is no library it cannot be called.
    """
    return _function(name, arguments, ctypes.c_int64)


def procedure(name: str, *arguments: Any) -> Callable[..., None]:
    """Return a function as `loop` does, one that returns nothing."""
    return _function(name, arguments, None)


def _function(
    name: str, arguments: tuple[Any, ...], returns: type[ctypes.c_int64] | None
) -> Callable[..., Any]:
    if LIBRARY is None:
        return _absent
    function = LIBRARY[name]
    function.argtypes, function.restype = arguments, returns
    return function


def _absent(*_arguments: Any) -> Any:
    raise AssertionError("the loops in C are not compiled")
