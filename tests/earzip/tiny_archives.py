"""Archives of the tiny model, damage to them, and the sound of files."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.audio.source import open_source
from earzip.options import CompressOptions, Floor, RestoreOptions
from earzip.transcode.compress import compress_file
from tests.formats.archive.samples import Pieces

TINY = CompressOptions(model="tiny")
AS_SOURCE = RestoreOptions(as_source=True)
HIGH = 200.0
"""An SI-SDR that no track reaches, dB."""


def with_floor(below: str, si_sdr_db: float = HIGH) -> CompressOptions:
    """Return the options of the tiny model and a floor, which no track reaches unless it is given."""
    return replace(TINY, floor=Floor(min_si_sdr_db=si_sdr_db, below=below))  # type: ignore[arg-type]


def exact(source: Path, target: Path) -> Path:
    """Archive ``source`` with an exact copy; return the archive."""
    result = compress_file(source, target, with_floor("lossless"))
    assert result.exact_bytes
    return target


def pcm(path: Path) -> tuple[NDArray[np.float32], int]:
    """Return the samples of a sound file, ``[C, T]``, and their rate."""
    with open_source(path) as reader:
        return np.concatenate(list(reader.blocks()), axis=1), reader.facts.sample_rate


def sound(path: Path) -> NDArray[np.float32]:
    """Return the samples of a file that libsndfile reads, ``[C, T]``."""
    return soundfile.read(path, dtype="float32", always_2d=True)[0].T


def snr_db(got: NDArray[np.float32], original: NDArray[np.float32]) -> float:
    return float(10 * np.log10((original**2).sum() / ((got - original) ** 2).sum()))


def wait_for_the_next_time() -> None:
    """Wait until a file changed now has a later time: clocks of file systems step by up to 10 ms."""
    time.sleep(0.02)


def change_behind_its_time(path: Path) -> None:
    """Change a byte of ``path`` in its middle, but neither its size nor its time."""
    wait_for_the_next_time()
    time_ns = path.stat().st_mtime_ns
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(time_ns, time_ns))


def damage_segment(archive: Path, i: int) -> None:
    with ArchiveReader(archive) as reader:
        sizes = [len(reader._file.read_part(reader._index[j])) for j in range(reader.n_segments)]
        offset = reader._index[i].offset
    data = bytearray(archive.read_bytes())
    data[offset + sizes[i] // 2] ^= 0x10
    archive.write_bytes(data)


def put_copy(archive: Path, copy: bytes, **changes: object) -> Path:
    """Put another copy into an archive, and other facts into its header, all checksums right."""
    pieces = Pieces.of(archive)
    pieces.change_part(4, copy)
    for key, value in changes.items():
        pieces.change_header(key.replace("__", "."), value)
    pieces.minor = 2
    return pieces.write(archive)
