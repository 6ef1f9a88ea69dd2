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
# Pillow's errors for other files and malformed pictures.
_BROKEN_PICTURE = (OSError, SyntaxError, ValueError, EOFError, struct.error)
N_COLOURS = 256
_Floats = NDArray[np.float64]
# Oklab to the cube roots of cone responses, and those to linear sRGB, as published.
_LMS = np.array(
    [
        [1, 0.3963377774, 0.2158037573],
        [1, -0.1055613458, -0.0638541728],
        [1, -0.0894841775, -1.291485548],
    ]
)
_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.707614701],
    ]
)


@dataclass(frozen=True)
class Grade:
    """How large and how exact the spectrograms of a page are."""

    n_columns: int
    n_rows: int
    quality: int  # of WebP, 0 to 100


FINE = Grade(960, 192, 70)
"""For pages of few tracks: about 29 kB a picture of music, within 1.8 dB (RMS) of the values."""
COARSE = Grade(640, 144, 50)
"""For pages of many: about 11 kB a picture of music, within 2.3 dB."""


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


def level_colours() -> str:
    """Return the map of levels, from near black over violet and orange to pale yellow, in hex."""
    t = np.linspace(0, 1, N_COLOURS)
    lightness = 0.12 + 0.85 * t
    hue = np.interp(t, [0, 0.35, 0.6, 1], [275, 330, 400, 465])
    chroma = np.interp(t, [0, 0.15, 0.5, 0.7, 1], [0.03, 0.1, 0.19, 0.16, 0.09])
    return _hex(lightness, chroma, hue)


def difference_colours(*, dark: bool) -> str:
    """Return the map of differences in hex: blue below, the page's ground for none, orange above.

    Both arms move away from the ground in lightness alike, so neither sign looks the larger.
    """
    t = np.linspace(-1, 1, N_COLOURS)
    ground, end = (0.21, 0.78) if dark else (0.97, 0.5)
    lightness = ground + (end - ground) * np.abs(t)
    chroma = 0.16 * np.abs(t) ** 0.8
    return _hex(lightness, chroma, np.where(t < 0, 255.0, 45.0))


def _hex(lightness: _Floats, chroma: _Floats, hue_degrees: _Floats) -> str:
    """Return six hexadecimal digits of sRGB for each colour, joined."""
    hue = np.radians(hue_degrees)
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    linear = np.clip((lab @ _LMS.T) ** 3 @ _RGB.T, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    codes: NDArray[np.uint8] = np.rint(255 * srgb).astype(np.uint8)
    return codes.tobytes().hex()
