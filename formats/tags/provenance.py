"""Where a restored file came from: 16 bytes in the file itself, invisible to players and taggers.

FLAC holds them in an APPLICATION metadata block of id ``earz``, and with them how many bytes of sound
follow its metadata, for a file that is cut later still has its beginning; WAV and RF64 in a chunk
``earz`` behind the sound; Opus behind its comments, with the length as in FLAC; MP3 in the frame that
says its length; MP4 in an atom at its end. ``write_provenance`` and ``read_provenance`` are a pair. What
was sent as a stream says only that it comes from earzip: nobody knew before the sound whether it would
come whole.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from earzip.errors import EarzipError, SourceError, TagError, TargetError
from earzip.formats.containers.lame_frame import (
    MPEG_1_LAYER_3,
    NOTE_AT,
    NOTE_BYTES,
    frame_size,
    stated_bytes,
)
from earzip.formats.containers.outer import inner_range
from earzip.formats.containers.walk import flac_blocks, iff_chunks
from earzip.formats.tags.flac import APPLICATION, OUR_APPLICATION, add_flac_block
from earzip.formats.tags.opus_file import read_opus, replace_comments
from earzip.formats.tags.riff import append_wav_chunks, read_wav_facts

DIGEST_BYTES = 16
STREAMED = bytes(DIGEST_BYTES)
"""Stands for the digest of a file that was sent as a stream."""
_ID = OUR_APPLICATION
_LENGTH_BYTES = 8
_ATOM_ID = bytes.fromhex("6561727a69702070726f76656e616e63")  # "earzip provenanc", a UUID
_ATOM_BYTES = 8 + len(_ATOM_ID) + DIGEST_BYTES
_MAX_FIRST_FRAME = 2048


def write_provenance(path: Path, digest: bytes) -> None:
    """Put the 16 bytes ``digest`` into a file that earzip wrote, without tags. Raises TargetError."""
    assert len(digest) == DIGEST_BYTES
    try:
        with path.open("r+b") as file:
            form = file.read(12)
            if form[:4] == b"RIFF" or form[:4] == b"RF64":
                file.seek(0)
                append_wav_chunks(file, read_wav_facts(file), [(_ID, digest)])
                return
            if form[4:8] == b"ftyp":
                file.seek(0, 2)
                file.write(_ATOM_BYTES.to_bytes(4, "big") + b"uuid" + _ATOM_ID + digest)
                return
            if stated_bytes(_frame_at(file, 0)) is not None:
                file.seek(NOTE_AT)
                file.write((_ID + digest).ljust(NOTE_BYTES, b"\0"))
                return
            opus = read_opus(file)
            n_sound = file.seek(0, 2) - opus.sound_start if opus else _flac_sound_bytes(file)
    except (OSError, TagError) as error:
        raise TargetError(f"cannot record its origin: {error}", path) from error
    note = _ID + digest + n_sound.to_bytes(_LENGTH_BYTES, "little")
    if opus:
        replace_comments(path, [], note)
    else:
        add_flac_block(path, APPLICATION, note)


def flac_provenance_of_stream() -> tuple[int, bytes]:
    """Return the metadata block, (code, body), that a FLAC stream has ahead of its sound."""
    return APPLICATION, _ID + STREAMED + bytes(_LENGTH_BYTES)


def wav_provenance_of_stream() -> tuple[bytes, bytes]:
    """Return the chunk, (name, data), that a WAV stream has ahead of its sound."""
    return _ID, STREAMED


def read_provenance(path: Path, error: type[EarzipError] = SourceError) -> bytes | None:
    """Return the digest that ``write_provenance`` put into ``path``; None in any other file.

    `STREAMED` if it was sent as a stream. None also where sound was cut off or added since; other tags
    do no harm. Raises ``error`` if the file cannot be read.
    """
    try:
        if not path.is_file():  # opening a pipe would wait for its other end
            return None
        with path.open("rb") as file:
            return provenance_in(file)
    except OSError as cause:
        raise error(f"cannot be read: {cause.strerror or cause}", path) from cause


def provenance_in(file: BinaryIO) -> bytes | None:
    """Return what `read_provenance` does, of an open file. Raises OSError."""
    read = _reader_for(file.read(12))
    return read(file) if read else None


def _reader_for(form: bytes) -> Callable[[BinaryIO], bytes | None] | None:
    """Return what reads the digest of a file that begins with ``form``."""
    if form[:4] in (b"RIFF", b"RF64"):
        return _in_wav if form[8:] == b"WAVE" else None
    if form[4:8] == b"ftyp":
        return _in_mp4
    if form[:3] == b"ID3" or form[:2] == MPEG_1_LAYER_3:
        return _in_mp3
    return {b"fLaC": _in_flac, b"OggS": _in_opus}.get(form[:4])


def _in_flac(file: BinaryIO) -> bytes | None:
    for code, start, size in flac_blocks(file, 4):
        if code == APPLICATION and size == len(_ID) + DIGEST_BYTES + _LENGTH_BYTES:
            file.seek(start)
            body = file.read(size)
            if body.startswith(_ID) and len(body) == size:
                digest = body[len(_ID) : -_LENGTH_BYTES]
                n_sound = int.from_bytes(body[-_LENGTH_BYTES:], "little")
                whole = digest == STREAMED or _flac_sound_bytes(file) == n_sound
                return digest if whole else None
    return None


def _flac_sound_bytes(file: BinaryIO) -> int:
    """Return how many bytes follow the metadata of a FLAC file."""
    end = 4
    for _code, start, size in flac_blocks(file, 4):
        end = start + size
    return file.seek(0, 2) - end


def _in_wav(file: BinaryIO) -> bytes | None:
    for chunk, start, size in iff_chunks(file, file.seek(0, 2), "little"):
        if chunk == _ID and size == DIGEST_BYTES:
            file.seek(start)
            digest = file.read(size)
            return digest if len(digest) == size else None
    return None


def _in_mp4(file: BinaryIO) -> bytes | None:
    """Return the digest of the last atom: what is cut has lost it, and what was added is behind it."""
    file.seek(max(0, file.seek(0, 2) - _ATOM_BYTES))
    atom = file.read(_ATOM_BYTES)
    head = _ATOM_BYTES.to_bytes(4, "big") + b"uuid" + _ATOM_ID
    return atom[len(head) :] if atom.startswith(head) else None


def _in_opus(file: BinaryIO) -> bytes | None:
    found = read_opus(file)
    if found is None or len(found.note) != len(_ID) + DIGEST_BYTES + _LENGTH_BYTES:
        return None
    n_sound = int.from_bytes(found.note[-_LENGTH_BYTES:], "little")
    is_whole = file.seek(0, 2) - found.sound_start == n_sound
    ours = found.note.startswith(_ID) and is_whole
    return found.note[len(_ID) : -_LENGTH_BYTES] if ours else None


def _in_mp3(file: BinaryIO) -> bytes | None:
    start, end = inner_range(file, file.seek(0, 2))
    frame = _frame_at(file, start)
    note = frame[NOTE_AT : NOTE_AT + NOTE_BYTES]
    ours = note.startswith(_ID) and not note[len(_ID) + DIGEST_BYTES :].strip(b"\0")
    return note[len(_ID) :][:DIGEST_BYTES] if ours and stated_bytes(frame) == end - start else None


def _frame_at(file: BinaryIO, position: int) -> bytes:
    """Return the frame of MPEG-1, layer III at ``position``, less if there is none."""
    file.seek(position)
    data = file.read(_MAX_FIRST_FRAME)
    return data[: frame_size(data)] if len(data) >= 4 else b""
