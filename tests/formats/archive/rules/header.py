"""Rules of canonical JSON and of the header broken."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.formats.archive.hostile_frames import compress
from tests.formats.archive.rules.layout import raw_tags
from tests.formats.archive.rules.registry import FILE, FLAC, SHORT, TAGS, Break, breaks
from tests.formats.archive.samples import Pieces, canonical, tag_part

# Canonical JSON, of header and of tags. Each takes the text and a name and value in it.
Spell = Callable[[bytes], bytes]
SPELLINGS: dict[str, Spell] = {
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "space before": lambda text: b" " + text,
    "line end": lambda text: text + b"\n",
    "space behind a colon": lambda text: text.replace(b":", b": ", 1),
    "space behind a comma": lambda text: text.replace(b",", b", ", 1),
    "UTF-16": lambda text: text.decode().encode("utf-16-le"),
    "not UTF-8": lambda text: text.replace(b'"name"', b'"\xff\xfe"', 1).replace(
        b'"title"', b'"\xff\xfe"', 1
    ),
    "needless escape": lambda text: text.replace(b'"n', b'"\\u006e', 1).replace(
        b'"t', b'"\\u0074', 1
    ),
    "escaped slash": lambda text: text[:-1] + b',"zz":"\\/"}',
    "upper case escape": lambda text: text[:-1] + b',"zz":"\\u001F"}',
    "long escape of a line end": lambda text: text[:-1] + b',"zz":"\\u000a"}',
    "escaped surrogate pair": lambda text: text[:-1] + b',"zz":"\\ud83d\\ude00"}',
    "half a surrogate pair": lambda text: text[:-1] + b',"zz":"\\ud83d"}',
    "raw control character": lambda text: text[:-1] + b',"zz":"\x01"}',
    "key twice": lambda text: text[:-1] + b',"zz":1,"zz":1}',
    "fraction": lambda text: text[:-1] + b',"zz":1.5}',
    "whole fraction": lambda text: text[:-1] + b',"zz":1.0}',
    "exponent": lambda text: text[:-1] + b',"zz":1e3}',
    "leading zero": lambda text: text[:-1] + b',"zz":01}',
    "minus zero": lambda text: text[:-1] + b',"zz":-0}',
    "plus": lambda text: text[:-1] + b',"zz":+1}',
    "NaN": lambda text: text[:-1] + b',"zz":NaN}',
    "infinity": lambda text: text[:-1] + b',"zz":-Infinity}',
    "2^63": lambda text: text[:-1] + b',"zz":9223372036854775808}',
    "below -2^63": lambda text: text[:-1] + b',"zz":-9223372036854775809}',
    "a million digits": lambda text: text[:-1] + b',"zz":' + b"9" * 900_000 + b"}",
    "comma at the end": lambda text: text[:-1] + b",}",
    "comment": lambda text: text + b"//",
    "cut": lambda text: text[:-1],
    "two values": lambda text: text + b"{}",
    "list": lambda text: b"[" + text + b"]",
    "null": lambda _text: b"null",
    "nothing": lambda _text: b" ",
    "nested 100,000 deep": lambda text: (
        text[:-1] + b',"zz":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    ),
}


def _spelled_header(spell: Spell) -> Break:
    def make(pieces: Pieces) -> None:
        pieces.header = spell(pieces.header)

    return make


def _spelled_tags(spell: Spell) -> Break:
    def make(pieces: Pieces) -> None:
        raw = raw_tags(pieces)
        n = int.from_bytes(raw[:4], "little")
        # The payload may have further keys, the object around it may not.
        start, end = raw.index(b'"payload":') + 10, raw.index(b',"pictures":[0,1,0]}')
        text = raw[4:start] + spell(raw[start:end]) + raw[end : 4 + n]
        pieces.change_part(TAGS, compress(tag_part(text, raw[4 + n :])))

    return make


for name, spell in SPELLINGS.items():
    breaks("Canonical JSON", f"header, {name}", _spelled_header(spell))
    breaks("Canonical JSON", f"tags, {name}", _spelled_tags(spell))


def _unsorted(pieces: Pieces) -> None:
    members = json.loads(pieces.header)
    text = json.dumps(dict(reversed(members.items())), separators=(",", ":"), ensure_ascii=False)
    pieces.header = text.encode()


breaks("Canonical JSON", "header, keys not sorted", _unsorted)

# Header: what a field may be, by the table of SPEC.md.

_ASCII = ["", "x" * 65, "é", "a\tb", "\x7f"]
_OTHER_TYPES = [None, True, "x" * 2000, [], {}, ...]


def _integer(low: int, high: int) -> list[object]:
    outside = [each for each in (low - 1, high + 1) if -(2**63) <= each < 2**63]
    return [*outside, "1", *_OTHER_TYPES]


def _text(*wrong: object) -> list[object]:
    return [*wrong, 1, None, True, [], {}, ...]


FIELDS: dict[str, list[object]] = {
    "check": [[], "x", 1, None, {"mel": 1}, {"mel": 10**7 + 1}],
    **{f"encoder.{key}": _text(*_ASCII) for key in ("name", "version", "torch", "device", "dtype")},
    "edges": [
        [0, 0, 0],
        [0] * 5,
        [],
        [0, 0, 0, 2**24 + 1],
        [-(2**24) - 1, 0, 0, 0],
        [0, None, 0, 0],
        [0, "0", 0, 0],
        [0, True, 0, 0],
        "0000",
        None,
        {},
        ...,
    ],
    "exact": ["", "FLAC", "wav", 1, None, [], True],
    "gain": _integer(-1200, 1200),
    "geometry": [[], None, "x", ...],
    "geometry.core": _integer(1, 65_536),
    "geometry.decoder_context": _integer(0, 65_536),
    "geometry.encoder_context": _integer(0, 65_536),
    "geometry.hop": _integer(1, 65_536),
    "geometry.lead": _integer(0, 2**20),
    "geometry.rate": _integer(1, 768_000),
    "model.latents": _integer(1, 4096),
    "model.name": _text("", "x" * 65, "-x", ".x", "a/b", "a b", "é"),
    "model.sha256": _text("", "0" * 63, "0" * 65, "A" * 64, "g" * 64),
    "pictures": ["", "kept", "Dropped", "fit-", "fit-0", "fit-012", "fit-100000", 1, None, [], {}],
    "quantizer.base": _integer(-1024, 1024),
    "quantizer.quality": _text("", "x" * 33, "_x", "a b", "é"),
    "quantizer.steps": _text(
        "", "0", "00", "00" * 51, "00" * 53, "01" * 52, "0G" * 52, "0A" + "00" * 51, "00" * 4097
    ),
    "samples": [*_integer(0, 2**36), 69_999, 70_001],
    "settings": _text("", "0" * 65, "x", "AB"),
    "source.bits": [0, 65, "16", True, [], ...],
    "source.bytes": _integer(0, 2**63 - 1),
    "source.channels": _integer(1, 1024),
    "source.codec": _text(*_ASCII),
    "source.container": _text(*_ASCII),
    "source.downmix": _text(*_ASCII),
    "source.float": [0, 1, "true", None, [], ...],
    "source.frames": [*_integer(0, 2**50), 69_999, 70_001],
    "source.lossless": [0, 1, "true", None, [], ...],
    "source.mtime": [-(2**63), "1", True, [], ...],
    "source.name": _text("x" * 1025, "é" * 513, "a/b", "/", "a\0b", ".", ".."),
    "source.rate": [*_integer(1, 768_000), 44_099, 48_000],
    "source.sha256": _text("", "0" * 63, "0" * 65, "A" * 64, "g" * 64),
    "source.truncated": ["x" * 1025, 1, True, [], ...],
    "symbols": ["", "packed-2", "PACKED-1", 1, None, [], ...],
    "critical": [
        [],
        "gain",
        None,
        {},
        [1],
        [None],
        ["x" * 129],
        ["dither"],
        [""],
        ["gain", "quantizer.dither"],
        ["source.year"],
        ["geometry.hop.x"],
        ["encoder."],
        ["Gain"],
    ],
}


def changed(key: str, value: object) -> Break:
    def make(pieces: Pieces) -> None:
        pieces.change_header(key, value)

    return make


for key, values in FIELDS.items():
    for i, value in enumerate(values):
        shown = "absent" if value is ... else repr(value)[:24]
        breaks("Header", f"{key} {shown} ({i})", changed(key, value))


def several(**values: object) -> Break:
    def make(pieces: Pieces) -> None:
        for key, value in values.items():
            pieces.change_header(key.replace("__", "."), value)

    return make


for edges in ([1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 2**24, 0], [0, 0, 0, 1]):
    breaks("Header", f"edges {edges} of 63 samples", changed("edges", edges), SHORT)
for coding in ("context-1", "levels-1"):
    for core in (1025, 4096, 65_536):
        breaks("Header", f"{core} frames of {coding}", several(geometry__core=core, symbols=coding))
breaks(
    "Header",
    "segments over 4 MiB",
    several(geometry__core=65_536, model__latents=64, quantizer__steps="00" * 64),
)
for key, value in (
    ("source.lossless", False),
    ("source.float", True),
    ("source.bits", None),
    ("source.bits", 33),
    ("source.channels", 9),
):
    breaks("Header", f"exact flac, {key} {value}", changed(key, value), FLAC)
breaks(
    "Header",
    "exact flac without frames",
    several(samples=0, source__frames=0, edges=[0, 0, 0, 0]),
    FLAC,
)
breaks("Header", "exact without pieces", changed("exact", "file"))
breaks("Header", "pieces without exact", changed("exact", ...), FILE)


def _checks() -> list[object]:
    whole = dict.fromkeys(("si_sdr_db", "mel", "stft", "icpc", "ccpc", "dbtp"), 5)
    wrong: list[object] = [{k: v for k, v in whole.items() if k != key} for key in whole]
    for value in (10**7 + 1, -(10**7) - 1, None, "5", True):
        wrong.append(whole | {"mel": value})
    return wrong


for i, check in enumerate(_checks()):
    breaks("Check", f"{i}", changed("check", check))


def too_long(pieces: Pieces) -> None:
    members = json.loads(pieces.header)
    pieces.header = canonical(members | {"zz": "x" * (1 << 20)})


breaks("Header", "JSON over 1 MiB", too_long)
