"""What a track's header says, by short names: of an archive and of a track that is coded in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod

from earzip.formats.archive.header import Header
from earzip.formats.archive.records import SourceRecord


class TrackFacts(ABC):
    """The facts of a coded track."""

    @property
    @abstractmethod
    def header(self) -> Header:
        """Everything that an archive says of its sound."""

    @property
    def rate(self) -> int:
        """The sample rate of the coded sound in Hz: 44,100."""
        return self.header.geometry.sample_rate

    @property
    def n_samples(self) -> int:
        """Samples of each of two channels, at `rate`."""
        return self.header.n_samples

    @property
    def duration_s(self) -> float:
        """How long the track is, in seconds."""
        return self.header.duration_s

    @property
    def n_latents(self) -> int:
        """Latents of a frame: D."""
        return self.header.model.n_latents

    @property
    def n_frames(self) -> int:
        """Frames of the track: F."""
        return self.header.n_frames

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.header.geometry.hop

    @property
    def model(self) -> str:
        """The name of the model that coded it; ``header.model.sha256`` says which one of that name."""
        return self.header.model.name

    @property
    def quality(self) -> str:
        """``low``, ``medium``, ``high`` or a number from 0 to 10."""
        return self.header.quantizer.quality

    @property
    def gain_db(self) -> float:
        """The gain in dB that brought the sound to the models' working level before it was encoded."""
        return self.header.gain_centibels / 10

    @property
    def source(self) -> SourceRecord:
        """What it was made from: name, SHA-256, format, rate, channels."""
        return self.header.source
