"""The latents of an archive, for those who train on them. Needs neither the model nor torch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from earzip.errors import DamagedArchiveError, TargetError
from earzip.formats.archive import ArchiveReader
from earzip.formats.atomic import atomic_write
from earzip.formats.symbols import unpack
from earzip.options import LatentsResult
from earzip.quantizer import dequantize

Latents = NDArray[np.float32]


def extract_latents(archive: Path, target: Path, *, force: bool = False) -> LatentsResult:
    """Write the dequantised latents of ``archive`` to the safetensors file ``target``.

    It holds one tensor ``latents``, float32 ``[D, F]``, of sound brought to the models' working
    level; its metadata name the model, hop, sample rate, gain and length. A target that holds just
    that is left as it is. Raises ArchiveError, or TargetError where another file is in the way
    (without ``force``) or the target cannot be written.
    """
    with ArchiveReader(archive) as reader:
        header = reader.header
        segments = [read_segment(reader, i) for i in range(reader.n_segments)]
    nothing = np.zeros((header.model.n_latents, 0), np.float32)
    latents = np.concatenate([nothing, *segments], 1)
    metadata = {
        "model": header.model.name,
        "model_sha256": header.model.sha256,
        "sample_rate": str(header.geometry.sample_rate),
        "hop": str(header.geometry.hop),
        "lead": str(header.geometry.lead),
        "gain_db": str(header.gain_centibels / 10),
        "n_samples": str(header.n_samples),
    }
    content = save({"latents": latents}, metadata)
    if not force and os.path.lexists(target):
        if _holds(target, content):
            return LatentsResult("up_to_date", archive, target, *latents.shape)
        raise TargetError("exists and holds something else; --force replaces it", target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target, replace=force) as file:
        file.write(content)
    return LatentsResult("written", archive, target, *latents.shape)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def read_segment(reader: ArchiveReader, i: int) -> Latents:
    """Return the latents of segment ``i``: float32 ``[D, F]``. Raises DamagedArchiveError."""
    header = reader.header
    try:
        symbols = unpack(reader.segment(i), header.model.n_latents, header.segment_frames(i))
    except DamagedArchiveError as error:
        if error.path is not None:
            raise
        raise DamagedArchiveError(f"segment {i}: {error.message}", reader.path) from error
    return dequantize(symbols, np.array(header.quantizer.step_exponents, np.int32))
