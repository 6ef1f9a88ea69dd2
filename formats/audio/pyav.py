"""Sound files through PyAV (FFmpeg): m4a, AAC, WMA, APE and others that libsndfile cannot read.

FFmpeg guesses the format from the content, and some of its formats are playlists that name other
files and servers. Only the containers listed here are let in, and none may open anything else.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer

from earzip.errors import NoSoundError, count
from earzip.formats.audio.av_streams import (
    FLOAT_FORMATS,
    bit_depth,
    declared_length,
    flac_info,
    is_lossless,
    layout_of,
    what_else,
)
from earzip.formats.audio.musepack import musepack_length
from earzip.formats.audio.proof import WRONG_MD5, SampleDigest
from earzip.formats.audio.reader import BLOCK_FRAMES, SourceFacts, SourceReader
from earzip.formats.audio.trimming import without_delay, without_padding
from earzip.formats.audio.wavpack import WavPackFacts, read_wavpack
from earzip.formats.containers.ogg import walk_ogg
from earzip.formats.containers.spans import DecoderFile

# FFmpeg's names of the containers, and what they are called in the facts.
_CONTAINERS = {
    "aac": "ADTS",
    "ac3": "AC3",
    "aiff": "AIFF",
    "ape": "APE",
    "asf": "ASF",
    "caf": "CAF",
    "dsf": "DSF",
    "eac3": "EAC3",
    "flac": "FLAC",
    "iff": "DFF",
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
_CHECKED_CODECS = {
    "ape",
    "flac",
    "tta",
    "wavpack",
}  # whose frames have checksums that FFmpeg compares
_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
# Durations in headers are rounded, to milliseconds or to whole frames of a lossy codec.
_SLACK_S = 0.2
# An MP4's edit list counts in the unit of the whole film, 1/1000 or 1/600 s at the coarsest.
_EDIT_LIST_UNIT_S = 1 / 600
_MAX_PRIMING_PACKETS = 4  # that an edit list leaves out, to skip what an encoder adds
# FFmpeg's decoder of Speex lags by a part of a frame, the encoder by so many samples, by its frame.
_SPEEX_LAG = 4
_SPEEX_LOOKAHEADS = {160: 40, 320: 143, 640: 349}


class AvSource(SourceReader):
    """The first audio stream of a file, decoded by FFmpeg.

    ADTS and AC-3 state no length: one that was cut between two frames passes for whole.
    """

    def __init__(self, path: str, file: BinaryIO, size: int) -> None:
        """Open the file.

        Raises ``av.error.FFmpegError`` if FFmpeg cannot, NoSoundError if it has no sound, OSError if it
        cannot be read.
        """
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
        first = self._first_frame(path)
        if first is None and self._stop is None:
            # Its gapless record leaves nothing: it is not believed.
            self._container.close()
            self._source.seek(0)
            self._container = _open(self._source, {"ignore_editlist": "1"})
            first = self._first_frame(path, keeps_all=True)
        if first is None:
            raise av.error.InvalidDataError(0, self._stop or "no frame can be decoded")
        self._first = first
        rate = first.sample_rate
        declared, self._exact = declared_length(self._container, self._stream, self._file, rate)
        self._delay, known = self._find_delay(size)
        declared, self._exact = (declared, self._exact) if known is None else (known, True)
        context = self._stream.codec_context
        codec = context.name.removesuffix("float")  # a decoder, "mp3float"
        if codec.startswith("dsd_"):
            codec = "dsd"
        lossless = is_lossless(codec)
        notes = what_else(self._container)
        self._digest: SampleDigest | None = None
        if (info := flac_info(self._stream)) is not None and info.md5:
            self._digest = SampleDigest(info.md5, info.format.bits, info.n_samples)
        if codec == "wavpack" and (wavpack := self._wavpack_facts(size)):
            notes += _left_behind(path) if wavpack.is_hybrid else ()
            lossless = not (wavpack.is_hybrid or wavpack.is_dsd)
            if lossless and wavpack.md5 and wavpack.bits in (16, 24) and not wavpack.is_float:
                self._digest = SampleDigest(wavpack.md5, wavpack.bits)
        facts = SourceFacts(
            _CONTAINERS[self._format],
            codec.upper(),
            rate,
            len(first.layout.channels),
            bit_depth(self._stream, first) if lossless else None,
            lossless and _is_float(first),
            lossless,
            declared or 0,
        )
        super().__init__(path, facts, declared, layout_of(first))
        self.notes = notes
        if self._format == "ogg":
            pages = walk_ogg(self._file, size)
            self.truncated = pages.truncated
            self.checksums = "wrong" if pages.n_damaged else "right"

    def _wavpack_facts(self, size: int) -> WavPackFacts | None:
        """Return what the blocks say; of another container, to which FFmpeg adds it, the first packet."""
        if self._format == "wv":
            return read_wavpack(self._file, size)
        return read_wavpack(io.BytesIO(self._first_packet), len(self._first_packet))

    def _first_frame(self, path: str, *, keeps_all: bool = False) -> av.AudioFrame | None:
        """Return the first frame of the first sound stream, None if it has none.

        The header may state another rate or channel count than the decoder delivers (HE-AAC).
        ``keeps_all``: also what the file says to leave out.
        """
        self._format = self._container.format.name.split(",")[0]
        if not self._container.streams.audio:
            raise NoSoundError("holds no sound", path)
        self._stream = self._container.streams.audio[0]
        context = self._stream.codec_context
        if context is None:
            raise av.error.DecoderNotFoundError(0, "no decoder for its codec")
        if self._format == "iff" and not context.name.startswith(("dsd_", "dst")):
            raise av.error.InvalidDataError(0, "an IFF file of another kind than DSDIFF")
        options = {"flags2": "skip_manual"} if keeps_all else {}
        if is_lossless(context.name):  # frames with a wrong checksum are errors
            options["err_detect"] = "crccheck+explode"
        context.options = options
        self._frames = self._decode_frames()
        self._stop: str | None = None
        self._packets_end_s = Fraction(0)
        self._n_packets = 0
        self._first_packet = b""
        return next(self._frames, None)

    def _find_delay(self, size: int) -> tuple[int, int | None]:
        """Return the samples before the sound that FFmpeg leaves in, and the length if that is known."""
        if self._format in ("mpc", "mpc8") and (found := musepack_length(self._file, size)):
            return found
        if self._stream.codec_context.name == "speex":
            frame = self._first.samples
            return frame // _SPEEX_LAG + _SPEEX_LOOKAHEADS.get(frame, 0), self._length_of_speex()
        return 0, None

    def _length_of_speex(self) -> int | None:
        """Return the position of the last page; None of a stream that does not begin at 0."""
        start, duration = self._stream.start_time, self._stream.duration
        return start + duration if start is not None and duration and start <= 0 else None

    def close(self) -> None:
        """Release the file."""
        self._container.close()
        self._file.close()

    def _decode_frames(self) -> Iterator[av.AudioFrame]:
        try:
            for packet in self._container.demux(self._stream):
                self._first_packet = self._first_packet or bytes(packet)
                self._n_packets += packet.size > 0
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
            stop = f"decoding stops after {count(self.n_frames_read, 'frame')}: {self._stop}"
            if self.facts.container == "FLAC" and self.on_truncated != "keep":
                raise self._error(stop)
            self.truncated = self.truncated or stop
        is_kept = self.facts.container != "FLAC" or self.on_truncated == "keep"
        if self._missing() and not is_kept:
            raise self._error(
                f"is cut short: it declares {self._n_declared} frames, {self.n_frames_read} are there"
            )
        self._conclude()

    def _conclude(self) -> None:
        """Say what is known once the sound was read to its end."""
        n_left_out = self._stream.frames - self._n_packets
        counts_packets = self._format == "mov" and not self.facts.codec.startswith("PCM_")
        if counts_packets and not self._stop and n_left_out > _MAX_PRIMING_PACKETS:
            left_out_s = n_left_out * self._first.samples / self.facts.sample_rate
            self.notes += (f"its edit list leaves out {left_out_s:.1f} s of its sound",)
        if self._stream.codec_context.name in _CHECKED_CODECS:
            self.checksums = "wrong" if self._stop else "right"
        if self._digest is not None and not self._stop:
            self.checksums = self._digest.verdict
            if self.checksums == "wrong":
                self.notes += (WRONG_MD5,)

    def _trimmed(self) -> Iterator[npt.NDArray[np.float32]]:
        """Return the samples of each frame, without what an encoder or the decoder adds at the ends."""
        if self._delay:
            return without_delay(self._pieces(), self._delay, self._n_declared)
        if self._exact and self._format == "mov" and self._n_declared is not None:
            return without_padding(self._pieces(), self._n_declared, self._n_after_edit_list)
        return self._pieces()

    def _n_after_edit_list(self) -> int:
        """Return how many samples are sound after the end that the container gives with a coarse unit.

        The packets' durations are exact, but only ffmpeg leaves the padding out of them.
        """
        rate = self.facts.sample_rate
        n_more = round(self._packets_end_s * rate) - (self._n_declared or 0)
        return n_more if n_more <= _EDIT_LIST_UNIT_S * rate else 0

    def _pieces(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the samples of each frame."""
        n_done = 0
        frame: av.AudioFrame | None = self._first
        while frame is not None:
            self._check_unchanged(frame, n_done)
            stored = _stored(frame)
            if self._digest is not None:
                shift = 8 * stored.dtype.itemsize - self._digest.bits
                self._digest.add_whole(stored.T.astype(np.int32) >> shift)
            yield _to_float(stored)
            n_done += frame.samples
            frame = next(self._frames, None)

    def _check_unchanged(self, frame: av.AudioFrame, n_done: int) -> None:
        before, after = (_kind(each, self.facts.lossless) for each in (self._first, frame))
        if before != after:
            raise self._error(f"after {count(n_done, 'frame')} it changes from {before} to {after}")

    def _surplus(self) -> int:
        return super()._surplus() if self._exact and (self.facts.lossless or self._delay) else 0

    def _missing(self) -> int:
        missing = super()._missing()
        exact = self._exact and self.facts.lossless
        slack = 0 if exact else round(_SLACK_S * self.facts.sample_rate)
        return missing if missing > slack else 0


def _open(source: DecoderFile, options: dict[str, str] | None = None) -> InputContainer:
    allowed = {"format_whitelist": ",".join(_CONTAINERS), "protocol_whitelist": ""}
    return av.open(
        source,
        mode="r",
        metadata_errors="replace",
        container_options={**allowed, **(options or {})},
        io_open=_refuse_to_open,
    )


def _refuse_to_open(url: str, _flags: int, _options: dict[str, str]) -> BinaryIO:
    raise PermissionError(f"a sound file may not open {url}")


def _stored(frame: av.AudioFrame) -> npt.NDArray[np.generic]:
    """Return the samples ``[C, T]`` as FFmpeg gives them; eight channels at most."""
    channels = len(frame.layout.channels)
    dtype = np.dtype(_DTYPES[frame.format.name.removesuffix("p")])
    if frame.format.is_planar:
        # frame.to_ndarray() takes the memory after the eighth pointer for a ninth plane.
        planes = frame.planes[:channels]
        return np.stack([np.frombuffer(bytes(plane), dtype, frame.samples) for plane in planes])
    count = frame.samples * channels
    return np.frombuffer(bytes(frame.planes[0]), dtype, count).reshape(-1, channels).T


def _to_float(samples: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Return the samples as float32, integers scaled to ±1."""
    dtype = samples.dtype
    if dtype.kind == "f":
        return samples.astype(np.float32)
    centred = samples.astype(np.float32)
    if dtype.kind == "u":
        centred -= 128
    return centred * np.float32(2.0 ** (1 - 8 * dtype.itemsize))


def _left_behind(path: str) -> tuple[str, ...]:
    """Return a sentence on the file that has what a lossy WavPack file lacks, if it is there."""
    correction = os.path.splitext(path)[0] + ".wvc"  # noqa: PTH122  # the path is a str
    if not os.path.exists(correction):  # noqa: PTH110
        return ()
    name = os.path.basename(correction)  # noqa: PTH119
    return (f"it is the lossy part of a hybrid; {name}, which has the rest, is not archived",)


def _is_float(frame: av.AudioFrame) -> bool:
    return frame.format.name in FLOAT_FORMATS


def _kind(frame: av.AudioFrame, is_lossless_: bool) -> str:
    """Return what may not change within a stream, in words."""
    kind = f"{frame.sample_rate} Hz, {count(len(frame.layout.channels), 'channel')}"
    return f"{kind}, {frame.format.bits} bits" if is_lossless_ else kind
