"""What a file proves of its own sound: checksums that its encoder put beside it."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import numpy.typing as npt

Verdict = Literal["right", "wrong"]

WRONG_MD5 = (
    "the MD5 in its header is not that of its sound: it was changed since, or encoded wrongly"
)
"""A warning."""


class SampleDigest:
    """The MD5 of a stream's samples, as FLAC and WavPack store it: interleaved, in whole bytes."""

    def __init__(self, expected: bytes, bits: int, n_promised: int | None = None) -> None:
        """``bits``: the depth of a sample, to which ``expected`` refers; at most 32.

        ``n_promised``: frames that ``expected`` may be of, where there are more.
        """
        self._expected = expected
        self.bits = bits
        self._n_promised = n_promised
        self._n_taken = 0
        self._is_right_so_far = False
        self._md5 = hashlib.md5(usedforsecurity=False)

    def add(self, frames: npt.NDArray[np.float32]) -> None:
        """Take float32 ``[T, C]`` within ±1, of samples of at most 24 bits."""
        scaled = frames * np.float32(1 << self.bits - 1)
        self.add_whole(scaled.astype(np.int16 if self.bits <= 16 else np.int32))

    def add_whole(self, frames: npt.NDArray[np.signedinteger]) -> None:
        """Take samples ``[T, C]`` as integers, which the lower ``bits`` hold."""
        if self._n_promised is not None and 0 < self._n_promised - self._n_taken < len(frames):
            n_more = self._n_promised - self._n_taken
            self._update(frames[:n_more])
            self._is_right_so_far = self._is_right
            frames = frames[n_more:]
        self._update(frames)

    def _update(self, frames: npt.NDArray[np.signedinteger]) -> None:
        self._n_taken += len(frames)
        n_bytes = -(-self.bits // 8)
        if n_bytes == 3:
            little = np.ascontiguousarray(frames.astype("<i4")).view(np.uint8)
            self._md5.update(little.reshape(-1, 4)[:, :3].tobytes())
        else:
            self._md5.update(np.ascontiguousarray(frames, f"<i{n_bytes}").data)

    @property
    def verdict(self) -> Verdict:
        """Whether what was taken, or the frames that were promised, is what was encoded."""
        return "right" if self._is_right or self._is_right_so_far else "wrong"

    @property
    def hex(self) -> str:
        """The MD5 of all samples that were taken, 32 hexadecimal digits."""
        return self._md5.hexdigest()

    @property
    def _is_right(self) -> bool:
        return self._md5.digest() == self._expected
