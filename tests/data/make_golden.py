"""Makes ``golden/vN.M.earz`` with today's earzip, and the sound it restores to, beside it.

``python -m tests.data.make_golden VERSION``, once for each version of the format and never again for the
same one.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import mutagen.flac
import soundfile

from earzip.options import CompressOptions, Floor, RestoreOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file
from tests.conftest import MODELS, strokes, tones

FOLDER = Path(__file__).parent / "golden"
OPTIONS_OF_VERSIONS = {
    "v1.0": CompressOptions("tiny"),
    "v1.1": CompressOptions("tiny-transform"),
    "v1.2": CompressOptions("tiny-transform", floor=Floor(min_si_sdr_db=200, below="lossless")),
    "v1.3": CompressOptions("tiny-levels"),
    "v1.4": CompressOptions("tiny-levels"),
    "v1.5": CompressOptions("tiny-levels", pictures="share"),
}


def main(version: str) -> None:
    os.environ["EARZIP_MODELS"] = str(MODELS)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "golden.flac"
        audio = tones(40_000)
        if version >= "v1.3":  # whose models code attacks by themselves
            audio += strokes(40_000)
        soundfile.write(source, audio.T, 44_100, subtype="PCM_16")
        tags = mutagen.flac.FLAC(source)
        tags["title"] = "Golden"
        picture = mutagen.flac.Picture()
        picture.type, picture.mime, picture.data = 3, "image/png", b"\x89PNG\r\n\x1a\n golden"
        tags.add_picture(picture)
        tags.save()
        os.utime(source, ns=(0, 0))
        archive = FOLDER / f"{version}.earz"
        compress_file(source, archive, OPTIONS_OF_VERSIONS[version])
    restore_file(archive, archive.with_suffix(".flac"), RestoreOptions(bits=16, dither=False))


if __name__ == "__main__":
    main(sys.argv[1])
