"""Decodes an archive of `mini` to a WAV file.

    python mini.py song.flac.earz SPEC.md mini.json song.wav

``mini.safetensors`` lies beside ``mini.json``. Words in brackets are headings of SPEC.md.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

import numpy as np
from archive import read_archive, read_latents, require


def read_model(specification, header):
    """Return configuration and weights, which must be those that the archive names [Model]."""
    model = json.loads(Path(specification).read_text("utf-8"))
    data = Path(specification).with_suffix(".safetensors").read_bytes()
    require(hashlib.sha256(data).hexdigest() == model["weights_sha256"], "damaged weights")
    identity = {k: model[k] for k in ("architecture", "config", "geometry", "weights_sha256")}
    named = json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()
    require(hashlib.sha256(named).hexdigest() == header["model"]["sha256"], "another model")
    require(model["architecture"] == "transform", "another network")
    start = 8 + struct.unpack_from("<Q", data)[0]
    weights = {}
    for name, at in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = (start + offset for offset in at["data_offsets"])
            dtype = {"F16": "<f2", "F32": "<f4"}[at["dtype"]]
            values = np.frombuffer(data[begin:end], dtype).reshape(at["shape"])
            weights[name] = values.astype(np.float32)
    return model["config"], weights


class Mdct:
    """[The MDCT]: samples [2, F·n] to coefficients [2, F, n], and back."""

    def __init__(self, n):
        t, k = np.arange(2 * n)[:, None] + 0.5, np.arange(n) + 0.5
        window = np.sin(np.pi * t / (2 * n))
        self.basis = (window * np.sqrt(2 / n) * np.cos(np.pi / n * (t + n / 2) * k)).astype("f4")
        self.n = n

    def forward(self, x):
        """Return the coefficients of samples."""
        padded = np.pad(x, ((0, 0), (self.n // 2, self.n // 2))).reshape(2, -1, self.n)
        return np.concatenate([padded[:, :-1], padded[:, 1:]], 2) @ self.basis

    def inverse(self, coefficients):
        """Return the samples of coefficients."""
        frames = coefficients @ self.basis.T
        added = np.zeros((2, frames.shape[1] + 1, self.n), np.float32)
        added[:, :-1] += frames[..., : self.n]
        added[:, 1:] += frames[..., self.n :]
        return added.reshape(2, -1)[:, self.n // 2 : -self.n // 2]


class Decoder:
    """The network [The decoder]: latents [D, F] to samples [2, F·hop]."""

    def __init__(self, config, weights):
        self.c, self.w = config, weights
        self.long, self.fine = Mdct(config["hop"]), Mdct(config["fine_hop"])
        n, n_bands = config["fine_hop"], config["n_bands"]
        f_hz = (np.arange(n) + 0.5) * 22_050 / n
        position = np.log1p(f_hz / 300) / np.log1p(22_050 / 300) * (n_bands - 1)
        bands = np.maximum(1 - np.abs(position - np.arange(n_bands)[:, None]), 0)
        self.bands, self.means = bands, bands / (bands.sum(1, keepdims=True) + 1e-9)

    def linear(self, name, x):
        """Return [linear] of x [frames, width]."""
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, name, x):
        """Return [norm] of x [frames, width]."""
        x = x - x.mean(1, keepdims=True)
        x = x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-5)
        return x * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def block(self, name, x):
        """Return a [block] of x [frames, width]."""
        kernel = self.w[f"{name}.depthwise.weight"][:, 0]
        reach = kernel.shape[1] // 2
        padded, h = np.pad(x, ((reach, reach), (0, 0))), self.w[f"{name}.depthwise.bias"]
        for k in range(kernel.shape[1]):
            h = h + padded[k : k + len(x)] * kernel[:, k]
        h = self.linear(f"{name}.expand", self.norm(f"{name}.norm", h))
        h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
        return x + self.linear(f"{name}.project", h)

    def fine_frames(self, name, h, size):
        """Return a linear map of h as fine frames of mid and side, [2, fine frames, size]."""
        return self.linear(name, h).reshape(-1, 2, size).transpose(1, 0, 2)

    def decode(self, latents):
        """Return the samples of a window."""
        c, w = self.c, self.w
        hop, trunk_hop, fine_hop, n_bins = c["hop"], c["trunk_hop"], c["fine_hop"], c["n_bins"]
        step, rms = np.exp(w["log_step"]), w["fine_rms"][:, None]
        envelope = latents[2 * n_bins :].T
        coded = latents[: 2 * n_bins].reshape(2, n_bins, -1).transpose(0, 2, 1) * step[:, None]
        coded = np.pad(coded, ((0, 0), (0, 0), (0, hop - n_bins)))
        fine = self.fine.forward(self.long.inverse(coded)) / rms
        seen = fine.transpose(1, 0, 2).reshape(-1, 2 * trunk_hop)
        seen = np.concatenate([0.5 * seen.clip(-6, 6), seen * (np.abs(seen) + 0.03) ** -0.6], 1)

        h = self.linear("decoder_in", seen) + self.linear("envelope_in", envelope).reshape(
            -1, c["width"]
        )
        h = self.norm("decoder_in_norm", h)
        for i in range(c["decoder_depth"]):
            h = self.block(f"decoder.{i}", h)
        h = self.norm("decoder_out_norm", h)

        wanted = self.fine_frames("envelope_synthesis", envelope, c["n_bands"])
        energy = np.exp(2 * wanted.clip(-12, 3))
        missing = 0.5 * np.log(np.maximum(energy - fine**2 @ self.means.T, 0.01 * energy))
        gain = (self.fine_frames("gain_out", h, c["n_bands"]) + missing).clip(-12, 3) @ self.bands
        step = np.pad(step, ((0, 0), (0, hop - n_bins))).reshape(2, fine_hop, -1).mean(2)
        sure = 1 - 8 * step[:, None] / rms / np.maximum(np.abs(fine), 1e-9)
        gate = np.exp(self.fine_frames("gate_out", h, fine_hop).clip(-8, 1))
        gate = np.maximum(gate, sure.clip(0) * np.exp(-0.6))
        drawn = self.fine_frames("shape_out", h, fine_hop) * np.exp(gain)
        mid, side = self.fine.inverse((fine * gate + drawn) * rms)
        return np.stack([mid + side, mid - side]) * np.sqrt(0.5)


def decode(header, latents, decoder):
    """Return the track, float [2, samples] [From latents to sound]."""
    g, n_samples = header["geometry"], header["samples"]
    core, context = g["core"], g["decoder_context"]
    n_windows = -(-latents.shape[1] // core)
    behind = n_windows * core - latents.shape[1] + context
    latents = np.pad(latents, ((0, 0), (context, behind)))
    sound = [np.zeros((2, 0))]
    for at in range(0, n_windows * core, core):
        window = decoder.decode(latents[:, at : at + core + 2 * context])
        sound.append(window[:, context * g["hop"] : (context + core) * g["hop"]])
    sound = np.concatenate(sound, 1)[:, g["lead"] : g["lead"] + n_samples] * 10 ** (
        -header["gain"] / 200
    )
    edges = np.array(header["edges"]).reshape(2, 2, 1) / 2**16
    if edges.any():
        ramp = np.cos(np.pi * np.arange(32) / 64) ** 2
        sound[:, :32] += edges[0] * ramp
        sound[:, -32:] += edges[1] * ramp[::-1]
    return sound


def write_wav(path, sound, rate):
    """Write 32-bit floating-point samples, which keep peaks above full scale."""
    data = sound.T.astype("<f4").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 2, rate, 8 * rate, 8, 32)
    head = b"RIFF" + struct.pack("<I", 4 + len(form) + 8 + len(data)) + b"WAVE"
    Path(path).write_bytes(head + form + b"data" + struct.pack("<I", len(data)) + data)


def main(archive, specification, model, wav):
    """Decode a file."""
    header, parts = read_archive(archive, specification)
    decoder = Decoder(*read_model(model, header))
    write_wav(
        wav, decode(header, read_latents(header, parts[1]), decoder), header["geometry"]["rate"]
    )
    if parts[4]:  # [Exact copy]: the source file itself, or a FLAC file of its samples
        Path(f"{wav}.{header['exact']}").write_bytes(b"".join(parts[4]))


if __name__ == "__main__":
    main(*sys.argv[1:])
