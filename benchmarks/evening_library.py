"""A library such as people have: 150 albums, 2,000 files in every usual format.

With tags, covers, cue sheets, and names that scripts trip over. The sound is that of the two clips in
docs/listen, repeated. ffmpeg encodes, mutagen tags.
"""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mutagen
from mutagen import asf, flac, id3, mp4
from mutagen.apev2 import BINARY, APEv2, APEValue

N_FILES, N_ALBUMS = 2_000, 150
CLIPS = sorted((Path(__file__).parent.parent / "docs/listen/original").glob("*.flac"))
LENGTHS_S = (5, 7, 9, 11, 13, 15, 17, 20)
"""Of the sounds, which are the clips in turn."""

CODINGS = {
    "flac": "-sample_fmt s16 -c:a flac",
    "mp3": "-c:a libmp3lame -q:a 2",
    "ogg": "-c:a libvorbis -q:a 5",
    "opus": "-ar 48000 -c:a libopus -b:a 96k",
    "m4a": "-c:a aac -b:a 128k",
    "wav": "-c:a pcm_s16le",
    "24.flac": "-ar 48000 -sample_fmt s32 -bits_per_raw_sample 24 -c:a flac",
    "aiff": "-c:a pcm_s16be",
    "wv": "-sample_fmt s16p -c:a wavpack",
    "alac.m4a": "-sample_fmt s16p -c:a alac",
    "wma": "-c:a wmav2 -b:a 128k",
    "oga": "-sample_fmt s16 -c:a flac",
    "tta": "-sample_fmt s16 -c:a tta",
}
"""The formats of albums, in turn: ending of the name, ffmpeg's options."""
RARE = {
    "w64": "-c:a pcm_s16le",
    "caf": "-c:a pcm_s16be",
    "au": "-c:a pcm_s16be",
    "mka": "-c:a libvorbis",
    "weba": "-ar 48000 -c:a libopus -f webm",
    "aac": "-c:a aac",
    "ac3": "-c:a ac3",
    "mp2": "-c:a mp2",
}
"""Formats of an album of its own, without tags."""

ALBUM_NAMES = (
    "{} In the evening",
    "-{} with a dash before it",
    "{} It's \"quoted\" & 'quoted'",
    "{} 夜の音楽",
    "{} größer – Ωμέγα – Ночь",
    " {}  spaces  ",
    "{} $HOME `date`; #1 100% [live] * ?",
    "{} موسيقى الليل",
)
TRACK_NAMES = (
    "{:02} Song",
    "--{:02} dashes",
    '{:02} Don\'t "say" that',
    "{:02} 第二章 ☃",
    "{:02}   wide   ",
    "{:02} e\u0301t\u00e9 & \\ [x] {{y}}",
    "{:02} " + "very long " * 20,
)
STRANGE_NAMES = (b"line\nbreak.flac", b"latin-1 caf\xe9.flac", b"l" * 245 + b".flac", b"UPPER.FLAC")
"""Tracks of the first album beside its others: what the file system takes, earzip takes."""


class Library:
    """Folders ``root/Artist N/Album`` of N_ALBUMS albums and N_FILES sound files.

    ``sounds`` is a folder for the sounds in each format, which are made once.
    """

    def __init__(self, root: Path, sounds: Path) -> None:
        self.root = root
        self._sounds = sounds
        self._lengths = itertools.cycle(LENGTHS_S)

    def make(self) -> None:
        """Write all albums."""
        for number in range(N_ALBUMS):
            self.add_album(number, N_FILES // N_ALBUMS + (number < N_FILES % N_ALBUMS))

    def add_album(self, number: int, n_tracks: int) -> Path:
        """Write an album of ``n_tracks`` files; return its folder.

        Its number chooses names, format, and whether covers are embedded, files, or both.
        """
        folder = self.folder(number)
        folder.mkdir(parents=True)
        cover = _make_cover(folder / "cover.jpg", number)
        paths = [folder / file for file in itertools.islice(_file_names(number), n_tracks)]
        for index, path in enumerate(paths, 1):
            ending = _ending(number, path)
            shutil.copyfile(self._sound(ending, next(self._lengths)), path)
            if ending not in RARE:
                values = (
                    f"Track {index} ☃",
                    f"Artist {number % 20}",
                    folder.name.strip(),
                    str(index),
                )
                write_tags(path, values, cover.read_bytes() if number % 3 else None)
        if number % 3 == 1:  # two thirds of covers are embedded, two thirds are files
            cover.unlink()
        if number % 5 == 2:
            (folder / "album.cue").write_text(_cue_sheet(paths), encoding="utf-8")
            (folder / "rip.log").write_text("Exact Audio Copy V1.6\n", encoding="utf-8")
        return folder

    def folder(self, number: int) -> Path:
        """Return where an album is made."""
        name = ALBUM_NAMES[number % len(ALBUM_NAMES)].format(number)
        return self.root / f"Artist {number % 20}" / name

    def tracks(self, number: int) -> list[Path]:
        """Return the sound files of an album, sorted."""
        others = (".jpg", ".cue", ".log")
        return sorted(path for path in self.folder(number).iterdir() if path.suffix not in others)

    def _sound(self, ending: str, seconds: int) -> Path:
        path = self._sounds / f"{seconds}.{ending}"
        if not path.exists():
            self._sounds.mkdir(parents=True, exist_ok=True)
            clip = CLIPS[LENGTHS_S.index(seconds) % len(CLIPS)]
            coding = {**CODINGS, **RARE}[ending].split()
            command = [
                "ffmpeg",
                "-v",
                "error",
                "-stream_loop",
                "-1",
                "-i",
                str(clip),
                "-t",
                str(seconds),
            ]
            command += ["-map_metadata", "-1", "-fflags", "+bitexact", "-ac", "2", "-ar", "44100"]
            subprocess.run([*command, *coding, str(path)], check=True)
        return path


def _file_names(number: int) -> Iterator[str]:
    """Give names of tracks: in the first album strange ones too, in every tenth each name twice."""
    if number == 0:
        yield from map(os.fsdecode, STRANGE_NAMES)
    endings = list(CODINGS)
    own = endings[number % len(endings)].rpartition(".")[2]
    rare = itertools.cycle(RARE)
    for index in itertools.count(1):
        stem = TRACK_NAMES[index % len(TRACK_NAMES)].format(index)
        if number == 1:
            yield f"{stem}.{next(rare)}"
            continue
        yield f"{stem}.{own}"
        if number % 10 == 4:
            yield f"{stem}.{'mp3' if own != 'mp3' else 'flac'}"


def _ending(number: int, path: Path) -> str:
    """Return which of the codings a file has: its album's own, where the name allows that."""
    own = list(CODINGS)[number % len(CODINGS)]
    suffix = path.suffix[1:].lower()
    return own if own.rpartition(".")[2] == suffix else suffix


def _make_cover(path: Path, number: int) -> Path:
    """Write a JPEG of 1000 × 1000 pixels, some 250 kB, that no other number has."""
    picture = f"testsrc2=s=1000x1000,hue=h={7 * number},noise=all_strength=14:all_seed={number}"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, "-frames:v", "1"]
    subprocess.run([*command, "-q:v", "5", str(path)], check=True)
    return path


def _cue_sheet(paths: list[Path]) -> str:
    tracks = (
        f'FILE "{path.name}" WAVE\n  TRACK {index:02} AUDIO\n    INDEX 01 00:00:00\n'
        for index, path in enumerate(paths, 1)
    )
    return "".join(tracks)


def write_tags(path: Path, values: tuple[str, str, str, str], cover: bytes | None) -> None:
    """Give a file title, artist, album and number of the track, and a front cover."""
    file: Any = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    for key, value in zip(_keys(file), values, strict=True):
        _set(file, key, value)
    if cover:
        _add_cover(file, cover)
    file.save()


def retitle(path: Path, title: str) -> None:
    """Give a file another title, and leave its other tags and its pictures."""
    file: Any = mutagen.File(path)
    _set(file, _keys(file)[0], title)
    file.save()


def _keys(file: Any) -> tuple[str, ...]:
    """Return what title, artist, album and number are called."""
    if isinstance(file.tags, id3.ID3):
        return ("TIT2", "TPE1", "TALB", "TRCK")
    if isinstance(file, mp4.MP4):
        return ("©nam", "©ART", "©alb", "trkn")
    if isinstance(file, asf.ASF):
        return ("Title", "Author", "WM/AlbumTitle", "WM/TrackNumber")
    if isinstance(file.tags, APEv2):
        return ("Title", "Artist", "Album", "Track")
    return ("title", "artist", "album", "tracknumber")


def _set(file: Any, key: str, value: str) -> None:
    if isinstance(file.tags, id3.ID3):
        file.tags[key] = id3.Frames[key](encoding=3, text=value)
    elif key == "trkn":
        file.tags[key] = [(int(value), 0)]
    else:
        file.tags[key] = [value]


def _add_cover(file: Any, data: bytes) -> None:
    """Add a front cover, a JPEG, in the way of the format."""
    mime, front = "image/jpeg", 3
    picture = flac.Picture()
    picture.type, picture.mime, picture.data = front, mime, data
    if isinstance(file.tags, id3.ID3):
        file.tags.add(id3.APIC(encoding=3, mime=mime, type=front, desc="", data=data))
    elif isinstance(file, mp4.MP4):
        file.tags["covr"] = [mp4.MP4Cover(data, mp4.MP4Cover.FORMAT_JPEG)]
    elif isinstance(file, asf.ASF):
        head = bytes([front]) + len(data).to_bytes(4, "little") + f"{mime}\0\0".encode("utf-16-le")
        file.tags["WM/Picture"] = [asf.ASFByteArrayAttribute(head + data)]
    elif isinstance(file.tags, APEv2):
        file.tags["Cover Art (Front)"] = APEValue(b"cover.jpg\0" + data, BINARY)
    elif isinstance(file, flac.FLAC):
        file.add_picture(picture)
    else:
        file.tags["metadata_block_picture"] = [base64.b64encode(picture.write()).decode()]
