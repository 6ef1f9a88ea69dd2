"""The checksum of an MPEG audio frame, over its header and what tells how its samples are packed.

ISO 11172-3, section 2.4.3.1: of layer I the bits of allocation, of layer II also those of scale factor
selection, of layer III the side information. No decoder here looks at it.
"""

from __future__ import annotations

from earzip.formats.audio.crc import crc16, crc16_of_bits

_START = 0xFFFF
_CRC_AT, _BODY_AT = 4, 6
# How many bits the allocation of each subband has (tables B.2a to B.2d, and B.1 of ISO 13818-3).
_WIDTHS_OF_27 = (4,) * 11 + (3,) * 12 + (2,) * 4
_WIDTHS_OF_30 = (4,) * 11 + (3,) * 12 + (2,) * 7
_WIDTHS_OF_8 = (4,) * 2 + (3,) * 6
_WIDTHS_OF_12 = (4,) * 2 + (3,) * 10
_WIDTHS_OF_LOW_RATES = (4,) * 4 + (3,) * 7 + (2,) * 19


def has_checksum(head: bytes) -> bool:
    """Return whether the frame that begins with the four bytes ``head`` has a checksum."""
    return not head[1] & 1


def checksum_is_right(
    frame: bytes, *, layer: int, is_mpeg_1: bool, sample_rate: int, kbps: int, side_info: int
) -> bool:
    """Return whether the checksum of a whole ``frame`` of ``layer`` 1 to 3 is right."""
    n_channels = 1 if frame[3] >> 6 == 3 else 2
    bound = 4 * (frame[3] >> 4 & 3) + 4 if frame[3] >> 6 == 1 else 32
    if layer == 3:
        n_bits = 8 * side_info
    elif layer == 1:
        n_bits = 4 * (32 + (n_channels - 1) * bound)
    else:
        widths = _widths(is_mpeg_1, sample_rate, kbps // n_channels)
        n_bits = _bits_of_layer_2(frame, widths, n_channels, bound)
    body = frame[_BODY_AT : _BODY_AT + n_bits // 8 + 1].ljust(n_bits // 8 + 1, b"\0")
    crc = crc16_of_bits(body, n_bits, crc16(frame[2:_CRC_AT], _START))
    return crc == int.from_bytes(frame[_CRC_AT:_BODY_AT], "big")


def _widths(is_mpeg_1: bool, sample_rate: int, kbps_a_channel: int) -> tuple[int, ...]:
    if not is_mpeg_1:
        return _WIDTHS_OF_LOW_RATES
    if kbps_a_channel >= 56 and (sample_rate == 48_000 or kbps_a_channel <= 80):
        return _WIDTHS_OF_27
    if kbps_a_channel > 80:
        return _WIDTHS_OF_30
    return _WIDTHS_OF_12 if sample_rate == 32_000 else _WIDTHS_OF_8


def _bits_of_layer_2(frame: bytes, widths: tuple[int, ...], n_channels: int, bound: int) -> int:
    """Return how many bits the allocations take, and two for each of them that is not 0."""
    bits = int.from_bytes(frame[_BODY_AT : _BODY_AT + 48].ljust(48, b"\0"), "big")
    at = n_used = 0
    for subband, width in enumerate(widths):
        n_allocations = n_channels if subband < bound else 1
        for _ in range(n_allocations):
            at += width
            if bits >> 8 * 48 - at & (1 << width) - 1:
                n_used += n_channels // n_allocations
    return at + 2 * n_used
