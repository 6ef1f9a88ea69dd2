from __future__ import annotations

import io

import numpy as np
import pytest

from earzip.page.pictures import (
    COARSE,
    FINE,
    THUMBNAIL_PIXELS,
    difference_colours,
    difference_picture,
    level_colours,
    levels_picture,
    thumbnail,
)
from earzip.page.spectrum import DIFFERENCE_DB, FLOOR_DB, TOP_DB

Image = pytest.importorskip("PIL.Image")


def grey(picture: bytes):
    return np.asarray(Image.open(io.BytesIO(picture)).convert("L")).astype(int)


def cover(mode: str = "RGB", size: tuple[int, int] = (300, 200), kind: str = "PNG") -> bytes:
    target = io.BytesIO()
    Image.new(mode, size, 1 if mode == "P" else "red").save(target, kind)
    return target.getvalue()


def animation(size: tuple[int, int]) -> bytes:
    target = io.BytesIO()
    frames = [Image.new("L", size, grey) for grey in (0, 255)]
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:])
    return target.getvalue()


def test_levels_are_grey_from_the_floor_to_the_top_low_frequencies_below():
    levels = np.full((40, 60), FLOOR_DB, np.float32)
    levels[:20] = TOP_DB
    picture = grey(levels_picture(levels, FINE))
    assert picture.shape == (40, 60)
    assert picture[-5:].min() > 250
    assert picture[:5].max() < 5


def test_no_difference_is_the_middle_and_large_ones_are_cut_off():
    zeros = np.zeros((40, 60), np.float32)
    for difference, level in ((0, 128), (DIFFERENCE_DB / 2, 191), (90, 255), (-90, 0)):
        shown = grey(difference_picture(zeros + difference, zeros, FINE))
        assert abs(shown - level).max() <= 3


@pytest.mark.parametrize(("grade", "most_bytes"), [(FINE, 52_000), (COARSE, 22_000)])
def test_even_a_picture_of_white_noise_is_small(grade, most_bytes):
    noise = np.random.default_rng(0).normal(-60, 6, (grade.n_rows, grade.n_columns))
    assert len(levels_picture(noise.astype(np.float32), grade)) < most_bytes


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGB", "JPEG"), ("RGBA", "PNG"), ("P", "GIF"), ("CMYK", "JPEG")]
)
def test_a_cover_becomes_a_small_square(mode, kind):
    small = thumbnail(cover(mode, kind=kind))
    assert len(small) < 2600
    assert Image.open(io.BytesIO(small)).size == (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS)


@pytest.mark.parametrize(
    "image",
    [cover("1", (4096, 4096)), cover("1", (2048, 2048), "WEBP"), animation((2048, 2048))],
    ids=["PNG", "WebP", "animated"],
)
def test_the_largest_pictures_that_are_read_have_a_thumbnail(image):
    assert thumbnail(image) is not None


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"\xff\xd8picture",
        cover()[:-40],
        cover(kind="TIFF"),
        cover("1", (4097, 4096)),
        cover("1", (2049, 2048), "WEBP"),
        cover("1", (30_000, 6000)),
        animation((2049, 2048)),
    ],
    ids=[
        "empty",
        "no picture",
        "cut short",
        "another format",
        "large",
        "WebP",
        "a bomb",
        "animated",
    ],
)
def test_what_is_no_picture_has_no_thumbnail(image):
    assert thumbnail(image) is None


def lightness(colours: str):
    rgb = np.array([int(colours[i : i + 2], 16) for i in range(0, len(colours), 2)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4).reshape(-1, 3)
    return np.cbrt(linear @ [0.2126, 0.7152, 0.0722])


def test_the_map_of_levels_rises_evenly_in_lightness():
    steps = np.diff(lightness(level_colours()))
    assert len(steps) == 255
    assert steps.min() > -0.002
    assert steps.max() < 0.012


@pytest.mark.parametrize("dark", [False, True])
def test_both_signs_of_a_difference_leave_the_ground_alike(dark):
    values = lightness(difference_colours(dark=dark))
    assert abs(values - values[::-1]).max() < 0.12
    assert (values[128] < 0.35) == dark
