"""Make the flat set `drums`, full of attacks: `python -m benchmarks.data.drums`.

Patterns and single strokes of drum kits (Debian's hydrogen-drumkits, sampled one by one), dry
percussion and plucked strings of General MIDI sound fonts, and synthetic applause. Every track is drawn
from a seed of its own: the same packages give the same samples. Kits and sound fonts of training,
validation and test are disjoint but for the sound font of validation, which other renders use.
"""

import argparse
import functools
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import mido  # type: ignore[import-untyped]
import numpy as np
import soundfile

from benchmarks.data.arrange import DRUMS, PROGRAM, Event, Piece, save
from benchmarks.data.pcm import (
    CHANNELS,
    SAMPLE_RATE,
    Samples,
    decode,
    hours,
    normalise,
    write_set,
)
from benchmarks.data.render import soundfont_file, synthesise, trim
from benchmarks.data.tracks import package_folder

PACKAGE = "hydrogen-drumkits"
KITS = {
    "train": (
        "Audiophob", "BJA_Pacific", "ElectricEmpireKit", "ForzeeStereo", "HardElectro1",
        "Millo-Drums_v.1", "Millo_MultiLayered2", "Millo_MultiLayered3", "circAfrique v4",
    ),
    "val": ("ColomboAcousticDrumkit", "The Black Pearl 1.0"),
    "test": ("rumpf_kit_z01_h2", "VariBreaks", "Gimme A Hand 1.0"),
}  # fmt: skip
SOUNDFONTS = {
    "train": ("fluid-soundfont-gm", "opl3-soundfont"),
    "val": ("musescore-general-soundfont-lossless",),
    "test": ("timgm6mb-soundfont",),
}

PERCUSSION = {
    "side-stick": 37, "clap": 39, "closed-hat": 42, "cowbell": 56, "bongo": 60, "conga": 62,
    "timbale": 65, "agogo": 67, "claves": 75, "wood-block": 76, "triangle": 81, "castanets": 85,
}  # fmt: skip
"""Notes of General MIDI's percussion that are struck dry, some by two sizes (the next note)."""
PLUCKED = {
    "harpsichord": 6, "celesta": 8, "glockenspiel": 9, "xylophone": 13, "nylon-guitar": 24,
    "muted-guitar": 28, "pizzicato": 45, "harp": 46, "banjo": 105, "koto": 107, "kalimba": 108,
}  # fmt: skip

TRACK_S = 30
PATTERNS_A_KIT, STROKES_A_KIT, ROUNDS_A_FONT, APPLAUSES = 8, 3, 2, 10
_LONGEST_SAMPLE_S, _LEAST_PEAK = 4.0, 0.01
_SOUND_FILES = {".flac", ".wav", ".aiff"}

# Steps of a bar of sixteenths where a drum is likely, by what the names of samples say of it.
_ROLES = (
    (re.compile(r"kick|bass|\bbd|^bd|_bd", re.I), (0.95, 0.1, 0.2, 0.1, 0.3, 0.1, 0.3, 0.1)),
    (re.compile(r"snare|^sd|^sn|clap|stick|rim", re.I), (0.05, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.15)),
    (re.compile(r"hat|^hh|ride", re.I), (0.9, 0.35, 0.8, 0.35, 0.9, 0.35, 0.8, 0.35)),
    (re.compile(r"crash|cra|splash|china", re.I), (0.12, 0, 0, 0, 0.02, 0, 0, 0)),
    (re.compile(r""), (0.2, 0.12, 0.15, 0.12, 0.2, 0.12, 0.15, 0.12)),
)

_Rng = np.random.Generator


@functools.lru_cache(maxsize=2)
def kit_samples(root: Path, kit: str) -> dict[str, Samples]:
    """Every sample of a kit that sounds, by file name: float32 `[T, 2]` of at most 4 s."""
    (folder,) = package_folder(root, PACKAGE).rglob(f"drumkits/{kit}")
    samples = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix in _SOUND_FILES):
        if soundfile.info(path).frames:
            audio = decode(path)[: round(_LONGEST_SAMPLE_S * SAMPLE_RATE)]
            if np.abs(audio).max(initial=0.0) > _LEAST_PEAK:
                samples[path.stem] = normalise(audio, -3)
    return samples


def pattern(samples: dict[str, Samples], rng: _Rng, seconds: float = TRACK_S) -> Samples:
    """Bars of sixteenths on four to seven of the samples, each in its place in the stereo image."""
    names = sorted(samples)
    chosen = [names[i] for i in rng.permutation(len(names))[: rng.integers(4, 8)]]
    # A kick and a snare where the kit has them: without, most draws are of cymbals alone.
    for role, _ in _ROLES[:2]:
        of_role = [name for name in names if role.search(name)]
        if of_role:
            chosen.append(of_role[rng.integers(len(of_role))])
    step_s = 60 / rng.uniform(70, 170) / 4
    n_steps = int(seconds / step_s)
    swing, dry = rng.uniform(0, 0.3), rng.uniform(0.4, 1.0)
    track = np.zeros((round(seconds * SAMPLE_RATE), CHANNELS), np.float32)
    for name in dict.fromkeys(chosen):
        odds = next(odds for role, odds in _ROLES if role.search(name))
        struck = rng.random(8) < odds  # the pattern, repeated but for some strokes
        pan, level = rng.uniform(-0.8, 0.8), 10 ** (rng.uniform(-12, 0) / 20)
        for step in range(n_steps):
            if (struck[step % 8] or rng.random() < 0.05) and rng.random() < 0.93:
                at_s = (step + swing * (step % 2)) * step_s + abs(rng.normal(0, 0.003))
                add(track, samples[name], at_s, level * rng.uniform(dry, 1), pan)
    return normalise(track, rng.uniform(-12, -1))


def strokes(samples: dict[str, Samples], rng: _Rng, seconds: float = TRACK_S) -> Samples:
    """One or two samples alone, struck at irregular times, some of them in fast rows."""
    names = sorted(samples)
    chosen = [names[i] for i in rng.permutation(len(names))[: rng.integers(1, 3)]]
    track = np.zeros((round(seconds * SAMPLE_RATE), CHANNELS), np.float32)
    for name in chosen:
        pan, at_s = rng.uniform(-0.5, 0.5), rng.uniform(0, 1)
        while at_s < seconds:
            for _ in range(rng.choice((1, 1, 2, 4, 8))):
                add(track, samples[name], at_s, rng.uniform(0.3, 1), pan)
                at_s += rng.uniform(0.06, 0.16)
            at_s += rng.exponential(0.5)
    return normalise(track, rng.uniform(-12, -1))


def add(track: Samples, sample: Samples, at_s: float, gain: float, pan: float) -> None:
    """Add `sample` to `track` (both float32 `[T, 2]`) from `at_s` on; `pan` −1 (left) to 1."""
    start = round(at_s * SAMPLE_RATE)
    length = min(len(sample), len(track) - start)
    if length > 0:
        sides = np.array([min(1.0, 1 - pan), min(1.0, 1 + pan)], np.float32) * np.float32(gain)
        track[start : start + length] += sample[:length] * sides


def applause(rng: _Rng, seconds: float = TRACK_S) -> Samples:
    """Claps of a few to some hundred hands: bursts of band-passed noise of 1 to 15 ms, in stereo."""
    n = round(seconds * SAMPLE_RATE)
    track = np.zeros((n, CHANNELS), np.float32)
    rate_hz = np.exp(rng.uniform(np.log(4), np.log(400)))
    swell = 0.7 + 0.3 * np.sin(2 * np.pi * (np.arange(n) / n * rng.uniform(0.5, 3) + rng.random()))
    hands = [(rng.uniform(600, 2500), rng.uniform(0.002, 0.015), rng.uniform(-0.9, 0.9))
             for _ in range(60)]  # fmt: skip
    at_s = rng.exponential(1 / rate_hz)
    while at_s < seconds:
        centre_hz, decay_s, pan = hands[rng.integers(len(hands))]
        clap = _clap(centre_hz * rng.uniform(0.9, 1.1), decay_s, rng)
        level = 10 ** (rng.uniform(-24, 0) / 20) * swell[min(n - 1, round(at_s * SAMPLE_RATE))]
        add(track, clap, at_s, level, pan)
        at_s += rng.exponential(1 / rate_hz)
    return normalise(track, rng.uniform(-15, -3))


def _clap(centre_hz: float, decay_s: float, rng: _Rng) -> Samples:
    n = round(6 * decay_s * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    f_hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    # A resonance of an octave and a half, over a slope that leaves the treble of a sharp attack.
    octaves = np.log2(np.maximum(f_hz, 20) / centre_hz)
    spectrum *= np.exp(-(octaves**2) / 1.5) + 0.1
    sound = np.fft.irfft(spectrum, n) * np.exp(-np.arange(n) / SAMPLE_RATE / decay_s)
    sound /= np.abs(sound).max()
    return np.repeat(sound.astype(np.float32)[:, None], CHANNELS, 1)


def percussion(note: int, rng: _Rng, seconds: float = TRACK_S) -> Piece:
    """Strokes of one instrument of General MIDI's percussion, single ones and fast rows."""
    piece: Piece = []
    at_s = 0.1
    while at_s < seconds:
        gap_s = rng.uniform(0.07, 0.3)
        for _ in range(rng.choice((1, 2, 3, 4, 8))):
            piece += _note(at_s, 0.1, DRUMS, note + int(rng.integers(2)), rng)
            at_s += gap_s
        at_s += rng.exponential(0.25)
    return piece


def plucked(program: int, rng: _Rng, seconds: float = TRACK_S) -> Piece:
    """Broken chords and runs of one plucked or struck instrument."""
    piece: Piece = [Event(0.0, mido.Message(PROGRAM, channel=0, program=program))]
    at_s, root = 0.1, int(rng.integers(50, 64))
    while at_s < seconds:
        scale = np.array([0, 2, 4, 7, 9, 12, 16, 19]) + root + int(rng.choice((0, 5, 7, -3)))
        gap_s = rng.uniform(0.09, 0.4)
        for _ in range(rng.integers(4, 12)):
            piece += _note(at_s, 1.5 * gap_s, 0, int(rng.choice(scale)), rng)
            at_s += gap_s
    return sorted(piece, key=lambda event: event.time_s)


def _note(at_s: float, length_s: float, channel: int, note: int, rng: _Rng) -> Piece:
    velocity = int(rng.integers(50, 125))
    on = mido.Message("note_on", channel=channel, note=note, velocity=velocity)
    off = mido.Message("note_off", channel=channel, note=note)
    return [Event(at_s, on), Event(at_s + length_s, off)]


def play(piece: Piece, soundfont: Path) -> Samples:
    """The piece without reverb or chorus, trimmed, with its peak at −1 dBFS."""
    ordered = sorted(piece, key=lambda event: event.time_s)
    with tempfile.TemporaryDirectory() as scratch:
        midi = Path(scratch, "piece.mid")
        save(ordered, midi)
        return normalise(trim(synthesise(midi, soundfont, effects=False)))


def seeded(name: str, number: int) -> _Rng:
    """The generator of track `number` of a kind."""
    return np.random.default_rng([*name.encode(), number])


def drum_track(root: Path, kit: str, kind: str, number: int, seconds: float = TRACK_S) -> Samples:
    """Track `number` of a kit; `kind`: `pattern` or `strokes`."""
    make = {"pattern": pattern, "strokes": strokes}[kind]
    return make(kit_samples(root, kit), seeded(f"{kit} {kind}", number), seconds)


def struck_track(
    root: Path, package: str, instrument: str, number: int, seconds: float = TRACK_S
) -> Samples:
    """Track `number` of an instrument in `PERCUSSION` or `PLUCKED`, with a package's sound font."""
    rng = seeded(f"{package} {instrument}", number)
    if instrument in PERCUSSION:
        piece = percussion(PERCUSSION[instrument], rng, seconds)
    else:
        piece = plucked(PLUCKED[instrument], rng, seconds)
    return play(piece, soundfont_file(root, package))


def applause_track(number: int, seconds: float = TRACK_S) -> Samples:
    """Synthetic applause; numbers from 1000 on are those of validation and test."""
    return applause(seeded("applause", number), seconds)


def items(root: Path) -> Iterator[tuple[str, Callable[[], Samples]]]:
    """Name and maker of each training track."""
    for kit in KITS["train"]:
        for kind, n_tracks in (("pattern", PATTERNS_A_KIT), ("strokes", STROKES_A_KIT)):
            for number in range(n_tracks):
                maker = functools.partial(drum_track, root, kit, kind, number)
                yield f"{PACKAGE}/{kit} {kind} {number}", maker
    for package in SOUNDFONTS["train"]:
        for number in range(ROUNDS_A_FONT):
            for instrument in (*PERCUSSION, *PLUCKED):
                maker = functools.partial(struck_track, root, package, instrument, number)
                yield f"{package}/{instrument} {number}", maker
    for number in range(APPLAUSES):
        yield f"synthetic/applause {number}", functools.partial(applause_track, number)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path("data"), help="where the audio lies")
    parser.add_argument("--jobs", type=int, default=2, help="tracks made at once")
    args = parser.parse_args()
    entries = write_set(args.root, "drums", items(args.root), args.jobs)
    print(f"drums.s16 ready {len(entries)} tracks {hours(entries):.2f} h")


if __name__ == "__main__":
    main()
