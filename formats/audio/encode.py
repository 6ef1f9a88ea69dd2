"""Opus, MP3 and AAC files from blocks of float32, through PyAV: for players that have little room.

Lengths are exact where a container can say so: Opus in Ogg by the position of its last page and its
pre-skip, MP3 by the delay and padding of its Info frame, AAC in MP4 by its edit list.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from earzip.errors import TargetError, UsageError
from earzip.formats.containers.lame_frame import finish_mp3

if TYPE_CHECKING:
    from av import AudioFrame

LossyFormat = Literal["opus", "mp3", "aac"]


@dataclass(frozen=True)
class _Format:
    """What FFmpeg calls a format and its encoder, and how it is to encode."""

    encoder: str
    muxer: str
    samples: str
    """FFmpeg's name of the samples that the encoder takes."""
    sample_rate: int | None
    """The rate that it has, None for any of the usual ones."""
    options: dict[str, str]


_FORMATS: dict[LossyFormat, _Format] = {
    "opus": _Format("libopus", "opus", "flt", 48_000, {"b": "96000"}),
    # -V 2 of LAME: some 190 kbps.
    "mp3": _Format(
        "libmp3lame", "mp3", "fltp", None, {"flags": "+qscale", "global_quality": str(2 * 118)}
    ),
    "aac": _Format("aac", "ipod", "fltp", None, {"b": "160000"}),
}
_MUXER_OPTIONS = {
    # No serial numbers and times by chance: restoring twice gives the same bytes.
    "fflags": "+bitexact",
}
_MP3_OPTIONS = {"id3v2_version": "0", "write_id3v1": "0", "write_xing": "1"}


def lossy_rate(name: LossyFormat, sample_rate: int) -> int:
    """Return the rate in Hz at which sound of ``sample_rate`` is encoded."""
    return _FORMATS[name].sample_rate or sample_rate


def require_encoder(name: LossyFormat) -> None:
    """Raise UsageError if PyAV is not installed, or its FFmpeg lacks the encoder of a format."""
    encoder = _FORMATS[name].encoder
    try:
        import av  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UsageError(
            f"--format {name} needs PyAV, which is not installed; "
            "in the clone of earzip: pip install '.[av]'"
        ) from error
    if encoder not in av.codecs_available:
        raise UsageError(f"--format {name} needs FFmpeg with {encoder}, which this PyAV lacks")


@dataclass(frozen=True)
class Mark:
    """A chapter of a file that is written, in milliseconds."""

    start_ms: int
    end_ms: int
    title: str


class EncodedWriter:
    """An Opus, MP3 or AAC file of ``n_samples`` samples per channel in stereo, written in blocks.

    Samples beyond ±1 are counted in ``n_overs`` and saturated. ``marks`` are chapters, which AAC files
    have in a track of their own; others have them in their tags. The file that ``path`` names is
    overwritten, nothing is synced: see ``atomic.py``. Leaving the ``with`` block without an exception
    finishes the file; it must then have all its samples. It has no tags.
    """

    def __init__(
        self,
        path: Path,
        *,
        container: LossyFormat,
        sample_rate: int,
        n_samples: int,
        marks: Sequence[Mark] = (),
    ) -> None:
        """Open the file. UsageError as `require_encoder`; TargetError if it cannot be written."""
        require_encoder(container)
        assert n_samples > 0, "a lossy file of no samples"
        self._path = path
        self._name = container
        self._format = _FORMATS[container]
        self._sample_rate = sample_rate
        self._n_samples = n_samples
        self._n_written = 0
        self._pending = np.zeros((2, 0), np.float32)
        self.n_overs = 0
        with contextlib.ExitStack() as stack:
            try:
                self._file = stack.enter_context(path.open("w+b"))
                self._open(marks if container == "aac" else ())
            except OSError as error:
                raise self._target_error(error) from error
            stack.pop_all()

    def _open(self, marks: Sequence[Mark]) -> None:
        import av  # noqa: PLC0415  # an extra

        options = _MUXER_OPTIONS | (_MP3_OPTIONS if self._name == "mp3" else {})
        self._container = av.open(self._file, "w", format=self._format.muxer, options=options)
        self._stream: Any = self._container.add_stream(
            self._format.encoder, rate=self._sample_rate, options=self._format.options
        )
        context: Any = self._stream.codec_context  # of an audio codec
        context.layout = "stereo"
        context.format = self._format.samples
        context.open()
        self._frame_size: int = context.frame_size
        if marks and hasattr(self._container, "set_chapters"):  # of PyAV 15
            chapters: Any = [_chapter(i, mark) for i, mark in enumerate(marks)]
            self._container.set_chapters(chapters)

    def write(self, block: npt.NDArray[np.float32]) -> None:
        """Append float32 ``[2, T]``. TargetError if the disk is full or fails."""
        assert block.shape[0] == 2, f"{block.shape[0]} channels"
        assert np.isfinite(block).all(), "samples that are not finite"
        self.n_overs += int(np.count_nonzero(np.abs(block) > 1))
        left = np.concatenate([self._pending, np.clip(block, -1, 1)], axis=1)
        n_whole = left.shape[1] // self._frame_size * self._frame_size
        for start in range(0, n_whole, self._frame_size):
            self._encode(left[:, start : start + self._frame_size])
        self._pending = left[:, n_whole:].copy()

    def _encode(self, samples: npt.NDArray[np.float32] | None) -> None:
        """Encode a frame, or what the encoder still holds if it is None."""
        try:
            frame = None if samples is None else self._frame(samples)
            self._container.mux(self._stream.encode(frame))
        except OSError as error:
            raise self._target_error(error) from error

    def _frame(self, samples: npt.NDArray[np.float32]) -> AudioFrame:
        import av  # noqa: PLC0415  # an extra

        is_planar = self._format.samples.endswith("p")
        stored = samples if is_planar else samples.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(stored), format=self._format.samples, layout="stereo"
        )
        frame.sample_rate = self._sample_rate
        frame.pts = self._n_written
        self._n_written += samples.shape[1]
        assert self._n_written <= self._n_samples, f"more than {self._n_samples} samples"
        return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            if exc[0] is None:
                self._finish()
        finally:
            from av.error import FFmpegError  # noqa: PLC0415  # an extra

            # What is still written after an error is of no use, and fails on a full disk again.
            for each in (self._container, self._file):
                with contextlib.suppress(OSError, FFmpegError):
                    each.close()

    def _finish(self) -> None:
        if self._pending.shape[1]:
            self._encode(self._pending)
        self._encode(None)
        missing = self._n_samples - self._n_written
        assert missing == 0, f"{missing} of {self._n_samples} samples were not written"
        try:
            self._container.close()
            if self._name == "mp3":
                finish_mp3(self._file, self._n_samples)
            self._file.flush()
        except OSError as error:
            raise self._target_error(error) from error

    def _target_error(self, error: OSError) -> TargetError:
        return TargetError(error.strerror or str(error), os.fspath(self._path))


def _chapter(number: int, mark: Mark) -> dict[str, object]:
    return {
        "id": number,
        "start": mark.start_ms,
        "end": mark.end_ms,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": mark.title},
    }
