"""``python -m benchmarks.presets MODEL.json CLIP…``: rate and measures by step exponent.

Presets are chosen from its table, on validation music: the exponent whose archives have the rate that a
preset aims at. Rates count compressed segments; header, index and tags (about 0.2 kbps in 20 s, 0.02 in
four minutes) come on top.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch

from earzip.arrays import Audio
from earzip.coding.codec import Codec
from earzip.coding.level import LevelMeter, gain_to_reference_db
from earzip.coding.quantizer import dequantize
from earzip.formats.archive.frames import compress_frames
from earzip.formats.geometry import SAMPLE_RATE
from earzip.formats.symbols.coding import pack
from earzip.metrics.measures import Measures, mean_measures, measure
from earzip.models.spec import ModelSpec, Preset
from earzip.models.store import load_codec


def read_clip(path: Path) -> Audio:
    """Return a 44.1 kHz stereo clip, ``[2, T]``; ValueError for any other."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != SAMPLE_RATE or audio.shape[1] != 2:
        raise ValueError(
            f"{path}: {audio.shape[1]} channels at {rate} Hz, expected 2 at {SAMPLE_RATE}"
        )
    return np.ascontiguousarray(audio.T)


def code_clip(codec: Codec, audio: Audio, spec: ModelSpec, preset: Preset) -> tuple[int, Audio]:
    """Return the bytes of the segments of ``audio``, and the audio that they decode to."""
    meter = LevelMeter()
    meter.add(audio)
    gain = np.float32(10 ** (gain_to_reference_db(meter.level_db()) / 20))
    segments, n_bytes = [], 0
    for latents in codec.encode([audio * gain]):
        symbols = spec.quantize(latents, preset)
        n_bytes += len(compress_frames(pack(symbols, spec.layout)))
        segments.append(dequantize(symbols, spec.exponents_at(preset)))
    n_samples = audio.shape[1]
    decoded = codec.decode(lambda i: segments[i], n_samples, range(len(segments)))
    restored: Audio = (np.concatenate(list(decoded), 1) / gain).astype(np.float32)
    return n_bytes, restored


def measure_exponent(
    codec: Codec, clips: list[Audio], spec: ModelSpec, preset: Preset
) -> tuple[float, Measures]:
    """Return the pooled rate in kbps and the mean measures over ``clips``."""
    n_bytes, measures = 0, []
    for clip in clips:
        size, decoded = code_clip(codec, clip, spec, preset)
        n_bytes += size
        measures.append(measure(torch.from_numpy(decoded), torch.from_numpy(clip)))
    seconds = sum(clip.shape[1] for clip in clips) / SAMPLE_RATE
    return n_bytes * 8 / seconds / 1000, mean_measures(measures)


def main() -> None:
    """Print a line for each exponent."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.presets", description=__doc__)
    parser.add_argument("model", type=Path, help="specification of the model, NAME.json")
    parser.add_argument("clips", type=Path, nargs="+", help="44.1 kHz stereo clips")
    parser.add_argument("--exponents", type=int, nargs="+", default=[-24, -12, 0, 12, 24])
    parser.add_argument("--rounding", type=float, help="default: that of the preset medium")
    arguments = parser.parse_args()
    spec = ModelSpec.read(arguments.model)
    like = spec.presets["medium"]
    if arguments.rounding is not None:
        like = replace(like, rounding=arguments.rounding)
    codec = load_codec(spec)
    clips = [read_clip(path) for path in arguments.clips]
    print("exponent   kbps  SI-SDR    mel   STFT   ICPC   CCPC   dBTP")
    for added in arguments.exponents:
        kbps, m = measure_exponent(codec, clips, spec, replace(like, exponent=added))
        print(
            f"{added:8d} {kbps:6.2f} {m.si_sdr_db:7.2f} {m.mel:6.3f} {m.stft:6.3f} "
            f"{m.icpc:6.4f} {m.ccpc:6.4f} {m.dbtp:6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
