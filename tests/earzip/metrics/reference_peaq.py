"""Parts of PEAQ from their equations in ITU-R BS.1387-2, one band and one bin at a time."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RATE, SIZE = 48_000, 2048
N_BANDS = 109
_LOWEST = 7 * math.asinh(80 / 650)
_HIGHEST = 7 * math.asinh(18_000 / 650)


def edge_hz(band: int) -> float:
    return 650 * math.sinh(min(_LOWEST + band / 4, _HIGHEST) / 7)


def centre_hz(band: int) -> float:
    low, high = _LOWEST + band / 4, min(_LOWEST + (band + 1) / 4, _HIGHEST)
    return 650 * math.sinh((low + high) / 2 / 7)


def ear_db(hz: float) -> float:
    """What the outer and middle ear do to a sine (equation 7)."""
    khz = hz / 1000
    return -0.6 * 3.64 * khz**-0.8 + 6.5 * math.exp(-0.6 * (khz - 3.3) ** 2) - 1e-3 * khz**3.6


@cache
def shares() -> Array:
    """The share of each bin that lies in each band."""
    width = RATE / SIZE
    found = np.zeros((N_BANDS, SIZE // 2 + 1))
    for band in range(N_BANDS):
        for k in range(SIZE // 2 + 1):
            low = max((k - 0.5) * width, edge_hz(band))
            high = min((k + 0.5) * width, edge_hz(band + 1))
            found[band, k] = max(high - low, 0) / width
    return found


def in_bands(power: Array) -> Array:
    return np.maximum(shares() @ power, 1e-12)


def internal_noise(band: int) -> float:
    return float(10 ** (0.4 * 0.364 * (centre_hz(band) / 1000) ** -0.8))


def mask_db(band: int) -> float:
    """By how much noise must be softer than the excitation to be masked (equation 25)."""
    return 3.0 if band / 4 <= 12 else band / 16


def spread(energies: Array) -> Array:
    return _spread(energies) / _spread(np.ones(N_BANDS))


def _spread(energies: Array) -> Array:
    """The sum over the bands from which energy spreads, to the power 0.4 (equations 15 to 18)."""
    total = np.zeros(N_BANDS)
    for source in range(N_BANDS):
        level = 10 * math.log10(energies[source])
        upwards = -24 - 230 / centre_hz(source) + 0.2 * level
        shape = np.zeros(N_BANDS)
        for band in range(N_BANDS):
            bark = (band - source) / 4
            shape[band] = 10 ** ((27 * bark if bark < 0 else upwards * bark) / 10)
        total += (energies[source] * shape / shape.sum()) ** 0.4
    return np.asarray(total ** (1 / 0.4))


def spectrum(frame: Array) -> Array:
    """Power of bins, where the greatest of a full-scale sine of 1019.5 Hz is 92 dB."""
    sine = np.sin(2 * np.pi * 1019.5 / RATE * np.arange(SIZE))
    window = np.hanning(SIZE)
    full, power = (np.abs(np.fft.rfft(window * sound)) ** 2 for sound in (sine, frame))
    return np.asarray(10**9.2 * power / full.max())


def steady_nmr_db(frame: Array, error: float) -> float:
    """NMR of a steady sound that the decoded one exceeds by ``error`` in amplitude, at every frequency.

    The error's energy is error² times the sound's, in all bands.
    """
    ear = [0.0, *(10 ** (ear_db(k * RATE / SIZE) / 10) for k in range(1, SIZE // 2 + 1))]
    bands = in_bands(np.array(ear) * spectrum(frame))
    noise = np.array([internal_noise(band) for band in range(N_BANDS)])
    offset = np.array([10 ** (mask_db(band) / 10) for band in range(N_BANDS)])
    return float(10 * np.log10(np.mean(error**2 * bands * offset / spread(bands + noise))))


def variables(estimate: Array, original: Array) -> dict[str, float]:
    """The output variables of one channel with sound from beginning to end, but the bandwidths.

    Frame by frame and band by band, from equations 21 to 24 and 41 to 79.
    """
    n_frames = (len(original) - SIZE // 2) // (SIZE // 2) + 1
    sounds = [np.pad(x, (0, SIZE)) for x in (original, estimate)]
    ear = [0.0, *(10 ** (ear_db(k * RATE / SIZE) / 10) for k in range(1, SIZE // 2 + 1))]
    frames = []
    memory = _Memory()
    for n in range(n_frames):
        start = n * SIZE // 2
        spectra = [spectrum(sound[start : start + SIZE]) for sound in sounds]
        x = [np.array(ear) * each for each in spectra]
        noise = in_bands((np.sqrt(x[0]) - np.sqrt(x[1])) ** 2)
        own = np.array([internal_noise(band) for band in range(N_BANDS)])
        found = memory.step([spread(in_bands(each) + own) for each in x], noise)
        frames.append(found | {"ehs": _harmonic_structure(*spectra)})
    return _averaged(frames)


class _Memory:
    def __init__(self) -> None:
        def zeros() -> list[list[float]]:
            return [[0.0] * N_BANDS, [0.0] * N_BANDS]

        self.masking, self.level, self.pattern = zeros(), zeros(), zeros()
        self.change, self.mean, self.before = zeros(), zeros(), zeros()
        self.cross, self.auto = [0.0] * N_BANDS, [0.0] * N_BANDS

    def step(self, excitations: list[Array], noise: Array) -> dict[str, float]:
        masked = [[0.0] * N_BANDS, [0.0] * N_BANDS]
        for s in range(2):
            for k in range(N_BANDS):
                a = decay(k, 0.030)
                e = excitations[s][k]
                self.masking[s][k] = a * self.masking[s][k] + (1 - a) * e
                masked[s][k] = max(self.masking[s][k], e)
        adapted = self._adapted(masked)
        modulation = self._modulation(excitations)
        return _frame(masked, adapted, modulation, self.mean[0], noise)

    def _adapted(self, masked: list[list[float]]) -> list[list[float]]:
        for s in range(2):
            for k in range(N_BANDS):
                a = decay(k, 0.050)
                self.level[s][k] = a * self.level[s][k] + (1 - a) * masked[s][k]
        ref, test = self.level
        correction = (
            sum(math.sqrt(r * t) for r, t in zip(ref, test, strict=True)) / sum(test)
        ) ** 2
        levelled = [list(each) for each in masked]
        louder = 0 if correction > 1 else 1
        for k in range(N_BANDS):
            levelled[louder][k] *= 1 / correction if louder == 0 else correction
        ratios = [[1.0] * N_BANDS, [1.0] * N_BANDS]
        for k in range(N_BANDS):
            a = decay(k, 0.050)
            self.cross[k] = a * self.cross[k] + levelled[0][k] * levelled[1][k]
            self.auto[k] = a * self.auto[k] + levelled[0][k] ** 2
            ratio = self.cross[k] / self.auto[k]
            if ratio >= 1:
                ratios[1][k] = 1 / ratio
            else:
                ratios[0][k] = ratio
        for s in range(2):
            for k in range(N_BANDS):
                near = ratios[s][max(k - 3, 0) : min(k + 4, N_BANDS - 1) + 1]
                a = decay(k, 0.050)
                self.pattern[s][k] = a * self.pattern[s][k] + (1 - a) * sum(near) / len(near)
                levelled[s][k] *= self.pattern[s][k]
        return levelled

    def _modulation(self, excitations: list[Array]) -> list[list[float]]:
        modulation = [[0.0] * N_BANDS, [0.0] * N_BANDS]
        for s in range(2):
            for k in range(N_BANDS):
                a = decay(k, 0.050)
                loud = excitations[s][k] ** 0.3
                rate = RATE / (SIZE / 2) * abs(loud - self.before[s][k])
                self.change[s][k] = a * self.change[s][k] + (1 - a) * rate
                self.mean[s][k] = a * self.mean[s][k] + (1 - a) * loud
                self.before[s][k] = loud
                modulation[s][k] = self.change[s][k] / (1 + self.mean[s][k] / 0.3)
        return modulation


def _harmonic_structure(original: Array, estimate: Array) -> float:
    """The highest peak of the spectrum of the error's autocorrelation (4.8)."""
    error = [math.log(estimate[k] / original[k]) for k in range(511)]
    first = np.array(error[:256])
    correlation = []
    for lag in range(256):
        second = np.array(error[lag : lag + 256])
        correlation.append(first @ second / math.sqrt(first @ first * (second @ second)))
    windowed = (np.array(correlation) - np.mean(correlation)) * np.hanning(256)
    power = np.abs(np.fft.rfft(windowed * math.sqrt(8 / 3) / 256)) ** 2
    # A peak follows a valley, so it is higher than where the spectrum begins; as Kabal reads it.
    return max((float(each) for each in power[1:] if each > power[0]), default=0.0)


def decay(band: int, slowest_s: float) -> float:
    seconds = 0.008 + 100 / centre_hz(band) * (slowest_s - 0.008)
    return math.exp(-SIZE / 2 / RATE / seconds)


def _frame(
    masked: list[list[float]],
    adapted: list[list[float]],
    modulation: list[list[float]],
    mean: list[float],
    noise: Array,
) -> dict[str, float]:
    found = dict.fromkeys(("nmr", "worst", "diff1", "diff2", "weight", "loud", "steps"), 0.0)
    undetected = 1.0
    for k in range(N_BANDS):
        ratio = noise[k] * 10 ** (mask_db(k) / 10) / masked[0][k]
        found["nmr"] += ratio / N_BANDS
        found["worst"] = max(found["worst"], ratio)
        ref, test = modulation[0][k], modulation[1][k]
        found["diff1"] += 100 / N_BANDS * abs(test - ref) / (1 + ref)
        weight = 1.0 if test >= ref else 0.1
        found["diff2"] += 100 / N_BANDS * weight * abs(test - ref) / (0.01 + ref)
        own = internal_noise(k)
        found["weight"] += mean[k] / (mean[k] + 100 * own**0.3)
        s_ref, s_test = 0.15 * ref + 0.5, 0.15 * test + 0.5
        e_ref, e_test = adapted[0][k], adapted[1][k]
        beta = math.exp(-1.5 * (e_test - e_ref) / e_ref)
        added = max(s_test * e_test - s_ref * e_ref, 0) / (own + s_ref * e_ref * beta)
        found["loud"] += 24 / N_BANDS * (own / s_test) ** 0.23 * ((1 + added) ** 0.23 - 1)
        l_ref, l_test = (10 * math.log10(masked[s][k]) for s in range(2))
        level = 0.3 * max(l_ref, l_test) + 0.7 * l_test
        step = 5.95072 * (6.39468 / level) ** 1.71332 + 9.01033e-11 * level**4
        step += 5.05622e-6 * level**3 - 0.00102438 * level**2 + 0.0550197 * level - 0.198719
        error = l_ref - l_test
        undetected *= 0.5 ** ((error / step) ** (4 if l_ref > l_test else 6))
        found["steps"] += abs(int(error)) / step
    return found | {"detected": 1 - undetected}


def _averaged(frames: list[dict[str, float]]) -> dict[str, float]:
    late = frames[24:]  # from half a second on
    weights = sum(frame["weight"] for frame in late)
    windows = [
        sum(math.sqrt(frame["diff1"]) for frame in late[i : i + 4]) / 4
        for i in range(len(late) - 3)
    ]
    heard = [frame["steps"] for frame in frames if frame["detected"] > 0.5]
    smoothed = greatest = 0.0
    for frame in frames:
        smoothed = 0.9 * smoothed + 0.1 * frame["detected"]
        greatest = max(greatest, smoothed)
    return {
        "total_nmr_db": 10 * math.log10(sum(frame["nmr"] for frame in frames) / len(frames)),
        "win_mod_diff_1": math.sqrt(sum(each**4 for each in windows) / len(windows)),
        # The last frame is padded: it has no sound in its newer half, and does not count.
        "ehs": 1000 * sum(frame["ehs"] for frame in frames[:-1]) / (len(frames) - 1),
        "adb": math.log10(sum(heard) / len(heard)) if heard else 0.0,
        "avg_mod_diff_1": sum(f["weight"] * f["diff1"] for f in late) / weights,
        "avg_mod_diff_2": sum(f["weight"] * f["diff2"] for f in late) / weights,
        "rms_noise_loud": math.sqrt(sum(frame["loud"] ** 2 for frame in late) / len(late)),
        "mfpd": greatest,
        "rel_dist_frames": sum(f["worst"] > 10**0.15 for f in frames) / len(frames),
    }
