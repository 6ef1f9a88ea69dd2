"""Reads the raw bytes of a segment from the front."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earzip.errors import DamagedArchiveError


class PieceReader:
    """Takes bytes from the front, and never more than there are."""

    def __init__(self, data: bytes) -> None:
        self._data = np.frombuffer(data, np.uint8)
        self._position = 0

    def take(self, n_bytes: int) -> NDArray[np.uint8]:
        """Return the next ``n_bytes``; DamagedArchiveError where there are fewer."""
        if n_bytes > len(self._data) - self._position:
            raise DamagedArchiveError(
                f"segment ends {n_bytes - len(self._data) + self._position} bytes short"
            )
        self._position += n_bytes
        return self._data[self._position - n_bytes : self._position]

    def integer(self, n_bytes: int) -> int:
        """Return the next ``n_bytes`` as an unsigned little-endian integer."""
        return int.from_bytes(self.take(n_bytes).tobytes(), "little")

    def finish(self) -> None:
        """Raise DamagedArchiveError where bytes are left over."""
        if self._position != len(self._data):
            raise DamagedArchiveError(
                f"segment has {len(self._data) - self._position} bytes more than its latents take"
            )
