"""What the readers of sound files have in common: facts, blocks of float32, what was missing."""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from earzip.errors import SourceError
from earzip.formats.audio.downmix import MAX_CHANNELS, Layout, can_downmix, downmix_name
from earzip.formats.audio.foreign import ForeignCodecFinder
from earzip.formats.audio.proof import Verdict

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 768_000
BLOCK_FRAMES = 1 << 16
SOUND_DIGITS = 32
"""Hexadecimal digits of the digest of a source's sound."""
OnTruncated = Literal["keep", "fail"] | None
"""What becomes of a file that is cut short or damaged: its sound is read as far as it goes, or it is an
error; None: an error if it is a FLAC, or another lossless file that is damaged."""
ONLY_SOUND = "it is a film; only its sound is archived"
"""A note."""


def only_first_of(n_sounds: int) -> str:
    """Return the note on a file with so many streams of sound side by side."""
    return f"it has {n_sounds} sound streams; only the first one is archived"


@dataclasses.dataclass(frozen=True)
class SourceFacts:
    """Format of a source file.

    ``container`` and ``codec`` are upper-case names ("WAV", "PCM_24"; "OGG", "VORBIS"). ``bit_depth``
    is the width of one stored sample in bits; None where the codec stores no samples (MP3, Vorbis, …)
    or the decoder does not tell. ``is_float`` is about the stored samples, not about the output of a
    lossy decoder. ``n_frames`` counts samples per channel at ``sample_rate``.
    """

    container: str
    codec: str
    sample_rate: int
    channels: int
    bit_depth: int | None
    is_float: bool
    lossless: bool
    n_frames: int


class SourceReader(ABC):
    """A sound file being read once, from its beginning to its end.

    ``facts.n_frames`` is what the file declares (0 where it does not) until ``blocks`` has ended,
    and then what was decoded. ``truncated`` says after the end why the file holds less sound than
    it should, None if all is there. ``layout`` names the channels' speaker positions. ``notes`` are
    sentences on what of the file is left out, or not as it says; some are there only after the end.
    ``checksums`` says after the end whether those are right that the file has of its sound, None if it
    has none. ``digest`` is there after the end if `keep_digest` was called before. ``on_truncated`` may
    be set before the sound is read.
    """

    on_truncated: OnTruncated = None

    def __init__(
        self, path: str, facts: SourceFacts, n_declared: int | None, layout: Layout
    ) -> None:
        self.path = path
        self.facts = facts
        self.layout = layout
        self.truncated: str | None = None
        self.notes: tuple[str, ...] = ()
        self.checksums: Verdict | None = None
        self.digest: str | None = None
        self.n_frames_read = 0
        self._hashes: list[hashlib._Hash] = []
        self._n_declared = n_declared
        self._started = False
        self._is_known = False
        self._check_format()

    @property
    def downmix(self) -> str:
        """What ``stereo_44k`` does to the channels, for the archive's header."""
        return downmix_name(self.layout)

    def keep_digest(self) -> None:
        """Work out ``digest`` while the blocks are read: `SourceRecord.sound` of an archive."""
        self._hashes = [hashlib.sha256() for _ in range(self.facts.channels)]

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield float32 ``[C, T]`` at the source's rate; can be called once.

        SourceError if the file cannot be decoded: one that is damaged where ``on_truncated`` says so, any
        file of which nothing can be decoded, NaN or infinite samples, samples that are another codec's
        bytes.
        """
        assert not self._started, "a source is read once"
        self._started = True
        may_be_foreign = self.facts.lossless and not self.facts.is_float and not self._is_known
        foreign = ForeignCodecFinder(self.facts.bit_depth if may_be_foreign else None)
        for block in self._decode():
            finite = np.isfinite(block).all(axis=0)
            if not finite.all():
                frame = self.n_frames_read + int(np.argmin(finite))
                raise self._error(f"sample {frame} is not a finite number")
            if codec := foreign.look(block):
                raise self._error(f"its samples are those of {codec}, not of sound as it says")
            self.n_frames_read += block.shape[1]
            for channel, samples in zip(self._hashes, block, strict=bool(self._hashes)):
                channel.update(np.ascontiguousarray(samples, "<f4").data)
            yield block
        self._finish()

    def take_findings_of(self, other: SourceReader) -> None:
        """Take over what ``other``, a reader of the same sound, found out by reading it to its end."""
        self.truncated, self.notes, self.checksums = other.truncated, other.notes, other.checksums
        self.digest, self.on_truncated = other.digest, other.on_truncated
        self._is_known = True

    @abstractmethod
    def _decode(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the blocks, set ``truncated`` where decoding ends early."""

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _error(self, message: str) -> SourceError:
        return SourceError(message, self.path)

    def _check_format(self) -> None:
        rate, channels = self.facts.sample_rate, self.facts.channels
        if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
            raise self._error(
                f"its sample rate is {rate} Hz; earzip reads {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
            )
        if not 1 <= channels <= MAX_CHANNELS:
            raise self._error(f"it has {channels} channels; earzip reads up to {MAX_CHANNELS}")
        if not can_downmix(self.layout):
            raise self._error(f"its channels {' '.join(self.layout)} cannot be mixed to stereo")

    def _missing(self) -> int:
        """Frames that the file declares and that were not decoded."""
        return max(0, (self._n_declared or 0) - self.n_frames_read)

    def _surplus(self) -> int:
        """Frames that were decoded beyond those that the file declares exactly."""
        return max(0, self.n_frames_read - self._n_declared) if self._n_declared else 0

    def _finish(self) -> None:
        if self._surplus() and not self._is_known:
            self.notes += (
                f"its header declares {self._n_declared} frames, {self.n_frames_read} are there; "
                "all are archived",
            )
        if self._missing():
            reason = f"it declares {self._n_declared} frames, {self.n_frames_read} can be decoded"
            self.truncated = self.truncated or reason
        if self.truncated and self.on_truncated == "fail":
            raise self._error(f"is cut short: {self.truncated}")
        if self.truncated and self.n_frames_read == 0:
            raise self._error(f"nothing in it can be decoded: {self.truncated}")
        self.facts = dataclasses.replace(self.facts, n_frames=self.n_frames_read)
        if self._hashes:
            joined = hashlib.sha256(b"".join(channel.digest() for channel in self._hashes))
            self.digest = joined.hexdigest()[:SOUND_DIGITS]
