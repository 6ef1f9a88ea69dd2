"""A training run as data: its JSON configuration, and changes of single values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from earzip.errors import UsageError
from earzip.formats.checked import Checked, Range, read, write
from earzip.network.config import network_config

_SHORTEST_CROP = 8192  # samples: two windows of the longest STFT
_MOST = 1e6  # of any weight: beyond, there is no music to be made of it

Channels = Literal["mslr", "lr"]
"""Mid, side, left and right, or left and right alone."""
Form = Literal["hinge", "least-squares"]
"""Of the losses between network and discriminator."""


_Weight = Annotated[float, Range(0, _MOST)]
_Share = Annotated[float, Range(0, 1)]
_Count = Annotated[int, Range(1, 1_000_000_000)]
_FftSize = Annotated[int, Range(16, _SHORTEST_CROP // 2)]
_Decay = Annotated[float, Range(0, 0.999999)]


@dataclass(frozen=True)
class LossConfig(Checked):
    """What a reconstruction is judged by, beside its rate: weights of the terms; 0 switches one off.

    `earzip.training.losses` defines the terms.
    """

    k_weighting: bool = True
    """Whether both signals are K-weighted before every term."""
    magnitude_channels: Channels = "mslr"
    phase_channels: Channels = "lr"
    log_magnitude: _Weight = 1.0
    convergence: _Weight = 1.0
    mel: _Weight = 1.0
    complex_convergence: _Weight = 0.7
    complex_bands: _Weight = 0.5
    instantaneous_frequency: _Weight = 0.3
    group_delay: _Weight = 0.3
    correlation: _Weight = 0.5
    coherence: _Weight = 0.5
    level: _Weight = 0.0


@dataclass(frozen=True)
class AdversarialConfig(Checked):
    """The discriminator and what the network gets from it; see `earzip.training.discriminator`."""

    weight: _Weight = 1.0
    feature_matching: _Weight = 2.0
    form: Form = "hinge"
    fft_sizes: tuple[_FftSize, ...] = (2048, 1024, 512, 256, 128)
    channels: Annotated[int, Range(1, 4096)] = 32
    learning_rate: _Weight = 2e-4
    start: _Share = 0.0
    """Share of the steps after which it sets in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.fft_sizes or any(size % 4 for size in self.fft_sizes):
            raise ValueError(f"fft_sizes is {list(self.fft_sizes)}, expected multiples of 4")


@dataclass(frozen=True)
class BottleneckConfig(Checked):
    """What noise a decoder learns to bear, and how the rate is counted and steered.

    `earzip.training.bottleneck` defines the noises and the measures.
    """

    noise: Literal["round", "uniform", "gaussian", "none"] = "round"
    step_scales: tuple[float, float] = (0.35, 3.0)
    """Range the quantiser's step is drawn from, in posterior scales, log-uniformly, an item."""
    rounding: Annotated[float, Range(0.1, 0.5)] = 0.5
    """A magnitude of s steps is rounded to ⌊s + rounding⌋: below ½ with a dead zone about 0.

    Only with the noise ``round``.
    """
    rate: Literal["prior", "kl"] = "prior"
    target_kbps: Annotated[float | None, Range(0.01, _MOST)] = 12.0
    """Rate that the weight of the rate's term is steered to; None: that weight stays as it is."""
    first_weight: _Weight = 2e-3
    """Weight of the rate's term at the start, a bit a frame; 0 with no target switches it off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.step_scales
        if not 0 < low <= high <= _MOST:
            raise ValueError(f"step_scales is {[low, high]}, expected 0 < low <= high")
        if self.target_kbps is not None and not self.first_weight:
            raise ValueError("first_weight is 0, which no target can steer; target_kbps: null")

    @property
    def rounding_of_archives(self) -> float:
        """The rounding of the latents of a trained model: ``rounding`` where it was trained with it."""
        return self.rounding if self.noise == "round" else 0.5


@dataclass(frozen=True)
class OptimiserConfig(Checked):
    """AdamW and its schedule: linear warm-up, flat, then linearly to 0."""

    learning_rate: _Weight = 2e-3
    betas: tuple[_Decay, _Decay] = (0.9, 0.95)
    weight_decay: _Weight = 0.01
    linear_map_share: _Weight = 0.1
    """Learning rate of maps that were set from statistics, as a share of ``learning_rate``."""
    warm_up: _Share = 0.02
    """Share of the steps in which the learning rate rises."""
    hold: _Share = 0.4
    """Share of the steps after which it falls."""
    clip: Annotated[float, Range(1e-6, _MOST)] = 1.0
    """Largest gradient norm."""
    ema: _Decay = 0.0
    """Decay, a step, of the running mean of the weights that a run ends with; 0: the last weights."""


@dataclass(frozen=True)
class TrainingConfig(Checked):
    """A run: the same configuration, music and machine give the same weights."""

    architecture: str
    model: dict[str, Any]
    """Dimensions of the network, as `earzip.network.config.network_config` takes them."""
    steps: _Count
    batch_size: _Count = 4
    """Crops of a step, over all processes and accumulated passes together."""
    accumulation: _Count = 1
    """Passes that a process splits its share of a step into, to save memory."""
    crop_frames: _Count = 64
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    seed: Annotated[int, Range(0, 2**31)] = 0
    music: dict[str, float] = field(default_factory=lambda: {"train": 1.0})
    """File stem of each pool of music, with its odds."""
    voices: str | None = None
    """File stem of a pool of speech that is mixed over one crop in ten."""
    statistics_batches: _Count = 200
    """Batches that the linear maps and steps of a transform or spectral network are set from."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    bottleneck: BottleneckConfig = field(default_factory=BottleneckConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    adversarial: AdversarialConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.music or not all(0 < odds <= _MOST for odds in self.music.values()):
            raise ValueError("music must name pools, each with odds above 0")
        for name in [*self.music, *([self.voices] if self.voices else [])]:
            if Path(name).name != name:
                raise ValueError(f"{name!r} is not the name of a pool (a file name without suffix)")
        try:
            hop = network_config(self.architecture, self.model).hop
        except ValueError as error:
            raise ValueError(f"model: {error}") from error
        if self.crop_frames * hop < _SHORTEST_CROP:
            least = -(-_SHORTEST_CROP // hop)
            raise ValueError(f"crop_frames is {self.crop_frames}, expected at least {least}")

    @classmethod
    def load(cls, path: Path, changes: Mapping[str, Any] | None = None) -> TrainingConfig:
        """Return the configuration in the JSON file ``path``, with ``changes`` as `from_json` takes them.

        Raises UsageError when it is not one.
        """
        try:
            return cls.from_json(json.loads(path.read_bytes()), changes)
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"not a training configuration: {error}", path) from error

    @classmethod
    def from_json(
        cls, data: dict[str, Any], changes: Mapping[str, Any] | None = None
    ) -> TrainingConfig:
        """Return the configuration in ``data``; ValueError for unknown names and wrong types.

        ``changes`` has new values by their dotted names, ``{"loss.mel": 0}``.
        """
        if not isinstance(data, dict):
            raise ValueError("expected an object")  # of the user's file, not ours
        for name, value in (changes or {}).items():
            data = _changed(data, name.split("."), value)
        return read(cls, data, by_hand=True)

    def without(self, parts: Iterable[str]) -> TrainingConfig:
        """Return this configuration with ``parts``, names in `PARTS`, switched off.

        Raises ValueError for a part of another architecture.
        """
        data = self.to_json()
        for part in parts:
            if part == "transformer" and self.architecture != "ear":
                raise ValueError(f"the {self.architecture} network has no transformer")
            for name, value in PARTS[part].items():
                group, _, _ = name.partition(".")
                if data[group] is not None:  # without a discriminator there is nothing to remove
                    data = _changed(data, name.split("."), value)
        return TrainingConfig.from_json(data)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data, the inverse of `from_json`."""
        return write(self)


# Parts of the objective and of the network by the names that users switch them off with.
PARTS: dict[str, dict[str, Any]] = {
    "k-weighting": {"loss.k_weighting": False},
    "mid-side": {"loss.magnitude_channels": "lr"},
    "magnitude": {"loss.log_magnitude": 0.0, "loss.convergence": 0.0},
    "mel": {"loss.mel": 0.0},
    "complex": {"loss.complex_convergence": 0.0, "loss.complex_bands": 0.0},
    "phase": {"loss.instantaneous_frequency": 0.0, "loss.group_delay": 0.0},
    "correlation": {"loss.correlation": 0.0},
    "coherence": {"loss.coherence": 0.0},
    "level": {"loss.level": 0.0},
    "rate": {"bottleneck.target_kbps": None, "bottleneck.first_weight": 0.0},
    "quantisation": {"bottleneck.noise": "none"},
    "adversarial": {"adversarial": None},
    "feature-matching": {"adversarial.feature_matching": 0.0},
    "transformer": {"model.transformer_depth": 0},
}


def _changed(data: dict[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    key, *rest = keys
    if not rest:
        return data | {key: value}
    inner = data.get(key)
    if inner is None:
        inner = {}
    if not isinstance(inner, dict):
        raise ValueError(f"{key} has no parts to change")
    return data | {key: _changed(inner, rest, value)}
