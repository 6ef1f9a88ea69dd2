"""Tags of WAV and AIFF files: chunks with ID3, RIFF INFO, bext or AIFF text, found and written.

mutagen reads the ID3 chunk's contents only, neither RIFF INFO nor RF64.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from earzip.errors import TagError, count
from earzip.formats.containers.sound_chunk import find_sound_chunk
from earzip.formats.containers.walk import iff_chunks, iff_padding
from earzip.formats.tags.large import take_block
from earzip.formats.tags.model import MAX_ENTRIES, BlockView, Found, SoundFacts
from earzip.formats.tags.names import AIFF_TEXT_IDS, RIFF_INFO_IDS, RIFF_INFO_TRACK_IDS, split_pair
from earzip.formats.tags.unread import AIFF_SOUND_CHUNKS, WAV_SOUND_CHUNKS, note_chunks

_ID3_IDS = (b"ID3 ", b"id3 ")
_COMMENTS = b"COMT"
_MAX_COMMENT_BYTES = 1 << 20  # more than 100,000 empty ones
_WAV_PRECEDENCE = ("id3v2", "riff-info", "riff-bext")
MAX_RIFF = 0xFFFFFFFF + 8


def find_wav_tags(file: BinaryIO) -> Found:
    """The ID3, INFO and bext chunks of a RIFF, RF64 or BW64 file."""
    found = Found()
    blocks: list[tuple[str, int, int]] = []
    others = []
    end = _end(file)
    has_sound = False
    for chunk, start, size in iff_chunks(file, end, "little"):
        if chunk == b"data" and not has_sound:  # else crafted files would keep this busy
            has_sound = True
            if _is_followed_by_samples(file, start, end):
                break
        list_type = _list_type(file, start, size) if chunk == b"LIST" else b""
        if chunk in _ID3_IDS:
            blocks.append(("id3v2", start, size))
        elif list_type == b"INFO":
            blocks.append(("riff-info", start, size))
        elif chunk == b"bext":
            blocks.append(("riff-bext", start, size))
        elif start + size > end and chunk not in WAV_SOUND_CHUNKS:
            note_rest_of_file(found, start - 8, end)
        elif chunk not in WAV_SOUND_CHUNKS:
            others.append(chunk + b" " * bool(list_type) + list_type)
    for kind, start, size in sorted(blocks, key=lambda block: _WAV_PRECEDENCE.index(block[0])):
        take_block(found, file, kind, start, size)
    note_chunks(found, others)
    return found


def _is_followed_by_samples(file: BinaryIO, start: int, end: int) -> bool:
    """Whether no chunks but samples follow the sound chunk at ``start``, which says too small a size."""
    sound = find_sound_chunk(file, end)
    return sound is not None and sound.start == start and sound.goes_on


def note_rest_of_file(found: Found, start: int, end: int) -> None:
    """Name what stands where a chunk should, or a chunk that is cut."""
    n_bytes = count(end - start, "byte")
    found.problems.append(f"what is behind its last chunk is not archived: {n_bytes}")


def _list_type(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(min(size, 4))


def find_aiff_tags(file: BinaryIO) -> Found:
    """The ID3 chunks of an AIFF or AIFF-C file, then its text chunks as one block."""
    found = Found()
    id3: list[tuple[int, int]] = []
    texts: list[tuple[bytes, int, int]] = []
    others = []
    end = _end(file)
    has_sound = False
    for chunk, start, size in iff_chunks(file, end, "big"):
        if chunk == b"SSND" and not has_sound:  # else crafted files would keep this busy
            has_sound = True
            if _is_followed_by_samples(file, start, end):
                break
        if chunk in _ID3_IDS:
            id3.append((start, size))
        elif chunk == _COMMENTS or chunk.decode("latin-1") in AIFF_TEXT_IDS:
            texts.append((chunk, start, size))
        elif start + size > end and chunk not in AIFF_SOUND_CHUNKS:
            note_rest_of_file(found, start - 8, end)
        elif chunk not in AIFF_SOUND_CHUNKS:
            others.append(chunk)
    for start, size in id3:
        take_block(found, file, "id3v2", start, size)
    if block := b"".join(_text_chunk(file, found, *text) for text in texts):
        found.blocks.append(("aiff-text", block))
    note_chunks(found, others)
    return found


def _text_chunk(file: BinaryIO, found: Found, chunk: bytes, start: int, size: int) -> bytes:
    """An AIFF chunk with its header and pad byte; nothing, and a problem, if it is too large."""
    data = found.read(file, f"{chunk.decode('ascii').strip()} chunk", start, size)
    if data is None:
        return b""
    return chunk + struct.pack(">I", len(data)) + data + bytes(len(data) % 2)


def _end(file: BinaryIO) -> int:
    return file.seek(0, 2)


def parse_riff_info(block: bytes) -> BlockView:
    """A LIST chunk's data of type INFO in neutral terms.

    Raises TagError if not even one entry can be read.
    """
    view = BlockView()
    if block[:4] != b"INFO":
        raise TagError("the INFO list's type is missing")
    try:
        for chunk, data in _entries(block[4:], "little"):
            _add_info(view, chunk, data)
    except TagError as error:
        view.stop(error.message)
    return view


def _add_info(view: BlockView, chunk: str, data: bytes) -> None:
    note_rest(view, chunk, data)
    if not (value := unmarked_text(data)):
        return
    if chunk in RIFF_INFO_TRACK_IDS:
        number, total = split_pair(value)
        view.add("tracknumber", *filter(None, [number]))
        view.add("tracktotal", *filter(None, [total]))
    else:
        view.add(RIFF_INFO_IDS.get(chunk, f"riff_{chunk.strip()}"), value)


def parse_aiff_text(block: bytes) -> BlockView:
    """AIFF text chunks, one behind the other, in neutral terms.

    Raises TagError if not even one can be read.
    """
    view = BlockView()
    n_bytes = 0
    try:
        for chunk, value in _entries(block, "big"):
            if chunk == _COMMENTS.decode():
                n_bytes += len(value)
                if n_bytes > _MAX_COMMENT_BYTES:
                    raise TagError(f"more than {_MAX_COMMENT_BYTES} bytes of comments")
                _add_comments(view, value)
            else:
                note_rest(view, chunk, value)
                if text := unmarked_text(value):
                    view.add(AIFF_TEXT_IDS.get(chunk, f"aiff_{chunk.strip()}"), text)
    except TagError as error:
        view.stop(error.message)
    return view


def _add_comments(view: BlockView, data: bytes) -> None:
    """Add the texts of a COMT chunk: a count, then time, marker, length and text of each.

    One that ends early does not cost the other chunks' texts.
    """
    position = 2
    for _ in range(int.from_bytes(data[:2], "big")):
        header, position = data[position : position + 8], position + 8
        time, marker, size = struct.unpack(">IHH", header.ljust(8, b"\0"))
        value = data[position : position + size]
        if len(header) < 8 or len(value) < size:
            view.raw_only.append("rest of the comments, which end early,")
            return
        if text := unmarked_text(value):
            view.add("comment", text)
        if time or marker:
            view.raw_only.append(f"place of a comment (time {time}, marker {marker})")
        position += size + size % 2


def _entries(data: bytes, byteorder: Literal["little", "big"]) -> Iterator[tuple[str, bytes]]:
    """Name and value of each chunk. Raises TagError at the first that runs past the end."""
    position = 0
    for _ in range(MAX_ENTRIES):
        if position + 8 > len(data):
            return
        chunk = data[position : position + 4].decode("latin-1")
        size = int.from_bytes(data[position + 4 : position + 8], byteorder)
        position += 8 + size
        if position > len(data):
            raise TagError(
                f"the {chunk!r} entry says {size} bytes, has {size + len(data) - position}"
            )
        yield chunk, data[position - size : position]
        if size % 2:
            following = data[position : position + 9]
            position += iff_padding(following, len(data) - position, byteorder)
    raise TagError(f"more than {MAX_ENTRIES} entries")


def note_rest(view: BlockView, name: str, value: bytes) -> None:
    """Name what ``unmarked_text`` does not take of a value."""
    text, _, rest = value.partition(b"\0")
    if rest.strip(b"\0"):
        view.raw_only.append(f"rest of {name.strip()!r}, behind a zero byte")
    if "\ufffd" in unmarked_text(text):
        view.raw_only.append(f"the exact bytes of {name.strip()!r}")


def unmarked_text(value: bytes) -> str:
    """The text before the first zero byte; its encoding is not stated.

    UTF-8 if it is valid, else Windows-1252.
    """
    value = value.split(b"\0")[0]
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace")


@dataclass(frozen=True)
class WavFacts:
    """What a WAV file's chunks say."""

    sound: SoundFacts
    is_rf64: bool
    has_tags: bool


def read_wav_facts(file: BinaryIO) -> WavFacts:
    """Facts of a WAV file that earzip wrote. Raises TagError if it is none."""
    form = file.read(12)
    if form[:4] not in (b"RIFF", b"RF64") or form[8:] != b"WAVE":
        raise TagError("it is not a WAV file")
    channels = sample_rate = align = data_size = 0
    has_tags = False
    for chunk, start, size in iff_chunks(file, _end(file), "little"):
        if chunk == b"fmt " and size >= 16:
            file.seek(start)
            channels, sample_rate, align = struct.unpack("<2xHI4xH", file.read(14))
        elif chunk == b"data":
            data_size = size
        has_tags |= chunk in _ID3_IDS or chunk == b"LIST"
    if not sample_rate or not align:
        raise TagError("its format chunk is missing")
    sound = SoundFacts(sample_rate, channels, data_size // align)
    return WavFacts(sound, form[:4] == b"RF64", has_tags)


def pack_wav_chunks(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Chunks, (name, data), as they stand in a WAV file."""
    return b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )


def append_wav_chunks(file: BinaryIO, facts: WavFacts, chunks: list[tuple[bytes, bytes]]) -> None:
    """Append chunks to a WAV file open for update, and correct its size. Raises TagError.

    A plain RIFF file that would pass 4 GiB is refused before anything is written.
    """
    tail = pack_wav_chunks(chunks)
    if not tail:
        return
    end = _end(file)
    tail = bytes(end % 2) + tail
    if not facts.is_rf64 and end + len(tail) > MAX_RIFF:
        raise TagError("with tags it would pass 4 GiB, the limit of a WAV file")
    file.write(tail)
    size = end + len(tail) - 8
    file.seek(20 if facts.is_rf64 else 4)  # RF64: in the ds64 chunk, which comes first
    file.write(struct.pack("<Q" if facts.is_rf64 else "<I", size))
