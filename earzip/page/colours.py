"""Colour maps of even lightness, computed in Oklab (Ottosson, 2020).

A step of the map looks as large wherever it is, because lightness rises in equal steps of a space that
is built to be perceptually uniform; so what stands out in a picture stands out in the data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
