"""Dimensions of the networks, as plain data: rebuilt from the JSON beside the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Self

from earzip.formats.checked import Checked, Range, read, write
from earzip.formats.geometry import MAX_LATENTS
from earzip.formats.symbols.layout import MAX_LEVELS, Group, Layout, Told

_MAX_DIMENSION = 65_536  # beyond any network that is meant: what follows from it stays in range
_Size = Annotated[int, Range(1, _MAX_DIMENSION)]


class _Dimensions(Checked):
    """The dimensions of a network, each checked by its type."""

    @property
    def n_latents(self) -> int:
        """Latent channels D."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the dimensions in ``data``; ValueError for unknown fields or bad values."""
        return read(cls, data, by_hand=True)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data, the inverse of `from_json`."""
        return write(self)

    def _require_multiples(self, *names: str, of: int) -> None:
        """Require that each of these hops is a multiple of the next, the last one of ``of``."""
        hops = (*(getattr(self, name) for name in names), of)
        if any(longer % shorter for longer, shorter in pairwise(hops)):
            raise ValueError(f"{', '.join(names)} and {of} must each be a multiple of the next")

    def _require_odd(self, name: str) -> None:
        if getattr(self, name) % 2 == 0:
            raise ValueError(f"{name} must be odd, got {getattr(self, name)}")

    def _require_at_most(self, name: str, most: int) -> None:
        if getattr(self, name) > most:
            raise ValueError(f"{name} is {getattr(self, name)}, expected at most {most}")

    def _require_archivable(self) -> None:
        if self.n_latents > MAX_LATENTS:
            raise ValueError(f"{self.n_latents} latents a frame, expected at most {MAX_LATENTS}")


@dataclass(frozen=True)
class SpectralConfig(_Dimensions):
    """Dimensions of a `SpectralVae`.

    The first ``n_waveform`` latents of a frame carry the waveform (a trained KLT of its MDCT), the
    other ``n_envelope`` its band energies.
    """

    n_waveform: _Size = 200
    n_envelope: _Size = 24
    width: _Size = 512
    encoder_depth: _Size = 4
    decoder_depth: _Size = 6
    expansion: _Size = 3
    kernel_size: _Size = 7
    hop: _Size = 1024
    """Samples a frame: the number of bins of the long MDCT."""
    short_hop: _Size = 128
    """Bins of the short MDCT, which shows the encoder where in a frame a transient lies."""
    n_short_bands: _Size = 16
    n_bands: _Size = 40
    """Bands whose gains the decoder predicts."""
    first_envelope_band: _Size = 9
    """Bands below this one (511 Hz for 40 bands) are left to the waveform latents."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_multiples("hop", "short_hop", of=4)
        self._require_odd("kernel_size")
        self._require_at_most("first_envelope_band", self.n_bands - 1)
        self._require_at_most("n_waveform", 2 * self.hop)
        self._require_at_most("n_envelope", self.n_envelope_bands)
        self._require_archivable()

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


class _CoefficientDimensions(_Dimensions):
    """What networks share whose first latents are coefficients of an MDCT."""

    n_bins: _Size
    hop: _Size
    trunk_hop: _Size
    fine_hop: _Size

    @property
    def n_coefficients(self) -> int:
        """Latent channels that are coefficients."""
        return 2 * self.n_bins

    @property
    def latent_layout(self) -> Layout:
        """The kinds of latents, for the coding of their integers."""
        return Layout(self.n_coefficients)

    @property
    def n_fine(self) -> int:
        """Frames of the fine MDCT in a frame."""
        return self.hop // self.fine_hop

    @property
    def n_trunk(self) -> int:
        """Frames of the decoder's trunk in a frame."""
        return self.hop // self.trunk_hop


@dataclass(frozen=True)
class TransformConfig(_CoefficientDimensions):
    """Dimensions of a `TransformVae`.

    The first ``2 · n_bins`` latents of a frame are MDCT coefficients, mid then side; the other
    ``n_envelope`` are its band energies.
    """

    n_bins: _Size = 1600
    """Coefficients a channel that are coded, from the lowest: 17.2 kHz of 2048."""
    n_envelope: _Size = 24
    width: _Size = 512
    """Of the decoder's trunk."""
    decoder_depth: _Size = 6
    encoder_width: _Size = 256
    encoder_depth: _Size = 3
    expansion: _Size = 3
    kernel_size: _Size = 7
    hop: _Size = 2048
    """Samples a frame: the number of bins of the long MDCT."""
    trunk_hop: _Size = 512
    """Samples a frame of the decoder's trunk."""
    fine_hop: _Size = 512
    """Bins of the MDCT in which the decoder works."""
    short_hop: _Size = 128
    """Bins of the short MDCT, which shows the encoder where in a frame a transient lies."""
    n_short_bands: _Size = 16
    n_bands: _Size = 40
    """Bands whose gains the decoder predicts."""
    first_envelope_band: _Size = 9
    """Bands below this one (511 Hz for 40 bands) are left to the coefficients."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_multiples("hop", "trunk_hop", "fine_hop", "short_hop", of=4)
        self._require_odd("kernel_size")
        self._require_at_most("first_envelope_band", self.n_bands - 1)
        self._require_at_most("n_bins", self.hop)
        self._require_at_most("n_envelope", self.n_envelope_bands)
        self._require_archivable()

    @property
    def n_latents(self) -> int:
        """Latent channels D."""
        return self.n_coefficients + self.n_envelope

    @property
    def n_envelope_bands(self) -> int:
        """Band energies a frame that the envelope latents describe: of fine frames, mid and side."""
        return self.n_fine * 2 * (self.n_bands - self.first_envelope_band)

    @property
    def encoder_reach(self) -> int:
        """Frames on each side of a frame that its latents depend on."""
        return 1 + self.encoder_depth * (self.kernel_size // 2)

    @property
    def decoder_reach(self) -> int:
        """Frames on each side of a sample's own frame that the sample depends on."""
        trunk = 2 + self.decoder_depth * (self.kernel_size // 2)
        return 2 + -(-trunk // self.n_trunk)


_LEAST_FINE_HOP = (
    256  # fewer bins leave bands of `earzip.network.short_transform.EDGES` without any
)


@dataclass(frozen=True)
class LevelConfig(_CoefficientDimensions):
    """Dimensions of a `LevelVae`.

    The first ``2 · n_bins`` latents of a frame are MDCT coefficients, mid then side;
    `earzip.network.levels` has what the others say.
    """

    n_bins: _Size = 1600
    """Coefficients a channel that are coded, from the lowest: 17.2 kHz of 2048."""
    width: _Size = 384
    """Of the decoder's trunk."""
    decoder_depth: _Size = 4
    encoder_width: _Size = 256
    encoder_depth: _Size = 3
    expansion: _Size = 3
    kernel_size: _Size = 7
    hop: _Size = 2048
    """Samples a frame: the number of bins of the long MDCT."""
    trunk_hop: _Size = 1024
    """Samples a frame of the decoder's trunk."""
    fine_hop: _Size = 512
    """Bins of the MDCT in which the decoder works."""
    short_hop: _Size = 256
    """Bins of the MDCT of short frames, and of the one that shows the encoder where a transient is."""
    n_short_bands: _Size = 16
    n_levels: _Size = 26
    """Bands with levels: as many as `earzip.network.short_transform.EDGES` makes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_multiples("hop", "trunk_hop", "fine_hop", "short_hop", of=128)
        self._require_odd("kernel_size")
        if self.n_fine % 2:
            raise ValueError("a frame must have an even number of fine frames")
        if self.fine_hop < _LEAST_FINE_HOP:
            raise ValueError(f"fine_hop is {self.fine_hop}, expected at least {_LEAST_FINE_HOP}")
        self._require_at_most("n_bins", self.hop)
        if (n := self.latent_layout.n_levels) > MAX_LEVELS:
            raise ValueError(f"{n} levels a frame, expected at most {MAX_LEVELS}")
        self._require_archivable()

    @property
    def n_blocks(self) -> int:
        """Blocks of 128 samples in a frame: the grid of attacks."""
        return self.hop // 128

    @property
    def layout(self) -> dict[str, int]:
        """How many latents of a frame are of which kind, in their order."""
        return {
            "coefficients": self.n_coefficients,
            "levels": self.n_levels,
            "balance": self.n_levels,
            "width": self.n_levels // 2,
            "halves": self.n_levels,
            "course": 5 * self.n_blocks,
            "contrast": 1,
            **self._exact_layout,
        }

    @property
    def _exact_layout(self) -> dict[str, int]:
        """The kinds of latents that are integers by nature."""
        return {"tonal": self.n_levels // 2, "short": 1, "onset_block": 1, "onset_part": 1}

    def rest_slice(self, kind: str) -> slice:
        """Return where the latents of ``kind`` are among those behind the coefficients."""
        sizes = self.layout
        kinds = [each for each in sizes if each != "coefficients"]
        first = sum(sizes[each] for each in kinds[: kinds.index(kind)])
        return slice(first, first + sizes[kind])

    @property
    def latent_layout(self) -> Layout:
        """The kinds of latents, for the coding of their integers."""
        attack = ("course", "contrast", "onset_block", "onset_part")
        told = {"halves": Told.CALM, **dict.fromkeys(attack, Told.ATTACK)}
        blocks = {"course": self.n_blocks}
        groups = [
            Group(told.get(kind, Told.ALWAYS), size // blocks.get(kind, 1), blocks.get(kind, 1))
            for kind, size in self.layout.items()
            if kind != "coefficients"
        ]
        n_exact = sum(self._exact_layout.values())
        return Layout(self.n_coefficients, tuple(groups), n_exact)

    @property
    def n_latents(self) -> int:
        """Latent channels D."""
        return sum(self.layout.values())

    @property
    def encoder_reach(self) -> int:
        """Frames on each side of a frame that its latents depend on."""
        # Two more than convolutions reach: a frame's window depends on what its neighbours are.
        return 2 + self.encoder_depth * (self.kernel_size // 2)

    @property
    def decoder_reach(self) -> int:
        """Frames on each side of a sample's own frame that the sample depends on."""
        trunk = 2 + self.decoder_depth * (self.kernel_size // 2)
        return 3 + -(-trunk // self.n_trunk)


def latent_layout(architecture: str, config: dict[str, Any]) -> Layout:
    """Return of which kinds a network's latents are; a configuration that cannot be read has none."""
    if architecture not in ("transform", "levels"):
        return Layout()
    try:
        dimensions = network_config(architecture, config)
    except ValueError:
        return Layout()
    assert isinstance(dimensions, _CoefficientDimensions)
    return dimensions.latent_layout


_RESIDUAL_REACH = 3 * (1 + 3 + 9)  # samples a side: convolutions of 7, dilated by 1, 3 and 9


@dataclass(frozen=True)
class EarConfig(_Dimensions):
    """Dimensions of an `EarVae`, the published network; the defaults are those of ear_vae_44k."""

    channels: _Size = 128
    """Channels of the first convolution; block i has ``channels · multiples[i]``."""
    multiples: tuple[_Size, ...] = (1, 2, 4, 8, 16)
    strides: tuple[_Size, ...] = (2, 4, 4, 4, 8)
    n_latents: _Size = 64
    transformer_depth: Annotated[int, Range(0, _MAX_DIMENSION)] = 2
    head_size: _Size = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.multiples) != len(self.strides) or not self.strides:
            raise ValueError("multiples and strides must be of one length, at least 1")
        self._require_at_most("widest", _MAX_DIMENSION)
        self._require_at_most("hop", _MAX_DIMENSION)
        if any(stride % 2 for stride in self.strides):
            raise ValueError(f"strides must be even, got {self.strides}")
        if self.n_latents % self.head_size or self.head_size % 2:
            raise ValueError("head_size must be even and divide n_latents")
        self._require_archivable()

    @property
    def widest(self) -> int:
        """Channels of the widest convolution."""
        return self.channels * max(self.multiples)

    @property
    def hop(self) -> int:
        """Samples a frame of latents."""
        return math.prod(self.strides)

    @property
    def encoder_reach(self) -> int:
        """Frames on each side of a frame that its latents depend on."""
        samples = 3 + self._blocks_reach() + self.hop  # first and last convolution, 7 and 3 wide
        return -(-samples // self.hop)

    @property
    def decoder_reach(self) -> int:
        """Frames on each side that the convolutions behind the transformer depend on."""
        samples = 3 + self._blocks_reach() + 3 * self.hop
        return -(-samples // self.hop)

    def _blocks_reach(self) -> int:
        """Samples on each side that all blocks together reach: residual units and resampling."""
        reach, rate = 0, 1
        for stride in self.strides:
            reach += (_RESIDUAL_REACH + stride) * rate
            rate *= stride
        return reach


Dimensions = SpectralConfig | TransformConfig | LevelConfig | EarConfig

_DIMENSIONS: dict[str, type[Dimensions]] = {
    "spectral": SpectralConfig,
    "transform": TransformConfig,
    "levels": LevelConfig,
    "ear": EarConfig,
}


def network_config(architecture: str, config: dict[str, Any]) -> Dimensions:
    """Return the dimensions of a network; ValueError for what this version cannot build."""
    if architecture not in _DIMENSIONS:
        raise ValueError(f"unknown architecture {architecture!r}")
    if not isinstance(config, dict):
        raise ValueError(f"config is {config!r}, expected an object")
    return _DIMENSIONS[architecture].from_json(config)
