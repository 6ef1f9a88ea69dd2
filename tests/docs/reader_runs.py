"""Runs docs/reader, and compares what it decodes with what earzip restores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from earzip.transcode.sound import open_sound
from tests.docs.pages import ROOT

READER = ROOT / "docs" / "reader"
SPECIFICATION = ROOT / "formats" / "SPEC.md"
GOLDEN = ROOT / "tests" / "data" / "golden"
WEIGHTS = ROOT / "earzip" / "weights"

LEAST_SNR_DB = 60.0
SILENT = 1e-8  # mean power: −80 dB
ALONE = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[1:]
runpy.run_path(f"{sys.argv[0]}/decode.py", run_name="__main__")
used = {name.split(".")[0] for name in sys.modules}
assert not used & {"earzip", "torch", "safetensors", "soundfile"}, used
"""


def read(archive: Path, model: Path, wav: Path) -> subprocess.CompletedProcess[str]:
    files = (READER, archive, SPECIFICATION, model, wav)
    return subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, files)], capture_output=True, text=True, check=False
    )


def snr_db(archive: Path, wav: Path) -> float:
    """Return how far the reader's sound is from earzip's own, of the coded sound, where it is worst."""
    with open_sound(archive, coded=True) as sound:
        expected = np.concatenate(list(sound.blocks()), 1)
    samples, rate = soundfile.read(wav)
    assert rate == 44_100
    return worst_snr_db(expected, samples.T)


def worst_snr_db(expected: NDArray[Any], decoded: NDArray[Any]) -> float:
    """Return the signal-to-noise ratio of the worst tenth of a second that is not silent."""
    assert decoded.shape == expected.shape
    n_stretches = max(expected.shape[1] // 4410, 1)
    powers, noises = (
        np.array([np.mean(part**2) for part in np.array_split(x, n_stretches, 1)])
        for x in (expected.astype(np.float64), decoded.astype(np.float64) - expected)
    )
    audible = powers > SILENT
    assert audible.any()
    return float(np.min(10 * np.log10(powers[audible] / (noises[audible] + 1e-30))))
