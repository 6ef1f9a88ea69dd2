"""Sound files through libsndfile: WAV, RF64, W64, AIFF, CAF, FLAC, MP3, Ogg Vorbis and Opus."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from earzip.errors import SourceError, count
from earzip.formats.audio.downmix import DEFAULT_LAYOUTS, VORBIS_LAYOUTS, Layout, layout_from_mask
from earzip.formats.audio.flac import MAGIC, find_flac_stream
from earzip.formats.audio.mpeg import find_mpeg_streams
from earzip.formats.audio.mpeg_search import is_named_mpeg, may_be_mpeg
from earzip.formats.audio.proof import WRONG_MD5, SampleDigest
from earzip.formats.audio.reader import (
    BLOCK_FRAMES,
    ONLY_SOUND,
    SourceFacts,
    SourceReader,
    only_first_of,
)
from earzip.formats.containers.ogg import walk_ogg
from earzip.formats.containers.sound_chunk import find_sound_chunk
from earzip.formats.containers.spans import DecoderFile, Span
from earzip.formats.containers.walk import flac_blocks

_FLAC_COMMENTS = 4  # type of a metadata block
_FLAC_MASK = re.compile(rb"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x([0-9A-F]{1,8})", re.IGNORECASE)
_SMALL_BLOCK_FRAMES = 1 << 10
_UNKNOWN_LENGTH = 1 << 62  # libsndfile says 2**63 - 1 for a FLAC that does not know its length


@dataclass
class _Link:
    """One of the streams of a file, which follow each other: what the decoder is given.

    ``n_samples`` of each channel are wanted, where the decoder may give more; None: all.
    """

    spans: list[Span]
    n_samples: int | None = None


@dataclass
class _Findings:
    """What was found out about a file before it is decoded."""

    links: list[_Link]
    truncated: str | None = None
    notes: tuple[str, ...] = ()
    channel_mask: int | None = None
    n_channels: int | None = None
    """Of all links, where those of one channel may be among those of two."""
    n_declared: int | None = None
    """The true length where libsndfile only estimates it."""
    digest: SampleDigest | None = None
    n_checked: int = 0
    """Pages or frames whose checksums were compared, and how many of them are wrong."""
    n_wrong: int = 0


class SndfileSource(SourceReader):
    """A file, or the streams in it one after the other, decoded by libsndfile."""

    def __init__(self, path: str, file: BinaryIO, found: _Findings) -> None:
        """Open the first stream; ``soundfile.LibsndfileError`` if libsndfile cannot."""
        self._file = file
        self._found = found
        self._keeps_md5 = False
        self._inputs = [DecoderFile(file, link.spans) for link in found.links]
        self._sound = _open_sound(self._inputs[0])
        try:
            declared = found.n_declared or self._sound.frames
            # Of an Ogg stream that begins later than at 0 libsndfile takes the position of the end
            # for the length; that a stream is whole is known from its pages.
            is_part = len(found.links) > 1 and found.n_declared is None
            if declared >= _UNKNOWN_LENGTH or self._sound.format == "OGG" or is_part:
                declared = None
            n_channels = found.n_channels or self._sound.channels
            layout = _layout(file, self._sound, n_channels, found.channel_mask)
            facts = _facts(self._sound, n_channels, declared or 0)
            super().__init__(path, facts, declared, layout)
        except BaseException:
            self._sound.close()
            raise
        self.truncated = found.truncated
        self.notes = found.notes
        if found.n_checked:
            self.checksums = "wrong" if found.n_wrong else "right"

    def close(self) -> None:
        """Release the file."""
        self._sound.close()
        self._file.close()

    def again(self, file: BinaryIO) -> SndfileSource:
        """Return a reader of the same sound, of ``file``: this one's anew.

        What was found out is not sought again, and what is compared is not compared again.
        """
        reader = SndfileSource(self.path, file, dataclasses.replace(self._found, digest=None))
        reader.take_findings_of(self)
        return reader

    def keep_digest(self) -> None:
        """Work out ``digest`` while the blocks are read: the MD5, where that is worked out already."""
        self._keeps_md5 = self._found.digest is not None
        if not self._keeps_md5:
            super().keep_digest()

    def _decode(self) -> Iterator[npt.NDArray[np.float32]]:
        for index, source in enumerate(self._inputs):
            if index:
                self._open_next(source)
            try:
                yield from self._decode_one(source, self._found.links[index].n_samples)
            except soundfile.LibsndfileError as error:
                self._require_readable(source)
                if self.facts.lossless and self.on_truncated != "keep":
                    raise self._error(
                        f"is damaged after {count(self.n_frames_read, 'frame')}: {_reason(error)}"
                    ) from error
                stop = (
                    f"decoding stops after {count(self.n_frames_read, 'frame')}: {_reason(error)}"
                )
                self.truncated = self.truncated or stop
                break
        if self.facts.container == "FLAC" and self._missing() and self.on_truncated != "keep":
            # A FLAC knows its length exactly and each frame has its checksum, so one that is short
            # is refused like one with a broken frame.
            raise self._error(
                f"is cut short: it declares {self._n_declared} frames, {self.n_frames_read} are there"
            )
        if self._found.digest is not None:
            self.digest = self._found.digest.hex if self._keeps_md5 else None
            self.checksums = self._found.digest.verdict
            if self.checksums == "wrong" and not (self.truncated or self._missing()):
                self.notes += (WRONG_MD5,)

    def _decode_one(
        self, source: DecoderFile, n_wanted: int | None
    ) -> Iterator[npt.NDArray[np.float32]]:
        n_left = n_wanted if n_wanted is not None else _UNKNOWN_LENGTH
        # Of a block with a bad frame in it nothing comes out.
        n_block = _SMALL_BLOCK_FRAMES if self.on_truncated == "keep" else BLOCK_FRAMES
        while n_left:
            buffer = np.empty((min(n_block, n_left), self._sound.channels), np.float32)
            n_read = self._sound.buffer_read_into(buffer, "float32")
            self._require_readable(source)
            if not n_read:
                return
            n_left -= n_read
            if self._found.digest is not None:
                self._found.digest.add(buffer[:n_read])
            block = np.ascontiguousarray(buffer[:n_read].T)
            yield block if len(block) == self.facts.channels else block.repeat(2, axis=0)

    def _require_readable(self, source: DecoderFile) -> None:
        try:
            source.require_readable()
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror or error}") from error

    def _open_next(self, source: DecoderFile) -> None:
        self._sound.close()
        try:
            self._sound = _open_sound(source)
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror or error}") from error
        except soundfile.LibsndfileError as error:
            raise self._error(
                f"the stream after {count(self.n_frames_read, 'frame')}: {_reason(error)}"
            ) from error
        mine = (self.facts.sample_rate, self.facts.channels)
        n_channels = self._found.n_channels or self._sound.channels
        if (self._sound.samplerate, n_channels) != mine:
            raise self._error(
                f"after {count(self.n_frames_read, 'frame')} it changes from {mine[0]} Hz, "
                f"{count(mine[1], 'channel')} to {self._sound.samplerate} Hz, "
                f"{count(self._sound.channels, 'channel')}"
            )


def open_with_sndfile(path: str, file: BinaryIO, size: int) -> SndfileSource:
    """Return the source, with what is known beforehand of sound that is missing.

    ``soundfile.LibsndfileError`` if libsndfile cannot read the file.
    """
    file.seek(0)
    head = file.read(8)
    if head.startswith(b"OggS"):
        return SndfileSource(path, file, _find_in_ogg(file, size))
    if head.startswith(MAGIC):
        return SndfileSource(path, file, _find_in_flac(path, file, size))
    chunk, is_named = find_sound_chunk(file, size), is_named_mpeg(path)
    if chunk is not None:
        notes = (chunk.surplus,) if chunk.surplus else ()
        found = _Findings(
            [_Link(chunk.decoder_input(size))], chunk.truncated, notes, chunk.channel_mask
        )
        reader = SndfileSource(path, file, found)
        # An MP3 with a WAV header around it has the weaknesses of an MP3.
        is_mpeg = reader.facts.codec.startswith("MPEG")
        end = chunk.start + chunk.present
        mpeg = _open_mpeg(path, file, end, chunk.start, is_expected=is_named) if is_mpeg else None
        return mpeg or reader
    is_searched = may_be_mpeg(file, size, path)
    if is_searched and head[:1] == b"\xff" and head[1:2] >= b"\xe0":  # spares mpg123's complaints
        # Expected, the first frame would be passed over where one or two stand at the end.
        mpeg = _open_mpeg(path, file, size, is_expected=False)
        if mpeg is not None:
            return mpeg
    try:
        return SndfileSource(path, file, _Findings([_Link([(0, size)])]))
    except soundfile.LibsndfileError:
        mpeg = _open_mpeg(path, file, size, is_expected=is_named) if is_searched else None
        if mpeg is None:
            raise
        return mpeg


def _find_in_ogg(file: BinaryIO, size: int) -> _Findings:
    pages = walk_ogg(file, size)
    links = [_Link([(link.start, link.end - link.start)]) for link in pages.links]
    notes = []
    if len(links) > 1:
        notes.append(f"{len(links)} chained streams are archived as one track")
    if (n_sounds := max((link.n_sounds for link in pages.links), default=0)) > 1:
        notes.append(only_first_of(n_sounds))
    if any(link.is_film for link in pages.links):
        notes.append(ONLY_SOUND)
    return _Findings(
        links or [_Link([(0, size)])],
        pages.truncated,
        tuple(notes),
        n_checked=pages.n_pages,
        n_wrong=pages.n_damaged,
    )


def _find_in_flac(path: str, file: BinaryIO, size: int) -> _Findings:
    try:
        stream = find_flac_stream(file, size)
    except SourceError as error:
        raise SourceError(error.message, path) from error
    if stream is None:
        return _Findings([_Link([(0, size)])])
    info = stream.info
    digest = SampleDigest(info.md5, info.format.bits, info.n_samples) if info.md5 else None
    return _Findings(
        [_Link(stream.decoder_input(file, size))], n_declared=info.n_samples, digest=digest
    )


def _open_mpeg(
    path: str, file: BinaryIO, size: int, start: int = 0, *, is_expected: bool
) -> SndfileSource | None:
    try:
        streams = find_mpeg_streams(file, size, start, is_expected=is_expected)
    except SourceError as error:
        raise SourceError(error.message, path) from error
    if not streams:
        return None
    streams = [stream for stream in streams if stream.n_frames]
    if not streams:
        raise SourceError("it has no whole MPEG audio frame", path)
    n_checked = sum(stream.n_with_checksum for stream in streams)
    n_wrong = sum(stream.n_wrong_checksums for stream in streams)
    lengths = [stream.n_samples_without_xing for stream in streams]
    notes = [streams[0].surplus] if streams[0].surplus else []
    if n_wrong:
        notes.append(f"the checksum of {n_wrong} of its {n_checked} frames is wrong")
    return SndfileSource(
        path,
        file,
        _Findings(
            [
                _Link(stream.decoder_input(), length)
                for stream, length in zip(streams, lengths, strict=True)
            ],
            next((stream.truncated for stream in streams if stream.truncated), None),
            tuple(notes),
            n_channels=max(stream.n_channels for stream in streams),
            n_declared=sum(length for length in lengths if length) or None,
            n_checked=n_checked,
            n_wrong=n_wrong,
        ),
    )


def _open_sound(source: DecoderFile) -> soundfile.SoundFile:
    """Return the opened sound. Raises OSError, or ``soundfile.LibsndfileError``."""
    source.seek(0)
    try:
        sound = soundfile.SoundFile(source)
    finally:
        source.require_readable()
    if sound.subtype == "OPUS":
        # libsndfile 1.2.2 forgets the pre-skip of a stream that begins later than at 0 (one that
        # was cut or recorded from the air), but not after a seek.
        sound.seek(0)
    # soundfile seeks to where it already is after every read of a seekable file. On MP3 without a
    # Xing header and on some Opus and FLAC files that changes or loses samples, so it must not.
    sound._info.seekable = 0
    return sound


def _reason(error: soundfile.LibsndfileError) -> str:
    text: str = error.error_string
    return re.sub(r"^Error : ", "", text).rstrip(".")


def _facts(sound: soundfile.SoundFile, n_channels: int, n_frames: int) -> SourceFacts:
    container, subtype = sound.format.replace("WAVEX", "WAV"), sound.subtype
    is_float = subtype in ("FLOAT", "DOUBLE")
    lossless = is_float or subtype.startswith(("PCM_", "ALAC_"))
    bit_depth = None
    if lossless:
        bit_depth = {"FLOAT": 32, "DOUBLE": 64}.get(subtype) or int(re.sub(r"\D", "", subtype))
    codec = "FLAC" if container == "FLAC" else subtype
    return SourceFacts(
        container, codec, sound.samplerate, n_channels, bit_depth, is_float, lossless, n_frames
    )


def _layout(
    file: BinaryIO, sound: soundfile.SoundFile, n_channels: int, mask: int | None
) -> Layout:
    if sound.format == "FLAC" and n_channels > 2:
        mask = _flac_mask(file)
    named = layout_from_mask(mask, n_channels) if mask else None
    defaults = VORBIS_LAYOUTS if sound.format == "OGG" else DEFAULT_LAYOUTS
    return named or defaults.get(n_channels, ())


def _flac_mask(file: BinaryIO) -> int | None:
    """Return the mask that flac and ffmpeg put in a comment where the layout is not the usual."""
    file.seek(0)
    if file.read(4) != MAGIC:
        return None
    for code, _, length in flac_blocks(file, 4):
        if code == _FLAC_COMMENTS:
            found = _FLAC_MASK.search(file.read(length))
            return int(found[1], 16) if found else None
    return None
