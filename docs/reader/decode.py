"""Decodes an archive of `mini` or `mini-2` to a WAV file.

    python decode.py song.flac.earz SPEC.md mini.json song.wav

``mini.safetensors`` lies beside ``mini.json``. Words in brackets are headings of SPEC.md.
"""

import struct
import sys
from pathlib import Path

import numpy as np
from archive import read_archive, read_latents, read_pictures, require
from mini import Mini
from mini_2 import Mini2
from network import read_model

NETWORKS = {"transform": Mini, "levels": Mini2}


def decode(header, latents, network):
    """Return the track, float [2, samples] [From latents to sound]."""
    g, n_samples = header["geometry"], header["samples"]
    core, context = g["core"], g["decoder_context"]
    n_windows = -(-latents.shape[1] // core)
    behind = n_windows * core - latents.shape[1] + context
    latents = np.pad(latents, ((0, 0), (context, behind)))
    sound = [np.zeros((2, 0), np.float32)]
    for at in range(0, n_windows * core, core):
        window = network.decode(latents[:, at : at + core + 2 * context])
        sound.append(window[:, context * g["hop"] : (context + core) * g["hop"]].astype("f4"))
    sound = np.concatenate(sound, 1)[:, g["lead"] : g["lead"] + n_samples]
    sound = sound * np.float32(10 ** (-header["gain"] / 200))
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
    architecture, config, weights = read_model(model, header)
    require(architecture in NETWORKS, f"the network {architecture} needs earzip")
    network = NETWORKS[architecture](config, weights)
    sound = decode(header, read_latents(header, parts[1]), network)
    write_wav(wav, sound, header["geometry"]["rate"])
    for i, picture in enumerate(read_pictures(archive, header, parts), 1):
        if isinstance(picture, bytes):
            Path(f"{wav}.picture-{i}").write_bytes(picture)
        else:
            print(f"picture {i}: {picture}", file=sys.stderr)
    if parts[4]:  # [Exact copy]: the source file itself, or a FLAC file of its samples
        Path(f"{wav}.{header['exact']}").write_bytes(b"".join(parts[4]))


if __name__ == "__main__":
    main(*sys.argv[1:])
