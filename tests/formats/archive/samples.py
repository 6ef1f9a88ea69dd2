"""Small archives for tests, and the means to take them apart and to build wrong ones."""

import hashlib
import json
import os
import random
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earzip.formats.archive.frames import compress_frame, decompress_frame
from earzip.formats.archive.header import Header
from earzip.formats.archive.layout import ArchiveSizes
from earzip.formats.archive.records import EncoderRecord, ModelRecord, QuantizerRecord, SourceRecord
from earzip.formats.archive.writer import PIECE_BYTES, ArchiveWriter
from earzip.formats.geometry import Geometry
from earzip.formats.symbols.coding import pack
from earzip.formats.symbols.layout import CONTEXT, LEVELS, PACKED, Group, Layout, Told

TAGS = {
    "family": "vorbis",
    "fields": {"title": ["Ærø"], "artist": ["B", "A"]},
    "pictures": [
        {"type": 3, "mime": "image/jpeg"},
        {"type": 6, "mime": "image/png"},
        {"type": 4, "mime": "image/jpeg", "description": "back", "width": 300},
    ],
    "raw": [{"kind": "flac-comment"}, {"kind": "id3v1"}],
}
BLOCKS = [b"\x05\0\0\0TITLE=\xc3\x86r\xc3\xb8", b"\0" * 40]
COVER = b"\xff\xd8\xff\xe0" + bytes(range(200))
BOOKLET = b"\x89PNG" + bytes(range(100))
PICTURES = [COVER, BOOKLET, COVER]
LEVEL_GROUPS = (Group(Told.ALWAYS, 2), Group(Told.CALM, 1), Group(Told.ATTACK, 2, 2))


def sample_header(
    n_samples: int = 8192, *, n_latents: int = 8, core: int = 4, symbols: str = PACKED
) -> Header:
    exponents = random.Random(n_latents).choices(range(-60, -10), k=n_latents)
    return Header(
        encoder=EncoderRecord("earzip", "0.1.0", "2.13.0", "cpu", "float32"),
        model=ModelRecord("mini", hashlib.sha256(b"weights").hexdigest(), n_latents),
        geometry=Geometry(44_100, 1024, 512, core, 8, 8),
        quantizer=QuantizerRecord("medium", tuple(exponents)),
        symbols=symbols,
        gain_centibels=-15,
        n_samples=n_samples,
        edges=(120, -7, 0, 4096) if n_samples >= 64 else (0, 0, 0, 0),
        source=SourceRecord(
            name="01 - A Song.flac",
            sha256=hashlib.sha256(b"source").hexdigest(),
            n_bytes=31_234_567,
            mtime_ns=1_700_000_000_123_456_789,
            container="FLAC",
            codec="PCM_16",
            sample_rate=44_100,
            channels=2,
            bit_depth=16,
            is_float=False,
            lossless=True,
            n_frames=n_samples,
            downmix="stereo",
            truncated=None,
        ),
        settings="0123456789abcdef",
    )


def with_samples(header: Header, n_samples: int) -> Header:
    source = replace(header.source, n_frames=n_samples)
    edges = header.edges if n_samples >= 64 else (0, 0, 0, 0)
    return replace(header, n_samples=n_samples, source=source, edges=edges)


def segment_of(header: Header, i: int) -> bytes:
    """Return the raw bytes of a segment of integers of its own."""
    return b"".join(pieces_of(header, i))


def pieces_of(header: Header, i: int) -> list[bytes]:
    """Return these bytes in pieces of one distribution each."""
    n_latents = header.model.n_latents
    layouts = {
        PACKED: Layout(),
        CONTEXT: Layout(n_latents - 2),
        LEVELS: Layout(n_latents - 7, LEVEL_GROUPS),
    }
    return pack(symbols_of(header, i), layouts[header.symbols])


def symbols_of(header: Header, i: int) -> NDArray[np.int32]:
    """Return the integers of segment ``i``."""
    shape = header.model.n_latents, header.segment_frames(i)
    symbols = np.random.default_rng(i).integers(-2, 3, shape, np.int32)
    symbols[64:] *= 20  # another distribution, which is compressed by itself
    if header.symbols == LEVELS:
        symbols[-4:, ::2] = 0  # frames without an attack, and with one
        symbols[-4, 1::2] = 9
        symbols[-5, 1::2] = 0
    return symbols


def write_sample(
    path: Path, header: Header | None = None, piece_bytes: int = PIECE_BYTES, **content: Any
) -> ArchiveSizes:
    """Write an archive of ``header`` with two tag blocks and three pictures, two of them equal."""
    header = header or sample_header()
    content = content or {"tags": TAGS, "blocks": BLOCKS, "pictures": PICTURES}
    with ArchiveWriter(path, piece_bytes=piece_bytes) as writer:
        for i in range(header.n_segments):
            writer.add_segment(*pieces_of(header, i))
        sizes = writer.write(header, **content)
        writer.commit()
    return sizes


def shared_record(image: bytes) -> dict[str, Any]:
    """Return what a header says of a picture beside its archive."""
    return {"bytes": len(image), "sha256": hashlib.sha256(image).hexdigest()}


def checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:8]


@dataclass
class Pieces:
    """An archive taken apart, to be put together with right checksums whatever was changed."""

    header: bytes  # JSON
    parts: list[tuple[int, bytes]]  # kind, stored bytes
    magic: bytes = b"\x89EARZ\r\n\x1a"
    major: int = 1
    minor: int = 0
    header_frame: bytes | None = None  # instead of the JSON's own
    index: bytes | None = None  # instead of the parts' own
    sizes: dict[str, int] = field(default_factory=dict)  # instead of the true ones
    trailer: bytes = b""  # beyond what the prefix counts

    @classmethod
    def of(cls, path: Path) -> "Pieces":
        data = path.read_bytes()
        n_header, _, n_index = struct.unpack_from("<IQI", data, 12)
        header = decompress_frame(data[52 : 52 + n_header], max_bytes=1 << 20, dictionary=True)
        offset = 52 + n_header + n_index
        parts = []
        for (word,) in struct.iter_unpack("<I8x", data[52 + n_header : offset]):
            parts.append((word >> 28, data[offset : offset + (word & 0xFFFFFFF)]))
            offset += word & 0xFFFFFFF
        return cls(header, parts)

    def change_header(self, key: str, value: object) -> None:
        """Set the header's field ``key`` ("geometry.hop") or, with the value `...`, remove it."""
        members = json.loads(self.header)
        *outer, last = key.split(".")
        inner = members
        for name in outer:
            inner = inner[name]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
        self.header = canonical(members)

    def change_part(self, kind: int, stored: bytes) -> None:
        """Replace the first part of ``kind``."""
        at = [k for k, _ in self.parts].index(kind)
        self.parts[at] = (kind, stored)

    def to_bytes(self) -> bytes:
        frame = self.header_frame
        if frame is None:
            frame = compress_frame(self.header, dictionary=True)
        index = self.index
        if index is None:
            index = b"".join(
                struct.pack("<I8s", kind << 28 | len(stored), checksum(stored))
                for kind, stored in self.parts
            )
        parts = b"".join(stored for _, stored in self.parts)
        sizes = {"header": len(frame), "index": len(index)}
        sizes["file"] = 52 + len(frame) + len(index) + len(parts)
        sizes |= self.sizes
        prefix = self.magic + struct.pack("<HHI", self.major, self.minor, sizes["header"])
        prefix += struct.pack("<QI", sizes["file"], sizes["index"])
        prefix += checksum(frame) + checksum(index)
        return prefix + checksum(prefix) + frame + index + parts + self.trailer

    def write(self, path: Path) -> Path:
        path.write_bytes(self.to_bytes())
        return path


def canonical(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def tag_part(json_text: bytes, blocks: bytes = b"", n_json: int | None = None) -> bytes:
    """Return a tag part before compression."""
    return struct.pack("<I", len(json_text) if n_json is None else n_json) + json_text + blocks


def flip_bit(path: Path, byte: int, bit: int) -> None:
    """Flip a bit of the file in place."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        value = os.pread(descriptor, 1, byte)[0]
        os.pwrite(descriptor, bytes([value ^ 1 << bit]), byte)
    finally:
        os.close(descriptor)
