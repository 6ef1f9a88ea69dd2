"""What ``NAME.json`` says of a model, held against what an archive holds. Loads no numpy and no torch."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earzip.errors import ModelDamagedError, ModelNotFoundError
from earzip.formats.geometry import (
    MAX_CONTEXT_FRAMES,
    MAX_EXPONENT,
    MAX_EXPONENT_SPREAD,
    MAX_INTEGER_BYTES,
    MAX_LATENTS,
)
from earzip.network.config import n_sparse_latents

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


QUALITIES = ("low", "medium", "high")
_SPEC_FORMAT = 1
_MAX_SPEC_BYTES = 1 << 20
_MAX_FRAMES = 65_536
_MAX_KBPS = 1_000_000
_GEOMETRY = {  # the smallest and the greatest value of each, as in an archive's header
    "hop": (1, 65_536),
    "lead": (0, 1 << 20),
    "core": (1, _MAX_FRAMES),
    "encoder_context": (0, _MAX_FRAMES),
    "decoder_context": (0, _MAX_FRAMES),
}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DEFAULT_MODEL = "mini"


@dataclass(frozen=True)
class Preset:
    """A quality: what is added to step exponents (`ModelSpec.exponents_at`), how values are rounded."""

    exponent: int
    rounding: float
    kbps: float | None = None
    """The rate it gave when the model was calibrated; None where that was not measured."""


@dataclass(frozen=True)
class ModelSpec:
    """What ``NAME.json`` says of a model. Paths are those of its two files.

    Raises ValueError for what no archive can be made with.
    """

    name: str
    architecture: str
    config: dict[str, Any]
    geometry: dict[str, int]
    n_latents: int
    step_exponents: tuple[int, ...]
    """Exponent of each latent's step at preset exponent 0; see `earzip.coding.quantizer`."""
    presets: dict[str, Preset]
    weights_sha256: str
    licence: str
    source: str
    path: Path

    def __post_init__(self) -> None:
        for keys, kind, wanted in (
            (("name", "architecture", "weights_sha256", "licence", "source"), str, "a text"),
            (("config", "geometry", "presets"), dict, "an object"),
            (("step_exponents",), tuple, "a list"),
        ):
            for key in keys:
                if not isinstance(getattr(self, key), kind):
                    raise ValueError(f"{key} is {getattr(self, key)!r}, expected {wanted}")
        if not _SHA256.fullmatch(self.weights_sha256):
            raise ValueError("weights_sha256 is not 64 hexadecimal digits")
        if not is_model_name(self.name):
            raise ValueError(f"name is {self.name!r}, expected a word")
        _require_integer("n_latents", self.n_latents, 1, MAX_LATENTS)
        if len(self.step_exponents) != self.n_latents:
            raise ValueError(f"step_exponents must be {self.n_latents} integers")
        for exponent in self.step_exponents:
            _require_integer("step_exponents", exponent, -MAX_EXPONENT, MAX_EXPONENT)
        _require_presets(self.presets)
        for quality, preset in self.presets.items():
            _require_steps(quality, self.step_exponents, preset.exponent, self.n_sparse)
        _require_geometry(self.geometry, most_core_frames(self.n_latents, self.n_sparse))

    @property
    def weights_path(self) -> Path:
        """The safetensors file beside the specification."""
        return self.path.with_suffix(".safetensors")

    @cached_property
    def sha256(self) -> str:
        """The identity that archives name: of the network, its geometry and its weights."""
        identity = {
            "architecture": self.architecture,
            "config": self.config,
            "geometry": self.geometry,
            "weights_sha256": self.weights_sha256,
        }
        canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def n_sparse(self) -> int:
        """How many of the first latents are coefficients of a transform, which are coded by context."""
        return n_sparse_latents(self.architecture, self.config)

    def exponents_at(self, added: int) -> NDArray[np.int32]:
        """Return the exponent of each latent's step at a preset that adds ``added``, int32 ``[D]``."""
        # Loads numpy, which the help does without.
        from earzip.coding.quantizer import preset_exponents  # noqa: PLC0415

        return preset_exponents(self.step_exponents, added, self.n_sparse)

    @classmethod
    def read(cls, path: Path) -> ModelSpec:
        """Return the specification in ``path``.

        Raises ModelNotFoundError when it is not there and ModelDamagedError when it is malformed.
        """
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_SPEC_BYTES + 1)
        except OSError as error:
            raise ModelNotFoundError(f"cannot read the model: {error.strerror}", path) from error
        try:
            if len(text) > _MAX_SPEC_BYTES:
                raise ValueError(f"more than {_MAX_SPEC_BYTES} bytes")
            return cls._from_json(json.loads(text), path)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else error
            raise ModelDamagedError(f"not a model specification: {why}", path) from error

    @classmethod
    def _from_json(cls, data: dict[str, Any], path: Path) -> ModelSpec:
        if data["format"] != _SPEC_FORMAT:
            raise ValueError(f"format {data['format']!r}, this version reads {_SPEC_FORMAT}")
        return cls(
            name=data["name"],
            architecture=data["architecture"],
            config=data["config"],
            geometry=data["geometry"],
            n_latents=data["n_latents"],
            step_exponents=tuple(data["step_exponents"]),
            presets={name: Preset(**preset) for name, preset in data["presets"].items()},
            weights_sha256=data["weights_sha256"],
            licence=data["licence"],
            source=data["source"],
            path=path,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what stands in ``NAME.json``, the inverse of `read`."""
        return {
            "format": _SPEC_FORMAT,
            "name": self.name,
            "architecture": self.architecture,
            "config": self.config,
            "geometry": self.geometry,
            "n_latents": self.n_latents,
            "step_exponents": list(self.step_exponents),
            "presets": {name: _without_none(asdict(p)) for name, p in self.presets.items()},
            "weights_sha256": self.weights_sha256,
            "licence": self.licence,
            "source": self.source,
        }


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in members.items() if value is not None}


def is_model_name(name: str) -> bool:
    """Return whether a model may be called ``name``: up to 64 letters, digits, ``.``, ``_``, ``-``."""
    return _NAME.fullmatch(name) is not None


def most_core_frames(n_latents: int, n_sparse: int) -> int:
    """Return the most frames that a window's core may have for an archive to hold it as a segment.

    ``n_sparse``: how many of the latents are coefficients of a transform.
    """
    most = MAX_CONTEXT_FRAMES if n_sparse else _MAX_FRAMES
    return min(most, MAX_INTEGER_BYTES // (2 * n_latents))


def _require_presets(presets: dict[str, Preset]) -> None:
    if set(presets) != set(QUALITIES):
        raise ValueError(f"presets must be {', '.join(QUALITIES)}")
    for preset in presets.values():
        _require_integer("exponent", preset.exponent, -MAX_EXPONENT, MAX_EXPONENT)
        _require_number("rounding", preset.rounding, 0, 1)
        if preset.kbps is not None:
            _require_number("kbps", preset.kbps, 0, _MAX_KBPS)


def _require_steps(quality: str, exponents: tuple[int, ...], added: int, n_sparse: int) -> None:
    """Refuse exponents that an archive cannot hold once a preset has ``added`` to them."""
    # As `preset_exponents` does it, without numpy.
    used = [e + added for e in exponents[:n_sparse]]
    used += [e + round(added / 2 if n_sparse else added) for e in exponents[n_sparse:]]
    least, most = min(used), max(used)
    if most - least > MAX_EXPONENT_SPREAD or max(-least, most) > MAX_EXPONENT:
        raise ValueError(
            f"steps of {quality} have exponents from {least} to {most}, an archive holds those "
            f"within ±{MAX_EXPONENT} and {MAX_EXPONENT_SPREAD} of each other"
        )


def _require_geometry(geometry: dict[str, Any], most_core: int) -> None:
    if set(geometry) != set(_GEOMETRY):
        raise ValueError(f"geometry must be {', '.join(_GEOMETRY)}")
    for key, (least, most) in _GEOMETRY.items():
        _require_integer(key, geometry[key], least, most)
    if geometry["core"] > most_core:
        raise ValueError(f"core is {geometry['core']} frames, an archive holds {most_core}")
    for key in ("encoder_context", "decoder_context"):
        if geometry[key] > geometry["core"]:
            raise ValueError(f"{key} is {geometry[key]}, wider than the core")


def _require_number(what: str, value: object, least: int, most: int) -> None:
    number = type(value) in (int, float)  # not bool, which is an int
    if not (number and least <= value <= most):  # type: ignore[operator]
        raise ValueError(f"{what} is {value!r}, expected a number from {least} to {most}")


def _require_integer(what: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{what} is {value!r}, expected an integer from {least} to {most}")
