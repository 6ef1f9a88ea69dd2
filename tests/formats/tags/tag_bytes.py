"""Blocks, chunks and boxes of tags as bytes, for the files of `tag_files`."""

import struct


def cue_sheet(total):
    sheet = struct.pack(">128sQB258xB", b"1234567890123", 88200, 0x80, 3)
    for offset, number in ((0, 1), (588 * 20, 2)):
        sheet += struct.pack(">QB12sB13xB", offset, number, b"ABCDE1234567", 0, 1)
        sheet += struct.pack(">QB3x", 0, 1)
    return sheet + struct.pack(">QB12sB13xB", total, 170, b"", 0, 0)


def id3_v2_2(frames):
    """An ID3v2.2 tag, which mutagen reads but does not write: ``frames`` are (name, body)."""
    data = b"".join(name + struct.pack(">I", len(body))[1:] + body for name, body in frames)
    size = len(data) + 20
    sizes = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x02\0\0" + sizes + data + bytes(20)


def box(name, *contents):
    """An MP4 atom."""
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), name) + body


def info_chunk(*entries):
    """A LIST chunk of type INFO, with its header."""
    body = b"INFO"
    for name, value in entries:
        body += name + struct.pack("<I", len(value)) + value + bytes(len(value) % 2)
    return b"LIST" + struct.pack("<I", len(body)) + body


def bext_chunk():
    """A bext chunk of version 2 with everything in it, with its header."""
    texts = ("Glocken, außen".encode("cp1252"), b"Anna", b"DEABC0001", b"1999-05-01", b"12:34:56")
    loudness = struct.pack("<5h", -2300, 700, -100, -2000, -2100)
    numbers = (44_100 * 3600, 2, bytes(range(1, 65)), loudness)
    body = struct.pack("<256s32s32s10s8sQH64s10s180x", *texts, *numbers)
    body += b"A=PCM,F=44100,W=16,M=stereo\r\n"
    return b"bext" + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def append_chunks(path, *chunks):
    data = path.read_bytes() + b"".join(chunks)
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    return path


def chunk_of(path, name):
    """The data of the first chunk of a WAV file with that name, or None."""
    data = path.read_bytes()
    position = 12
    while position + 8 <= len(data):
        size = struct.unpack_from("<I", data, position + 4)[0]
        if data[position : position + 4] == name:
            return data[position + 8 : position + 8 + size]
        position += 8 + size + size % 2
    return None
