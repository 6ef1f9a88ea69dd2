"""A checkpoint's tensors from its file, or one sentence on what that file is instead."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from earzip.errors import ModelDamagedError

_HEAD_BYTES = 512
_SHOWN = 40  # characters of a text
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_UNDECODABLE = "\ufffd"
_OTHERS = (
    (
        (b"version https://git-lfs.github.com/",),
        "it is a Git LFS pointer, which stands for the file; `git lfs pull` gets that",
    ),
    (
        (b"<!doctype html", b"<html"),
        "it is a web page, not the file that was to be downloaded",
    ),
    ((b"\x1f\x8b",), "it is compressed by gzip"),
)
"""What files begin with, in lower case, that are often in a checkpoint's place."""
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors in ``path`` by name: a safetensors file, or a state dict that PyTorch pickled.

    Of a pickle only tensors are ever unpickled. Raises ModelDamagedError that says what the file is.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # they are about files that fail below
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _not_a_checkpoint(path, error.strerror or str(error)) from error
    except Exception as error:  # PyTorch raises what its unpickler stumbles over
        raise _not_a_checkpoint(path, _what_it_is(path, str(error))) from error
    tensors = isinstance(weights, dict) and all(isinstance(t, Tensor) for t in weights.values())
    if not tensors:
        raise ModelDamagedError("holds no state dict of tensors", path)
    return dict(weights)


def _not_a_checkpoint(path: Path, why: str) -> ModelDamagedError:
    return ModelDamagedError(f"cannot be read as a checkpoint: {why}", path)


def _what_it_is(path: Path, refusal: str) -> str:
    """Return what a file is that could not be read; ``refusal``: what PyTorch or safetensors said."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    start = head.lstrip().lower()
    for beginnings, what in _OTHERS:
        if start.startswith(beginnings):
            return what
    is_safetensors = path.suffix == ".safetensors"
    if head.startswith(b"PK"):
        return _what_zip_it_is(path, refusal, is_safetensors=is_safetensors)
    if head.startswith(_PICKLES):
        return _misnamed("a pickle", ".pyt") if is_safetensors else _what_pickle_it_is(refusal)
    if head[8:9] == b"{":
        damaged = "it is a safetensors file that is cut short or damaged"
        return damaged if is_safetensors else _misnamed("a safetensors file", ".safetensors")
    return _what_bytes_they_are(head)


def _what_bytes_they_are(head: bytes) -> str:
    if not head:
        return "it is empty"
    text = " ".join(head.decode("utf-8", "replace").split())
    if text.isprintable() and _UNDECODABLE not in text:
        return f"it is text, which begins with {text[:_SHOWN]!r}"
    return "it is neither a PyTorch file nor a safetensors file"


def _what_zip_it_is(path: Path, refusal: str, *, is_safetensors: bool) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return "it is a PyTorch file or a ZIP archive that is cut short or damaged"
    if not any(name.endswith("data.pkl") for name in names):
        return "it is a ZIP archive without a PyTorch checkpoint"
    return _misnamed("a PyTorch file", ".pyt") if is_safetensors else _what_pickle_it_is(refusal)


def _what_pickle_it_is(refusal: str) -> str:
    found = _GLOBAL.search(refusal)
    what = f" ({found[1]})" if found else ""
    return f"it is a pickle of more than tensors{what}, which earzip does not load"


def _misnamed(what: str, suffix: str) -> str:
    return f"it is {what}; its name has to end in {suffix}"
