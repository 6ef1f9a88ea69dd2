"""The settings that decide what is in an archive, and how those of one that exists differ."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from earzip.formats.archive.header import Header
from earzip.formats.archive.layout import ArchiveSizes
from earzip.models.spec import ModelSpec, Preset
from earzip.models.store import find_model
from earzip.options import CompressOptions, quality_number
from earzip.results import kbps

_LOWER = 0.95
"""Of a rate: what may come of asking for the same one again."""


@dataclass(frozen=True)
class ArchiveSettings:
    """The settings that decide an archive's bytes: a model, and a quality or a bitrate."""

    spec: ModelSpec
    quality: str
    bitrate_kbps: float | None = None
    """Takes the place of ``quality``."""

    @classmethod
    def of(cls, options: CompressOptions) -> ArchiveSettings:
        """Return those of ``options``. Raises as `find_model` does, or UsageError for the quality."""
        return cls(find_model(options.model), options.quality, options.bitrate_kbps)

    @cached_property
    def preset(self) -> Preset:
        """What the quality stands for."""
        return self.spec.preset_at(self.quality)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that change with everything that changes an archive's sound."""
        spec = self.spec
        facts: list[Any] = [spec.layout.coding, spec.sha256]
        if self.bitrate_kbps is not None:
            facts += ["bitrate", self.bitrate_kbps]
        for preset in spec.presets.values() if self.bitrate_kbps else (self.preset,):
            facts += [preset.rounding, *spec.exponents_at(preset).tolist()]
            if preset.thrift:
                facts.append(preset.thrift)
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def lower_than(self, header: Header, sizes: ArchiveSizes) -> str | None:
        """Return how these settings are lower than others of this model in an archive; None if not."""
        if header.model.sha256 != self.spec.sha256 or header.settings == self.digest:
            return None
        before = header.quantizer.quality
        if self.bitrate_kbps is not None:
            rate = kbps(sizes.total - sizes.pictures - sizes.exact, header.duration_s)
            is_lower = self.bitrate_kbps < _LOWER * rate
            return f"{rate:.3g} kbps, {self.bitrate_kbps:g} is lower" if is_lower else None
        is_lower = quality_number(self.quality) < quality_number(before)
        return f"quality {before}, {self.quality} is lower" if is_lower else None

    def changes_since(self, header: Header) -> list[str]:
        """Return in words how these settings differ from those of an archive.

        Of the model, its coding of symbols and the quality that is before → now. Other steps or rounding
        are named only where these are the same; otherwise they usually differ too.
        """
        before, model = header.model, self.spec
        changes = []
        if before.sha256 != model.sha256:
            then, now = (f"{m.name} {m.sha256[:16]}" for m in (before, model))
            changes.append(f"model {then} → {now}")
        elif header.symbols != (coding := model.layout.coding):
            changes.append(f"symbols {header.symbols} → {coding}")
        if self.bitrate_kbps is not None:
            changes.append(f"quality {header.quantizer.quality} → {self.bitrate_kbps:g} kbps")
        elif header.quantizer.quality != self.quality:
            changes.append(f"quality {header.quantizer.quality} → {self.quality}")
        return changes or ["other steps or rounding"]
