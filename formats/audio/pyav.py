"""Sound files through PyAV (FFmpeg): m4a, AAC, WMA, APE and others that libsndfile cannot read.

FFmpeg guesses the format from the content, and some of its formats are playlists that name other
files and servers. Only the containers listed here are let in, and none may open anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer

from earzip.formats.audio.downmix import DEFAULT_LAYOUTS, Layout
from earzip.formats.audio.reader import BLOCK_FRAMES, SourceFacts, SourceReader
from earzip.formats.containers.ogg import walk_ogg
from earzip.formats.containers.spans import DecoderFile
from earzip.formats.containers.walk import asf_length_s

# FFmpeg's names of the containers, and what they are called in the facts.
_CONTAINERS = {
    "aac": "ADTS",
    "ac3": "AC3",
    "aiff": "AIFF",
    "ape": "APE",
    "asf": "ASF",
    "caf": "CAF",
    "eac3": "EAC3",
    "flac": "FLAC",
    "matroska": "MATROSKA",
    "mov": "MP4",
    "mpc": "MPC",
    "mpc8": "MPC",
    "ogg": "OGG",
    "tak": "TAK",
    "tta": "TTA",
    "wav": "WAV",
    "wv": "WAVPACK",
}
_NO_DURATION = {"aac", "ac3", "eac3"}  # FFmpeg only estimates it, from the bit rate
_LOSSLESS = re.compile(r"pcm_(?!alaw|mulaw)|alac|ape|flac|tak|tta|wavpack|wmalossless")
_FLOAT_FORMATS = ("flt", "fltp", "dbl", "dblp")
_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
# An encoder pads the end to whole frames. More than two of the longest is not padding.
_MAX_PADDING = 2 * 2048
# Durations in headers are rounded, to milliseconds or to whole frames of a lossy codec.
_SLACK_S = 0.2
# An MP4's edit list counts in the unit of the whole film, 1/1000 or 1/600 s at the coarsest.
_EDIT_LIST_UNIT_S = 1 / 600


class AvSource(SourceReader):
    """The first audio stream of a file, decoded by FFmpeg.

    ADTS and AC-3 state no length: one that was cut between two frames passes for whole.
    """

    def __init__(self, path: str, file: BinaryIO, size: int) -> None:
        """Open the file; ``av.error.FFmpegError`` if FFmpeg cannot, OSError if it cannot be read."""
        self._file = file
        self._source = DecoderFile(file, [(0, size)])
        try:
            self._container = _open(self._source)
        finally:
            self._source.require_readable()
        try:
            try:
                self._begin(path, size)
            finally:
                self._source.require_readable()
        except BaseException:
            self._container.close()
            raise

    def _begin(self, path: str, size: int) -> None:
        self._format = self._container.format.name.split(",")[0]
        if not self._container.streams.audio:
            raise av.error.InvalidDataError(0, "no audio stream")
        self._stream = self._container.streams.audio[0]
        if self._stream.codec_context is None:
            raise av.error.DecoderNotFoundError(0, "no decoder for its codec")
        codec = self._stream.codec_context.name.removesuffix("float")  # a decoder, "mp3float"
        lossless = _LOSSLESS.match(codec) is not None
        if lossless:  # frames with a wrong checksum are errors
            self._stream.codec_context.options = {"err_detect": "crccheck+explode"}
        self._frames = self._decode_frames()
        self._stop: str | None = None
        self._packets_end_s = Fraction(0)
        # The header may state another rate or channel count than the decoder delivers (HE-AAC).
        first = next(self._frames, None)
        if first is None:
            raise av.error.InvalidDataError(0, self._stop or "no frame can be decoded")
        self._first = first
        declared, self._exact = self._declared_length(first.sample_rate)
        facts = SourceFacts(
            _CONTAINERS[self._format],
            codec.upper(),
            first.sample_rate,
            len(first.layout.channels),
            _bit_depth(self._stream, first) if lossless else None,
            lossless and first.format.name in _FLOAT_FORMATS,
            lossless,
            declared or 0,
        )
        super().__init__(path, facts, declared, _layout(first))
        if self._format == "ogg":
            self.truncated = walk_ogg(self._file, size).truncated

    def close(self) -> None:
        """Release the file."""
        self._container.close()
        self._file.close()

    def _declared_length(self, rate: int) -> tuple[int | None, bool]:
        """Return the frames of sound that the container promises, and whether to the sample."""
        # iTunes writes the length without the padding of the last frame here alone.
        gapless = self._container.metadata.get("iTunSMPB", "").split()
        if len(gapless) > 3 and re.fullmatch("[0-9A-Fa-f]{1,16}", gapless[3]):
            return int(gapless[3], 16), True
        if self._format in _NO_DURATION or self._format == "ogg":  # Ogg: walk_ogg knows better
            return None, False
        if self._format == "asf":
            # FFmpeg guesses from the bit rate once a tagger has changed the size of the file.
            length_s = asf_length_s(self._file)
            return None if length_s is None else round(length_s * rate), False
        if self._stream.duration is not None and self._stream.time_base is not None:
            unit = self._stream.time_base * rate
            # Of a unit of two samples too: HE-AAC counts at half the rate. A CAF counts packets.
            return round(self._stream.duration * unit), unit <= 2 and self._format != "caf"
        if self._container.duration is not None:
            return round(self._container.duration * rate / av.time_base), False
        return None, False

    def _decode_frames(self) -> Iterator[av.AudioFrame]:
        try:
            for packet in self._container.demux(self._stream):
                yield from packet.decode()
                if packet.pts is not None and packet.duration is not None:
                    self._packets_end_s = (packet.pts + packet.duration) * packet.time_base
                if packet.is_corrupt:
                    self._stop = self._stop or "a packet is cut"
        except av.error.FFmpegError as error:
            self._stop = error.strerror

    def _decode(self) -> Iterator[npt.NDArray[np.float32]]:
        gathered: list[npt.NDArray[np.float32]] = []
        n_gathered = 0
        for samples in self._trimmed():
            gathered.append(samples)
            n_gathered += samples.shape[1]
            if n_gathered >= BLOCK_FRAMES:
                yield np.concatenate(gathered, axis=1)
                gathered, n_gathered = [], 0
        if n_gathered:
            yield np.concatenate(gathered, axis=1)
        try:
            self._source.require_readable()
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror or error}") from error
        if self._stop is not None:
            stop = f"decoding stops after {self.n_frames_read} frames: {self._stop}"
            if self.facts.container == "FLAC":
                raise self._error(stop)
            self.truncated = self.truncated or stop
        if self.facts.container == "FLAC" and self._missing():
            raise self._error(
                f"is cut short: it declares {self._n_declared} frames, {self.n_frames_read} are there"
            )

    def _trimmed(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the samples of each frame, without the padding after the end of an MP4."""
        end = self._n_declared if self._exact and self._format == "mov" else None
        n_done = n_held = 0
        held: list[npt.NDArray[np.float32]] = []
        frame: av.AudioFrame | None = self._first
        while frame is not None:
            self._check_unchanged(frame, n_done)
            samples = _to_float(frame)
            n_inside = samples.shape[1] if end is None else min(samples.shape[1], end - n_done)
            yield samples[:, :n_inside]
            n_done += n_inside
            held.append(samples[:, n_inside:])
            n_held += samples.shape[1] - n_inside
            if n_held > _MAX_PADDING:  # so much sound is no padding: the declared length is wrong
                yield from held
                n_done += n_held
                end, n_held = None, 0
            if not n_held:
                held = []
            frame = next(self._frames, None)
        # The packets' durations are exact, but only ffmpeg leaves the padding out of them.
        rate = self.facts.sample_rate
        n_more = 0 if end is None else round(self._packets_end_s * rate) - end
        if held and 0 < n_more <= _EDIT_LIST_UNIT_S * rate:
            yield np.concatenate(held, axis=1)[:, :n_more]

    def _check_unchanged(self, frame: av.AudioFrame, n_done: int) -> None:
        rate, channels = frame.sample_rate, len(frame.layout.channels)
        if (rate, channels) != (self.facts.sample_rate, self.facts.channels):
            raise self._error(
                f"after {n_done} frames it changes from {self.facts.sample_rate} Hz, "
                f"{self.facts.channels} channels to {rate} Hz, {channels} channels"
            )

    def _missing(self) -> int:
        missing = super()._missing()
        exact = self._exact and self.facts.lossless
        slack = 0 if exact else round(_SLACK_S * self.facts.sample_rate)
        return missing if missing > slack else 0


def _open(source: DecoderFile) -> InputContainer:
    return av.open(
        source,
        mode="r",
        metadata_errors="replace",
        container_options={"format_whitelist": ",".join(_CONTAINERS), "protocol_whitelist": ""},
        io_open=_refuse_to_open,
    )


def _refuse_to_open(url: str, _flags: int, _options: dict[str, str]) -> BinaryIO:
    raise PermissionError(f"a sound file may not open {url}")


def _to_float(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
    """Return the samples as float32 ``[C, T]``, integers scaled to ±1; eight channels at most."""
    channels = len(frame.layout.channels)
    dtype = np.dtype(_DTYPES[frame.format.name.removesuffix("p")])
    if frame.format.is_planar:
        # frame.to_ndarray() takes the memory after the eighth pointer for a ninth plane.
        planes = frame.planes[:channels]
        samples = np.stack([np.frombuffer(bytes(plane), dtype, frame.samples) for plane in planes])
    else:
        count = frame.samples * channels
        samples = np.frombuffer(bytes(frame.planes[0]), dtype, count).reshape(-1, channels).T
    if dtype.kind == "f":
        return samples.astype(np.float32)
    if dtype.kind == "u":
        samples = samples.astype(np.float32) - 128
    return samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * dtype.itemsize))


def _layout(frame: av.AudioFrame) -> Layout:
    named = tuple(channel.name for channel in frame.layout.channels)
    unnamed = all(name in ("NONE", "UNK", "UNSD") for name in named)
    return DEFAULT_LAYOUTS.get(len(named), named) if unnamed else named


def _bit_depth(stream: av.AudioStream, frame: av.AudioFrame) -> int | None:
    """Return the bits of a stored sample, None where FFmpeg returns 32 and does not tell."""
    if frame.format.bits < 32 or frame.format.name in _FLOAT_FORMATS:
        return int(frame.format.bits)
    config = stream.codec_context.extradata or b""
    if stream.codec_context.name == "alac" and len(config) > 17:
        return config[17]
    if stream.codec_context.name == "flac" and len(config) > 13:  # a STREAMINFO
        return ((config[12] & 1) << 4 | config[13] >> 4) + 1
    return None
