"""docs/reader decodes `mini-2` as earzip does: on sound in which every step of the decoder is heard."""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earzip.options import CompressOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.inspect import read_info
from tests.conftest import strokes, tones
from tests.docs.reader_runs import (
    LEAST_SNR_DB,
    READER,
    SPECIFICATION,
    WEIGHTS,
    read,
    snr_db,
    worst_snr_db,
)

pytestmark = pytest.mark.skipif(not READER.exists(), reason="not in a checkout")

MODEL = WEIGHTS / "mini-2.json"
_Audio = NDArray[np.float64]


def everything() -> _Audio:
    """Return struck noise over chords, wide noise that trembles, silence, faint tones, and chords."""
    n = 35_000
    turn = 2 * np.pi / 44_100 * np.arange(n)
    noise = np.random.default_rng(1).normal(0, 0.05, (2, n)) * [[1.0], [0.3]]
    noise *= 2 ** np.sin(5 * turn)
    high = 0.1 * np.sin(500 * turn) + 0.002 * np.sin(5000 * turn) + 0.002 * np.sin(7000 * turn)
    struck = 0.3 * (tones(n) + strokes(n))
    return np.concatenate([struck, noise, np.zeros((2, n)), np.stack([high, high]), tones(n, 3)], 1)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini-2")
    soundfile.write(folder / "s.flac", everything().T, 44_100, subtype="PCM_16")
    compress_file(folder / "s.flac", folder / "s.earz", CompressOptions("mini-2"))
    return folder / "s.earz"


def test_an_archive_of_mini_2_sounds_as_earzip_restores_it(archive, tmp_path):
    header = read_info(archive).header
    assert any(header.edges)
    assert header.gain_centibels
    done = read(archive, MODEL, tmp_path / "o.wav")
    assert done.returncode == 0, done.stderr
    assert snr_db(archive, tmp_path / "o.wav") >= LEAST_SNR_DB


class Loaded:
    """The reader's modules, and what they read from an archive."""

    def __init__(self, archive: Path) -> None:
        read_archive, read_latents, read_model = (
            getattr(importlib.import_module(module), name)
            for module, name in (
                ("archive", "read_archive"),
                ("archive", "read_latents"),
                ("network", "read_model"),
            )
        )
        header, parts = read_archive(archive, SPECIFICATION)
        self.latents = read_latents(header, parts[1])
        _, self.config, self.weights = read_model(MODEL, header)
        self.own = self.network(READER / "mini_2.py")
        self.sound = self.own.decode(self.latents)

    def network(self, source: Path) -> Any:
        """Return the network that a source file of the reader describes."""
        return runpy.run_path(str(source))["Mini2"](self.config, self.weights)


@pytest.fixture(scope="module")
def loaded(archive: Path) -> Iterator[Loaded]:
    before = set(sys.modules)
    sys.path.insert(0, str(READER))
    yield Loaded(archive)
    sys.path.remove(str(READER))
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == READER:
            del sys.modules[name]


IS_SOMEWHERE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "attack": lambda told: told["is_attack"],
    "onset": lambda told: told["contrast"] > 0,
    "short frame": lambda told: told["is_short"],
    "long frame": lambda told: ~told["is_short"],
    "tonal band": lambda told: told["is_tonal"],
    "band of noise": lambda told: ~told["is_tonal"] & (told["energy"][:, ::2] > 0),
    "silence": lambda told: (told["energy"] == 0).all(1),
    "louder on one side": lambda told: np.abs(told["balance"]) > 3,
    "wide": lambda told: told["width"] > -3,
    "rising": lambda told: told["halves"] > 1.5,
}


@pytest.mark.parametrize("what", IS_SOMEWHERE)
def test_the_archive_has_everything_that_the_decoder_tells_apart(what, loaded):
    told = loaded.own.told(loaded.latents[2 * loaded.config["n_bins"] :].T)
    assert IS_SOMEWHERE[what](told).any()


CHANGES = {
    "mean level": ('+ self.w["level_mean_db"]', '+ 1.01 * self.w["level_mean_db"]'),
    "levels seen": ("/ 12 for", "/ 13 for"),
    "flags seen": ("/ 8 for", "/ 9 for"),
    "fineness": ("np.float32(0.6)", "np.float32(0.65)"),
    "tonal bands": ("mdct_edges(hop)[::2]", "mdct_edges(2 * hop)[::2]"),
    "window beside short frames": ("(is_short | beside[:-2])", "is_short"),
    "order of short coefficients": (
        "reshape(2, short_hop, -1).transpose(0, 2, 1)",
        "reshape(2, -1, short_hop)",
    ),
    "share that gates leave": (" * np.minimum(after / before, 8)", ""),
    "least that lacks": ("0.005 * wanted", "0.02 * wanted"),
    "width": ('10 * told["width"]', '11 * told["width"]'),
    "shares": ("[2 - late, late], 1), self.n_fine // 2", "[late, 2 - late], 1), self.n_fine // 2"),
    "course of fine frames": ('told["is_attack"][:, None, None], course', "False, course"),
    "gain drawn": ("clip(-6, 0.7)", "clip(-6, 0.5)"),
    "drawn between partials": ("- 2.3 * tonal", "- 1.5 * tonal"),
    "balance": ('/ 5 * told["balance"]', '/ 5.1 * told["balance"]'),
    "play": ("np.abs(off) - 0.5", "np.abs(off) - 0.6"),
    "range of the hold": ("clip(-20, 12)", "clip(-20, 11)"),
    "hold of partials": ("np.minimum(raised, 9)", "raised"),
    "course of attacks": ("clip(0.01, 4)", "clip(0.01, 3.5)"),
    "attack bands": ("8, 16, 32, 58, 120]\nFLOOR", "8, 16, 32, 50, 120]\nFLOOR"),
    "treble": ("2800 / 44100", "2400 / 44100"),
    "place of the onset": ('4 * said["block"]', '3 * said["block"]'),
    "steps behind the onset": ("at : at + 4", "at : at + 2"),
    "steps before the onset": ("max(at - 6, 0)", "max(at - 3, 0)"),
    "share that is hushed": ("share < 0.25", "share < 0.2"),
    "ramps": ("np.minimum(gains, smooth)", "smooth"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_sound_tells_every_constant_of_the_decoder(what, loaded, tmp_path):
    text = (READER / "mini_2.py").read_text()
    before, behind = CHANGES[what]
    assert text.count(before) == 1
    (tmp_path / "changed.py").write_text(text.replace(before, behind))
    changed = loaded.network(tmp_path / "changed.py").decode(loaded.latents)
    assert worst_snr_db(loaded.sound, changed) < LEAST_SNR_DB
