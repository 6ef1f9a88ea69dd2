"""The library of the acceptance tests: a user's music in every format, and files that must fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mutagen
from mutagen.id3 import ID3, TIT2

from tests.acceptance.sound import probe
from tests.formats.tags.tag_files import TAGGERS

Fate = Literal["whole", "truncated", "refused"]

SECONDS = 20
"""The most that is taken of a track."""
_MTIME_S = 1_000_000_000  # of the first file, in 2001; each has its own

_CHAPTERS = ";FFMETADATA1\n" + "".join(
    f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={start + 1000}\ntitle={title}\n"
    for start, title in ((0, "Einleitung"), (1000, "第二章"))
)


@dataclass(frozen=True)
class Item:
    """A sound file of the library.

    ``coding`` are ffmpeg's options; without them it is a file of the user's, byte for byte but for tags.
    """

    name: str
    coding: str | None
    fate: Fate = "whole"

    @property
    def suffix(self) -> str:
        """The extension, without its dot."""
        return self.name.rpartition(".")[2]


_VORBIS = "-c:a libvorbis -q:a 5"
_OPUS = "-ar 48000 -c:a libopus -b:a 96k"
_MP3 = "-c:a libmp3lame -q:a 2"
_FLAC = "-sample_fmt s16 -c:a flac"
_FLAC_24 = "-sample_fmt s32 -bits_per_raw_sample 24 -c:a flac"
_SURROUND = "pan=5.1|FL=FL|FR=FR|FC=0.3*FL+0.3*FR|LFE=0.2*FL+0.2*FR|BL=0.5*FL|BR=0.5*FR,aformat=s16"

AS_THEY_ARE = ("ogg", "opus", "mp3", "m4a", "flac", "wav")
"""Formats of which the user's shortest file is taken as it is."""
ITEMS = [
    *(Item(f"As they are/song.{suffix}", None) for suffix in AS_THEY_ARE),
    Item("Vorbis/Caves.ogg", _VORBIS),
    Item("Vorbis/race1 – größer.ogg", _VORBIS),
    Item("Vorbis/Calm race 48k.ogg", f"-ar 48000 {_VORBIS}"),
    Item("Opus/CD 1/01 Orbital.opus", _OPUS),
    Item("Opus/CD 1/02 Андроиды.opus", _OPUS),
    Item("MP3/Railjet v2.3.mp3", _MP3),
    Item("MP3/Death v2.4.mp3", _MP3),
    Item("MP3/海/Seafight v2.3.mp3", "-c:a libmp3lame -b:a 128k"),
    Item("MP3/海/Ireland's Coast 48k v2.4.mp3", f"-ar 48000 {_MP3}"),
    Item("MP3/Mono 22k v2.4.mp3", "-ac 1 -ar 22050 -c:a libmp3lame"),
    Item("Others/Goldenvalley.m4a", "-c:a aac -b:a 128k"),
    Item("Others/Legolodio.wma", "-c:a wmav2 -b:a 128k"),
    Item("FLAC/Fox Run.flac", _FLAC),
    Item("FLAC/With a cue sheet block.flac", _FLAC),
    Item("FLAC/24 bit.flac", _FLAC_24),
    Item("FLAC/song.oga", _FLAC),
    Item("WAV/16 bit.wav", "-c:a pcm_s16le"),
    Item("WAV/24 bit.wav", "-c:a pcm_s24le"),
    Item("WAV/32 bit.wav", "-c:a pcm_s32le"),
    Item("WAV/32 bit float.wav", "-c:a pcm_f32le"),
    Item("WAV/64 bit float.wav", "-c:a pcm_f64le"),
    Item("AIFF/16 bit.aiff", "-c:a pcm_s16be"),
    Item("AIFF/24 bit.aiff", "-c:a pcm_s24be"),
    Item("Others/ALAC.m4a", "-sample_fmt s16p -c:a alac"),
    Item("Others/Whistles.wv", "-sample_fmt s16p -c:a wavpack"),
    Item("Twins/a.flac", _FLAC),
    Item("Twins/a.mp3", _MP3),
    Item("Odd ones/mono.flac", f"-ac 1 {_FLAC_24}"),
    Item("Odd ones/48k.wav", "-ar 48000 -c:a pcm_s16le"),
    Item("Odd ones/96k 24 bit.flac", f"-ar 96000 {_FLAC_24}"),
    Item("Odd ones/8 bit.wav", "-c:a pcm_u8"),
    Item("Odd ones/5.1.flac", f"-ac 6 -af {_SURROUND} -c:a flac"),
    # cut in half
    Item("Cut/cut.flac", _FLAC, "refused"),
    Item("Cut/cut.mp3", _MP3, "truncated"),
    Item("Cut/cut.ogg", _VORBIS, "truncated"),
    Item("Cut/cut.wav", "-c:a pcm_s16le", "truncated"),
]
NOT_SOUND = {
    "Cut/text.flac": b"This is a text, whatever its name says.\n" * 20,
    "Cut/empty.mp3": b"",
}
SIDECARS = {
    "Vorbis/folder.jpg": b"\xff\xd8\xff\xe0a cover\xff\xd9",
    "WAV/album.cue": b'FILE "16 bit.wav" WAVE\r\n  TRACK 01 AUDIO\r\n    INDEX 01 00:00:00\r\n',
    "WAV/rip.log": b"Exact Audio Copy V1.6\r\n",
    "Twins/.hidden": b"a dot-file",
}


def make_library(music: Path, folder: Path) -> None:
    """Write ITEMS, made of the sound files below ``music`` in turn, NOT_SOUND and SIDECARS.

    Of ITEMS that are taken as they are, those are left out whose format ``music`` does not have.
    """
    found = [p for p in sorted(music.rglob("*")) if p.suffix[1:].lower() in AS_THEY_ARE]
    assert found, f"{music}: holds no file that ends in {', '.join(AS_THEY_ARE)}"
    for number, item in enumerate(ITEMS, 1):
        path = folder / item.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if item.coding is None:
            own = [p for p in found if p.suffix == path.suffix]
            if not own:
                continue
            shutil.copyfile(min(own, key=lambda p: p.stat().st_size), path)
        else:
            _encode(found[number % len(found)], path, item.coding.split())
        TAGGERS[item.suffix](path)
        _retitle(path, f"{number} ☃ {path.stem}")
        if "cue sheet block" in item.name:
            _add_cue_block(path)
        if item.fate != "whole":
            os.truncate(path, path.stat().st_size // 2)
    for name, data in (NOT_SOUND | SIDECARS).items():
        (folder / name).write_bytes(data)
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if path.is_file():
            os.utime(path, (_MTIME_S + 86_400 * number,) * 2)


def _encode(origin: Path, path: Path, coding: list[str]) -> None:
    duration_s = float(probe(origin, "format=duration")["format"]["duration"])
    start = max(0.0, min(duration_s / 3, duration_s - SECONDS))  # music often begins quietly
    command = ["ffmpeg", "-v", "error", "-ss", f"{start:.3f}", "-i", str(origin)]
    command += ["-f", "ffmetadata", "-i", "-", "-map", "0:a:0"]
    command += ["-map_metadata:g", "-1", "-map_metadata:s:a", "-1"]
    # mutagen cannot write chapters into MP4; elsewhere it will.
    command += ["-map_chapters", "1" if path.suffix == ".m4a" else "-1"]
    command += ["-t", str(SECONDS), "-fflags", "+bitexact", "-ac", "2", "-ar", "44100"]
    subprocess.run([*command, *coding, str(path)], input=_CHAPTERS.encode(), check=True)


def _retitle(path: Path, title: str) -> None:
    """Give the tags a title that no other track has."""
    file: Any = mutagen.File(path)
    if isinstance(file.tags, ID3):
        file.tags["TIT2"] = TIT2(encoding=1, text=title)
    else:
        keys = {"m4a": "©nam", "wv": "Title", "wma": "Title"}
        file.tags[keys.get(path.suffix[1:], "title")] = [title]
    file.save(**({"v2_version": 3, "v23_sep": None} if "v2.3" in path.name else {}))


def _add_cue_block(path: Path) -> None:
    sheet = (
        'CATALOG 1234567890123\nFILE "x.flac" FLAC\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n'
        "  TRACK 02 AUDIO\n    INDEX 00 00:03:70\n    INDEX 01 00:04:00\n"
    )
    command = ["metaflac", "--import-cuesheet-from=-", "--no-cued-seekpoints", str(path)]
    subprocess.run(command, input=sheet.encode(), check=True)
