"""Dimensions of the networks, as plain data: rebuilt from the JSON that lies beside the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

SAMPLE_RATE = 44_100
"""Hz. Every model of this family works on stereo at this rate."""


@dataclass(frozen=True)
class SpectralConfig:
    """Dimensions of a `SpectralVae`.

    The first ``n_waveform`` latents of a frame carry the waveform (a trained KLT of its MDCT), the
    other ``n_envelope`` its band energies.
    """

    n_waveform: int = 200
    n_envelope: int = 24
    width: int = 512
    encoder_depth: int = 4
    decoder_depth: int = 6
    expansion: int = 3
    kernel_size: int = 7
    hop: int = 1024
    """Samples a frame: the number of bins of the long MDCT."""
    short_hop: int = 128
    """Bins of the short MDCT, which shows the encoder where in a frame a transient lies."""
    n_short_bands: int = 16
    n_bands: int = 40
    """Bands whose gains the decoder predicts."""
    first_envelope_band: int = 9
    """Bands below this one (511 Hz for 40 bands) are left to the waveform latents."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} must be positive, got {getattr(self, field.name)}")
        if self.hop % self.short_hop or self.hop % 4 or self.short_hop % 4:
            raise ValueError("hop must be a multiple of short_hop, and both of 4")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")
        if self.first_envelope_band >= self.n_bands:
            raise ValueError("first_envelope_band must be below n_bands")

    @property
    def n_latents(self) -> int:
        """Latent channels D."""
        return self.n_waveform + self.n_envelope

    @property
    def n_envelope_bands(self) -> int:
        """Band energies a frame that the envelope latents describe, mid and side together."""
        return 2 * (self.n_bands - self.first_envelope_band)

    @property
    def encoder_reach(self) -> int:
        """Frames on each side of a frame that its latents depend on."""
        return 1 + self.encoder_depth * (self.kernel_size // 2)

    @property
    def decoder_reach(self) -> int:
        """Frames on each side of a sample's own frame that the sample depends on."""
        return 2 + self.decoder_depth * (self.kernel_size // 2)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SpectralConfig:
        """Return the configuration in ``data``; ValueError for unknown fields or bad values."""
        unknown = set(data) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown fields {', '.join(sorted(unknown))}")
        if not all(type(value) is int for value in data.values()):
            raise ValueError("every field must be an integer")
        return cls(**data)

    def to_json(self) -> dict[str, int]:
        """Return the fields as JSON-able data, the inverse of `from_json`."""
        return asdict(self)
