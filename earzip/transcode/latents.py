"""The latents of an archive as arrays in files, for training. Needs neither the model nor torch."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from earzip.errors import ArchiveError, TargetError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.atomic import atomic_write, look_again, make_folder, private_as
from earzip.formats.names import name_without_archive_suffix
from earzip.options import LatentDtype
from earzip.results import Progress
from earzip.transcode.replacing import to_replace_latents
from earzip.transcode.results import LatentsResult
from earzip.transcode.sound import read_segment
from earzip.transcode.training_sample import facts_beside, sample_json

_STORED: dict[LatentDtype, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
_SAFETENSORS_TYPE = {"float32": "F32", "float16": "F16"}


def extract_latents(
    archive: Path, target: Path, *, dtype: LatentDtype = "float32", force: bool = False
) -> LatentsResult:
    """Write the dequantised latents of ``archive``, ``[D, F]``, to ``target``.

    They are of sound brought to the models' working level. A target that ends in ``.npy`` is numpy's
    format, with a JSON file of `sample_json` beside it; any other is safetensors of one tensor
    ``latents``, whose metadata name the archive's checksum, the model, hop, sample rate, gain and
    length. A target of the same facts and size is left as it is. Raises ArchiveError, also for latents
    that float16 cannot hold, or TargetError where another file is in the way (without ``force``) or
    the target cannot be written. Memory does not grow with the track.
    """
    return look_again(lambda: _extract(archive, target, dtype, force=force))


def _extract(archive: Path, target: Path, dtype: LatentDtype, *, force: bool) -> LatentsResult:
    with ArchiveReader(archive) as reader:
        reader.require_work()
        shape = reader.header.model.n_latents, reader.header.n_frames
        beside: tuple[Path, bytes] | None = None
        if target.suffix.lower() == ".npy":
            head = npy_head(reader, dtype)
            facts = sample_json(reader, name_without_archive_suffix(archive.name))
            beside = facts_beside(target), facts
        else:
            head = _safetensors_head(shape, dtype, _metadata(reader))
        remedy = None if force else to_replace_latents(archive, target, dtype)
        is_done = _is_there(target, head, len(head) + n_bytes_of(reader, dtype), remedy)
        if beside and not _is_there(*beside, len(beside[1]), remedy):
            is_done = False
            _write_beside(*beside, reader, force=force)
        if is_done:
            return LatentsResult("up_to_date", archive, target, *shape)
        make_folder(target)
        with atomic_write(target, replace=force, mode=private_as(reader.status)) as file:
            file.write(head)
            write_latents(file, reader, dtype)
    return LatentsResult("written", archive, target, *shape)


def _write_beside(path: Path, data: bytes, reader: ArchiveReader, *, force: bool) -> None:
    make_folder(path)
    with atomic_write(path, replace=force, mode=private_as(reader.status)) as file:
        file.write(data)


def n_bytes_of(reader: ArchiveReader, dtype: LatentDtype) -> int:
    """Return how many bytes `write_latents` writes."""
    return reader.header.model.n_latents * reader.header.n_frames * _STORED[dtype].itemsize


def write_latents(
    file: BinaryIO,
    reader: ArchiveReader,
    dtype: LatentDtype,
    on_progress: Progress = lambda _seconds: None,
) -> None:
    """Write the latents of an archive to ``file``, from where it is, row by row as ``[D, F]``.

    A segment at a time is in memory. ``on_progress`` is called with 0 for each, and may raise to end
    it. Raises DamagedArchiveError, or ArchiveError for latents that ``dtype`` cannot hold.
    """
    header, stored = reader.header, _STORED[dtype]
    begin, row_bytes = file.tell(), header.n_frames * stored.itemsize
    for i in range(reader.n_segments):
        on_progress(0)
        with np.errstate(over="ignore"):
            latents = read_segment(reader, i).astype(stored)
        if not np.isfinite(latents).all():
            limit = np.finfo(stored).max
            raise ArchiveError(
                f"has latents beyond {limit:g}, the most that {dtype} holds; use float32",
                reader.path,
            )
        first = begin + i * header.geometry.core * stored.itemsize
        for channel, row in enumerate(latents):
            file.seek(first + channel * row_bytes)
            file.write(row.tobytes())
    file.seek(begin + n_bytes_of(reader, dtype))


def npy_head(reader: ArchiveReader, dtype: LatentDtype) -> bytes:
    """Return what a ``.npy`` file of an archive's latents has before its data."""
    head = io.BytesIO()
    shape = reader.header.model.n_latents, reader.header.n_frames
    fields = {"descr": _STORED[dtype].str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, fields)
    return head.getvalue()


def _metadata(reader: ArchiveReader) -> dict[str, str]:
    header = reader.header
    return {
        "archive": reader.prefix.pack()[-8:].hex(),
        "model": header.model.name,
        "model_sha256": header.model.sha256,
        "sample_rate": str(header.geometry.sample_rate),
        "hop": str(header.geometry.hop),
        "lead": str(header.geometry.lead),
        "gain_db": str(header.gain_centibels / 10),
        "n_samples": str(header.n_samples),
    }


def _safetensors_head(
    shape: tuple[int, int], dtype: LatentDtype, metadata: dict[str, str]
) -> bytes:
    """Return what a safetensors file of one tensor has before its data.

    Written here because the library wants the whole tensor in memory: 64-bit length, then JSON filled up
    with spaces to a multiple of eight (https://github.com/huggingface/safetensors, "Format").
    """
    end = _STORED[dtype].itemsize * shape[0] * shape[1]
    tensor = {"dtype": _SAFETENSORS_TYPE[dtype], "shape": list(shape), "data_offsets": [0, end]}
    text = json.dumps({"__metadata__": metadata, "latents": tensor}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _is_there(path: Path, begin: bytes, n_bytes: int, remedy: str | None) -> bool:
    """Return whether ``path`` begins so and is so long; TargetError with ``remedy`` for another file.

    Without a remedy nothing is there: it is written again.
    """
    if remedy is None or not os.path.lexists(path):
        return False
    try:
        with path.open("rb") as file:
            same = os.fstat(file.fileno()).st_size == n_bytes and file.read(len(begin)) == begin
    except OSError as error:
        raise TargetError(f"cannot be read: {error.strerror or error}", path) from error
    if not same:
        raise TargetError(f"already exists with other content; {remedy}", path)
    return True
