"""WAV, RF64 and FLAC files from blocks of float32."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
import soundfile

from earzip.errors import TargetError, UsageError
from earzip.formats.audio.flac_stream import FlacStream, Stream

Container = Literal["wav", "flac"]
Bits = Literal[16, 24, "float"]

FLAC_MAX_SAMPLE_RATE = 655_350
_FLAC_ANY_RATE_BELOW = 65_536
_DITHER_SEED = 0x6561727A6970  # "earzip": restoring twice gives the same bytes
_PART = 1 << 15
"""Samples that are converted at a time: so many stay in a processor's cache."""
_EMPTY_MD5 = bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e")
_PCM, _IEEE_FLOAT = 1, 3
_UNKNOWN_32 = 0xFFFF_FFFF
# Left for tags, which are appended as chunks and count in the size of the whole.
_ROOM_FOR_TAGS = 1 << 28
RF64_LIMIT = (1 << 32) - _ROOM_FOR_TAGS


def flac_holds_rate(sample_rate: int) -> bool:
    """Whether FLAC's encoder takes ``sample_rate``, in Hz: above 65,535 only multiples of ten."""
    if sample_rate < _FLAC_ANY_RATE_BELOW:
        return True
    return sample_rate <= FLAC_MAX_SAMPLE_RATE and sample_rate % 10 == 0


class AudioWriter:
    """A WAV or FLAC file or stream of exactly ``n_samples`` samples per channel, written in blocks.

    Samples beyond ±1 are counted in ``n_overs`` as they are written; integer formats saturate them
    and float keeps them. ``dither`` adds triangular noise of ±1 LSB at 16 bit, always the same, and
    whatever the block sizes; ``first_sample`` says where in a track it begins, so that parts of the track
    join to the whole. One channel is the mean of left and right.

    A file that ``target`` names is overwritten, nothing is synced: see ``atomic.py``. A stream is written
    front to back, each block at once, and stays open; ``ahead`` are chunks of WAV or metadata blocks of
    FLAC, the last one marked, to be sent before its sound. Leaving the ``with`` block without an
    exception finishes the file; it must then have all its samples.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | Stream,
        *,
        container: Container,
        sample_rate: int,
        channels: Literal[1, 2],
        bits: Bits,
        dither: bool,
        n_samples: int,
        first_sample: int = 0,
        ahead: bytes = b"",
    ) -> None:
        """Open the file. UsageError for a FLAC of float samples or of a rate it cannot hold."""
        self._path = os.fspath(target) if isinstance(target, str | os.PathLike) else None
        if container == "flac" and bits == "float":
            raise UsageError(
                "FLAC cannot store float samples: use WAV, or 16 or 24 bits", self._path
            )
        if container == "flac" and not flac_holds_rate(sample_rate):
            raise UsageError(
                f"FLAC cannot store a sample rate of {sample_rate} Hz: use WAV", self._path
            )
        self._channels = channels
        self._bits = bits
        self._n_samples = n_samples
        self._n_written = 0
        self.n_overs = 0
        self._dither = np.random.PCG64(_DITHER_SEED) if dither and bits == 16 else None
        if self._dither is not None:
            self._dither.advance(first_sample * channels)
        self._file: BinaryIO | None = None
        try:
            self._sink = self._open_sink(
                target, ahead, container, sample_rate, channels, bits, n_samples
            )
        except OSError as error:
            self._close_file()
            raise self._target_error(error) from error

    def _open_sink(
        self,
        target: str | os.PathLike[str] | Stream,
        ahead: bytes,
        container: Container,
        *facts: *tuple[int, int, Bits, int],
    ) -> _WavSink | _FlacSink:
        if not isinstance(target, str | os.PathLike):
            streamed = _WavSink if container == "wav" else _StreamedFlacSink
            return streamed(target, *facts, ahead)
        self._file = Path(target).open("wb")  # noqa: SIM115
        return (_WavSink if container == "wav" else _FlacSink)(self._file, *facts)

    def write(self, block: npt.NDArray[np.float32]) -> None:
        """Append float32 ``[2, T]``. TargetError if the disk is full or fails."""
        assert block.shape[0] == 2, f"{block.shape[0]} channels"
        self._n_written += block.shape[1]
        assert self._n_written <= self._n_samples, f"more than {self._n_samples} samples"
        for start in range(0, block.shape[1], _PART):
            self._write_part(block[:, start : start + _PART])

    def _write_part(self, block: npt.NDArray[np.float32]) -> None:
        assert np.isfinite(block).all(), "samples that are not finite"
        if self._channels == 1:
            block = block.mean(axis=0, keepdims=True)
        self.n_overs += int(np.count_nonzero(np.abs(block) > 1))
        try:
            self._sink.write(self._to_stored(np.ascontiguousarray(block.T)))
        except OSError as error:
            raise self._target_error(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._sink.close()
            self._close_file()
        except OSError as failure:
            with contextlib.suppress(OSError):  # writing the buffer fails again
                self._close_file()
            if exc[0] is None:
                raise self._target_error(failure) from failure
        if exc[0] is None:
            missing = self._n_samples - self._n_written
            assert missing == 0, f"{missing} of {self._n_samples} samples were not written"

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()

    def _to_stored(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
        """Return ``[T, C]`` as float32, int16, or int32 with 24 bits in the upper bytes."""
        if self._bits == "float":
            return frames
        scaled = frames.astype(np.float64) * (1 << (self._bits - 1))
        if self._dither is not None:
            # The raw output of PCG64 is the part of numpy's random numbers that never changes.
            raw = self._dither.random_raw(frames.size).reshape(frames.shape)
            scaled += ((raw >> 32).astype(np.float64) - (raw & 0xFFFF_FFFF)) * 2.0**-32
        limit = 1 << (self._bits - 1)
        whole = np.clip(np.rint(scaled, out=scaled), -limit, limit - 1, out=scaled)
        return whole.astype(np.int16) if self._bits == 16 else whole.astype(np.int32) << 8

    def _target_error(self, error: OSError) -> TargetError:
        return TargetError(error.strerror or str(error), self._path)


class _WavSink:
    """The samples as they are, between header and padding."""

    def __init__(
        self,
        file: Stream,
        sample_rate: int,
        channels: int,
        bits: Bits,
        n_samples: int,
        ahead: bytes = b"",
    ) -> None:
        self._file = file
        self._is_24_bit = bits == 24
        width = 32 if bits == "float" else bits
        self._padding = wav_padding(channels=channels, bits=width, n_frames=n_samples)
        self._file.write(
            wav_header(
                sample_rate=sample_rate,
                channels=channels,
                bits=width,
                is_float=bits == "float",
                n_frames=n_samples,
                ahead=ahead,
            )
        )

    def write(self, frames: npt.NDArray[np.generic]) -> None:
        little = frames.astype(frames.dtype.newbyteorder("<"), copy=False)
        if self._is_24_bit:
            upper = np.ascontiguousarray(little).view(np.uint8).reshape(-1, 4)[:, 1:]
            self._file.write(upper.tobytes())
        else:
            self._file.write(little.tobytes())

    def close(self) -> None:
        self._file.write(self._padding)


class _FlacSink:
    """libFLAC through soundfile, with the file's errors kept."""

    def __init__(
        self, file: LibrarysFile, sample_rate: int, channels: int, bits: Bits, n_samples: int
    ) -> None:
        self._sound = None
        if n_samples == 0:  # libsndfile leaves the file empty where nothing is written
            assert bits != "float"
            file.write(_empty_flac(sample_rate, channels, bits))
            return
        self._guard = ErrorKeeper(file)
        with self._guard:
            self._sound = soundfile.SoundFile(
                self._guard, "w", sample_rate, channels, f"PCM_{bits}", format="FLAC"
            )

    def write(self, frames: npt.NDArray[np.generic]) -> None:
        if self._sound is None or not len(frames):
            return
        with self._guard:
            self._sound.write(frames)

    def close(self) -> None:
        if self._sound is not None:
            with self._guard:
                self._sound.close()


class _StreamedFlacSink(_FlacSink):
    """FLAC that goes to a stream with each block."""

    def __init__(
        self,
        stream: Stream,
        sample_rate: int,
        channels: int,
        bits: Bits,
        n_samples: int,
        ahead: bytes,
    ) -> None:
        self._stream = FlacStream(stream, n_samples, ahead)
        super().__init__(self._stream, sample_rate, channels, bits, n_samples)

    def write(self, frames: npt.NDArray[np.generic]) -> None:
        super().write(frames)
        self._stream.flush()

    def close(self) -> None:
        super().close()
        self._stream.flush()


class LibrarysFile(Protocol):
    """What libsndfile needs of a file that it writes."""

    def write(self, data: bytes, /) -> int:
        """Write, and return how many bytes."""

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Move, and return the position."""

    def tell(self) -> int:
        """Return the position."""


class ErrorKeeper:
    """A file for soundfile, whose C callbacks print exceptions and lose them.

    As a context it raises the first OSError of the file in place of what soundfile made of it.
    """

    def __init__(self, file: LibrarysFile) -> None:
        self._file = file
        self._error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write, or keep the error and say that nothing was written."""
        if self._error is None:
            try:
                return self._file.write(data)
            except OSError as error:
                self._error = error
        return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move in the file, or keep the error."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:  # seeking flushes
            self._error = self._error or error
            return 0

    def tell(self) -> int:
        """Return the position in the file, or keep the error."""
        try:
            return self._file.tell()
        except OSError as error:  # telling may flush
            self._error = self._error or error
            return 0

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        if self._error is not None:
            raise self._error


def _empty_flac(sample_rate: int, channels: int, bits: int) -> bytes:
    """Return a FLAC file without frames: the magic and a STREAMINFO (RFC 9639, section 8.2)."""
    block_size, frame_size = 4096, 0
    facts = sample_rate << 44 | (channels - 1) << 41 | (bits - 1) << 36
    streaminfo = struct.pack(">HH", block_size, block_size) + frame_size.to_bytes(6, "big")
    streaminfo += struct.pack(">Q", facts) + _EMPTY_MD5
    is_last, kind = 0x80, 0
    return b"fLaC" + bytes([is_last | kind]) + len(streaminfo).to_bytes(3, "big") + streaminfo


def wav_header(
    *,
    sample_rate: int,
    channels: int,
    bits: int,
    is_float: bool,
    n_frames: int,
    ahead: bytes = b"",
) -> bytes:
    """Return the bytes before the samples, the chunks ``ahead`` among them.

    ``wav_padding`` must follow the samples.
    """
    frame_bytes = channels * bits // 8
    data_bytes = n_frames * frame_bytes
    fmt = struct.pack(
        "<HHIIHH",
        _IEEE_FLOAT if is_float else _PCM,
        channels,
        sample_rate,
        sample_rate * frame_bytes,
        frame_bytes,
        bits,
    )
    chunks = _chunk(b"fmt ", fmt)
    if is_float:  # formats other than PCM carry the size of an extension, and their length
        chunks = _chunk(b"fmt ", fmt + bytes(2))
        chunks += _chunk(b"fact", struct.pack("<I", min(n_frames, _UNKNOWN_32)))
    chunks += ahead
    padded = data_bytes + data_bytes % 2
    size = 4 + len(chunks) + 8 + padded
    if data_bytes <= RF64_LIMIT and size < _UNKNOWN_32:
        return _head(b"RIFF", size) + chunks + _head(b"data", data_bytes)
    ds64_bytes = 36
    size += ds64_bytes
    ds64 = _chunk(b"ds64", struct.pack("<QQQI", size, data_bytes, n_frames, 0))
    return _head(b"RF64", _UNKNOWN_32) + ds64 + chunks + _head(b"data", _UNKNOWN_32)


def wav_padding(*, channels: int, bits: int, n_frames: int) -> bytes:
    """Return the bytes after the samples: chunks have an even length."""
    return bytes(n_frames * channels * bits // 8 % 2)


def _head(name: bytes, size: int) -> bytes:
    head = name + struct.pack("<I", size)
    return head + b"WAVE" if name in (b"RIFF", b"RF64") else head


def _chunk(name: bytes, body: bytes) -> bytes:
    return _head(name, len(body)) + body
