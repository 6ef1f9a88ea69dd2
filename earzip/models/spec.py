"""What ``NAME.json`` says of a model, held against what an archive holds. Loads no numpy and no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from earzip.errors import ModelDamagedError, ModelNotFoundError, UsageError
from earzip.formats import checked
from earzip.formats.checked import LEFT_OUT, SHA256, WORD, Checked, Range, Text
from earzip.formats.geometry import (
    MAX_CONTEXT_FRAMES,
    MAX_EXPONENT,
    MAX_EXPONENT_SPREAD,
    MAX_FRAMES,
    MAX_INTEGER_BYTES,
    MAX_LATENTS,
    SAMPLE_RATE,
    Geometry,
)
from earzip.formats.symbols.layout import Layout
from earzip.network.config import LevelConfig, latent_layout
from earzip.options import QUALITIES, QUALITY_NUMBERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from earzip.arrays import Latents, Symbols


_SPEC_FORMAT = 1
_MAX_SPEC_BYTES = 1 << 20
_MAX_KBPS = 1_000_000
_NAME = Text(64, WORD)
_Exponent = Annotated[int, Range(-MAX_EXPONENT, MAX_EXPONENT)]


@dataclass(frozen=True)
class Preset(Checked):
    """A quality: what is added to step exponents (`ModelSpec.exponents_at`), how values are rounded."""

    exponent: _Exponent
    rounding: Annotated[float, Range(0, 1)]
    kbps: Annotated[float | None, Range(0, _MAX_KBPS), LEFT_OUT] = None
    """The rate it gave when the model was calibrated; None where that was not measured."""
    others: Annotated[_Exponent | None, LEFT_OUT] = None
    """What is added to exponents of latents that are no coefficients; None: half of ``exponent``."""
    thrift: Annotated[float | None, Range(0, 10), LEFT_OUT] = None
    """Squared steps of error that a bit is worth, for a network with levels; None: 0.

    See `earzip.coding.rate_distortion`.
    """


@dataclass(frozen=True)
class ModelSpec(Checked):
    """What ``NAME.json`` says of a model. Paths are those of its two files.

    Raises ValueError for what no archive can be made with.
    """

    name: Annotated[str, _NAME]
    architecture: str
    config: dict[str, Any]
    geometry: dict[str, int]
    n_latents: Annotated[int, Range(1, MAX_LATENTS)]
    step_exponents: tuple[_Exponent, ...]
    """Exponent of each latent's step at preset exponent 0; see `earzip.coding.quantizer`."""
    presets: dict[str, Preset]
    weights_sha256: Annotated[str, SHA256]
    licence: str
    source: str
    path: Path

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.step_exponents) != self.n_latents:
            raise ValueError(f"step_exponents must be {self.n_latents} integers")
        if set(self.presets) != set(QUALITIES):
            raise ValueError(f"presets must be {', '.join(QUALITIES)}")
        for quality, preset in self.presets.items():
            _require_steps(quality, self.step_exponents, preset, self.layout)
        _require_geometry(self.geometry, most_core_frames(self.n_latents, self.layout.n_sparse))

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

    @cached_property
    def layout(self) -> Layout:
        """The kinds of latents, by which their integers are coded."""
        return latent_layout(self.architecture, self.config)

    def preset_at(self, quality: str) -> Preset:
        """Return what ``quality`` stands for, as `earzip.options.quality_name` gives it.

        A number lies between the named ones, or as far beyond. Raises UsageError for one whose steps no
        archive holds.
        """
        if quality in self.presets:
            return self.presets[quality]
        number = float(quality)
        names = QUALITIES[:2] if number < QUALITY_NUMBERS[QUALITIES[1]] else QUALITIES[1:]
        ends = [(QUALITY_NUMBERS[name], self.presets[name]) for name in names]
        try:
            preset = _preset_between(ends, number)
            _require_steps(quality, self.step_exponents, preset, self.layout)
        except ValueError as error:
            raise UsageError(f"quality {quality} is too far for {self.name}: {error}") from error
        return preset

    def exponents_at(self, preset: Preset) -> NDArray[np.int32]:
        """Return the exponent of each latent's step at ``preset``, int32 ``[D]``."""
        # Loads numpy, which the help does not need.
        from earzip.coding.quantizer import preset_exponents  # noqa: PLC0415

        added = preset.exponent, preset.others
        return preset_exponents(self.step_exponents, *added, self.layout)

    def quantize(self, latents: Latents, preset: Preset) -> Symbols:
        """Return the integers of finite ``latents`` ``[D, F]`` at ``preset``."""
        # Loads numpy, and for levels torch.
        from earzip.coding.quantizer import quantize  # noqa: PLC0415

        exponents = self.exponents_at(preset)
        if not self.layout.groups:
            return quantize(latents, exponents, preset.rounding)
        from earzip.coding.rate_distortion import quantize_levels  # noqa: PLC0415

        config = LevelConfig.from_json(self.config)
        return quantize_levels(latents, exponents, config, preset.thrift or 0.0)

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
            data = json.loads(text)
            if data["format"] != _SPEC_FORMAT:
                raise ValueError(f"format {data['format']!r}, this version reads {_SPEC_FORMAT}")
            return checked.read(cls, {**data, "path": path})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else error
            raise ModelDamagedError(f"not a model specification: {why}", path) from error

    def to_json(self) -> dict[str, Any]:
        """Return the contents of ``NAME.json``, the inverse of `read`."""
        members = {"format": _SPEC_FORMAT, **checked.write(self)}
        del members["path"]
        return members

    def to_bytes(self) -> bytes:
        """Return ``NAME.json`` as it is written."""
        return json.dumps(self.to_json(), indent=1).encode() + b"\n"

    def require_weights(self, sha256: str) -> None:
        """Raise ModelDamagedError unless ``sha256`` is that of the weights."""
        if sha256 != self.weights_sha256:
            raise ModelDamagedError(
                f"weights have SHA-256 {sha256}, the specification says {self.weights_sha256}",
                self.weights_path,
            )


def is_model_name(name: str) -> bool:
    """Return whether a model may be called ``name``: up to 64 letters, digits, ``.``, ``_``, ``-``."""
    return name in _NAME


def most_core_frames(n_latents: int, n_sparse: int) -> int:
    """Return the most frames that a window's core may have for an archive to hold it as a segment.

    ``n_sparse``: how many of the latents are coefficients of a transform.
    """
    most = MAX_CONTEXT_FRAMES if n_sparse else MAX_FRAMES
    return min(most, MAX_INTEGER_BYTES // (2 * n_latents))


def _preset_between(ends: Sequence[tuple[float, Preset]], number: float) -> Preset:
    """Return the preset on the line through two, each with its number."""
    (start, first), (end, second) = ends
    share = (number - start) / (end - start)

    def between(a: float | None, b: float | None) -> float | None:
        return None if a is None or b is None else a + share * (b - a)

    others = between(first.others, second.others)
    thrift = between(first.thrift, second.thrift)
    return Preset(
        round(first.exponent + share * (second.exponent - first.exponent)),
        min(1.0, max(0.0, first.rounding + share * (second.rounding - first.rounding))),
        others=None if others is None else round(others),
        thrift=None if thrift is None else max(0.0, thrift),
    )


def _require_steps(
    quality: str, exponents: tuple[int, ...], preset: Preset, layout: Layout
) -> None:
    """Refuse exponents that an archive cannot hold once ``preset`` has added to them."""
    # As `preset_exponents` does it, without numpy.
    added, others, n = preset.exponent, preset.others, layout.n_sparse
    if others is None:
        others = round(added / 2) if n else added
    last = len(exponents) - layout.n_exact
    used = [e + added for e in exponents[:n]] + [e + others for e in exponents[n:last]]
    used += exponents[last:]
    least, most = min(used), max(used)
    if most - least > MAX_EXPONENT_SPREAD or max(-least, most) > MAX_EXPONENT:
        raise ValueError(
            f"steps of {quality} have exponents from {least} to {most}, the limits are "
            f"±{MAX_EXPONENT} and a spread of {MAX_EXPONENT_SPREAD}"
        )


def _require_geometry(members: dict[str, int], most_core: int) -> None:
    """Refuse a geometry that lacks a member, has another, or that no archive can have."""
    try:
        geometry = Geometry(SAMPLE_RATE, **members)
    except TypeError as error:
        raise ValueError(f"geometry is not that of a model: {error}") from error
    if geometry.core > most_core:
        raise ValueError(f"core is {geometry.core} frames, the limit is {most_core}")
    if max(geometry.encoder_context, geometry.decoder_context) > geometry.core:
        raise ValueError(f"a context of {geometry} is wider than the core")
