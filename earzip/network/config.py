"""Dimensions of the networks, as plain data: rebuilt from the JSON that lies beside the weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Self

from earzip.formats.geometry import MAX_LATENTS

_MAX_DIMENSION = 65_536  # beyond any network that is meant: what follows from it stays in range


def _require_archivable(n_latents: int) -> None:
    if n_latents > MAX_LATENTS:
        raise ValueError(f"{n_latents} latents a frame, expected at most {MAX_LATENTS}")


class _Dimensions:
    """What the dimensions of networks over an MDCT have in common; every field is an integer."""

    kernel_size: int
    n_bands: int
    first_envelope_band: int

    def _require_in_range(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} must be positive, got {value}")
            if value > _MAX_DIMENSION:
                raise ValueError(f"{name} is {value}, expected at most {_MAX_DIMENSION}")

    def _require_odd_kernel_and_bands(self) -> None:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")
        if self.first_envelope_band >= self.n_bands:
            raise ValueError("first_envelope_band must be below n_bands")

    def _require_at_most(self, *limits: tuple[str, int]) -> None:
        for name, most in limits:
            if getattr(self, name) > most:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at most {most}")

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the configuration in ``data``; ValueError for unknown fields or bad values."""
        _refuse_unknown(cls, data)
        if not all(type(value) is int for value in data.values()):
            raise ValueError("every field must be an integer")
        return cls(**data)

    def to_json(self) -> dict[str, int]:
        """Return the fields as JSON-able data, the inverse of `from_json`."""
        return dict(vars(self))


@dataclass(frozen=True)
class SpectralConfig(_Dimensions):
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
        self._require_in_range()
        if self.hop % self.short_hop or self.hop % 4 or self.short_hop % 4:
            raise ValueError("hop must be a multiple of short_hop, and both of 4")
        self._require_odd_kernel_and_bands()
        self._require_at_most(("n_waveform", 2 * self.hop), ("n_envelope", self.n_envelope_bands))
        _require_archivable(self.n_latents)

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


@dataclass(frozen=True)
class TransformConfig(_Dimensions):
    """Dimensions of a `TransformVae`.

    The first ``2 · n_bins`` latents of a frame are MDCT coefficients, mid then side; the other
    ``n_envelope`` are its band energies.
    """

    n_bins: int = 1600
    """Coefficients a channel that are coded, from the lowest: 17.2 kHz of 2048."""
    n_envelope: int = 24
    width: int = 512
    """Of the decoder's trunk."""
    decoder_depth: int = 6
    encoder_width: int = 256
    encoder_depth: int = 3
    expansion: int = 3
    kernel_size: int = 7
    hop: int = 2048
    """Samples a frame: the number of bins of the long MDCT."""
    trunk_hop: int = 512
    """Samples a frame of the decoder's trunk."""
    fine_hop: int = 512
    """Bins of the MDCT in which the decoder works."""
    short_hop: int = 128
    """Bins of the short MDCT, which shows the encoder where in a frame a transient lies."""
    n_short_bands: int = 16
    n_bands: int = 40
    """Bands whose gains the decoder predicts."""
    first_envelope_band: int = 9
    """Bands below this one (511 Hz for 40 bands) are left to the coefficients."""

    def __post_init__(self) -> None:
        self._require_in_range()
        hops = (self.hop, self.trunk_hop, self.fine_hop, self.short_hop, 4)
        if any(longer % shorter for longer, shorter in pairwise(hops)):
            raise ValueError(
                "hop, trunk_hop, fine_hop, short_hop and 4 must each be a multiple of the next"
            )
        self._require_odd_kernel_and_bands()
        self._require_at_most(("n_bins", self.hop), ("n_envelope", self.n_envelope_bands))
        _require_archivable(self.n_latents)

    @property
    def n_latents(self) -> int:
        """Latent channels D."""
        return self.n_coefficients + self.n_envelope

    @property
    def n_coefficients(self) -> int:
        """Latent channels that are coefficients."""
        return 2 * self.n_bins

    @property
    def n_fine(self) -> int:
        """Frames of the fine MDCT in a frame."""
        return self.hop // self.fine_hop

    @property
    def n_trunk(self) -> int:
        """Frames of the decoder's trunk in a frame."""
        return self.hop // self.trunk_hop

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


@dataclass(frozen=True)
class LevelConfig(_Dimensions):
    """Dimensions of a `LevelVae`.

    The first ``2 · n_bins`` latents of a frame are MDCT coefficients, mid then side;
    `earzip.network.levels` has what the others say.
    """

    n_bins: int = 1600
    """Coefficients a channel that are coded, from the lowest: 17.2 kHz of 2048."""
    width: int = 384
    """Of the decoder's trunk."""
    decoder_depth: int = 4
    encoder_width: int = 256
    encoder_depth: int = 3
    expansion: int = 3
    kernel_size: int = 7
    hop: int = 2048
    """Samples a frame: the number of bins of the long MDCT."""
    trunk_hop: int = 1024
    """Samples a frame of the decoder's trunk."""
    fine_hop: int = 512
    """Bins of the MDCT in which the decoder works."""
    short_hop: int = 256
    """Bins of the MDCT of short frames, and of the one that shows the encoder where a transient is."""
    n_short_bands: int = 16
    n_levels: int = 26
    """Bands with levels: as many as `earzip.network.levels.level_edges` has."""

    def __post_init__(self) -> None:
        self._require_in_range()
        hops = (self.hop, self.trunk_hop, self.fine_hop, self.short_hop, 128)
        if any(longer % shorter for longer, shorter in pairwise(hops)):
            raise ValueError(
                "hop, trunk_hop, fine_hop, short_hop and 128 must each be a multiple of the next"
            )
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")
        if self.hop // self.fine_hop % 2:
            raise ValueError("a frame must have an even number of fine frames")
        self._require_at_most(("n_bins", self.hop))
        _require_archivable(self.n_latents)

    @property
    def n_coefficients(self) -> int:
        """Latent channels that are coefficients."""
        return 2 * self.n_bins

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
            "tonal": self.n_levels // 2,
            "short": 1,
        }

    @property
    def n_latents(self) -> int:
        """Latent channels D."""
        return sum(self.layout.values())

    @property
    def n_fine(self) -> int:
        """Frames of the fine MDCT in a frame."""
        return self.hop // self.fine_hop

    @property
    def n_trunk(self) -> int:
        """Frames of the decoder's trunk in a frame."""
        return self.hop // self.trunk_hop

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


def n_sparse_latents(architecture: str, config: dict[str, Any]) -> int:
    """Return how many of a network's first latents are coefficients of a transform, sparse once rounded.

    A configuration that cannot be read has none.
    """
    n_bins = config.get("n_bins", TransformConfig.n_bins)
    sparse = architecture in ("transform", "levels")
    return 2 * n_bins if sparse and type(n_bins) is int else 0


def _refuse_unknown(kind: type[Any], data: dict[str, Any]) -> None:
    unknown = set(data) - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"unknown fields {', '.join(sorted(unknown))}")


_RESIDUAL_REACH = 3 * (1 + 3 + 9)  # samples a side: convolutions of 7, dilated by 1, 3 and 9


@dataclass(frozen=True)
class EarConfig:
    """Dimensions of an `EarVae`, the published network; the defaults are those of ear_vae_44k."""

    channels: int = 128
    """Channels of the first convolution; block i has ``channels · multiples[i]``."""
    multiples: tuple[int, ...] = (1, 2, 4, 8, 16)
    strides: tuple[int, ...] = (2, 4, 4, 4, 8)
    n_latents: int = 64
    transformer_depth: int = 2
    head_size: int = 32

    def __post_init__(self) -> None:
        if len(self.multiples) != len(self.strides) or not self.strides:
            raise ValueError("multiples and strides must be of one length, at least 1")
        sizes = (self.channels, *self.multiples, *self.strides, self.n_latents, self.head_size)
        if min(sizes) < 1 or self.transformer_depth < 0:
            raise ValueError("every dimension must be positive")
        most = max(*sizes, self.transformer_depth, self.channels * max(self.multiples), self.hop)
        if most > _MAX_DIMENSION:
            raise ValueError(f"a dimension is {most}, expected at most {_MAX_DIMENSION}")
        if any(stride % 2 for stride in self.strides):
            raise ValueError(f"strides must be even, got {self.strides}")
        if self.n_latents % self.head_size or self.head_size % 2:
            raise ValueError("head_size must be even and divide n_latents")
        _require_archivable(self.n_latents)

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

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EarConfig:
        """Return the configuration in ``data``; ValueError for unknown fields or bad values."""
        _refuse_unknown(cls, data)
        numbers = [n for v in data.values() for n in (v if isinstance(v, list) else [v])]
        if not all(type(number) is int for number in numbers):
            raise ValueError("every field must be an integer or a list of integers")
        try:
            values: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in data.items()
            }
            return cls(**values)
        except TypeError as error:  # a list in the place of a number, or the other way round
            raise ValueError(f"a field has the wrong type: {error}") from error

    def to_json(self) -> dict[str, int | list[int]]:
        """Return the fields as JSON-able data, the inverse of `from_json`."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_published(cls, data: dict[str, Any]) -> EarConfig:
        """Return the dimensions in a configuration as the authors publish it.

        Raises ValueError for one that describes another network than `EarVae` builds.
        """
        try:
            encoder, decoder = data["encoder"]["config"], data["decoder"]["config"]
            transformer = data["transformer"]
            n_latents = data["latent_dim"]
            expected = {
                "io_channels": (data["io_channels"], 2),
                "encoder.in_channels": (encoder["in_channels"], 2),
                "encoder.latent_dim": (encoder["latent_dim"], 2 * n_latents),
                "encoder.use_snake": (encoder["use_snake"], True),
                "decoder.out_channels": (decoder["out_channels"], 2),
                "decoder.latent_dim": (decoder["latent_dim"], n_latents),
                "decoder.use_snake": (decoder["use_snake"], True),
                "decoder.use_nearest_upsample": (decoder["use_nearest_upsample"], False),
                "decoder.final_tanh": (decoder["final_tanh"], False),
                "transformer.rotary_pos_emb": (transformer["config"]["rotary_pos_emb"], True),
            }
            expected |= {
                f"decoder.{key}": (decoder[key], encoder[key])
                for key in ("channels", "c_mults", "strides")
            }
            config = cls(
                channels=encoder["channels"],
                multiples=tuple(encoder["c_mults"]),
                strides=tuple(encoder["strides"]),
                n_latents=n_latents,
                transformer_depth=transformer["depth"],
                head_size=transformer["config"]["dim_heads"],
            )
            expected["downsampling_ratio"] = (data["downsampling_ratio"], config.hop)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a configuration of an εar-VAE: {error!r}") from error
        for name, (got, wanted) in expected.items():
            if got != wanted:
                raise ValueError(f"{name} is {got!r}, expected {wanted!r}")
        return config


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
