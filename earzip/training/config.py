"""A training run as data: what stands in a configuration's JSON, and how single values are changed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from earzip.errors import UsageError
from earzip.network.networks import network_config

_SHORTEST_CROP = 8192  # samples: two windows of the longest STFT
_MOST = 1e6  # of any weight: beyond, there is no music to be made of it

Channels = Literal["mslr", "lr"]
"""Mid, side, left and right, or left and right alone."""
Form = Literal["hinge", "least-squares"]
"""Of the losses between network and discriminator."""


def _require(record: Any, low: float, high: float, *names: str) -> None:
    """Refuse fields of ``record`` outside ``low`` to ``high``."""
    for name in names:
        value = getattr(record, name)
        for number in value if isinstance(value, tuple) else (value,):
            if not low <= number <= high:
                raise ValueError(f"{name} is {value}, expected {low:g} to {high:g}")


@dataclass(frozen=True)
class LossConfig:
    """What a reconstruction is judged by, beside its rate: weights of the terms; 0 switches one off.

    `earzip.training.losses` defines the terms.
    """

    k_weighting: bool = True
    """Whether both signals are K-weighted before every term."""
    magnitude_channels: Channels = "mslr"
    phase_channels: Channels = "lr"
    log_magnitude: float = 1.0
    convergence: float = 1.0
    mel: float = 1.0
    complex_convergence: float = 0.7
    complex_bands: float = 0.5
    instantaneous_frequency: float = 0.3
    group_delay: float = 0.3
    correlation: float = 0.5
    coherence: float = 0.5
    level: float = 0.0

    def __post_init__(self) -> None:
        _require(self, 0, _MOST, *(f.name for f in fields(self) if f.type == "float"))


@dataclass(frozen=True)
class AdversarialConfig:
    """The discriminator and what the network gets from it; see `earzip.training.discriminator`."""

    weight: float = 1.0
    feature_matching: float = 2.0
    form: Form = "hinge"
    fft_sizes: tuple[int, ...] = (2048, 1024, 512, 256, 128)
    channels: int = 32
    learning_rate: float = 2e-4
    start: float = 0.0
    """Share of the steps after which it sets in."""

    def __post_init__(self) -> None:
        _require(self, 0, _MOST, "weight", "feature_matching", "learning_rate")
        _require(self, 0, 1, "start")
        _require(self, 1, 4096, "channels")
        _require(self, 16, _SHORTEST_CROP // 2, "fft_sizes")
        if not self.fft_sizes or any(size % 4 for size in self.fft_sizes):
            raise ValueError(f"fft_sizes is {list(self.fft_sizes)}, expected multiples of 4")


@dataclass(frozen=True)
class BottleneckConfig:
    """What noise a decoder learns to bear, and how the rate is counted and steered.

    `earzip.training.bottleneck` defines the noises and the measures.
    """

    noise: Literal["round", "uniform", "gaussian", "none"] = "round"
    step_scales: tuple[float, float] = (0.35, 3.0)
    """Range the quantiser's step is drawn from, in posterior scales, log-uniformly, an item."""
    rounding: float = 0.5
    """A magnitude of s steps is rounded to ⌊s + rounding⌋: below ½ with a dead zone about 0.

    Only with the noise ``round``.
    """
    rate: Literal["prior", "kl"] = "prior"
    target_kbps: float | None = 12.0
    """Rate that the weight of the rate's term is steered to; None: that weight stays as it is."""
    first_weight: float = 2e-3
    """Weight of the rate's term at the start, a bit a frame; 0 with no target switches it off."""

    def __post_init__(self) -> None:
        low, high = self.step_scales
        if not 0 < low <= high <= _MOST:
            raise ValueError(f"step_scales is {[low, high]}, expected 0 < low <= high")
        _require(self, 0.1, 0.5, "rounding")
        _require(self, 0, _MOST, "first_weight")
        if self.target_kbps is not None:
            _require(self, 0.01, _MOST, "target_kbps")
            if not self.first_weight:
                raise ValueError("first_weight is 0, which no target can steer; target_kbps: null")

    @property
    def rounding_of_archives(self) -> float:
        """The rounding of the latents of a trained model: ``rounding`` where it was trained with it."""
        return self.rounding if self.noise == "round" else 0.5


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW and its schedule: linear warm-up, flat, then linearly to 0."""

    learning_rate: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    linear_map_share: float = 0.1
    """Learning rate of maps that were set from statistics, as a share of ``learning_rate``."""
    warm_up: float = 0.02
    """Share of the steps in which the learning rate rises."""
    hold: float = 0.4
    """Share of the steps after which it falls."""
    clip: float = 1.0
    """Largest gradient norm."""
    ema: float = 0.0
    """Decay, a step, of the running mean of the weights that a run ends with; 0: the last weights."""

    def __post_init__(self) -> None:
        _require(self, 0, _MOST, "learning_rate", "weight_decay", "linear_map_share")
        _require(self, 1e-6, _MOST, "clip")
        _require(self, 0, 1, "warm_up", "hold")
        _require(self, 0, 0.999999, "betas", "ema")


@dataclass(frozen=True)
class TrainingConfig:
    """A run: the same configuration, music and machine give the same weights."""

    architecture: str
    model: dict[str, Any]
    """Dimensions of the network, as `earzip.network.networks.network_config` takes them."""
    steps: int
    batch_size: int = 4
    """Crops of a step, over all processes and accumulated passes together."""
    accumulation: int = 1
    """Passes that a process splits its share of a step into, to save memory."""
    crop_frames: int = 64
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    seed: int = 0
    music: dict[str, float] = field(default_factory=lambda: {"train": 1.0})
    """File stem of each pool of music, with its odds."""
    voices: str | None = None
    """File stem of a pool of speech that is mixed over one crop in ten."""
    statistics_batches: int = 200
    """Batches that the linear maps and steps of a transform or spectral network are set from."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    bottleneck: BottleneckConfig = field(default_factory=BottleneckConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    adversarial: AdversarialConfig | None = None

    def __post_init__(self) -> None:
        names = ("steps", "batch_size", "accumulation", "crop_frames", "statistics_batches")
        _require(self, 1, 1e9, *names)
        _require(self, 0, 2**31, "seed")
        if not self.music or not all(0 < odds <= _MOST for odds in self.music.values()):
            raise ValueError("music must name pools, each with odds above 0")
        for name in [*self.music, *([self.voices] if self.voices else [])]:
            if Path(name).name != name:
                raise ValueError(f"{name!r} is no name of a pool, which is a file's without suffix")
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
        return _parsed(cls, data, "")

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
                if data[group] is not None:  # of no discriminator, nothing has to go
                    data = _changed(data, name.split("."), value)
        return TrainingConfig.from_json(data)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data, the inverse of `from_json`."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return data


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


_Record = TypeVar("_Record")


def _parsed(kind: type[_Record], data: dict[str, Any], prefix: str) -> _Record:
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]  # a dataclass
    if unknown := sorted(set(data) - set(names)):
        raise ValueError(f"{prefix}{unknown[0]} is unknown; there are {', '.join(names)}")
    values = {
        name: _value(hints[name], data[name], prefix + name) for name in names if name in data
    }
    required = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]  # type: ignore[arg-type]
    if missing := [prefix + name for name in required if name not in values]:
        raise ValueError(f"{' and '.join(missing)} must be given")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from error


def _value(hint: Any, value: Any, name: str) -> Any:
    """Return ``value`` as the field's type; ValueError when it has another."""
    origin, options = get_origin(hint), get_args(hint)
    if type(None) in options:
        (hint,) = (option for option in options if option is not type(None))
        result = None if value is None else _value(hint, value, name)
    elif is_dataclass(hint) and isinstance(hint, type):
        result = _parsed(hint, _typed(dict, value, name), f"{name}.")
    elif origin is Literal:
        if value not in options:
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(options)}")
        result = value
    elif origin is tuple:
        if options[-1] is not ... and len(_typed(list, value, name)) != len(options):
            raise ValueError(f"{name} is {value!r}, expected a list of {len(options)} numbers")
        result = tuple(_value(options[0], item, name) for item in _typed(list, value, name))
    elif origin is dict:
        items = _typed(dict, value, name).items()
        result = {key: _value(options[1], item, f"{name}.{key}") for key, item in items}
    else:
        result = value if hint is Any else _typed(hint, value, name)
    return result


_TYPE_NAMES = {
    bool: "true or false", dict: "an object", float: "a number", int: "a whole number",
    list: "a list", str: "a text",
}  # fmt: skip


def _typed(kind: Any, value: Any, name: str) -> Any:
    if kind is float and type(value) is int and abs(value) < _MOST**2:
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise ValueError(f"{name} is {value!r}, expected {_TYPE_NAMES[kind]}")
    return value
