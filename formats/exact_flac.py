"""FLAC files of a source's own samples: every one of them, at its rate, channels and depth."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from earzip.formats.audio import open_source
from earzip.formats.audio_write import ErrorKeeper, flac_holds_rate
from earzip.formats.source_reader import SourceFacts

_BITS = (8, 16, 24)  # libsndfile's FLAC has no others
_SUBTYPES = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}
_LEVEL = 1.0  # of libsndfile's 0 to 1: flac's -8


def exact_flac_bits(facts: SourceFacts) -> int | None:
    """Return how many bits a sample a FLAC file of the source takes; None if there can be none.

    There can be none of a lossy source, of floats, of more than 24 bits or an unknown number of them, of
    a rate that FLAC cannot hold, and of no samples at all, which libsndfile writes no file for.
    """
    if not facts.lossless or facts.is_float or facts.bit_depth is None or not facts.n_frames:
        return None
    if not flac_holds_rate(facts.sample_rate):
        return None
    return next((bits for bits in _BITS if bits >= facts.bit_depth), None)


def write_exact_flac(source: Path, file: BinaryIO, bits: int) -> None:
    """Write the samples of ``source`` as FLAC of ``bits`` a sample, without tags, to an empty file.

    ``bits`` is what `exact_flac_bits` says. Channels keep their order; where the speaker positions are
    not those that FLAC implies, they are lost: compare what is read back. Raises SourceError, or OSError
    where ``file`` cannot be written.
    """
    keeper = ErrorKeeper(file)
    with open_source(source) as reader, keeper:
        rate, channels = reader.facts.sample_rate, reader.facts.channels
        with soundfile.SoundFile(
            keeper,
            "w",
            rate,
            channels,
            _SUBTYPES[bits],
            format="FLAC",
            compression_level=_LEVEL,
        ) as sound:
            for block in reader.blocks():
                # float32 holds 24 bits exactly, and libsndfile takes the upper bits of an int32.
                whole = np.rint(block.T.astype(np.float64) * 2**31)
                sound.write(np.clip(whole, -(2**31), 2**31 - 1).astype(np.int32))
