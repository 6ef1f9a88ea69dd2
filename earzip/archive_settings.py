"""What an archive is made with, and whether an older one was made with the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from earzip.formats.archive.header import Header
from earzip.formats.symbols.coding import coding_for
from earzip.models.spec import ModelSpec


@dataclass(frozen=True)
class ArchiveSettings:
    """A model and a preset."""

    spec: ModelSpec
    quality: str

    @property
    def exponents(self) -> NDArray[np.int32]:
        """The exponent of each latent's step."""
        return self.spec.exponents_at(self.spec.presets[self.quality].exponent)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that change with everything that changes an archive's sound."""
        preset = self.spec.presets[self.quality]
        coding = coding_for(self.spec.n_sparse)
        facts = [coding, self.spec.sha256, preset.rounding, *self.exponents.tolist()]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def changes_since(self, header: Header) -> list[str]:
        """Return in words how these settings differ from those of an archive.

        Of the model, its coding of symbols and the quality that is before → now. Other steps or rounding
        are only told where these are the same: otherwise they are other ones as a rule.
        """
        before, model = header.model, self.spec
        changes = []
        if before.sha256 != model.sha256:
            then, now = (f"{m.name} {m.sha256[:16]}" for m in (before, model))
            changes.append(f"model {then} → {now}")
        elif header.symbols != (coding := coding_for(model.n_sparse)):
            changes.append(f"symbols {header.symbols} → {coding}")
        if header.quantizer.quality != self.quality:
            changes.append(f"quality {header.quantizer.quality} → {self.quality}")
        return changes or ["other steps or rounding"]
