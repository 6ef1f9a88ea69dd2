"""DSD files: a modulator of the second order, and the two containers, from their descriptions."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DSD64 = 64 * 44_100
_BLOCK_BYTES = 4096  # of one channel of a DSF


def modulate(samples: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the bits ``[64 T]`` of samples ``[T]`` at 44.1 kHz, within ±0.5."""
    n = len(samples)
    held = np.interp(np.arange(64 * n) / 64, np.arange(n), samples)
    bits = np.empty(64 * n, np.uint8)
    first = second = 0.0
    for i, value in enumerate(held):
        bits[i] = second >= 0
        fed_back = 1.0 if second >= 0 else -1.0
        first += value - fed_back
        second += first - fed_back
    return bits


def write_dsf(path: Path, channels: Sequence[NDArray[np.uint8]], tag: bytes = b"") -> Path:
    """Write a DSF (Sony, version 1.01): little-endian chunks, blocks of each channel in turn."""
    packed = [np.packbits(bits, bitorder="little").tobytes() for bits in channels]
    blocks = [
        part[at : at + _BLOCK_BYTES].ljust(_BLOCK_BYTES, b"\0")
        for at in range(0, len(packed[0]), _BLOCK_BYTES)
        for part in packed
    ]
    n_channels, n_bits = len(channels), len(channels[0])
    facts = (52, 1, 0, n_channels, n_channels, DSD64, 1, n_bits, _BLOCK_BYTES, 0)
    form = b"fmt " + struct.pack("<Q6IQ2I", *facts)
    data = b"data" + struct.pack("<Q", 12 + _BLOCK_BYTES * len(blocks)) + b"".join(blocks)
    n_bytes = 28 + len(form) + len(data)
    head = b"DSD " + struct.pack("<3Q", 28, n_bytes + len(tag), n_bytes if tag else 0)
    path.write_bytes(head + form + data + tag)
    return path


def write_dff(path: Path, channels: Sequence[NDArray[np.uint8]], tag: bytes = b"") -> Path:
    """Write a DSDIFF (Philips, version 1.5): big-endian chunks, a byte of each channel in turn."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack(">Q", len(data)) + data + bytes(len(data) % 2)

    names = {1: b"C   ", 2: b"SLFTSRGT"}[len(channels)]
    sound = np.stack([np.packbits(bits) for bits in channels], axis=1).tobytes()
    properties = (
        b"SND "
        + chunk(b"FS  ", struct.pack(">I", DSD64))
        + chunk(b"CHNL", struct.pack(">H", len(channels)) + names)
        + chunk(b"CMPR", b"DSD \x0enot compressed\0")
    )
    body = b"DSD " + chunk(b"FVER", b"\1\5\0\0") + chunk(b"PROP", properties)
    body += chunk(b"DSD ", sound) + (chunk(b"ID3 ", tag) if tag else b"")
    path.write_bytes(chunk(b"FRM8", body))
    return path
