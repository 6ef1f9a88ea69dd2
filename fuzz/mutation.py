"""Damage to bytes, drawn at random."""

from __future__ import annotations

import random
import struct

_EDGE = 2048  # bytes of a file's ends, where most of its structure is
_NUMBERS = (0, 1, 2, 3, 16, 127, 128, 255, 256, 32_767, 65_535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_LARGE = (2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
_FORMS = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")
_MAX_BYTES = 1 << 20


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` with one to a dozen changes, at most 1 MiB of it."""
    changed = bytearray(data)
    for _ in range(min(12, 1 + int(rng.expovariate(0.6)))):
        rng.choice(_CHANGES)(changed, rng)
    return bytes(changed[:_MAX_BYTES])


def _place(data: bytearray, rng: random.Random) -> int:
    """Return a place in ``data``, half of the time near one of its ends."""
    side, size = rng.randrange(4), len(data)
    if side == 0:
        return rng.randrange(min(size, _EDGE) + 1)
    if side == 1:
        return size - rng.randrange(min(size, _EDGE) + 1)
    return rng.randrange(size + 1)


def _span(data: bytearray, rng: random.Random) -> slice:
    start = _place(data, rng)
    return slice(start, start + min(1 << rng.randrange(12), len(data) - start))


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[min(_place(data, rng), len(data) - 1)] ^= 1 << rng.randrange(8)


def _set(data: bytearray, rng: random.Random) -> None:
    if data:
        data[min(_place(data, rng), len(data) - 1)] = rng.randrange(256)


def _write_number(data: bytearray, rng: random.Random) -> None:
    form = rng.choice(_FORMS)
    size = struct.calcsize(form)
    numbers = _NUMBERS + _LARGE if size == 8 else _NUMBERS
    number = rng.choice(numbers) + rng.choice((0, 0, -1, 1))
    start = _place(data, rng)
    data[start : start + size] = struct.pack(form, number % 2 ** (8 * size))


def _delete(data: bytearray, rng: random.Random) -> None:
    del data[_span(data, rng)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    span = _span(data, rng)
    data[span.start : span.start] = data[span] * (1 << rng.randrange(4))


def _move(data: bytearray, rng: random.Random) -> None:
    start = _place(data, rng)
    data[start:start] = data[_span(data, rng)]


def _overwrite(data: bytearray, rng: random.Random) -> None:
    moved, start = data[_span(data, rng)], _place(data, rng)
    data[start : start + len(moved)] = moved


def _insert(data: bytearray, rng: random.Random) -> None:
    start = _place(data, rng)
    data[start:start] = rng.randbytes(1 << rng.randrange(6))


def _clear(data: bytearray, rng: random.Random) -> None:
    span = _span(data, rng)
    data[span] = rng.choice((b"\0", b"\xff")) * len(data[span])


def _cut(data: bytearray, rng: random.Random) -> None:
    if rng.randrange(3) == 0:
        del data[_place(data, rng) :]


_CHANGES = (
    _flip, _flip, _flip, _set, _set, _write_number, _write_number, _write_number, _delete, _repeat, _move,
    _overwrite, _insert, _clear, _cut,
)  # fmt: skip
