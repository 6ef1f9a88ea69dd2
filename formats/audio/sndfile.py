"""Sound files through libsndfile: WAV, RF64, W64, AIFF, CAF, FLAC, MP3, Ogg Vorbis and Opus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from earzip.errors import SourceError
from earzip.formats.audio.downmix import DEFAULT_LAYOUTS, VORBIS_LAYOUTS, Layout, layout_from_mask
from earzip.formats.audio.mpeg import find_mpeg_stream
from earzip.formats.audio.pcm import SoundChunk, find_sound_chunk
from earzip.formats.audio.reader import BLOCK_FRAMES, SourceFacts, SourceReader
from earzip.formats.containers.ogg import walk_ogg
from earzip.formats.containers.spans import DecoderFile, Span
from earzip.formats.containers.walk import flac_blocks

_FLAC_COMMENTS = 4  # type of a metadata block
_FLAC_MASK = re.compile(rb"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x([0-9A-F]{1,8})", re.IGNORECASE)
_UNKNOWN_LENGTH = 1 << 62  # libsndfile says 2**63 - 1 for a FLAC that does not know its length


class SndfileSource(SourceReader):
    """A file, or the links of a chained Ogg file one after the other, decoded by libsndfile."""

    def __init__(
        self,
        path: str,
        file: BinaryIO,
        inputs: list[DecoderFile],
        *,
        truncated: str | None = None,
        channel_mask: int | None = None,
        n_declared: int | None = None,
    ) -> None:
        """Open the first of ``inputs``; ``soundfile.LibsndfileError`` if libsndfile cannot.

        ``n_declared`` is the true length where libsndfile only estimates it.
        """
        self._file = file
        self._inputs = inputs
        self._sound = _open_sound(inputs[0])
        try:
            declared = n_declared or self._sound.frames
            # Of an Ogg stream that begins later than at 0 libsndfile takes the position of the end
            # for the length; that a stream is whole is known from its pages.
            if declared >= _UNKNOWN_LENGTH or self._sound.format == "OGG":
                declared = None
            layout = _layout(file, self._sound, channel_mask)
            super().__init__(path, _facts(self._sound, declared or 0), declared, layout)
        except BaseException:
            self._sound.close()
            raise
        self.truncated = truncated
        if len(inputs) > 1:
            n_links = len(inputs)
            self.notes = (f"{n_links} chained streams: only the first one's tags are archived",)

    def close(self) -> None:
        """Release the file."""
        self._sound.close()
        self._file.close()

    def _decode(self) -> Iterator[npt.NDArray[np.float32]]:
        for index, source in enumerate(self._inputs):
            if index:
                self._open_next(source)
            try:
                yield from self._decode_one(source)
            except soundfile.LibsndfileError as error:
                self._require_readable(source)
                if self.facts.lossless:
                    raise self._error(
                        f"is damaged after {self.n_frames_read} frames: {_reason(error)}"
                    ) from error
                stop = f"decoding stops after {self.n_frames_read} frames: {_reason(error)}"
                self.truncated = self.truncated or stop
                return
        if self.facts.container == "FLAC" and self._missing():
            # A FLAC knows its length exactly and each frame has its checksum, so one that is short
            # is refused like one with a broken frame.
            raise self._error(
                f"is cut short: it declares {self._n_declared} frames, {self.n_frames_read} are there"
            )

    def _decode_one(self, source: DecoderFile) -> Iterator[npt.NDArray[np.float32]]:
        while True:
            buffer = np.empty((BLOCK_FRAMES, self.facts.channels), np.float32)
            n_read = self._sound.buffer_read_into(buffer, "float32")
            self._require_readable(source)
            if not n_read:
                return
            yield np.ascontiguousarray(buffer[:n_read].T)

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
                f"the stream after {self.n_frames_read} frames: {_reason(error)}"
            ) from error
        mine = (self.facts.sample_rate, self.facts.channels)
        if (self._sound.samplerate, self._sound.channels) != mine:
            raise self._error(
                f"after {self.n_frames_read} frames it changes from {mine[0]} Hz, {mine[1]} "
                f"channels to {self._sound.samplerate} Hz, {self._sound.channels} channels"
            )


def open_with_sndfile(path: str, file: BinaryIO, size: int) -> SndfileSource:
    """Return the source, with what is known beforehand of sound that is missing.

    ``soundfile.LibsndfileError`` if libsndfile cannot read the file.
    """
    file.seek(0)
    head = file.read(4)
    whole: list[Span] = [(0, size)]
    if head == b"OggS":
        pages = walk_ogg(file, size)
        links: list[list[Span]] = [[(link.start, link.end - link.start)] for link in pages.links]
        inputs = [DecoderFile(file, link) for link in links or [whole]]
        return SndfileSource(path, file, inputs, truncated=pages.truncated)
    chunk = find_sound_chunk(file, size)
    if chunk is not None:
        source = DecoderFile(file, _finished(chunk, size))
        reader = SndfileSource(
            path, file, [source], truncated=chunk.truncated, channel_mask=chunk.channel_mask
        )
        # An MP3 with a WAV header around it has the weaknesses of an MP3.
        is_mpeg = reader.facts.codec.startswith("MPEG")
        return (_open_mpeg(path, file, size) if is_mpeg else None) or reader
    if head[:1] == b"\xff" and head[1:2] >= b"\xe0":  # spares mpg123's complaints
        mpeg = _open_mpeg(path, file, size)
        if mpeg is not None:
            return mpeg
    try:
        return SndfileSource(path, file, [DecoderFile(file, whole)])
    except soundfile.LibsndfileError:
        mpeg = _open_mpeg(path, file, size)
        if mpeg is None:
            raise
        return mpeg


def _open_mpeg(path: str, file: BinaryIO, size: int) -> SndfileSource | None:
    try:
        stream = find_mpeg_stream(file, size)
    except SourceError as error:
        raise SourceError(error.message, path) from error
    if stream is None:
        return None
    if not stream.n_frames:
        raise SourceError("it has no whole MPEG audio frame", path)
    source = DecoderFile(file, stream.decoder_input())
    n_declared = stream.n_samples_without_xing
    return SndfileSource(path, file, [source], truncated=stream.truncated, n_declared=n_declared)


def _finished(chunk: SoundChunk, size: int) -> list[Span]:
    """Return the file, a never finished header's size made "unknown": libsndfile then reads on."""
    if not chunk.unfinished:
        return [(0, size)]
    return [(0, chunk.size_at), b"\xff\xff\xff\xff", (chunk.start, size - chunk.start)]


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


def _facts(sound: soundfile.SoundFile, n_frames: int) -> SourceFacts:
    container, subtype = sound.format.replace("WAVEX", "WAV"), sound.subtype
    is_float = subtype in ("FLOAT", "DOUBLE")
    lossless = is_float or subtype.startswith(("PCM_", "ALAC_"))
    bit_depth = None
    if lossless:
        bit_depth = {"FLOAT": 32, "DOUBLE": 64}.get(subtype) or int(re.sub(r"\D", "", subtype))
    codec = "FLAC" if container == "FLAC" else subtype
    return SourceFacts(
        container, codec, sound.samplerate, sound.channels, bit_depth, is_float, lossless, n_frames
    )


def _layout(file: BinaryIO, sound: soundfile.SoundFile, mask: int | None) -> Layout:
    if sound.format == "FLAC" and sound.channels > 2:
        mask = _flac_mask(file)
    named = layout_from_mask(mask, sound.channels) if mask else None
    defaults = VORBIS_LAYOUTS if sound.format == "OGG" else DEFAULT_LAYOUTS
    return named or defaults.get(sound.channels, ())


def _flac_mask(file: BinaryIO) -> int | None:
    """Return the mask that flac and ffmpeg put in a comment where the layout is not the usual."""
    file.seek(0)
    if file.read(4) != b"fLaC":
        return None
    for code, _, length in flac_blocks(file, 4):
        if code == _FLAC_COMMENTS:
            found = _FLAC_MASK.search(file.read(length))
            return int(found[1], 16) if found else None
    return None
