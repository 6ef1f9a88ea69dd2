"""Decodes latents of `mini-2`. Words and numbers in brackets are of SPEC.md, The decoder of `mini-2`."""

from itertools import pairwise

import numpy as np
from network import Mdct, Network, left_right, overlapped

EDGES = [4, 5, 6, 8, 9, 10, 11, 13, 14, 16, 18, 20, 23, 26, 29, 32, 36, 41, 46, 51, 58, 65, 73, 81]
EDGES += [93, 107, 120]
ATTACK_EDGES = [4, 8, 16, 32, 58, 120]
FLOOR = np.float32(1e-9)


class Mini2(Network):
    """The network of `mini-2`, architecture `levels`."""

    def __init__(self, config, weights):
        super().__init__(config, weights)
        hop, fine_hop = config["hop"], config["fine_hop"]
        self.n_bands, self.n_fine, self.m = config["n_levels"], hop // fine_hop, hop // 128
        self.long, self.short, self.fine = Mdct(hop), Mdct(config["short_hop"]), Mdct(fine_hop)
        self.bands = bands_of(mdct_edges(fine_hop), fine_hop)
        self.tonal_bands = bands_of(mdct_edges(hop)[::2], hop)
        self.spectrum_bands = bands_of(EDGES, 129)
        self.attack_bands = bands_of(ATTACK_EDGES, 129)
        middles = [(a + b) / 2 for a, b in pairwise(EDGES)]
        self.attack_band_of = np.digitize(middles, ATTACK_EDGES[1:-1])

    def decode(self, latents):
        """Return the samples [2, F·hop] of a window's latents [D, F]."""
        rms, rest = self.w["fine_rms"][:, None], latents[2 * self.c["n_bins"] :]
        told = self.told(rest.T)
        sound = self.coded_sound(latents, told)
        fine = self.fine.forward(sound) / rms
        h = self.trunk(fine, self.linear("described_in", told["seen"]))  # [4, 5]
        opened = self.opened(fine, self.fine_frames("gate_out", h, self.c["fine_hop"]))  # [6]
        closed, opened = fine * rms, fine * rms * opened
        lacking = self.lacking(sound, closed, opened, told)
        shape = self.fine_frames("shape_out", h, self.c["fine_hop"]) * rms
        gain = self.fine_frames("gain_out", h, self.n_bands)
        drawn = self.drawn(shape, gain, lacking, told)
        sound = left_right(*self.fine.inverse(opened + drawn))  # [10]
        return hush(self.held(sound, told), told)

    def told(self, rest):
        """Return what latents beside coefficients [F, …] say, by name [1, 2]."""
        n, m = self.n_bands, self.m
        sizes = {"levels": n, "balance": n, "width": n // 2, "halves": n, "course": 5 * m}
        sizes |= {"contrast": 1, "tonal": n // 2, "short": 1, "block": 1, "part": 1}
        ends = np.cumsum(list(sizes.values()))
        said = dict(zip(sizes, np.split(rest, ends[:-1], 1), strict=True))
        seen = [said[kind] / 12 for kind in ("levels", "balance", "width", "halves", "course")]
        seen += [said[kind] / 8 for kind in ("tonal", "short")]
        energy = from_db(said["levels"] + self.w["level_mean_db"]) - FLOOR
        course = said["course"].reshape(len(rest), m, 5)
        return {
            "seen": np.concatenate(seen, 1),
            "energy": np.where(energy > FLOOR, energy, 0),
            "balance": said["balance"],
            "width": np.repeat(said["width"], 2, 1),
            "halves": said["halves"],
            "course": from_db(course),
            "is_attack": (course != 0).any((1, 2)),
            "is_tonal": said["tonal"] > 4,
            "is_short": said["short"][:, 0] > 4,
            "contrast": said["contrast"][:, 0],
            "onset": np.rint(4 * said["block"] + said["part"])[:, 0].astype(int),
        }

    def coded_sound(self, latents, told):
        """Return the coded sound, mid and side [2, F·hop] [3]."""
        hop, n_bins, short_hop = self.c["hop"], self.c["n_bins"], self.c["short_hop"]
        finer = 1 + np.float32(0.6) * (told["is_tonal"] @ self.tonal_bands)[:, :n_bins]
        coded = latents[: 2 * n_bins].reshape(2, n_bins, -1).transpose(0, 2, 1)
        coded = coded * np.exp(self.w["log_step"])[:, None] / finer
        coded = np.pad(coded, ((0, 0), (0, 0), (0, hop - n_bins)))

        is_short, margin = told["is_short"], (hop - short_hop) // 2
        slope = self.short.window[:short_hop]
        steep = np.concatenate([np.zeros(margin, "f4"), slope, np.ones(margin, "f4")])
        rise, beside = self.long.window[:hop], np.pad(is_short, 1)
        rises = np.where((is_short | beside[:-2])[:, None], steep, rise)
        falls = np.where((is_short | beside[2:])[:, None], steep, rise)[:, ::-1]
        frames = self.long.frames(coded) * np.concatenate([rises, falls], 1)
        for f in np.flatnonzero(is_short):
            blocks = coded[:, f].reshape(2, short_hop, -1).transpose(0, 2, 1)
            samples = overlapped(self.short.frames(blocks) * self.short.window)
            frames[:, f] = np.pad(samples, ((0, 0), (margin, margin)))
        return overlapped(frames)[:, hop // 2 : -hop // 2]

    def lacking(self, sound, closed, opened, told):
        """Return what mid and side lack of the energy of a bin [2, F, bands] [7]."""
        before, after = (
            (x**2 @ self.bands.T).reshape(2, -1, self.n_fine, self.n_bands).mean(2) + 1e-12
            for x in (closed, opened)
        )
        coded = mean_energies(spectra_of(sound), self.spectrum_bands)
        coded = coded.reshape(2, -1, self.m, self.n_bands).mean(2) * np.minimum(after / before, 8)
        of_side = sigmoid(np.log(10) / 10 * told["width"])
        wanted = told["energy"] * np.stack([1 - of_side, of_side])
        return np.maximum(wanted - coded, 0) + 0.005 * wanted + 1e-12

    def drawn(self, shape, gain, lacking, told):
        """Return what is drawn, [2, fine frames, H] [8, 9]."""
        late = 2 * sigmoid(np.log(10) / 5 * told["halves"])
        shares = np.repeat(np.stack([2 - late, late], 1), self.n_fine // 2, 1)
        course = told["course"].reshape(len(late), self.n_fine, -1, 5).mean(2)
        course = (course / course.mean(1, keepdims=True))[..., self.attack_band_of]
        shares = np.where(told["is_attack"][:, None, None], course, shares)
        energy = shape**2 @ self.bands.T / self.bands.sum(1) + 1e-12
        wanted = (lacking[:, :, None] * shares).reshape(2, -1, self.n_bands)
        tonal = np.repeat(np.repeat(told["is_tonal"], 2, 1), self.n_fine, 0)
        amplitude = np.sqrt(wanted / energy) * np.exp(gain.clip(-6, 0.7) - 2.3 * tonal)
        return shape * (amplitude @ self.bands).astype("f4")

    def held(self, sound, told):
        """Return left and right held to levels and to the course of attacks [11, 12]."""
        m, n_bands, is_attack = self.m, self.n_bands, told["is_attack"]
        spectra = spectra_of(sound)
        of_left = sigmoid(np.log(10) / 5 * told["balance"])
        late = 2 * sigmoid(np.log(10) / 5 * told["halves"])
        of_channels = told["energy"] * np.stack([of_left, 1 - of_left])
        wanted = of_channels[:, :, None] * np.stack([2 - late, late], 1)
        own = mean_energies(spectra, self.spectrum_bands).reshape(2, -1, 2, m // 2, n_bands).mean(3)
        wanted, own = (
            np.where(is_attack[:, None, None], x.mean(2, keepdims=True), x) for x in (wanted, own)
        )
        off = 10 * np.log10((wanted + FLOOR) / (own + FLOOR))
        raised = (np.sign(off) * np.maximum(np.abs(off) - 0.5, 0)).clip(-20, 12)
        tonal = np.repeat(told["is_tonal"], 2, 1)[:, None]
        raised = np.where(tonal, np.minimum(raised, 9), raised)
        gains = np.repeat(10 ** (raised / 20), m // 2, 2).reshape(2, -1, n_bands)
        spectra = spectra * of_bins(gains, self.spectrum_bands)

        energy = (np.abs(spectra[:, :-1]) ** 2).sum(0) @ self.attack_bands.T
        energy = energy.reshape(-1, m, 5)
        wanted = told["course"] * energy.mean(1, keepdims=True)
        gains = np.sqrt((wanted + FLOOR) / (energy + FLOOR)).clip(0.01, 4)
        gains = np.where(is_attack[:, None, None], gains, 1).reshape(-1, 5)
        spectra = spectra * of_bins(gains, self.attack_bands)
        window = np.sin(np.pi * np.arange(0.5, 256) / 256)
        frames = np.fft.irfft(spectra, 256) * window * np.sqrt(128)
        return overlapped(frames)[:, 128:-128]


def mdct_edges(n):
    """Return the edges of [bands] in bins of an MDCT of n; halves are rounded to even."""
    return [round((edge - 0.5) * n / 128) for edge in EDGES]


def bands_of(edges, n):
    """Return which of n bins are in which band [bands, n]: 1 or 0."""
    bins = np.arange(n)
    each = [(bins >= first) & (bins < end) for first, end in pairwise(edges)]
    return np.array(each).astype("f4")


def from_db(level):
    """Return the energy of a level in decibels."""
    return 10 ** (level / 10)


def sigmoid(x):
    """Return 1 ÷ (1 + exp(−x))."""
    return 1 / (1 + np.exp(-x))


def spectra_of(x):
    """Return [spectra] of samples [2, M·128]: [2, M + 1, 129]."""
    padded = np.pad(x, ((0, 0), (128, 128))).reshape(2, -1, 128)
    window = np.sin(np.pi * np.arange(0.5, 256) / 256) / np.sqrt(128)
    return np.fft.rfft(np.concatenate([padded[:, :-1], padded[:, 1:]], 2) * window)


def mean_energies(spectra, bands):
    """Return the mean energy of a bin by bands, of all spectra but the last: [2, M, bands]."""
    return np.abs(spectra[:, :-1]) ** 2 @ bands.T / bands.sum(1)


def of_bins(gains, bands):
    """Return gains of bins for those of bands, and 1 for the last spectrum."""
    gains = (gains - 1) @ bands + 1
    return np.concatenate([gains, np.ones_like(gains[..., :1, :])], -2)


def hush(sound, told):
    """Return left and right with less treble before onsets [13]."""
    n = np.arange(-64, 65)
    taps = np.sinc(2800 / 44100 * n) * np.cos(np.pi * n / 130) ** 2
    padded = np.pad(sound, ((0, 0), (64, 64)))
    low = [np.convolve(x, taps / taps.sum(), "valid") for x in padded]
    treble = sound - np.stack(low)

    power = (treble**2).reshape(2, -1, 32).mean((0, 2))
    n_steps = len(power) // len(told["onset"])
    followed = np.pad(power, (0, 3), mode="edge")
    gains = np.ones(len(power))
    for f in np.flatnonzero(told["contrast"] > 0):
        at = f * n_steps + min(max(told["onset"][f], 0), n_steps - 1)
        wanted = followed[at : at + 4].mean() * 10 ** (-told["contrast"][f] / 10)
        for before in range(max(at - 6, 0), at):
            share = wanted / (power[before] + FLOOR)
            if share < 0.25:
                gains[before] = min(gains[before], np.sqrt(share))
    gains = np.repeat(gains, 32)
    smooth = np.convolve(np.pad(gains, 8, constant_values=1), np.ones(17) / 17, "valid")
    return sound + treble * (np.minimum(gains, smooth) - 1)
