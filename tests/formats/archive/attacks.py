"""Hostile archives: each attack makes one, with right checksums wherever it can.

`ATTACKS` maps a name to the attack and to the sentence that must refuse the file. An attack takes
the pieces of a whole archive (three segments, tags, two distinct pictures) and changes them, or
returns the bytes of the file.
"""

import struct
from collections.abc import Callable

from tests.formats.archive.hostile_frames import bomb, compress, with_content_size
from tests.formats.archive.samples import Pieces, canonical, checksum, tag_part

SEGMENT, TAGS, PICTURE = 1, 2, 3
Attack = Callable[[Pieces], bytes | None]
ATTACKS: dict[str, tuple[Attack, str]] = {}


def attack(name: str, message: str) -> Callable[[Attack], Attack]:
    def register(make: Attack) -> Attack:
        assert name not in ATTACKS
        ATTACKS[name] = (make, message)
        return make

    return register


# Prefix

attack("empty file", "is empty")(lambda pieces: b"")
attack("magic alone", "is 8 bytes, shorter than the prefix of 52")(lambda p: p.magic)
attack("prefix cut", "is 51 bytes, shorter")(lambda p: p.to_bytes()[:51])
attack("text", "is not an earzip archive")(lambda p: b"Dear listener, " * 20)
attack("zeros", "is not an earzip archive")(lambda p: bytes(4096))


@attack("prefix checksum", "bytes have changed")
def _(pieces: Pieces) -> bytes:
    return pieces.to_bytes()[:44] + bytes(8) + pieces.to_bytes()[52:]


def resize(name: str, n_bytes: int) -> Attack:
    def make(pieces: Pieces) -> None:
        pieces.sizes[name] = n_bytes

    return make


attack("header of 4 GiB", "header is 4294967295 bytes, the limit is 1048576")(
    resize("header", 2**32 - 1)
)
attack("header past the end", "file ends at")(resize("header", 1 << 20))
attack("header of 0 bytes", "bytes have changed")(resize("header", 0))
attack("index of 4 GiB", "index is 4294967292 bytes, the limit is")(resize("index", 2**32 - 4))
attack("index past the end", "file ends at")(resize("index", 3 << 20))
attack("index of a part and a half", "index is 18 bytes, expected a multiple of 12")(
    resize("index", 18)
)
attack("file of 2^64 bytes", "should have 18446744073709551615")(resize("file", 2**64 - 1))
attack("file of 0 bytes", "should have 0")(resize("file", 0))


@attack("bytes beyond the end", "has .* bytes, should have")
def _(pieces: Pieces) -> None:
    pieces.trailer = b"#!/bin/sh\n"


@attack("bytes in a gap before the parts", "parts of the index end at")
def _(pieces: Pieces) -> bytes:
    data = Pieces.to_bytes(pieces)
    pieces.sizes["file"] = len(data) + 7
    data = pieces.to_bytes()
    return data + bytes(7)


# Header's frame


def framed(frame: Callable[[bytes], bytes]) -> Attack:
    def make(pieces: Pieces) -> None:
        pieces.header_frame = frame(pieces.header)

    return make


attack("header bomb of 1 GiB", "holds 1073741824 bytes, expected 1 to 1048576")(
    framed(lambda _: bomb(1 << 30))
)
attack("header of 2^60 bytes", "holds 1152921504606846976 bytes")(
    framed(lambda _: with_content_size(2**60))
)
attack(
    "header of 2^64 bytes", "does not state its content|holds 18446744073709551615 bytes|is not"
)(framed(lambda _: with_content_size(2**64 - 1)))
attack("header longer than it says", "cannot be decompressed")(
    framed(lambda _: with_content_size(3))
)
attack("header shorter than it says", "cannot be decompressed")(
    framed(lambda _: with_content_size(5))
)
attack("header without content size", "does not state its content size")(
    framed(lambda raw: compress(raw, dictionary=True, write_content_size=False))
)
attack("header with a zstd checksum", "a checksum; expected")(
    framed(lambda raw: compress(raw, dictionary=True, write_checksum=True))
)
attack("header in two frames", "followed by")(framed(lambda raw: compress(raw) * 2))
attack("header behind a skippable frame", "is not a zstd frame")(
    framed(lambda raw: b"\x50\x2a\x4d\x18\4\0\0\0abcd" + compress(raw))
)
attack("header with junk behind its frame", "followed by")(
    framed(lambda raw: compress(raw) + b"junk")
)
attack("header not compressed", "is not a zstd frame")(framed(lambda raw: raw))
attack("header frame cut", "cannot be decompressed")(
    framed(lambda raw: compress(raw, dictionary=True)[:-9])
)
attack("header of 0 bytes in a frame", "holds 0 bytes")(framed(lambda raw: compress(b"")))

# Header's JSON


def spelled(spell: Callable[[bytes], bytes]) -> Attack:
    def make(pieces: Pieces) -> None:
        pieces.header = spell(pieces.header)

    return make


attack("key twice", "a key twice")(spelled(lambda raw: raw[:-1] + b',"symbols":"packed-1"}'))
attack("NaN", "JSON number NaN is not an integer")(
    spelled(lambda raw: raw.replace(b'"gain":-15', b'"gain":NaN'))
)
attack("infinity", "JSON number -Infinity is not")(
    spelled(lambda raw: raw.replace(b'"gain":-15', b'"gain":-Infinity'))
)
attack("fraction", "JSON number 1.5 is not an integer")(
    spelled(lambda raw: raw.replace(b'"gain":-15', b'"gain":1.5'))
)
attack("white space", "not in canonical form")(spelled(lambda raw: b" " + raw))
attack("line end", "not in canonical form")(spelled(lambda raw: raw + b"\n"))
attack("escape without need", "not in canonical form")(
    spelled(lambda raw: raw.replace(b"A Song", b"\\u0041 Song"))
)
attack("half a surrogate pair", "not UTF-8")(
    spelled(lambda raw: raw.replace(b"A Song", b"\\ud800 Song"))
)
attack("keys not sorted", "not in canonical form")(
    spelled(lambda raw: b'{"symbols":"packed-1",' + raw[1:].replace(b',"symbols":"packed-1"', b""))
)
attack("integer -0", "not in canonical form")(
    spelled(lambda raw: raw.replace(b'"gain":-15', b'"gain":-0'))
)
attack("integer of a million digits", "more than 64 bits")(
    spelled(lambda raw: raw.replace(b'"gain":-15', b'"gain":' + b"9" * 1_000_000))
)
attack("JSON 500,000 deep", "nested too deeply")(spelled(lambda raw: b"[" * 500_000))
attack("JSON of 300,000 lists", "expected an object")(
    spelled(lambda raw: b"[" + b"[]," * 300_000 + b"[]]")
)
attack("not UTF-8", "not UTF-8")(spelled(lambda raw: raw.replace(b"A Song", b"\xff\xfe")))
attack("UTF-16", "not UTF-8|not JSON")(spelled(lambda raw: raw.decode().encode("utf-16")))
attack("byte order mark", "not JSON")(spelled(lambda raw: b"\xef\xbb\xbf" + raw))
attack("list", "expected an object")(spelled(lambda raw: b"[1]"))
attack("JSON cut", "not JSON")(spelled(lambda raw: raw[:-1]))


def header(key: str, value: object) -> Attack:
    def make(pieces: Pieces) -> None:
        pieces.change_header(key, value)

    return make


for _key, _value, _message in (
    ("samples", -1, "samples is -1, expected an integer 0 to"),
    ("samples", 2**60, "samples is 1152921504606846976, expected"),
    ("samples", 8193, "8193 samples at 44100 Hz, but 8192 frames at 44100 Hz make 8192"),
    ("samples", True, "samples is True, expected an integer"),
    ("samples", "8192", "samples is '8192', expected an integer"),
    ("samples", None, "samples is None"),
    ("gain", 1201, "gain is 1201, expected"),
    ("settings", "../x", "settings is"),
    ("settings", ..., "settings is missing"),
    ("symbols", 1, "symbols is 1"),
    ("source", [], "source is \\[\\], expected an object"),
    ("source", ..., "source is missing"),
    ("source.rate", 1, "8192 samples at 44100 Hz, but 8192 frames at 1 Hz make 361267200"),
    ("source.rate", 0, "source.rate is 0, expected"),
    ("source.frames", -1, "source.frames is -1"),
    ("source.frames", 2**63, "more than 64 bits"),
    ("source.frames", ..., "source.frames is missing"),
    ("source.name", "../../etc/passwd", "source.name is '../../etc/passwd', not a file name"),
    ("source.name", "..", "source.name is '..', not a file name"),
    ("source.name", "a\0b", "not a file name"),
    ("source.name", "x" * 1025, "source.name is 'x.*, expected a text of at most 1024 bytes"),
    ("source.name", ["x"], "source.name is \\['x'\\], expected a text"),
    ("source.sha256", "0" * 63, "source.sha256 is '0.*, expected a text of at most 64 bytes like"),
    ("source.sha256", "G" * 64, "source.sha256 is"),
    ("source.float", 0, "source.float is 0, expected true or false"),
    ("source.container", "\x1b[2J", "source.container is"),
    ("source.truncated", False, "source.truncated is False, expected a text"),
    ("model.latents", 0, "model.latents is 0"),
    ("model.latents", 9, "8 steps for 9 latents"),
    ("model.latents", 2**31, "model.latents is 2147483648"),
    ("model.name", "../evil", "model.name is '../evil'"),
    ("geometry.hop", 0, "geometry.hop is 0, expected an integer 1"),
    ("geometry.core", 0, "geometry.core is 0, expected an integer 1"),
    ("geometry.core", 2**40, "geometry.core is 1099511627776"),
    ("geometry.lead", -1, "geometry.lead is -1"),
    ("geometry.rate", 0, "geometry.rate is 0"),
    ("quantizer.base", 2000, "quantizer.base is 2000"),
    ("quantizer.base", "x", "quantizer.base is 'x'"),
    ("quantizer.steps", "", "quantizer.steps is"),
    ("quantizer.steps", "000", "quantizer.steps has 3 digits"),
    ("quantizer.steps", "01" * 8, "base is not the smallest"),
    (
        "quantizer.steps",
        "00" * 4097,
        "quantizer.steps is '0.*, expected a text of at most 8192 bytes",
    ),
    ("quantizer.steps", "0 " * 8, "quantizer.steps is"),
    ("quantizer", "x", "quantizer is 'x', expected an object"),
    ("quantizer.quality", ..., "quantizer.quality is missing"),
    ("critical", [], "critical is not a list"),
    ("critical", "x", "critical is not a list"),
    ("critical", [1], "critical is not a list of names"),
):
    attack(f"{_key} is {str(_value)[:24]!r}", _message)(header(_key, _value))


@attack("segments of 512 MiB", "segments of 4096 latents and 65536 frames may take 536936448 bytes")
def _(pieces: Pieces) -> None:
    pieces.change_header("model.latents", 4096)
    pieces.change_header("quantizer.steps", "00" * 4096)
    pieces.change_header("geometry.core", 65_536)


@attack("a context of 65,536 frames", "segments have 65536 frames, the limit of context-1 is 1024")
def _(pieces: Pieces) -> None:
    pieces.change_header("geometry.core", 65_536)
    pieces.change_header("symbols", "context-1")


# Index


def parts(change: Callable[[list[tuple[int, bytes]]], object]) -> Attack:
    def make(pieces: Pieces) -> None:
        change(pieces.parts)

    return make


attack("a segment too many", "index lists 4 segments, 8192 samples take 3")(
    parts(lambda p: p.insert(0, p[0]))
)
attack("a segment too few", "index lists 2 segments, 8192 samples take 3")(
    parts(lambda p: p.pop(0))
)
attack("no parts", "index lists 0 segments")(parts(lambda p: p.clear()))
attack("kinds out of order", "order of kinds")(parts(lambda p: p.reverse()))
attack("kind 0", "order of kinds")(parts(lambda p: p.insert(0, (0, b"abc"))))
attack("two tag parts", "lists 2 tag parts")(parts(lambda p: p.insert(3, p[3])))
attack("pictures without tags", "lists 0 tag parts")(parts(lambda p: p.pop(3)))
attack("tags of 0 bytes", "part of 0 bytes that is not a picture")(
    lambda p: p.change_part(TAGS, b"")
)
attack("a segment of 0 bytes", "part of 0 bytes that is not a picture")(
    lambda p: p.change_part(SEGMENT, b"")
)
attack("a picture too many", "pictures do not refer to each of the 3")(
    parts(lambda p: p.append((PICTURE, b"x")))
)
attack("a picture too few", "pictures do not refer to each of the 1")(parts(lambda p: p.pop()))


def entry(kind: int, n_bytes: int) -> Attack:
    """Put an entry into the index for bytes that are not there."""

    def make(pieces: Pieces) -> None:
        entries = [(k, len(stored), checksum(stored)) for k, stored in pieces.parts]
        entries[0] = (kind, n_bytes, bytes(8))
        pieces.index = b"".join(struct.pack("<I8s", k << 28 | n, c) for k, n, c in entries)

    return make


attack("a segment of 256 MiB that is not there", "parts of the index end at")(
    entry(SEGMENT, 2**28 - 1)
)


@attack("262,145 parts", "index is 3145740 bytes, the limit is 3145728")
def _(pieces: Pieces) -> None:
    pieces.index = bytes(262_145 * 12)


@attack("262,144 pictures of 0 bytes", "262144 parts besides segments, the limit is 8192")
def _(pieces: Pieces) -> None:
    pieces.parts.clear()
    picture = struct.pack("<I8s", PICTURE << 28, checksum(b""))
    tags = struct.pack("<I8s", TAGS << 28 | 1, checksum(b"x"))
    pieces.parts.append((TAGS, b"x"))
    pieces.index = tags + picture * 262_143


# Segments and tags


def part(kind: int, make_stored: Callable[[], bytes]) -> Attack:
    return lambda pieces: pieces.change_part(kind, make_stored())


attack("segment bomb of 1 GiB", "0:00.00–0:00.08.*holds 1073741824 bytes, expected 1 to 65600")(
    part(SEGMENT, lambda: bomb(1 << 30))
)
attack("segment a byte too long", "holds 65601 bytes, expected 1 to 65600")(
    part(SEGMENT, lambda: compress(bytes(65_601)))
)
attack("segment of 2^60 bytes", "holds 1152921504606846976 bytes")(
    part(SEGMENT, lambda: with_content_size(2**60))
)
attack("segment in 65 frames", "0:00.00–0:00.08.*has more than 64 zstd frames")(
    part(SEGMENT, lambda: compress(b"a") * 65)
)
attack("segment in frames that are too long together", "holds 65000 bytes, expected 1 to 600")(
    part(SEGMENT, lambda: compress(bytes(65_000)) * 2)
)
attack("segment of noise", "is not a zstd frame")(part(SEGMENT, lambda: bytes(range(100))))
attack("segment of a magic", "cannot be decompressed")(part(SEGMENT, lambda: b"\x28\xb5\x2f\xfd"))
attack("segment in blocks of noise", "cannot be decompressed")(
    part(SEGMENT, lambda: compress(bytes(range(200)))[:7] + bytes(range(60)))
)
attack("tag bomb of 1 GiB", "tags.*holds 1073741824 bytes, expected 1 to 73400320")(
    part(TAGS, lambda: bomb(1 << 30))
)
attack("tag bomb of 70 MiB", "tags.*JSON has 0 bytes|not JSON")(part(TAGS, lambda: bomb(70 << 20)))


def tags(text: bytes, blocks: bytes = b"", n_json: int | None = None) -> Attack:
    return part(TAGS, lambda: compress(tag_part(text, blocks, n_json)))


def members(blocks: object, payload: object, pictures: object) -> bytes:
    return canonical({"blocks": blocks, "payload": payload, "pictures": pictures})


attack("tags of 3 bytes", "3 bytes, expected at least 4")(part(TAGS, lambda: compress(b"abc")))
attack("tag JSON past the end", "JSON has 4294967295 bytes")(tags(b"{}", n_json=2**32 - 1))
attack("tag JSON of 4 MiB and 1 byte", "JSON has 4194305 bytes")(
    tags(b"[" + b"0," * 2_097_151 + b"0]")
)
attack("tag JSON of 4 MiB of lists", "not an object of blocks")(
    tags(b"[" + b"[]," * 1_398_000 + b"[]]")
)
attack("tag JSON 4 million deep", "nested too deeply")(tags(b"[" * 4_000_000))
attack("tag JSON without payload", "not an object of blocks")(
    tags(canonical({"blocks": [], "pictures": []}))
)
attack("tag JSON in another order", "not an object of blocks")(
    tags(b'{"payload":{},"blocks":[],"pictures":[0,1]}')
)
attack("tag payload a list", "payload is not a JSON object")(tags(members([], [], [0, 1])))
attack("tag block too long", "block has 7 bytes, 6 are there")(
    tags(members([7], {}, [0, 1]), b"TITLE=")
)
attack("tag block of -1 bytes", "blocks has -1, expected a whole number")(
    tags(members([-1], {}, [0, 1]))
)
attack("tag block of 'x' bytes", "blocks has 'x'")(tags(members(["x"], {}, [0, 1])))
attack("bytes after the tag blocks", "6 bytes after the last block")(
    tags(members([], {}, [0, 1]), b"TITLE=")
)
attack("5,000 tag blocks", "blocks is not a list of at most 2000")(
    tags(members([0] * 5000, {}, [0, 1]))
)
attack("a picture that is not there", "do not refer to each of the 2")(
    tags(members([], {}, [0, 1, 2]))
)
attack("a picture nobody refers to", "do not refer to each of the 2")(tags(members([], {}, [0])))
attack("picture 2^63", "more than 64 bits")(tags(members([], {}, [2**63])))
attack("a picture 5,000 times", "pictures is not a list of at most 1000")(
    tags(members([], {}, [0, 1] * 2500))
)
