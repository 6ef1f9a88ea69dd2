"""The first frame of an MP3 file that earzip wrote: it holds no sound, but says how long the file is.

Players call it after its magic, Xing or Info. Behind the part that LAME added stands what is left of the
frame, which nobody reads: there is room for a note of ours, which taggers do not touch.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

_SIDE_INFO = 32  # bytes of a frame of MPEG-1 in stereo, behind its header
_XING_AT = 4 + _SIDE_INFO
_LAME_AT = _XING_AT + 120  # behind magic, flags, frames, bytes, table of contents, quality
_DELAY_AT = _LAME_AT + 21
_SIZE_AT = _LAME_AT + 28
_CRC_AT = _LAME_AT + 34
_CRC_END = _CRC_AT + 2
NOTE_AT = _CRC_END
"""Where in the frame a note may stand."""
NOTE_BYTES = 32
"""How long it may be."""
_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # of layer III
_RATES = (44_100, 48_000, 32_000)
_FRAME_SAMPLES = 1152
_MAX_PADDING = 0xFFF
MPEG_1_LAYER_3 = b"\xff\xfb"
_BLOCK_BYTES = 1 << 20


def finish_mp3(file: BinaryIO, n_samples: int) -> None:
    """Say in an MP3 file without tags, as FFmpeg writes it, how many samples it has.

    FFmpeg's padding is wrong where LAME ends with a frame more. The first frame also gets room for a
    note.
    """
    file.seek(0)
    head = file.read(_CRC_END)
    assert head[_XING_AT : _XING_AT + 4] in (b"Xing", b"Info"), "no first frame"
    n_frames, n_bytes = struct.unpack_from(">2I", head, _XING_AT + 8)
    old_size = frame_size(head)
    frame = bytearray(head[:_CRC_AT])
    while frame_size(frame) < NOTE_AT + NOTE_BYTES:
        frame[2] += 0x10  # the next higher rate
    n_more = frame_size(frame) - old_size
    delay = int.from_bytes(frame[_DELAY_AT : _DELAY_AT + 3], "big") >> 12
    padding = n_frames * _FRAME_SAMPLES - delay - n_samples
    assert 0 <= padding <= _MAX_PADDING, f"padding of {padding} samples"
    frame[_DELAY_AT : _DELAY_AT + 3] = (delay << 12 | padding).to_bytes(3, "big")
    for position in (_XING_AT + 12, _SIZE_AT):
        struct.pack_into(">I", frame, position, n_bytes + n_more)
    insert_bytes(file, old_size, n_more)
    file.seek(0)
    file.write(frame + struct.pack(">H", _crc(frame)) + bytes(frame_size(frame) - _CRC_END))


def frame_size(frame: bytes | bytearray) -> int:
    """Return how many bytes a frame of MPEG-1, layer III takes by its header, 0 if it is none."""
    kbps, rate = frame[2] >> 4, frame[2] >> 2 & 3
    if bytes(frame[:2]) != MPEG_1_LAYER_3 or rate >= len(_RATES) or not 0 < kbps < len(_KBPS):
        return 0
    return 144_000 * _KBPS[kbps] // _RATES[rate] + (frame[2] >> 1 & 1)


def stated_bytes(frame: bytes) -> int | None:
    """Return how many bytes of sound a first frame says that the file has, itself among them."""
    is_first = frame[_XING_AT : _XING_AT + 4] in (b"Xing", b"Info")
    if len(frame) < NOTE_AT + NOTE_BYTES or not is_first:
        return None
    (n_bytes,) = struct.unpack_from(">I", frame, _XING_AT + 12)
    return int(n_bytes)


def insert_bytes(file: BinaryIO, position: int, n_more: int) -> None:
    """Move what is behind ``position`` back by ``n_more`` bytes."""
    end = file.seek(0, 2)
    while end > position:
        start = max(position, end - _BLOCK_BYTES)
        file.seek(start)
        block = file.read(end - start)
        file.seek(start + n_more)
        file.write(block)
        end = start


def _crc(frame: bytes | bytearray) -> int:
    """Return LAME's checksum of what stands before it: CRC-16 from the lowest bit."""
    crc = 0
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
