"""Tagged sound files for the tests, made by the real encoders and tagged by mutagen."""

import base64
import struct
import subprocess
import zlib

import numpy as np
import soundfile
from mutagen.aiff import AIFF
from mutagen.apev2 import BINARY, APEv2, APEValue
from mutagen.asf import ASF, ASFByteArrayAttribute
from mutagen.flac import FLAC, CueSheet
from mutagen.flac import Picture as FlacPicture
from mutagen.id3 import (
    APIC,
    CHAP,
    COMM,
    CTOC,
    GEOB,
    POPM,
    PRIV,
    SYLT,
    TALB,
    TCON,
    TDRC,
    TIPL,
    TIT2,
    TMCL,
    TPE1,
    TRCK,
    TXXX,
    UFID,
    USLT,
    WOAR,
)
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4, MP4Cover, MP4FreeForm
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from earzip.formats.tags.read import read_tags
from earzip.formats.tags.write import write_tags
from tests.formats.tags.tag_bytes import (
    append_chunks,
    bext_chunk,
    cue_sheet,
)

RATE = 44_100


def png(width, height, seed):
    """A true PNG that does not compress, so that it is large beside its tag."""
    rows = np.random.default_rng(seed).integers(0, 256, (height, 1 + 3 * width), np.uint8)
    rows[:, 0] = 0

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(rows.tobytes())
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


FRONT = png(40, 30, 1)
BACK = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x20\x00\x30\x03" + b"\xff\xe1\xff\x00" * 50 + b"\xff\xd9"
MUSICBRAINZ_ID = "7d8a0f2c-8f5e-4b1a-9c53-0a1b2c3d4e5f"
ID3_FILES = {".mp3": MP3, ".wav": WAVE, ".aiff": AIFF}
LYRICS = "First line\nzweite Zeile\n三行目"

VORBIS = [
    ("Title", "Ein Stück ☃"),
    ("ARTIST", "Anna"),
    ("artist", "Bert"),
    ("Artist", "Anna"),  # the same value twice is two values
    ("ALBUM", "Samples"),
    ("TRACKNUMBER", "03"),
    ("TRACKTOTAL", "12"),
    ("DATE", "1999-05-01"),
    ("GENRE", "Jazz"),
    ("GENRE", "Rock"),
    ("COMMENT", "one"),
    ("REPLAYGAIN_TRACK_GAIN", "-3.21 dB"),
    ("replaygain_track_peak", "0.987654"),
    ("MUSICBRAINZ_TRACKID", MUSICBRAINZ_ID),
    ("MUSICBRAINZ_ALBUMID", MUSICBRAINZ_ID),
    ("PERFORMER", "Carla (bass guitar)"),
    ("PRODUCER", "Dora"),
    ("WEBSITE", "https://example.org/anna"),
    ("LYRICS", LYRICS),
    ("SYNCEDLYRICS", "[00:00.100]First line\n[00:00.400]second"),
    ("CUESHEET", 'FILE "a.flac" WAVE\r\n  TRACK 01 AUDIO\r\n    INDEX 01 00:00:00'),
    ("CHAPTER001", "00:00:00.000"),
    ("CHAPTER001NAME", "Intro"),
    ("CHAPTER002", "00:00:00.250"),
    ("CHAPTER002NAME", "Rest"),
    ("MY OWN KEY", "kept"),
]


def sound(seconds=0.5, channels=2):
    rng = np.random.default_rng(7)
    return rng.standard_normal((round(seconds * RATE), channels)) * 0.05


def blank(path, rate=RATE, channels=2, seconds=0.5):
    """A WAV, FLAC or AIFF file without tags."""
    soundfile.write(path, sound(seconds, channels), rate)
    return path


def encoded(path, *options):
    """A file of any format without tags, through ffmpeg; it has none of ffmpeg's own either."""
    source = blank(path.with_name(path.name + ".source.wav"))
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", source]
    command += ["-map_metadata", "-1", "-fflags", "+bitexact", *options, path]
    subprocess.run(command, check=True, capture_output=True)
    source.unlink()
    return path


def flac_pictures():
    pictures = []
    for type_, mime, data in ((3, "image/png", FRONT), (4, "image/jpeg", BACK)):
        picture = FlacPicture()
        picture.type, picture.mime, picture.desc, picture.data = type_, mime, "Außen", data
        picture.width, picture.height, picture.depth = 40, 30, 24
        pictures.append(picture)
    return pictures


def tagged_flac(path, rate=RATE):
    return tag_flac(blank(path, rate))


def tag_flac(path):
    file = FLAC(path)
    file.tags.clear()
    file.clear_pictures()
    file.tags.extend(VORBIS)
    for picture in flac_pictures():
        file.add_picture(picture)
    file.save()
    return path


def flac_with_cue_sheet(path, rate=44_100):
    file = FLAC(blank(path, rate))
    file.cuesheet = CueSheet(cue_sheet(file.info.total_samples))
    file.tags["TITLE"] = "Album"
    file.save()
    return path


def tagged_ogg(path, class_, *options):
    return tag_ogg(encoded(path, *options), class_)


def tag_ogg(path, class_):
    file = class_(path)
    file.tags.clear()
    file.tags.extend(VORBIS)
    if class_ is OggFLAC:
        file.save()
        return path
    for picture in flac_pictures():
        file.tags.append(("METADATA_BLOCK_PICTURE", base64.b64encode(picture.write()).decode()))
    file.save()
    return path


def id3_frames():
    title = [TIT2(encoding=3, text="Intro")]
    return [
        TIT2(encoding=1, text="Ein Stück ☃"),
        TPE1(encoding=3, text=["Anna", "Bert"]),
        TALB(encoding=0, text="Samples"),
        TRCK(encoding=0, text="3/12"),
        TDRC(encoding=0, text="1999-05-01"),
        TCON(encoding=0, text=["Jazz", "Rock"]),
        COMM(encoding=3, lang="eng", desc="", text="one"),
        COMM(encoding=3, lang="deu", desc="Notiz", text="zwei"),
        USLT(encoding=3, lang="eng", desc="", text=LYRICS),
        SYLT(
            encoding=3, lang="eng", format=2, type=1, desc="", text=[("eins", 100), ("zwei", 400)]
        ),
        TXXX(encoding=3, desc="REPLAYGAIN_TRACK_GAIN", text="-3.21 dB"),
        TXXX(encoding=3, desc="MusicBrainz Album Id", text=MUSICBRAINZ_ID),
        TXXX(encoding=3, desc="Eigenes", text=["a", "b"]),
        UFID(owner="http://musicbrainz.org", data=MUSICBRAINZ_ID.encode()),
        TIPL(encoding=3, people=[["producer", "Dora"]]),
        TMCL(encoding=3, people=[["bass guitar", "Carla"]]),
        WOAR(url="https://example.org/anna"),
        PRIV(owner="WM/MediaClassPrimaryID", data=b"\xbc\x7d\x60\xd1"),
        POPM(email="me@example.org", rating=196, count=3),
        GEOB(encoding=0, mime="application/octet-stream", filename="f", desc="d", data=b"123"),
        APIC(encoding=3, mime="image/png", type=3, desc="", data=FRONT),
        APIC(encoding=3, mime="image/jpeg", type=4, desc="", data=BACK),
        CTOC(element_id="toc", flags=3, child_element_ids=["c0", "c1"], sub_frames=[]),
        CHAP(
            element_id="c0",
            start_time=0,
            end_time=250,
            start_offset=2**32 - 1,
            end_offset=2**32 - 1,
            sub_frames=title,
        ),
        CHAP(
            element_id="c1",
            start_time=250,
            end_time=500,
            start_offset=2**32 - 1,
            end_offset=2**32 - 1,
            sub_frames=[TIT2(encoding=3, text="Rest")],
        ),
    ]


def add_id3(tags):
    for frame in id3_frames():
        while frame.HashKey in tags:
            frame.salt += " "
        tags.add(frame)


def tagged_id3(path, version=4):
    """An MP3, WAV or AIFF file with an ID3v2.3 or 2.4 tag."""
    return tag_id3(encoded(path) if path.suffix == ".mp3" else blank(path), version)


def tag_id3(path, version=4):
    file = ID3_FILES[path.suffix](path)
    if file.tags is None:
        file.add_tags()
    file.tags.clear()
    add_id3(file.tags)
    if version == 3:
        file.tags.update_to_v23()
    options = {} if path.suffix == ".aiff" else {"v1": 0}
    file.save(v2_version=version, v23_sep=None, **options)
    return path


def id3_of(path):
    """mutagen's frames of a file, by key, in a form that compares by value."""
    file = ID3_FILES[path.suffix](path)
    return {key: repr(frame) for key, frame in (file.tags or {}).items()}


def tagged_ape(path):
    """An MP3 file with an APEv2 tag, which players of other formats share."""
    return tag_ape(encoded(path, "-id3v2_version", "0"))


def tag_ape(path):
    tags = APEv2()
    tags["Title"] = "Ein Stück ☃"
    tags["Artist"] = ["Anna", "Bert"]
    tags["Track"] = "3/12"
    tags["Year"] = "1999"
    tags["Cuesheet"] = "FILE x"
    tags["REPLAYGAIN_TRACK_GAIN"] = "-3.21 dB"
    tags["Cover Art (Front)"] = APEValue(b"front.png\0" + FRONT, BINARY)
    tags["Binary thing"] = APEValue(b"\0\1\2", BINARY)
    tags.save(path)
    return path


def tagged_mp4(path, *options):
    return tag_mp4(encoded(path, *options))


def tag_mp4(path):
    file = MP4(path)
    if file.tags is None:
        file.add_tags()
    file.tags.clear()
    file.tags.update(
        {
            "\xa9nam": ["Ein Stück ☃"],
            "\xa9ART": ["Anna", "Bert"],
            "trkn": [(3, 12)],
            "disk": [(1, 2)],
            "\xa9day": ["1999-05-01"],
            "tmpo": [120],
            "cpil": True,
            "stik": [1],
            "\xa9lyr": [LYRICS],
            "----:com.apple.iTunes:MusicBrainz Track Id": [MP4FreeForm(MUSICBRAINZ_ID.encode())],
            "----:com.apple.iTunes:replaygain_track_gain": [MP4FreeForm(b"-3.21 dB")],
            "----:com.apple.iTunes:Eigenes": [MP4FreeForm(b"a"), MP4FreeForm(b"b")],
            "covr": [
                MP4Cover(FRONT, MP4Cover.FORMAT_PNG),
                MP4Cover(BACK, MP4Cover.FORMAT_JPEG),
            ],
        }
    )
    file.save()
    return path


def tagged_keys(path):
    """An m4a file whose items have the numbers of keys for names, as phones write them."""
    metadata = {"title": "Ein Stück ☃", "artist": "Anna", "com.apple.quicktime.make": "Telefon"}
    options = [part for pair in metadata.items() for part in ("-metadata", "=".join(pair))]
    return encoded(path, "-movflags", "use_metadata_tags", *options)


def tagged_quicktime(path):
    """An m4a file with texts directly in its user data."""
    metadata = {"title": "Ein Stück ☃", "artist": "Anna", "date": "1999-05-01"}
    options = [part for pair in metadata.items() for part in ("-metadata", "=".join(pair))]
    return encoded(path, "-f", "mov", *options)


def tagged_wma(path):
    return tag_wma(encoded(path, "-c:a", "wmav2"))


def tag_wma(path):
    file = ASF(path)
    picture = struct.pack("<BI", 3, len(FRONT))
    picture += "image/png\0".encode("utf-16-le") + "vorn\0".encode("utf-16-le") + FRONT
    file.tags.clear()
    file.tags["Title"] = "Ein Stück ☃"
    file.tags["Author"] = ["Anna", "Bert"]
    file.tags["WM/AlbumTitle"] = "Samples"
    file.tags["WM/TrackNumber"] = "3"
    file.tags["WM/PartOfSet"] = "1/2"
    file.tags["MusicBrainz/Track Id"] = MUSICBRAINZ_ID
    file.tags["WM/IsCompilation"] = True
    file.tags["WM/Picture"] = ASFByteArrayAttribute(picture)
    file.save()
    return path


def tagged_bext(path):
    return append_chunks(blank(path), bext_chunk())


def aiff_with(path, *chunks):
    """A blank AIFF file with chunks (name, data) behind its sound."""
    data = blank(path).read_bytes()
    for name, text in chunks:
        data += name + struct.pack(">I", len(text)) + text + bytes(len(text) % 2)
    path.write_bytes(data[:4] + struct.pack(">I", len(data) - 8) + data[8:])
    return path


def au_with(path, annotation):
    """A blank AU file with bytes between its header and its sound."""
    data = blank(path).read_bytes()
    offset = struct.unpack_from(">I", data, 4)[0]
    head = data[:4] + struct.pack(">I", 24 + len(annotation)) + data[8:24]
    path.write_bytes(head + annotation + data[offset:])
    return path


def restored(source, target, **options):
    """``source``'s tags on a blank ``target``; the losses."""
    return write_tags(blank(target, **options), read_tags(source))


MAKERS = {
    "flac": tagged_flac,
    "ogg": lambda path: tagged_ogg(path, OggVorbis, "-c:a", "libvorbis"),
    "opus": lambda path: tagged_ogg(path, OggOpus, "-c:a", "libopus"),
    "oga": lambda path: tagged_ogg(path, OggFLAC, "-c:a", "flac"),
    "mp3": tagged_id3,
    "wav": tagged_id3,
    "aiff": tagged_id3,
    "bext.wav": tagged_bext,
    "au": lambda path: au_with(path, "Glocken, außen\0\0".encode()),
    "m4a": tagged_mp4,
    "keys.m4a": tagged_keys,
    "quicktime.m4a": tagged_quicktime,
    "ape.mp3": tagged_ape,
    "wma": tagged_wma,
}

TAGGERS = {
    "flac": tag_flac,
    "ogg": lambda path: tag_ogg(path, OggVorbis),
    "opus": lambda path: tag_ogg(path, OggOpus),
    "oga": lambda path: tag_ogg(path, OggFLAC),
    "mp3": lambda path: tag_id3(path, 3 if "v2.3" in path.name else 4),
    "wav": tag_id3,
    "aiff": tag_id3,
    "m4a": tag_mp4,
    "wv": tag_ape,
    "wma": tag_wma,
}
"""Each gives a file of its format these tags in place of its own."""
