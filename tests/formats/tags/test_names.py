"""Names of fields in every family, after MusicBrainz Picard's table: listed here anew, so that earzip's
own mapping is not its own judge."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mutagen.apev2 import APEv2
from mutagen.asf import ASF
from mutagen.flac import FLAC
from mutagen.id3 import ID3, Frames
from mutagen.mp4 import MP4, MP4FreeForm

from earzip.formats.tags.read import read_tags
from tests.formats.tags.tag_files import blank, encoded, restored

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")

_UTF8 = 3
FREEFORM = "----:com.apple.iTunes:"
IDENTIFIER = "7d8a0f2c-8f5e-4b1a-9c53-0123456789ab"
# Neutral name (the Vorbis comment's): ID3 frame, MP4 atom, APEv2 item, ASF attribute.
NAMES = {
    "title": ("TIT2", "©nam", "Title", "Title"),
    "artist": ("TPE1", "©ART", "Artist", "Author"),
    "album": ("TALB", "©alb", "Album", "WM/AlbumTitle"),
    "albumartist": ("TPE2", "aART", "Album Artist", "WM/AlbumArtist"),
    "composer": ("TCOM", "©wrt", "Composer", "WM/Composer"),
    "genre": ("TCON", "©gen", "Genre", "WM/Genre"),
    "date": ("TDRC", "©day", "Year", "WM/Year"),
    "comment": ("COMM::eng", "©cmt", "Comment", "Description"),
    "lyrics": ("USLT::eng", "©lyr", "Lyrics", "WM/Lyrics"),
    "isrc": ("TSRC", f"{FREEFORM}ISRC", "ISRC", "WM/ISRC"),
    "label": ("TPUB", f"{FREEFORM}LABEL", "Label", "WM/Publisher"),
    "performer": ("TMCL", f"{FREEFORM}PERFORMER", "Performer", "Performer"),
    "website": ("WOAR", f"{FREEFORM}WEBSITE", "Weblink", "WM/AuthorURL"),
    "cuesheet": ("TXXX:CUESHEET", f"{FREEFORM}CUESHEET", "Cuesheet", "Cuesheet"),
    "meine notiz": ("TXXX:MEINE NOTIZ", f"{FREEFORM}MEINE NOTIZ", "Meine Notiz", "MEINE NOTIZ"),
    "musicbrainz_trackid": (
        "UFID:http://musicbrainz.org",
        f"{FREEFORM}MusicBrainz Track Id",
        "MUSICBRAINZ_TRACKID",
        "MusicBrainz/Track Id",
    ),
    **{
        name: (f"TXXX:{spoken}", FREEFORM + spoken, name.upper(), spoken.replace(" ", "/", 1))
        for name, spoken in {
            "musicbrainz_albumid": "MusicBrainz Album Id",
            "musicbrainz_artistid": "MusicBrainz Artist Id",
            "musicbrainz_releasegroupid": "MusicBrainz Release Group Id",
        }.items()
    },
    **{
        name: (f"TXXX:{name.upper()}", FREEFORM + name, name.upper(), name)
        for name in (
            "replaygain_album_gain",
            "replaygain_album_peak",
            "replaygain_track_gain",
            "replaygain_track_peak",
        )
    },
}
ID3_COLUMN, MP4_COLUMN, APE_COLUMN, ASF_COLUMN = range(4)
# "3/12" in one value, two fields in Vorbis comments.
PAIRS = {
    ("tracknumber", "tracktotal"): ("TRCK", "trkn", "Track", "WM/TrackNumber"),
    ("discnumber", "disctotal"): ("TPOS", "disk", "Disc", "WM/PartOfSet"),
}

FIELDS = {
    "title": ["Ünïcødé ☃"],
    "artist": ["Anna Ångström", "ベルト", "Anna Ångström"],
    "album": ["Musik für die Prüfung"],
    "albumartist": ["Various Artists"],
    "composer": ["Carla C.", "Дора"],
    "genre": ["Jazz", "Rock & Roll"],
    "date": ["1999-05-01"],
    "tracknumber": ["3"],
    "tracktotal": ["36"],
    "discnumber": ["1"],
    "disctotal": ["2"],
    "comment": ["One line\nand another"],
    "lyrics": ["First line\nzweite Zeile\n三行目\n" + 40 * "la la la\n"],
    "isrc": ["USRC17607839"],
    "label": ["Eigenverlag"],
    "performer": ["Carla C. (bass guitar)", "Dora (drums)"],
    "website": ["https://example.org/anna"],
    "cuesheet": ['FILE "a.wav" WAVE\r\n  TRACK 01 AUDIO\r\n    INDEX 01 00:00:00\r\n'],
    "meine notiz": ["eins", "zwei"],
    "musicbrainz_trackid": [IDENTIFIER],
    "musicbrainz_albumid": [IDENTIFIER[::-1]],
    "musicbrainz_artistid": [IDENTIFIER, IDENTIFIER.upper()],
    "musicbrainz_releasegroupid": [IDENTIFIER],
    "replaygain_album_gain": ["-5.04 dB"],
    "replaygain_album_peak": ["1.000030"],
    "replaygain_track_gain": ["-3.21 dB"],
    "replaygain_track_peak": ["0.987654"],
}


def under_names(column: int) -> Iterator[tuple[str, list[str]]]:
    """The fields under the names of a family; pairs in one value."""
    for name, names in NAMES.items():
        yield names[column], FIELDS[name]
    for (number, total), names in PAIRS.items():
        yield names[column], [f"{FIELDS[number][0]}/{FIELDS[total][0]}"]


def _id3_frame(key: str, values: list[str]) -> Any:
    kind, _, description = key.partition(":")
    arguments: dict[str, Any] = {"encoding": _UTF8, "text": values}
    match kind:
        case "TXXX":
            arguments["desc"] = description
        case "COMM" | "USLT":
            arguments |= {"lang": "eng", "desc": "", "text": values[0]}
        case "UFID":
            arguments = {"owner": description, "data": values[0].encode()}
        case "WOAR":
            arguments = {"url": values[0]}
        case "TMCL":
            people = [value.removesuffix(")").split(" (") for value in values]
            arguments = {"encoding": _UTF8, "people": [[role, name] for name, role in people]}
    return Frames[kind](**arguments)


def with_id3(folder: Path) -> Path:
    path = encoded(folder / "in.mp3")
    tags = ID3()
    for key, values in under_names(ID3_COLUMN):
        tags.add(_id3_frame(key, values))
    tags.save(path)
    return path


def with_atoms(folder: Path) -> Path:
    path = encoded(folder / "in.m4a")
    file: Any = MP4(path)
    file.tags.clear()
    for key, values in under_names(MP4_COLUMN):
        if key in ("trkn", "disk"):
            file.tags[key] = [tuple(map(int, values[0].split("/")))]
        else:
            free = key.startswith(FREEFORM)
            file.tags[key] = [MP4FreeForm(value.encode()) for value in values] if free else values
    file.save()
    return path


def with_items(folder: Path) -> Path:
    path = encoded(folder / "in.wv", "-c:a", "wavpack")
    tags = APEv2()
    for key, values in under_names(APE_COLUMN):
        tags[key] = values
    tags.save(path)
    return path


def with_attributes(folder: Path) -> Path:
    path = encoded(folder / "in.wma", "-c:a", "wmav2")
    file: Any = ASF(path)
    file.tags.clear()
    for key, values in under_names(ASF_COLUMN):
        file.tags[key] = values
    file.save()
    return path


@pytest.mark.parametrize("make", [with_id3, with_atoms, with_items, with_attributes])
def test_every_family_has_picards_names(tmp_path, make):
    source = make(tmp_path)
    assert read_tags(source).fields == FIELDS
    assert restored(source, tmp_path / "out.flac") == []
    assert FLAC(tmp_path / "out.flac").tags.as_dict() == FIELDS


def test_comments_become_frames_of_picards_names(tmp_path):
    source = blank(tmp_path / "in.flac")
    file = FLAC(source)
    file.tags.extend((name, value) for name, values in FIELDS.items() for value in values)
    file.save()
    assert restored(source, tmp_path / "out.wav") == []
    assert read_tags(tmp_path / "out.wav").fields == FIELDS
