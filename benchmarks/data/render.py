"""Render MIDI pieces to the flat sets `midi` and `valmidi`: `python -m benchmarks.data.render`.

Lossless, full-band material, with what the recordings lack: single instruments and small ensembles.
Needs fluidsynth and `pip install mido`. Which piece is heard how is drawn from a fixed seed, and
some pieces are kept apart for validation.
"""

import argparse
import functools
import random
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.data import arrange
from benchmarks.data.arrange import INSTRUMENTS, Piece
from benchmarks.data.pcm import CHANNELS, SAMPLE_RATE, Samples, hours, normalise, write_set
from benchmarks.data.tracks import package_folder

SEED = 20_240
SILENCE = 10 ** (-60 / 20)
# At 0.5 dense pieces clip inside fluidsynth; its float output at 0.2 stays below full scale.
GAIN = 0.2
SHORTEST_S = 8.0
HELD_OUT_ONE_IN = 14

# Package and share of the renders. TimGM6mb is not here: it renders the test pieces.
SOUNDFONTS = {
    "fluid-soundfont-gm": 0.45,
    "musescore-general-soundfont-lossless": 0.45,
    "opl3-soundfont": 0.10,
}

# Longest excerpt of a piece as written.
FULL_S = {"freedoom": 90, "mma": 60, "planetblupi-music-midi": 150, "music21": 45}
SPARSE_S = 30
VALIDATION_S = 20
VALIDATION_PLAYERS = (
    "piano", "nylon-guitar", "flute", "cello", "harp",
    "organ", "choir", "violin", "vibraphone", "clarinet",
)  # fmt: skip


@dataclass(frozen=True)
class Render:
    """One render to make: which piece, for which players (none: as written), with which sound."""

    piece: Path
    soundfont: str
    players: tuple[str, ...]  # one instrument for each kept channel, the busiest first
    length_s: float
    effects: bool  # reverb and chorus

    @property
    def name(self) -> str:
        """`source/piece players soundfont`."""
        how = "+".join(dict.fromkeys(self.players)) or "full"
        return (
            f"{self.piece.parent.name}/{self.piece.stem} {how} {self.soundfont.partition('-')[0]}"
        )


def held_out(piece: Path) -> bool:
    """Whether the piece is kept for validation: fixed by its name alone."""
    return zlib.crc32(piece.name.encode()) % HELD_OUT_ONE_IN == 0


def plan_training(pieces: Iterable[Path]) -> Iterator[Render]:
    """Each piece as written, and one or two sparse arrangements of it."""
    for piece in pieces:
        rng = random.Random(f"{SEED} {piece.parent.name}/{piece.name}")
        yield Render(piece, pick(rng), (), FULL_S[piece.parent.name], rng.random() < 0.8)
        engraved = piece.parent.name == "music21"
        for _ in range(2 if engraved else 1):
            size = rng.choice((1, 1, 1, 2, 3, 4))
            names = tuple(rng.choice(list(INSTRUMENTS)) for _ in range(size))
            if engraved and rng.random() < 0.4:
                # All voices of the score on one instrument: a piano, a choir, an organ.
                names = (rng.choice(list(INSTRUMENTS)),) * 6
            yield Render(piece, pick(rng), names, SPARSE_S, rng.random() < 0.6)


def plan_validation(pieces: Iterable[Path]) -> Iterator[Render]:
    """Solos of engraved pieces, each on another instrument."""
    engraved = [piece for piece in pieces if piece.parent.name == "music21"]
    for number, (piece, player) in enumerate(zip(engraved, VALIDATION_PLAYERS, strict=False)):
        voices = 6 if player in ("piano", "organ", "choir", "harp") else 1
        soundfont = list(SOUNDFONTS)[number % 2]
        yield Render(piece, soundfont, (player,) * voices, VALIDATION_S, effects=True)


def pick(rng: random.Random) -> str:
    """Sound font, by the shares."""
    return rng.choices(list(SOUNDFONTS), list(SOUNDFONTS.values()))[0]


def arrangement(render: Render) -> Piece:
    """Arrange the notes to play; empty if the piece has too little for these players."""
    piece = arrange.load(render.piece)
    rng = random.Random(render.name)
    if render.players:
        players = arrange.players_for(piece, render.players)
        piece = arrange.reorchestrate(piece, players)
    if arrange.duration_s(piece) < SHORTEST_S:
        return []
    start_s = arrange.busiest_window(piece, render.length_s)
    return arrange.shape(arrange.excerpt(piece, start_s, render.length_s), rng)


def synthesise(midi: Path, soundfont: Path, *, effects: bool = True) -> Samples:
    """Play a MIDI file with fluidsynth: float32 `[T, 2]` at 44.1 kHz.

    `effects`: with reverb and chorus.
    """
    switch = "yes" if effects else "no"
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch, "audio.raw")
        command = ["fluidsynth", "-ni", "-q", "-g", str(GAIN), "-r", str(SAMPLE_RATE)]
        command += ["-R", switch, "-C", switch, "-o", "synth.dynamic-sample-loading=1"]
        command += ["-O", "float", "-T", "raw", "-F", str(raw), str(soundfont), str(midi)]
        # It warns of every drum kit that a sound font replaces by the standard one.
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return np.fromfile(raw, np.float32).reshape(-1, CHANNELS)


def soundfont_file(root: Path, package: str) -> Path:
    """One sound font in an unpacked package; links to it do not count."""
    found = package_folder(root, package).rglob("*.sf2")
    (soundfont,) = (path for path in found if not path.is_symlink())
    return soundfont


def trim(audio: Samples) -> Samples:
    """`audio` without the silence at both ends (below −60 dB of its peak)."""
    loud = np.flatnonzero(np.abs(audio).max(axis=1) > SILENCE * np.abs(audio).max(initial=0.0))
    return audio[loud[0] : loud[-1] + 1] if loud.size else audio[:0]


def perform(render: Render, root: Path) -> Samples:
    """Render, trimmed, with its peak at −1 dBFS; empty if the piece does not suit."""
    piece = arrangement(render)
    if not piece:
        return np.zeros((0, CHANNELS), np.float32)
    soundfont = soundfont_file(root, render.soundfont)
    with tempfile.TemporaryDirectory() as scratch:
        midi = Path(scratch, "piece.mid")
        arrange.save(piece, midi)
        audio = trim(synthesise(midi, soundfont, effects=render.effects))
    return normalise(audio) if len(audio) >= SHORTEST_S * SAMPLE_RATE / 2 else audio[:0]


def items(renders: Iterable[Render], root: Path) -> Iterator[tuple[str, Callable[[], Samples]]]:
    """Name and maker of each render."""
    for render in renders:
        yield render.name, functools.partial(perform, render, root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--root", type=Path, default=Path("data"), help="where scores.py put the pieces"
    )
    parser.add_argument("--jobs", type=int, default=2, help="pieces rendered at once")
    parser.add_argument(
        "--every", type=int, default=1, help="only each so many of the training renders; 1: all"
    )
    args = parser.parse_args()
    pieces = sorted((args.root / "midi").glob("*/*.mid"))
    kept_apart = [piece for piece in pieces if held_out(piece)]
    training = [piece for piece in pieces if not held_out(piece)]
    plans = {
        "valmidi": list(plan_validation(kept_apart)),
        "midi": list(plan_training(training))[:: args.every],
    }
    for name, renders in plans.items():
        entries = write_set(args.root, name, items(renders, args.root), args.jobs)
        print(f"{name}.s16 ready {len(entries)} tracks {hours(entries):.2f} h")


if __name__ == "__main__":
    main()
