"""``--fit-pictures``: pictures scaled to a square, in their own format, and those that cannot be."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest

from earzip.errors import UsageError
from earzip.options import CompressOptions
from earzip.transcode.inspect import read_info
from tests.earzip.transcode.covers import compress, cover, pictures, tagged

pytestmark = pytest.mark.usefixtures("tiny_model")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_large_pictures_are_scaled_in_their_own_format(form: str, tmp_path: Path) -> None:
    from PIL import Image  # noqa: PLC0415

    source = tagged(tmp_path / "Music" / "a.flac", cover(400, form), cover(90, form, seed=1))
    archive = tmp_path / "a.earz"
    result = compress(source, archive, fit_pictures=120)
    assert result.warnings == ()
    large, small = pictures(archive)
    assert small == cover(90, form, seed=1)  # to the byte
    with Image.open(BytesIO(large)) as image:
        assert (image.size, image.format) == ((120, 120), form)
    info = read_info(archive)
    assert info.header.pictures == "fit-120"
    assert info.tags.payload["pictures"][0].get("width", 120) == 120


def test_a_picture_keeps_its_shape_and_its_transparency(tmp_path: Path) -> None:
    from PIL import Image  # noqa: PLC0415

    file = BytesIO()
    wide = Image.effect_noise((600, 200), 60).convert("RGBA")
    wide.putalpha(100)
    wide.quantize(200).save(file, "PNG")  # a palette with transparency
    archive = tmp_path / "a.earz"
    compress(tagged(tmp_path / "Music" / "a.flac", file.getvalue()), archive, fit_pictures=150)
    with Image.open(BytesIO(pictures(archive)[0])) as image:
        assert image.size == (150, 50)
        assert image.convert("RGBA").getpixel((75, 25))[3] == 100


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"\x89PNG\r\n\x1a\n no picture", "picture 1 is not scaled: it cannot be read"),
        (cover(400, "GIF"), "picture 1 is not scaled: it is GIF, which is not scaled"),
        (cover(400, "JPEG")[:2000], "picture 1 is not scaled: it cannot be read"),
    ],
)
def test_a_picture_that_cannot_be_scaled_stays_as_it_is(
    image: bytes, message: str, tmp_path: Path
) -> None:
    archive = tmp_path / "a.earz"
    result = compress(tagged(tmp_path / "Music" / "a.flac", image), archive, fit_pictures=100)
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith(message)
    assert pictures(archive) == [image]


@pytest.mark.parametrize(
    "options",
    [
        {"pictures": "hide"},
        {"fit_pictures": 15},
        {"fit_pictures": 10_001},
        {"pictures": "drop", "fit_pictures": 100},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        CompressOptions(**options)
