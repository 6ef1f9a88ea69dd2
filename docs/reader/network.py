"""What the networks of `mini` and `mini-2` have in common: weights, the MDCT, linear maps and blocks.

Words in brackets are headings of SPEC.md, and words of its section on the decoder of `mini`.
"""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
from archive import require


def read_model(specification, header):
    """Return architecture, configuration and weights; the archive must name them [Model]."""
    model = json.loads(Path(specification).read_text("utf-8"))
    data = Path(specification).with_suffix(".safetensors").read_bytes()
    require(hashlib.sha256(data).hexdigest() == model["weights_sha256"], "damaged weights")
    identity = {k: model[k] for k in ("architecture", "config", "geometry", "weights_sha256")}
    named = json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()
    is_named = hashlib.sha256(named).hexdigest() == header["model"]["sha256"]
    require(is_named, f"another model: the archive is of {header['model']['name']}")
    start = 8 + struct.unpack_from("<Q", data)[0]
    weights = {}
    for name, at in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = (start + offset for offset in at["data_offsets"])
            dtype = {"F16": "<f2", "F32": "<f4"}[at["dtype"]]
            values = np.frombuffer(data[begin:end], dtype).reshape(at["shape"])
            weights[name] = values.astype(np.float32)
    return model["architecture"], model["config"], weights


class Mdct:
    """[MDCT]: samples [2, F·n] to coefficients [2, F, n], and back."""

    def __init__(self, n):
        t, k = np.arange(2 * n)[:, None] + 0.5, np.arange(n) + 0.5
        self.n = n
        self.window = np.sin(np.pi * np.arange(0.5, 2 * n) / (2 * n)).astype("f4")
        self.cosines = (np.sqrt(2 / n) * np.cos(np.pi / n * (t + n / 2) * k)).astype("f4")

    def forward(self, x):
        """Return the coefficients of samples."""
        padded = np.pad(x, ((0, 0), (self.n // 2, self.n // 2))).reshape(2, -1, self.n)
        frames = np.concatenate([padded[:, :-1], padded[:, 1:]], 2)
        return frames * self.window @ self.cosines

    def frames(self, coefficients):
        """Return the frames [2, F, 2n] of coefficients, without window."""
        return coefficients @ self.cosines.T

    def inverse(self, coefficients):
        """Return the samples of coefficients."""
        half = self.n // 2
        return overlapped(self.frames(coefficients) * self.window)[:, half:-half]


def overlapped(frames):
    """Return the sum [2, (F + 1)·n] of frames [2, F, 2n], each n behind the one before it."""
    n = frames.shape[2] // 2
    added = np.zeros((2, frames.shape[1] + 1, n), frames.dtype)
    added[:, :-1] += frames[..., :n]
    added[:, 1:] += frames[..., n:]
    return added.reshape(2, -1)


def left_right(mid, side):
    """Return left and right of mid and side."""
    return np.stack([mid + side, mid - side]) * np.float32(np.sqrt(0.5))


class Network:
    """Maps and blocks with the weights of a model."""

    def __init__(self, config, weights):
        self.c, self.w = config, weights

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
        h = 0.5 * h * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (h + 0.044715 * h**3)))
        return x + self.linear(f"{name}.project", h)

    def trunk(self, fine, described):
        """Return what the trunk makes of c [2, fine frames, H] and what else it is told [2, 3]."""
        seen = fine.transpose(1, 0, 2).reshape(-1, 2 * self.c["trunk_hop"])
        seen = np.concatenate([0.5 * seen.clip(-6, 6), seen * (np.abs(seen) + 0.03) ** -0.6], 1)
        h = self.linear("decoder_in", seen) + described.reshape(-1, self.c["width"])
        h = self.norm("decoder_in_norm", h)
        for i in range(self.c["decoder_depth"]):
            h = self.block(f"decoder.{i}", h)
        return self.norm("decoder_out_norm", h)

    def fine_frames(self, name, h, size):
        """Return a linear map of h as fine frames of mid and side, [2, fine frames, size]."""
        return self.linear(name, h).reshape(-1, 2, size).transpose(1, 0, 2)

    def opened(self, fine, gate):
        """Return how far gates are open, for c and gate [2, fine frames, H] [7]."""
        c = self.c
        step = np.pad(np.exp(self.w["log_step"]), ((0, 0), (0, c["hop"] - c["n_bins"])))
        step = step.reshape(2, c["fine_hop"], -1).mean(2) / self.w["fine_rms"]
        sure = 1 - 8 * step[:, None] / np.maximum(np.abs(fine), np.float32(1e-9))
        least = np.float32(np.exp(-0.6)) * sure.clip(0)
        return np.maximum(np.exp(gate.clip(-8, 1)), least)
