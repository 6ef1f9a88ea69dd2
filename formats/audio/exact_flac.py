"""FLAC files of a source's own samples: every one of them, at its rate, channels and depth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from earzip.formats.audio.write import ErrorKeeper, LibrarysFile, flac_holds_rate

Audio = npt.NDArray[np.float32]

_BITS = (8, 16, 24)  # libsndfile's FLAC has no others
_SUBTYPES = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}
_LEVEL = 1.0  # of libsndfile's 0 to 1: flac's -8


class Facts(Protocol):
    """What a FLAC file must hold of a source: `SourceFacts`, or what an archive's header says of it."""

    @property
    def lossless(self) -> bool:
        """Whether its codec is lossless."""

    @property
    def is_float(self) -> bool:
        """Whether its samples are floats."""

    @property
    def bit_depth(self) -> int | None:
        """Bits of a sample, if they are known."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def n_frames(self) -> int:
        """Samples a channel."""


def exact_flac_bits(facts: Facts) -> int | None:
    """Return how many bits a sample a FLAC file of the source takes; None if there can be none.

    There can be none of a lossy source, of floats, of more than 24 bits or an unknown number of them, of
    a rate that FLAC cannot hold, and of no samples at all, which libsndfile writes no file for.
    """
    if not facts.lossless or facts.is_float or facts.bit_depth is None or not facts.n_frames:
        return None
    if not flac_holds_rate(facts.sample_rate):
        return None
    return next((bits for bits in _BITS if bits >= facts.bit_depth), None)


def write_exact_flac(
    file: LibrarysFile, blocks: Iterable[Audio], sample_rate: int, channels: int, bits: int
) -> None:
    """Write ``blocks``, float32 ``[C, T]`` of whole ``bits``, as FLAC without tags to an empty file.

    Channels keep their order; where the speaker positions are not those that FLAC implies, they are lost:
    compare what is read back. Raises what ``blocks`` does, and OSError where ``file`` cannot be written.
    """
    keeper = ErrorKeeper(file)
    with (
        keeper,
        soundfile.SoundFile(
            keeper,
            "w",
            sample_rate,
            channels,
            _SUBTYPES[bits],
            format="FLAC",
            compression_level=_LEVEL,
        ) as sound,
    ):
        for block in blocks:
            # float32 holds 24 bits exactly, and libsndfile takes the upper bits of an int32.
            whole = np.rint(block.T.astype(np.float64) * 2**31)
            sound.write(np.clip(whole, -(2**31), 2**31 - 1).astype(np.int32))
