"""Pictures scaled down, by Pillow."""

from __future__ import annotations

import struct
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING

from earzip.errors import TagError, UsageError
from earzip.formats.tags.model import Picture
from earzip.formats.tags.picture import image_dimensions

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_PIXELS = 100_000_000  # 400 MB in memory
_JPEG_QUALITY = 90
_SAVED_AS: dict[str, dict[str, int]] = {
    "JPEG": {"quality": _JPEG_QUALITY, "optimize": True},
    "PNG": {"optimize": True},
    "WEBP": {"quality": _JPEG_QUALITY},
}
"""How a picture of each format is written; those of others are left as they are."""
_SMOOTH_MODES = ("L", "LA", "RGB", "RGBA", "CMYK")
# What Pillow has been seen to raise on malformed files.
_PILLOW_LEAKS = (OSError, ValueError, SyntaxError, MemoryError, struct.error, LookupError)


def require_pillow() -> None:
    """Raise `UsageError` unless Pillow is there; it is not loaded."""
    if find_spec("PIL") is None:
        raise UsageError(
            "--fit-pictures needs Pillow, which is not installed; "
            "in the clone of earzip: pip install '.[pictures]'"
        )


def scaled(picture: Picture, most: int) -> Picture:
    """Return ``picture`` with no side longer than ``most`` pixels, of its own format.

    One that is no larger, or whose file would not become smaller, is returned as it is. Raises TagError
    for one that cannot be scaled.
    """
    width, height, *_ = image_dimensions(picture.data)
    if width and height and max(width, height) <= most:
        return picture
    data = _scaled_file(picture.data, most)
    if len(data) >= len(picture.data):
        return picture
    width, height, depth, colors = image_dimensions(data)
    return replace(picture, data=data, width=width, height=height, depth=depth, colors=colors)


def _scaled_file(data: bytes, most: int) -> bytes:
    from PIL import Image, ImageOps  # noqa: PLC0415  # of the extra pictures

    try:
        with Image.open(BytesIO(data)) as image:
            form = image.format or ""
            if form not in _SAVED_AS:
                raise TagError(f"is {form or 'of an unknown format'}, which is not scaled")
            if getattr(image, "is_animated", False):
                raise TagError("is animated")
            if image.width * image.height > _MOST_PIXELS:
                raise TagError(f"has {image.width} × {image.height} pixels")
            if max(image.size) <= most:
                return data
            profile = image.info.get("icc_profile")
            # As it is shown: what it says of how it lies is not kept.
            upright = _smooth(ImageOps.exif_transpose(image))
            upright.thumbnail((most, most), Image.Resampling.LANCZOS)
            file = BytesIO()
            upright.save(file, form, icc_profile=profile, **_SAVED_AS[form])
    except (*_PILLOW_LEAKS, Image.DecompressionBombError) as error:
        raise TagError(f"cannot be read: {error}"[:200]) from error
    return file.getvalue()


def _smooth(image: Image) -> Image:
    """Return ``image`` in a mode that can be scaled without steps, with its transparency."""
    if image.mode in _SMOOTH_MODES:
        return image
    if image.mode in ("P", "PA", "La", "RGBa"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    raise TagError(f"has pixels of mode {image.mode}")
