"""Decodes latents of `mini`. Words and numbers in brackets are of SPEC.md, The decoder of `mini`."""

import numpy as np
from network import Mdct, Network, left_right


class Mini(Network):
    """The network of `mini`, architecture `transform`."""

    def __init__(self, config, weights):
        super().__init__(config, weights)
        self.long, self.fine = Mdct(config["hop"]), Mdct(config["fine_hop"])
        n, n_bands = config["fine_hop"], config["n_bands"]
        f_hz = (np.arange(n) + 0.5) * 22_050 / n
        position = np.log1p(f_hz / 300) / np.log1p(22_050 / 300) * (n_bands - 1)
        bands = np.maximum(1 - np.abs(position - np.arange(n_bands)[:, None]), 0)
        self.bands, self.means = bands, bands / (bands.sum(1, keepdims=True) + 1e-9)

    def decode(self, latents):
        """Return the samples [2, F·hop] of a window's latents [D, F]."""
        c, n_bins = self.c, self.c["n_bins"]
        step, rms = np.exp(self.w["log_step"]), self.w["fine_rms"][:, None]
        envelope = latents[2 * n_bins :].T
        coded = latents[: 2 * n_bins].reshape(2, n_bins, -1).transpose(0, 2, 1) * step[:, None]
        coded = np.pad(coded, ((0, 0), (0, 0), (0, c["hop"] - n_bins)))
        fine = self.fine.forward(self.long.inverse(coded)) / rms  # [1]
        h = self.trunk(fine, self.linear("envelope_in", envelope))  # [2, 3]

        wanted = self.fine_frames("envelope_synthesis", envelope, c["n_bands"])  # [4]
        energy = np.exp(2 * wanted.clip(-12, 3))  # [5]
        missing = 0.5 * np.log(np.maximum(energy - fine**2 @ self.means.T, 0.01 * energy))
        gain = self.fine_frames("gain_out", h, c["n_bands"]) + missing  # [6]
        gain = gain.clip(-12, 3) @ self.bands
        drawn = self.fine_frames("shape_out", h, c["fine_hop"]) * np.exp(gain)
        opened = self.opened(fine, self.fine_frames("gate_out", h, c["fine_hop"]))  # [7]
        return left_right(*self.fine.inverse((fine * opened + drawn) * rms))  # [8]
