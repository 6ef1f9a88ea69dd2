"""Sounds that `benchmarks.behaviours` has coded: what they are is said there.

dB are of full scale, a sine of which is 0. The same samples come back on every call.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.data.pcm import SAMPLE_RATE, Samples

LOUD_S, QUIET_S = 4, 8
TONE_S, SILENCE_S = 1, 5
LIMIT_HZ = 16_000
SWEEP_S = 12
SWEEP_HZ = (20.0, 20_000.0)
SWEEP_DB = -12.0
FADE_S = 0.02

Array = NDArray[np.float64]


@dataclass(frozen=True)
class String:
    """How a struck or plucked string sounds."""

    slope: float  # partial k has the amplitude k^-slope
    position: float  # where it is struck: the share of its length
    decay_s: float  # of the first partial, to 1/e; that of partial k is 1 + k / 8 times as short
    stiffness: float  # partial k is sqrt(1 + stiffness · k²) times too high

    def note(self, f0_hz: float, duration_s: float) -> Array:
        """Return a note with 4 ms of attack and 20 ms of release; partials up to 18 kHz."""
        t = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
        note = np.zeros(len(t))
        for k in range(1, round(18_000 / f0_hz) + 1):
            f_hz = k * f0_hz * np.sqrt(1 + self.stiffness * k**2)
            if f_hz > 18_000:
                break
            amplitude = k**-self.slope * abs(np.sin(np.pi * k * self.position))
            decay = np.exp(-t * (1 + k / 8) / self.decay_s)
            # Phases that do not add up to a click.
            note += amplitude * decay * np.sin(2 * np.pi * f_hz * t + 2.4 * k**2)
        return _faded(note, attack_s=0.004)


PIANO = String(slope=1.3, position=1 / 8, decay_s=1.6, stiffness=3e-4)
GUITAR = String(slope=1.0, position=1 / 5, decay_s=0.9, stiffness=0.0)
MELODY_HZ = (220.0, 329.63, 146.83, 587.33, 440.0, 98.0, 880.0, 261.63)
CHORDS_HZ = (
    (110.0, 220.0, 277.18, 329.63),
    (146.83, 220.0, 293.66, 369.99),
    (92.5, 185.0, 277.18, 440.0),
    (123.47, 246.94, 311.13, 369.99),
)


def _ramp(x: Array) -> Array:
    """Return half a cosine from 0 at 0 to 1 at 1."""
    ramp: Array = 0.5 - 0.5 * np.cos(np.pi * np.clip(x, 0, 1))
    return ramp


def _faded(sound: Array, attack_s: float = FADE_S) -> Array:
    """Return `sound` `[T]` faded in and, in 20 ms, out."""
    t = np.arange(len(sound)) / SAMPLE_RATE
    return sound * _ramp(t / attack_s) * _ramp((len(sound) / SAMPLE_RATE - t) / FADE_S)


def _panned(sound: Array, position: float) -> Array:
    """Return `sound` `[T]` as `[T, 2]`, at equal power from left (0) to right (1)."""
    angle = position * np.pi / 2
    return np.stack([np.cos(angle) * sound, np.sin(angle) * sound], 1)


def _at_level(sound: Array, db: float) -> Array:
    """Return `sound` `[T, 2]` at a level."""
    gain = 10 ** (db / 20) / np.sqrt(2 * np.square(sound).mean())
    levelled: Array = sound * gain
    return levelled


def _on_both(sound: Array) -> Samples:
    """Return `sound` `[T]` on both channels."""
    return np.stack([sound, sound], 1).astype(np.float32)


@cache
def _chord(number: int) -> Array:
    """Return a chord of a second `[T, 2]`, each voice at its own place."""
    voices = enumerate(CHORDS_HZ[number])
    panned = [_panned(GUITAR.note(f_hz, 1), 0.2 + 0.2 * i) for i, f_hz in voices]
    chord: Array = np.sum(panned, 0)
    return chord


def _chords(n_chords: int) -> Array:
    """Return `[T, 2]`: chords of a second, in turn."""
    return np.concatenate([_chord(number % len(CHORDS_HZ)) for number in range(n_chords)])


def _pink(n_samples: int, seed: int) -> Array:
    """Return noise `[T, 2]` of equal power by octave above 20 Hz, independent in both channels."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((n_samples, 2)), axis=0)
    f_hz = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE)
    spectrum *= np.where(f_hz >= 20, 1 / np.sqrt(np.maximum(f_hz, 20)), 0)[:, None]
    noise: Array = np.fft.irfft(spectrum, n_samples, axis=0)
    return noise


def sparse() -> Samples:
    """Return eight notes of 1.5 s, of piano and guitar in turn."""
    notes = [
        _panned((PIANO, GUITAR)[i % 2].note(f_hz, 1.5), (0.35, 0.65)[i % 2])
        for i, f_hz in enumerate(MELODY_HZ)
    ]
    return _at_level(np.concatenate(notes), -20).astype(np.float32)


def quiet() -> Samples:
    """Return chords over noise 30 dB lower, of which the last 8 s are 22 dB quieter."""
    chords = _at_level(_chords(LOUD_S + QUIET_S), 0)
    sound = chords + _at_level(_pink(len(chords), 1), -30)
    first = LOUD_S * SAMPLE_RATE
    parts = [_at_level(sound[:first], -18), _at_level(sound[first:], -40)]
    return np.concatenate(parts).astype(np.float32)


def mono() -> Samples:
    """Return 10 s of chords and two bursts of noise a second, the same on both channels."""
    chords = _at_level(_chords(10), -20)
    since = np.arange(len(chords)) / SAMPLE_RATE % 0.5
    bursts = 0.2 * np.random.default_rng(2).standard_normal(len(chords)) * np.exp(-since / 0.03)
    return _on_both(chords.mean(1) + bursts)


def limited() -> Samples:
    """Return 10 s of noise and chords, nothing of them above 16 kHz."""
    chords = _at_level(_chords(10), -22)
    sound = chords + _at_level(_pink(len(chords), 3), -22)
    faded = np.stack([_faded(channel) for channel in sound.T], 1)
    f_hz = np.fft.rfftfreq(len(faded), 1 / SAMPLE_RATE)
    passed = np.fft.rfft(faded, axis=0) * _ramp((LIMIT_HZ - f_hz) / 100)[:, None]
    return np.fft.irfft(passed, len(faded), axis=0).astype(np.float32)


def silence() -> Samples:
    """Return 5 s of zeros between two tones of a second, 440 Hz at −12 dBFS."""
    t = np.arange(TONE_S * SAMPLE_RATE) / SAMPLE_RATE
    tone = _faded(10 ** (-12 / 20) * np.sin(2 * np.pi * 440 * t))
    return _on_both(np.concatenate([tone, np.zeros(SILENCE_S * SAMPLE_RATE), tone]))


def sweep() -> Samples:
    """Return the sine sweep, the same on both channels."""
    return _on_both(_faded(10 ** (SWEEP_DB / 20) * np.sin(sweep_phase())))


def sweep_hz(t: Array) -> Array:
    """Return the frequency of the sweep at each time in seconds."""
    low, high = SWEEP_HZ
    f_hz: Array = low * (high / low) ** (t / SWEEP_S)
    return f_hz


def sweep_phase() -> Array:
    """Return the phase of the sweep at each sample: the integral of its frequency."""
    low, high = SWEEP_HZ
    t = np.arange(SWEEP_S * SAMPLE_RATE) / SAMPLE_RATE
    phase: Array = 2 * np.pi * SWEEP_S / np.log(high / low) * (sweep_hz(t) - low)
    return phase
