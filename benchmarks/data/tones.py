"""Make the flat set `tones` by synthesis: `python -m benchmarks.data.tones`.

What music has little of and a codec must not trip over: single gliding tones, partials that decay into
silence, steady noise, bursts out of nothing. The same samples come back from every call.
"""

import argparse
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.data.pcm import SAMPLE_RATE, Samples, hours, normalise, write_set

TRACK_S = 30
TRACKS = 24
"""Of each kind."""
TOP_HZ = 19_500.0

Mono = npt.NDArray[np.float64]  # [T]


def glides(rng: np.random.Generator) -> Samples:
    """One to three tones that glide evenly in pitch, up or down, over one to ten seconds."""
    track = np.zeros((TRACK_S * SAMPLE_RATE, 2))
    for _ in range(rng.integers(1, 4)):
        at = 0
        while at < len(track):
            n = min(round(rng.uniform(1, 10) * SAMPLE_RATE), len(track) - at)
            low, high = np.log(30.0), np.log(TOP_HZ)
            octaves = np.linspace(rng.uniform(low, high), rng.uniform(low, high), n)
            tone = np.sin(2 * np.pi * np.cumsum(np.exp(octaves)) / SAMPLE_RATE)
            track[at : at + n] += _panned(_faded(tone) * _level(rng, -30), rng)
            at += n
    return _finished(track, rng)


def decays(rng: np.random.Generator) -> Samples:
    """Notes of harmonic or inharmonic partials that die away for up to ten seconds."""
    track = np.zeros((TRACK_S * SAMPLE_RATE, 2))
    at = 0
    while at < len(track):
        n = min(round(rng.uniform(2, 10) * SAMPLE_RATE), len(track) - at)
        t = np.arange(n) / SAMPLE_RATE
        f0_hz = 40 * 2 ** rng.uniform(0, 6)
        ratios = np.arange(1, 25) ** rng.choice([1.0, 1.02, 1.3])
        if rng.random() < 0.3:
            ratios = 1 + np.sort(rng.exponential(4, 12))
        decay_s, slope = np.exp(rng.uniform(np.log(0.15), np.log(3))), rng.uniform(0.3, 2)
        note = np.zeros(n)
        for k, f_hz in enumerate(f0_hz * ratios, 1):
            if f_hz < TOP_HZ:
                fall = np.exp(-t / decay_s * (1 + k / rng.uniform(4, 30)))
                phase = rng.uniform(0, 2 * np.pi)
                note += k**-slope * fall * np.sin(2 * np.pi * f_hz * t + phase)
        track[at : at + n] += _panned(_faded(note, attack_s=0.003) * _level(rng, -12), rng)
        at += round(n * rng.uniform(0.3, 1))
    return _finished(track, rng)


def noises(rng: np.random.Generator) -> Samples:
    """Steady noise of one slope and band after the other, as wide or narrow as music's."""
    parts = []
    left = TRACK_S * SAMPLE_RATE
    while left > 0:
        n = min(round(rng.uniform(2, 8) * SAMPLE_RATE), left)
        spectrum = np.fft.rfft(rng.standard_normal((2, n)))
        f_hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
        spectrum *= np.maximum(f_hz, 20) ** -rng.uniform(0, 1)
        if rng.random() < 0.4:
            low = 20 * 2 ** rng.uniform(0, 8)
            spectrum *= (f_hz >= low) & (f_hz < low * 2 ** rng.uniform(1, 8))
            spectrum += 1e-9  # for a part so short that no bin is in the band
        mid, side = np.fft.irfft(spectrum, n)
        side = side * rng.uniform(0, 1)
        part = np.stack([mid + side, mid - side], 1)
        parts.append(_faded(part / np.abs(part).max()) * _level(rng, -30))
        left -= n
    return _finished(np.concatenate(parts), rng)


def bursts(rng: np.random.Generator) -> Samples:
    """Clicks and short bursts of noise or tone, out of silence or of soft noise."""
    track = np.zeros((TRACK_S * SAMPLE_RATE, 2))
    if rng.random() < 0.5:
        track += rng.standard_normal(track.shape) * 10 ** (rng.uniform(-90, -50) / 20)
    at = 0
    while at < len(track):
        n = min(
            round(np.exp(rng.uniform(np.log(2e-4), np.log(0.4))) * SAMPLE_RATE), len(track) - at
        )
        if rng.random() < 0.5:
            burst = rng.standard_normal(n)
        else:
            hz = 60 * 2 ** rng.uniform(0, 8)
            burst = np.sin(2 * np.pi * hz * np.arange(n) / SAMPLE_RATE)
        fall = np.exp(-np.arange(n) / n * rng.uniform(0, 6))
        track[at : at + n] += _panned(burst * fall * _level(rng, -24), rng)
        at += n + round(rng.exponential(0.5) * SAMPLE_RATE)
    return _finished(track, rng)


KINDS: dict[str, Callable[[np.random.Generator], Samples]] = {
    kind.__name__: kind for kind in (glides, decays, noises, bursts)
}


def _level(rng: np.random.Generator, least_db: float) -> float:
    return float(10 ** (rng.uniform(least_db, 0) / 20))


def _panned(sound: Mono, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    angle = rng.uniform(0, np.pi / 2) if rng.random() < 0.7 else np.pi / 4
    return np.stack([np.cos(angle) * sound, np.sin(angle) * sound], 1)


def _faded(
    sound: npt.NDArray[np.float64], attack_s: float = 0.01, release_s: float = 0.02
) -> npt.NDArray[np.float64]:
    t_s = np.arange(len(sound)) / SAMPLE_RATE
    fade = np.minimum(t_s / attack_s, 1) * np.minimum((t_s[-1] - t_s) / release_s, 1)
    return sound * (fade if sound.ndim == 1 else fade[:, None])


def _finished(track: npt.NDArray[np.float64], rng: np.random.Generator) -> Samples:
    """Return `track` at a level between those of soft and loud masters."""
    return normalise(track.astype(np.float32), rng.uniform(-20, -1))


def make(kind: str, number: int) -> Samples:
    """Return track ``number`` of a kind, always the same."""
    return KINDS[kind](np.random.default_rng([list(KINDS).index(kind), number]))


def items() -> Iterator[tuple[str, Callable[[], Samples]]]:
    """Name and maker of each track."""
    for kind in KINDS:
        for number in range(TRACKS):
            yield f"{kind}-{number}", functools.partial(make, kind, number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path("data"), help="where the set goes")
    parser.add_argument("--jobs", type=int, default=2, help="tracks made at once")
    args = parser.parse_args()
    entries = write_set(args.root, "tones", items(), args.jobs)
    print(f"tones.s16 ready {len(entries)} tracks {hours(entries):.2f} h")


if __name__ == "__main__":
    main()
