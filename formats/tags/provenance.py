"""Where a restored file came from: 16 bytes in the file itself, invisible to players and taggers.

FLAC holds them in an APPLICATION metadata block of id ``earz``, and with them how many bytes of sound
follow its metadata, for a file that is cut later still has its beginning; WAV and RF64 in a chunk
``earz`` behind the sound. ``write_provenance`` and ``read_provenance`` are a pair. What was sent as a
stream says only that it comes from earzip: nobody knew before the sound whether it would come whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from earzip.errors import EarzipError, SourceError, TagError, TargetError
from earzip.formats.containers.walk import flac_blocks, iff_chunks
from earzip.formats.tags.flac import APPLICATION, OUR_APPLICATION, add_flac_block
from earzip.formats.tags.riff import append_wav_chunks, read_wav_facts

DIGEST_BYTES = 16
STREAMED = bytes(DIGEST_BYTES)
"""Stands for the digest of a file that was sent as a stream."""
_ID = OUR_APPLICATION
_LENGTH_BYTES = 8


def write_provenance(path: Path, digest: bytes) -> None:
    """Put the 16 bytes ``digest`` into a FLAC or WAV file that earzip wrote. Raises TargetError."""
    assert len(digest) == DIGEST_BYTES
    n_sound = 0
    try:
        with path.open("r+b") as file:
            if file.read(4) != b"fLaC":
                file.seek(0)
                append_wav_chunks(file, read_wav_facts(file), [(_ID, digest)])
                return
            n_sound = _flac_sound_bytes(file)
    except (OSError, TagError) as error:
        raise TargetError(f"cannot record its origin: {error}", path) from error
    add_flac_block(path, APPLICATION, _ID + digest + n_sound.to_bytes(_LENGTH_BYTES, "little"))


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
            form = file.read(12)
            if form[:4] == b"fLaC":
                return _in_flac(file)
            if form[:4] in (b"RIFF", b"RF64") and form[8:] == b"WAVE":
                return _in_wav(file)
    except OSError as cause:
        raise error(f"cannot be read: {cause.strerror or cause}", path) from cause
    return None


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
