"""Pictures small enough for a page of many: levels as grey WebP, covers as thumbnails."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earzip.page.spectrum import DIFFERENCE_DB, FLOOR_DB, TOP_DB, Decibels

if TYPE_CHECKING:
    from PIL.Image import Image

THUMBNAIL_PIXELS = 80
"""Twice the size at which covers are shown, for dense screens."""
_THUMBNAIL_QUALITY = 60
_MAX_COVER_PIXELS = 16 << 20
_MAX_CANVAS_PIXELS = 4 << 20  # of WebP and of animations, which are decoded in several whole copies
_COVER_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
# What Pillow raises for files that are no pictures, or malformed ones.
_BROKEN_PICTURE = (OSError, SyntaxError, ValueError, EOFError, struct.error)


@dataclass(frozen=True)
class Grade:
    """How large and how exact the spectrograms of a page are."""

    n_columns: int
    n_rows: int
    quality: int  # of WebP, 0 to 100


FINE = Grade(960, 192, 70)
"""For pages of few tracks: some 29 kB a picture of music, within 1.8 dB (RMS) of the values."""
COARSE = Grade(640, 144, 50)
"""For pages of many: some 11 kB a picture of music, within 2.3 dB."""


def levels_picture(decibels: Decibels, grade: Grade) -> bytes:
    """Return a WebP whose grey is the level: 0 for `FLOOR_DB`, 255 for `TOP_DB`; row 0 is the top."""
    return _grey_webp((decibels - FLOOR_DB) / (TOP_DB - FLOOR_DB), grade)


def difference_picture(restored: Decibels, original: Decibels, grade: Grade) -> bytes:
    """Return a WebP whose grey is restored less original, 0 to 255 for ∓ and ± `DIFFERENCE_DB`."""
    return _grey_webp((restored - original) / (2 * DIFFERENCE_DB) + 0.5, grade)


def _grey_webp(values: NDArray[np.float32], grade: Grade) -> bytes:
    from PIL import Image  # noqa: PLC0415  # of the extra report

    grey = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    target = io.BytesIO()
    Image.fromarray(grey[::-1]).save(target, "WEBP", quality=grade.quality, method=6)
    return target.getvalue()


def thumbnail(image: bytes) -> bytes | None:
    """Return a picture as a small square WebP, its middle; None for what cannot be read as one."""
    from PIL import Image  # noqa: PLC0415  # of the extra report

    try:
        with warnings.catch_warnings(action="ignore"):
            with Image.open(io.BytesIO(image), formats=_COVER_FORMATS) as picture:
                if picture.width * picture.height > _most_pixels(picture):
                    return None
                picture.draft("RGB", (2 * THUMBNAIL_PIXELS, 2 * THUMBNAIL_PIXELS))
                small = _square(picture.convert("RGB"))
            target = io.BytesIO()
            small.save(target, "WEBP", quality=_THUMBNAIL_QUALITY, method=4)
    except (*_BROKEN_PICTURE, Image.DecompressionBombError):
        return None
    return target.getvalue()


def _most_pixels(picture: Image) -> int:
    has_canvas = picture.format == "WEBP" or getattr(picture, "is_animated", False)
    return _MAX_CANVAS_PIXELS if has_canvas else _MAX_COVER_PIXELS


def _square(picture: Image) -> Image:
    from PIL.Image import Resampling  # noqa: PLC0415  # of the extra report

    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    return picture.resize((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Resampling.BOX, box)
