"""Embedded pictures: the FLAC picture structure, and dimensions read from an image's own header."""

from __future__ import annotations

import struct

from earzip.errors import TagError
from earzip.formats.tags.model import Picture

FRONT_COVER = 3
_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def measured_picture(type_: int, mime: str, description: str, data: bytes) -> Picture:
    """A picture of a format that states no dimensions, with those its image header gives."""
    return Picture(
        type_, mime or image_mime(data), _utf8(description), data, *image_dimensions(data)
    )


def image_mime(data: bytes) -> str:
    """The MIME type by the image's first bytes; empty if it is none of the usual ones."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"BM"):
        return "image/bmp"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def image_dimensions(data: bytes) -> tuple[int, int, int, int]:
    """Width, height, bits per pixel and palette entries of a PNG, JPEG or GIF; zeros if unknown."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 26:
        width, height, bits, color = struct.unpack_from(">IIBB", data, 16)
        palette = 1 << bits if color == 3 and bits <= 8 else 0
        return width, height, bits * _PNG_CHANNELS.get(color, 0), palette
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 11:
        width, height, flags = struct.unpack_from("<HHB", data, 6)
        bits = (flags & 7) + 1
        return width, height, bits, 1 << bits if flags & 0x80 else 0
    if data.startswith(b"\xff\xd8"):
        return _jpeg_dimensions(data)
    return 0, 0, 0, 0


def _jpeg_dimensions(data: bytes) -> tuple[int, int, int, int]:
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in _JPEG_SIZE_MARKERS:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, position + 4)
            return width, height, bits * channels, 0
        if marker == 0xFF:  # fill byte
            position += 1
        else:
            position += 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
    return 0, 0, 0, 0


def encode_flac_picture(picture: Picture) -> bytes:
    """The body of a FLAC PICTURE block; the inverse of ``decode_flac_picture``."""
    mime = picture.mime.encode()
    description = picture.description.encode()
    return b"".join(
        [
            struct.pack(">II", picture.type, len(mime)),
            mime,
            struct.pack(">I", len(description)),
            description,
            struct.pack(
                ">5I",
                picture.width,
                picture.height,
                picture.depth,
                picture.colors,
                len(picture.data),
            ),
            picture.data,
        ]
    )


def decode_flac_picture(block: bytes) -> Picture:
    """The picture of a FLAC PICTURE block's body. Raises TagError if it runs past its end."""
    try:
        type_, length = struct.unpack_from(">II", block)
        position = 8 + length
        mime = block[8:position].decode("utf-8", "replace")
        (length,) = struct.unpack_from(">I", block, position)
        description = block[position + 4 : position + 4 + length].decode("utf-8", "replace")
        position += 4 + length
        width, height, depth, colors, length = struct.unpack_from(">5I", block, position)
    except struct.error as error:
        raise TagError("a FLAC picture block ends early") from error
    data = block[position + 20 : position + 20 + length]
    if len(data) != length:
        raise TagError(f"a FLAC picture block says {length} bytes of picture, has {len(data)}")
    return Picture(type_, mime, description, data, width, height, depth, colors)


def flac_picture_head(block: bytes) -> int:
    """How many bytes precede the image in a FLAC PICTURE body that can be decoded."""
    length = int.from_bytes(block[4:8], "big")
    return 32 + length + int.from_bytes(block[8 + length : 12 + length], "big")


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
