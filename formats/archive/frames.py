"""The zstd frames of an archive: one rule for writing them, one distrustful way of reading them."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import zstandard

from earzip.errors import DamagedArchiveError

DICTIONARY = (
    b"TXXX TPE1 TPE2 TALB TIT2 TRCK TPOS TCON TDRC COMM APIC MusicBrainz Album Artist Releas"
    b'e Group Track Id ID3 LAME Lavf reference libFLAC 1.4.3 20230623 "raw_only":{"mp4-ilst":['
    b'""]},"chapters":[{"start_ms":0,"end_ms":1000,"title":"Chapter 1"}],'
    b'"raw":[{"kind":"apev2"},{"kind":"id3v1"},{"kind":"riff-info"},{"kind":"ogg-comment"},'
    b'{"kind":"id3v2","cuts":[{"at":1000,"picture":0}]},{"kind":"flac-comment"},'
    b'{"kind":"flac-picture","cuts":[{"at":42,"picture":0}]}]},"pictures":[0]}'
    b'"pictures":[{"type":3,"mime":"image/png","description":"Cover (front)","width":500,'
    b'"height":500,"depth":24},{"type":3,"mime":"image/jpeg"}],{"blocks":[0],'
    b'"payload":{"family":"mp4 id3 vorbis","fields":{"acoustid_fingerprint":["ACOUSTID_FINGERP'
    b'RINT="],"acoustid_id":["ACOUSTID_ID="],"musicbrainz_workid":["MUSICBRAINZ_WORKID="],'
    b'"musicbrainz_releasegroupid":["MUSICBRAINZ_RELEASEGROUPID="],'
    b'"musicbrainz_releasetrackid":["MUSICBRAINZ_RELEASETRACKID="],'
    b'"musicbrainz_albumartistid":["MUSICBRAINZ_ALBUMARTISTID="],'
    b'"musicbrainz_artistid":["MUSICBRAINZ_ARTISTID="],'
    b'"musicbrainz_albumid":["MUSICBRAINZ_ALBUMID="],'
    b'"musicbrainz_trackid":["MUSICBRAINZ_TRACKID="],'
    b'"replaygain_reference_loudness":["89.0 dB"],REPLAYGAIN_REFERENCE_LOUDNESS=89.0 dB,'
    b'"replaygain_album_peak":["0.98"],REPLAYGAIN_ALBUM_PEAK=0.98,'
    b'"replaygain_album_gain":["-7.12 dB"],REPLAYGAIN_ALBUM_GAIN=-7.12 dB,'
    b'"replaygain_track_peak":["1.00"],REPLAYGAIN_TRACK_PEAK=1.00,'
    b'"replaygain_track_gain":["-6.34 dB"],REPLAYGAIN_TRACK_GAIN=-6.34 dB,'
    b'"cuesheet":["CUESHEET="],"lyrics":["LYRICS="],"encoder":["LAME"],ENCODER=LAME,'
    b'"encodedby":["ENCODEDBY="],"copyright":["COPYRIGHT="],"description":["DESCRIPTION="],'
    b'"organization":["ORGANIZATION="],"publisher":["PUBLISHER="],"lyricist":["LYRICIST="],'
    b'"conductor":["CONDUCTOR="],"performer":["PERFORMER="],"composer":["COMPOSER="],'
    b'"bpm":["BPM="],"isrc":["ISRC="],"asin":["ASIN="],"barcode":["BARCODE="],'
    b'"catalognumber":["CATALOGNUMBER="],"label":["LABEL="],"media":["CD"],MEDIA=CD,'
    b'"script":["Latn"],SCRIPT=Latn,"language":["eng"],LANGUAGE=eng,"releasecountry":["US"],'
    b'RELEASECOUNTRY=US,"releasestatus":["official"],RELEASESTATUS=official,'
    b'"releasetype":["album"],RELEASETYPE=album,"artists":["ARTISTS="],'
    b'"artistsort":["ARTISTSORT="],"albumartistsort":["ALBUMARTISTSORT="],"compilation":["1"],'
    b'COMPILATION=1,"comment":["Visit https://.bandcamp.com"],'
    b'COMMENT=Visit https://.bandcamp.com,"originalyear":["20"],ORIGINALYEAR=20,'
    b'"originaldate":["1999"],ORIGINALDATE=1999,"genre":["Electronic"],GENRE=Electronic,'
    b'"date":["2020-01-01"],DATE=2020-01-01,"totaldiscs":["2"],TOTALDISCS=2,"disctotal":["1"],'
    b'DISCTOTAL=1,"discnumber":["1"],DISCNUMBER=1,"totaltracks":["12"],TOTALTRACKS=12,'
    b'"tracktotal":["10"],TRACKTOTAL=10,"tracknumber":["01"],TRACKNUMBER=01,'
    b'"albumartist":["Various Artists"],ALBUMARTIST=Various Artists,"album":["ALBUM="],'
    b'"artist":["ARTIST="],"title":["TITLE="]},{"encoder":{"device":"cuda","dtype":"bfloat16",'
    b'"name":"earzip","torch":"2.13.0+cu130","version":"0.1.0"},"gain":0,'
    b'"geometry":{"core":256,"decoder_context":16,"encoder_context":16,"hop":1024,"lead":512,'
    b'"rate":44100},"model":{"latents":224,"name":"mini","sha256":"0123456789abcdef"},'
    b'"quantizer":{"base":-64,"quality":"high low medium","steps":"0"},"samples":1,'
    b'"settings":"0","source":{"bits":24,"bytes":1,"channels":1,'
    b'"codec":"MPEG_LAYER_III VORBIS OPUS ALAC AAC PCM_24 PCM_16",'
    b'"container":"AIFF OGG M4A WAV MP3 FLAC","downmix":"mono-duplicated stereo",'
    b'"float":false,"frames":1,"lossless":true,"mtime":17,"name":"01 - .flac",'
    b'"rate":4800044100,"sha256":"0","truncated":null}},"symbols":"packed-1"}'
)


MAX_WINDOW_BYTES = 8 << 20  # level 19's own, and required of every decoder by RFC 8878

MAX_FRAMES = 64  # of a segment: tables, lists of classes, groups of channels
# A code of its own costs a frame's head and a table, about 30 bytes: little beside larger pieces.
_MAX_SHARING_BYTES = 4096

_LEVEL = 19
_MAGIC = b"\x28\xb5\x2f\xfd"
_OTHER_FLAGS = 0x1F  # of the byte behind it: dictionary ID (even one of 0), checksum, unused ones
_PREPARED = zstandard.ZstdCompressionDict(DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def compress_frame(raw: bytes, *, dictionary: bool) -> bytes:
    """Return ``raw`` (not empty) as one zstd frame; the same bytes for the same libzstd."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=_PREPARED if dictionary else None)
    return compressor.compress(raw)


def compress_frames(pieces: Iterable[bytes]) -> bytes:
    """Return the ``pieces`` of a segment, none empty, as zstd frames in a row, as archives store them.

    A piece has a frame of its own, or shares that of the piece before it where that takes fewer bytes.
    """
    frames: list[bytes] = []
    joined = b""
    for piece in pieces:
        frame = compress_frame(piece, dictionary=False)
        if frames and min(len(joined), len(piece)) <= _MAX_SHARING_BYTES:
            together = compress_frame(joined + piece, dictionary=False)
            if len(together) <= len(frames[-1]) + len(frame):
                frames[-1] = together
                joined += piece
                continue
        frames.append(frame)
        joined = piece
    return b"".join(frames)


def decompress_frame(stored: bytes, *, max_bytes: int, dictionary: bool) -> bytes:
    """Return the contents of the zstd frame ``stored``; the inverse of `compress_frame`.

    Raises `DamagedArchiveError` before anything is allocated where the frame says that it holds
    more than ``max_bytes``, and for anything but one whole frame of the kind SPEC.md allows.
    """
    raw, rest = _first_frame(stored, max_bytes, dictionary=dictionary)
    if rest:
        raise DamagedArchiveError(f"zstd frame is followed by {len(rest)} bytes")
    return raw


def decompress_frames(stored: bytes, *, max_bytes: int) -> bytes:
    """Return what one to `MAX_FRAMES` zstd frames in a row hold, joined; else as `decompress_frame`.

    The inverse of `compress_frames` on the joined pieces.
    ``max_bytes`` bounds all of them together.
    """
    pieces: list[bytes] = []
    while stored or not pieces:
        if len(pieces) == MAX_FRAMES:
            raise DamagedArchiveError(f"has more than {MAX_FRAMES} zstd frames")
        raw, stored = _first_frame(stored, max_bytes, dictionary=False)
        max_bytes -= len(raw)
        pieces.append(raw)
    return b"".join(pieces)


class _Ready(threading.local):
    """A decompressor with the dictionary, which takes longer to load than a header to decompress.

    One a thread: zstd's contexts are not shared.
    """

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor(dict_data=_PREPARED)


_ready = _Ready()


def _first_frame(stored: bytes, max_bytes: int, *, dictionary: bool) -> tuple[bytes, bytes]:
    """Return what the first frame holds, and the bytes behind it."""
    try:
        if not stored.startswith(_MAGIC):  # nor the magic of a skippable frame
            raise DamagedArchiveError("is not a zstd frame")
        frame = zstandard.get_frame_parameters(stored)
        if frame.content_size == zstandard.CONTENTSIZE_UNKNOWN:
            raise DamagedArchiveError("zstd frame does not state its content size")
        if not 0 < frame.content_size <= max_bytes:
            raise DamagedArchiveError(
                f"zstd frame holds {frame.content_size} bytes, expected 1 to {max_bytes}"
            )
        if frame.window_size > MAX_WINDOW_BYTES or stored[len(_MAGIC)] & _OTHER_FLAGS:
            raise DamagedArchiveError(
                f"zstd frame has a window of {frame.window_size} bytes, flags "
                f"{stored[len(_MAGIC)]:02x}, {'a' if frame.has_checksum else 'no'} checksum; expected "
                f"at most {MAX_WINDOW_BYTES}, no flags but those of the content size, no checksum"
            )
        reader = _ready.decompressor if dictionary else zstandard.ZstdDecompressor()
        decompressor = reader.decompressobj()
        raw: bytes = decompressor.decompress(stored)
    except zstandard.ZstdError as error:
        raise DamagedArchiveError(f"zstd frame cannot be decompressed: {error}") from error
    if not decompressor.eof:
        raise DamagedArchiveError("zstd frame cannot be decompressed: it is cut short")
    return raw, decompressor.unused_data
