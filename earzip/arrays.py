"""Types of arrays that every floor speaks of: sound, latents, symbols."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]
"""Sound: ``[C, T]``, C channels, T samples, ±1."""
Latents = NDArray[np.float32]
"""What the encoder gives: ``[D, F]``, D channels, F frames."""
Symbols = NDArray[np.int32]
"""Quantised latents: ``[D, F]``."""
