"""The checksums of FLAC and MPEG audio, which both go from the highest bit."""

from __future__ import annotations


def crc8(data: bytes) -> int:
    """Return the CRC-8 of a FLAC frame's header: polynomial 0x07, from 0."""
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


def crc16(data: bytes, crc: int = 0) -> int:
    """Return the CRC-16 of the polynomial 0x8005, that goes on from ``crc``; 0 for data and its CRC."""
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
    return crc


def crc16_of_bits(data: bytes, n_bits: int, crc: int) -> int:
    """Return the same of the first ``n_bits`` of ``data``."""
    crc = crc16(data[: n_bits // 8], crc)
    for bit in range(n_bits % 8):
        is_set = data[n_bits // 8] >> (7 - bit) & 1 ^ crc >> 15
        crc = crc << 1 & 0xFFFF ^ (0x8005 if is_set else 0)
    return crc


def _table(polynomial: int, width: int) -> tuple[int, ...]:
    """Return the remainders of all bytes."""
    top, mask = 1 << width - 1, (1 << width) - 1
    table = []
    for byte in range(256):
        value = byte << width - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return tuple(table)


_CRC8, _CRC16 = _table(0x07, 8), _table(0x8005, 16)
