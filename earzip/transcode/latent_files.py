"""Latents in files, read: numpy's ``.npy``, safetensors, and the samples of tar files.

A sample of a tar file is named as if that were a folder: ``latents-000000.tar/KEY.npy``. Nothing is
unpickled, and memory does not grow with the array.
"""

from __future__ import annotations

import json
import math
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from tokenize import TokenError
from typing import Any, BinaryIO, Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from earzip.arrays import Latents
from earzip.errors import SourceError
from earzip.formats.names import is_archive_name
from earzip.transcode.training_sample import facts_beside

TAR_SUFFIX = ".tar"
_NPY = ".npy"
_TENSOR = "latents"
_FLOATS = {"F16": "float16", "F32": "float32", "F64": "float64"}
_MAX_FACTS_BYTES = 64 << 20
"""Of a JSON file: the mask of a day of frames takes 15 MB."""
_MAX_SHOWN = 40  # characters of a wrong value in a message


@dataclass(frozen=True)
class LatentFacts:
    """What a file says of its latents; None where it says nothing."""

    model: str | None = None
    model_sha256: str | None = None
    n_samples: int | None = None
    gain_db: float = 0.0


@dataclass(frozen=True)
class StoredLatents:
    """Latents in a file that is open."""

    path: Path
    facts: LatentFacts
    shape: tuple[int, int]
    """Latents a frame and frames: D, F."""
    _read: Callable[[int, int], NDArray[np.floating[Any]]]

    def frames(self, start: int, end: int) -> Latents:
        """Return frames ``[start, end)``: float32 ``[D, end − start]``.

        Raises SourceError for values that are not finite.
        """
        with np.errstate(over="ignore"):  # of float64
            latents = np.ascontiguousarray(self._read(start, end), np.float32)
        if not np.isfinite(latents).all():
            frame = start + int(np.argmin(np.isfinite(latents).all(axis=0)))
            raise SourceError(f"has NaN or infinite values, first in frame {frame}", self.path)
        return latents


@dataclass(frozen=True)
class _Place:
    """Where a file is within a tar file."""

    offset: int
    n_bytes: int


@contextmanager
def open_latents(path: Path) -> Iterator[StoredLatents]:
    """Give the latents in a ``.npy`` or safetensors file, or those of a sample in a tar file.

    The facts are those in the ``.json`` beside it, or the metadata of safetensors. Raises SourceError
    for what cannot be read, is no float, or has other than two dimensions.
    """
    with ExitStack() as opened:
        try:
            stored = _opened(path, opened)
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror or error}", path) from error
        yield stored


def _opened(path: Path, opened: ExitStack) -> StoredLatents:
    """Return the latents in ``path``; ``opened`` gets what must be closed. Raises OSError."""
    if tar := _tar_above(path):
        places = _places(tar, tar.stat().st_mtime_ns)
        name = path.relative_to(tar).as_posix()
        if name not in places:
            raise SourceError("is not in the tar file", path)
        facts = _tar_facts(tar, places, name)
        return _npy(path, tar, places[name], _facts_of(facts, path))
    if path.suffix.lower() == ".npy":
        beside, place = facts_beside(path), _Place(0, path.stat().st_size)
        raw = beside.read_bytes() if beside.is_file() else None
        facts = {} if raw is None else _json_object(raw, beside)
        return _npy(path, path, place, _facts_of(facts, beside))
    return opened.enter_context(_safetensors(path))


def tar_samples(path: Path) -> dict[Path, str]:
    """Return the samples of latents in a tar file, each with the name that its JSON gives it.

    A name that leads out of a folder, or none, is that of the sample itself. Raises SourceError.
    """
    try:
        places = _places(path, path.stat().st_mtime_ns)
        found = {}
        for name in places:
            if name.endswith(_NPY):
                told = _tar_facts(path, places, name).get("name")
                key = PurePosixPath(name).stem
                found[path / name] = told if _is_name_below(told) else key
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", path) from error
    if not found:
        hint = ""
        if any(map(is_archive_name, places)):
            hint = ", but archives: extract them with tar, and restore them"
        raise SourceError(f"holds no .npy files{hint}", path)
    return found


def _tar_above(path: Path) -> Path | None:
    """Return the tar file that ``path`` names a file of, if it does."""
    parents = (parent for parent in path.parents if parent.suffix.lower() == TAR_SUFFIX)
    return next((parent for parent in parents if parent.is_file()), None)


def _is_name_below(name: object) -> TypeGuard[str]:
    """Return whether ``name`` is text that is a path below any folder that it is joined to."""
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # half a character, which JSON may have
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.name != ""


@lru_cache(maxsize=4)
def _places(path: Path, _mtime_ns: int) -> Mapping[str, _Place]:
    """Return where each file of a tar file is. Kept, since its samples are read one by one."""
    try:
        with tarfile.open(path, mode="r:") as tar:
            members = [info for info in tar if info.isreg()]
    except tarfile.TarError as error:
        raise SourceError(f"is not a readable tar file: {error}", path) from error
    for info in members:
        if info.issparse():  # its bytes are not all there, in one piece
            raise SourceError(f"has {info.name} without its zeros; pack it without --sparse", path)
    return {
        # As a path spells it, since jobs name them by paths.
        PurePosixPath(info.name.lstrip("/")).as_posix(): _Place(info.offset_data, info.size)
        for info in members
    }


def _tar_facts(path: Path, places: Mapping[str, _Place], array: str) -> dict[str, Any]:
    """Return the facts of the file ``array``: those in the ``.json`` of its name, if there is one."""
    name = array.removesuffix(_NPY) + ".json"
    place = places.get(name)
    if place is None:
        return {}
    if place.n_bytes > _MAX_FACTS_BYTES:
        raise SourceError(f"has {place.n_bytes} bytes, too many for facts", path / name)
    with path.open("rb") as file:
        file.seek(place.offset)
        return _json_object(file.read(place.n_bytes), path / name)


def _json_object(data: bytes, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError("is not valid JSON", path) from error
    if not isinstance(found, dict):
        raise SourceError("is not a JSON object", path)
    return found


def _facts_of(members: Mapping[str, Any], path: Path) -> LatentFacts:
    """Return the facts among the ``members`` of a JSON object. Raises SourceError."""
    model, sha256 = members.get("model"), members.get("model_sha256")
    for name, value in (("model", model), ("model_sha256", sha256)):
        if not isinstance(value, str | None):
            raise SourceError(f"{name} is {value!r}, expected text", path)
    n_samples, gain_db = members.get("n_samples"), members.get("gain_db", 0.0)
    # Programs that know one kind of number only write 30000 as 30000.0.
    if n_samples is not None and not (_is_number(n_samples) and n_samples == int(n_samples)):
        raise SourceError(f"n_samples is {_shown(n_samples)}, expected a whole number", path)
    if not _is_number(gain_db):
        raise SourceError(f"gain_db is {_shown(gain_db)}, expected a number of decibels", path)
    return LatentFacts(model, sha256, None if n_samples is None else int(n_samples), float(gain_db))


def _is_number(value: object) -> TypeGuard[int | float]:
    """Return whether ``value`` is a number that float64 holds; true and false are none."""
    try:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:  # of an int
        return False


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _metadata_of(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the metadata of safetensors, which are text, with numbers where `_facts_of` expects them."""
    found: dict[str, Any] = dict(texts)
    for name in ("n_samples", "gain_db"):
        if name in texts:
            with suppress(ValueError):
                found[name] = (int if texts[name].isdigit() else float)(texts[name])
    return found


def _npy(path: Path, file: Path, place: _Place, facts: LatentFacts) -> StoredLatents:
    with file.open("rb") as opened:
        opened.seek(place.offset)
        shape, fortran_order, dtype = _npy_header(opened, path)
        begin = opened.tell()
    shape = _checked(shape, dtype.name, dtype.kind == "f" and dtype.itemsize <= 8, path)
    n_bytes = place.offset + place.n_bytes - begin
    if n_bytes != shape[0] * shape[1] * dtype.itemsize:
        raise SourceError(f"has {n_bytes} bytes of values, its header says {shape}", path)
    order: Literal["C", "F"] = "F" if fortran_order else "C"
    if not n_bytes:  # nothing that could be mapped
        return StoredLatents(path, facts, shape, lambda a, b: np.zeros((shape[0], b - a)))
    values = np.memmap(file, dtype, "r", begin, shape, order)
    return StoredLatents(path, facts, shape, lambda start, end: values[:, start:end])


def _npy_header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(file)
        if version not in read:
            raise ValueError(f"version {version} is not supported")
        return read[version](file)
    except (ValueError, EOFError) as error:
        raise SourceError(f"is not a .npy file: {error}", path) from error
    # Of the Python that a header is; the last two if it is nested too deep.
    except (SyntaxError, TypeError, TokenError, RecursionError, MemoryError) as error:
        raise SourceError("is not a .npy file: its header is damaged", path) from error


def _checked(
    shape: tuple[int, ...] | list[int], dtype: str, is_float: bool, path: Path
) -> tuple[int, int]:
    if not is_float:
        raise SourceError(f"has values of the type {dtype}, expected float32 or float16", path)
    if len(shape) != 2 or min(shape) < 0:
        raise SourceError(f"has the shape {tuple(shape)}, expected [latents, frames]", path)
    return shape[0], shape[1]


@contextmanager
def _safetensors(path: Path) -> Iterator[StoredLatents]:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415  # only for these files

    path.stat()  # raises what safe_open reports in words of its own
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            name = _TENSOR if _TENSOR in names or len(names) != 1 else names[0]
            if name not in names:
                raise SourceError(f"has no tensor {_TENSOR!r} among its {len(names)}", path)
            part = file.get_slice(name)
            dtype = part.get_dtype()
            shape = _checked(part.get_shape(), dtype, dtype in _FLOATS, path)
            facts = _facts_of(_metadata_of(file.metadata() or {}), path)
            yield StoredLatents(path, facts, shape, lambda start, end: part[:, start:end])
    except SafetensorError as error:
        raise SourceError(f"is not a safetensors file: {error}", path) from error
