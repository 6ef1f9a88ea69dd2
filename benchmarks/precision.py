"""What bfloat16 and float16 cost and save: `python -m benchmarks.precision CLIP...`.

Encodes and decodes the middle of each clip in float32 and in each lower precision, on one thread of the
CPU, and prints a Markdown table: how far latents and sound are from those of float32, what that changes
in archives of medium quality, and the time. Both sides decode float32's own latents for the sound's
distance; changes of rate and measures are those of encoder and decoder together.

`--ear` takes the published network at its full size instead, or beside each `--model`. Its weights are
random, so that archives of it would mean nothing: only its distances from float32 and its times are told.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from earzip.coding.codec import Codec
from earzip.coding.quantizer import dequantize
from earzip.formats.archive.frames import compress_frames
from earzip.formats.geometry import SAMPLE_RATE, Geometry
from earzip.formats.symbols.coding import pack
from earzip.metrics.measures import Measures, measure
from earzip.models.calibration import read_excerpt
from earzip.models.spec import ModelSpec, Preset
from earzip.models.store import find_model, load_codec
from earzip.network.config import EarConfig
from earzip.network.ear import EarVae
from earzip.network.networks import ready_to_run
from earzip.runtime import Runtime

Sound = NDArray[np.float32]
Segments = list[NDArray[np.float32]]
T = TypeVar("T")

EAR_SECONDS = 1.4  # a window of the published network
EAR_CONTEXT = 32  # frames around its window for the transformer, as for an imported model


@dataclass(frozen=True)
class Steps:
    """A model at a quality."""

    spec: ModelSpec
    preset: Preset

    @classmethod
    def of(cls, spec: ModelSpec, quality: str) -> Steps:
        """Return a quality of a model."""
        return cls(spec, spec.presets[quality])


@dataclass(frozen=True)
class Coded:
    """What an archive of a clip would hold, and what comes back of it."""

    symbols: NDArray[np.int32]
    n_bytes: int
    measures: Measures


@dataclass
class Comparison:
    """A lower precision beside float32, a value a clip."""

    latents_snr_db: list[float] = field(default_factory=list)
    sound_snr_db: list[float] = field(default_factory=list)
    encode_ratio: list[float] = field(default_factory=list)
    """Time of float32 over that of the lower precision."""
    decode_ratio: list[float] = field(default_factory=list)
    coded: list[tuple[Coded, Coded]] = field(default_factory=list)
    """In float32 and in the lower precision; empty for random weights."""
    duration_s: float = 0.0

    @property
    def differing(self) -> float:
        """The share of quantised latents that differ."""
        differ = sum(int((a.symbols != b.symbols).sum()) for a, b in self.coded)
        return differ / sum(a.symbols.size for a, _ in self.coded)

    @property
    def kbps(self) -> tuple[float, float]:
        """Pooled rates, in float32 and in the lower precision; segments only."""
        full, reduced = (sum(c[i].n_bytes for c in self.coded) for i in (0, 1))
        return 8 * full / self.duration_s / 1000, 8 * reduced / self.duration_s / 1000

    def change(self, name: str) -> float:
        """Return by how much the mean of a measure of `Measures` changes."""
        return mean(getattr(b.measures, name) - getattr(a.measures, name) for a, b in self.coded)


def snr_db(x: Sound, reference: Sound) -> float:
    """Return the level of `reference` over that of what `x` differs by; infinite if it does not."""
    noise = np.square(x.astype(np.float64) - reference).sum()
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.square(reference, dtype=np.float64).sum() / noise))


def compare(full: Codec, reduced: Codec, clips: Sequence[Sound], steps: Steps | None) -> Comparison:
    """Code every one of `clips` `[2, T]` with the codecs `full`, in float32, and `reduced`."""
    result = Comparison()
    for clip in clips:
        result.duration_s += clip.shape[1] / SAMPLE_RATE
        latents, encode_s = _timed(lambda: list(full.encode([clip])))  # noqa: B023  # called at once
        others, others_s = _timed(lambda: list(reduced.encode([clip])))  # noqa: B023
        sound, decode_s = _timed(lambda: _decode(full, latents, clip))  # noqa: B023
        other, other_s = _timed(lambda: _decode(reduced, latents, clip))  # noqa: B023
        result.latents_snr_db.append(snr_db(np.concatenate(others, 1), np.concatenate(latents, 1)))
        result.sound_snr_db.append(snr_db(other, sound))
        result.encode_ratio.append(encode_s / others_s)
        result.decode_ratio.append(decode_s / other_s)
        if steps:
            both = _coded(full, latents, clip, steps), _coded(reduced, others, clip, steps)
            result.coded.append(both)
    return result


def _timed(run: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def _decode(codec: Codec, segments: Segments, clip: Sound) -> Sound:
    blocks = codec.decode(lambda i: segments[i], clip.shape[1], range(len(segments)))
    return np.concatenate(list(blocks), 1)


def _coded(codec: Codec, latents: Segments, clip: Sound, steps: Steps) -> Coded:
    symbols = [steps.spec.quantize(segment, steps.preset) for segment in latents]
    exponents = steps.spec.exponents_at(steps.preset)
    restored = _decode(codec, [dequantize(s, exponents) for s in symbols], clip)
    return Coded(
        np.concatenate(symbols, 1),
        sum(len(compress_frames(pack(s, steps.spec.layout))) for s in symbols),
        measure(torch.from_numpy(restored), torch.from_numpy(clip)),
    )


def random_ear(precision: str, device: str = "cpu", core: int = 64) -> Codec:
    """Return the published network at its full size, with random weights, in windows of 1.5 s."""
    config = EarConfig()
    torch.manual_seed(0)
    network = EarVae(config)
    ready_to_run(network, network.state_dict())
    geometry = Geometry(
        sample_rate=SAMPLE_RATE,
        hop=config.hop,
        lead=0,
        core=core,
        encoder_context=config.encoder_reach,
        decoder_context=config.decoder_reach + EAR_CONTEXT,
    )
    return Codec(network, geometry, config.n_latents, device=device, precision=precision, threads=1)


def to_row(name: str, precision: str, found: Comparison) -> str:
    """Return a row of the table."""
    cells = [
        name,
        precision,
        f"{mean(found.latents_snr_db):.1f} ({min(found.latents_snr_db):.1f})",
        f"{mean(found.sound_snr_db):.1f} ({min(found.sound_snr_db):.1f})",
    ]
    if found.coded:
        full, reduced = found.kbps
        cells += [
            f"{100 * found.differing:.3f}",
            f"{full:.2f} → {reduced:.2f}",
            *(f"{found.change(measure):+.4f}" for measure in ("si_sdr_db", "mel", "stft")),
        ]
    else:
        cells += ["–"] * 5
    cells += [f"{median(found.encode_ratio):.2f}", f"{median(found.decode_ratio):.2f}"]
    return f"| {' | '.join(cells)} |"


HEAD = """\
| model | precision | latents' SNR dB (worst clip) | sound's SNR dB (worst clip) \
| integers that differ % | kbps | SI-SDR dB | mel | STFT | encoding × as fast | decoding × as fast |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", metavar="CLIP", type=Path, nargs="+", help="sound files")
    parser.add_argument("--model", action="append", help="name or .json file  [default: mini]")
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "float16"])
    parser.add_argument("--seconds", type=float, default=15, help="of each clip  [default: 15]")
    parser.add_argument(
        "--ear", action="store_true", help="the published network on 1.4 s of each clip; slow"
    )
    arguments = parser.parse_args()
    clips = [read_excerpt(path, arguments.seconds) for path in arguments.clips]
    print(HEAD)
    for name in arguments.model or ([] if arguments.ear else ["mini"]):
        spec = find_model(name)
        full = load_codec(spec, Runtime("cpu", threads=1))
        for precision in arguments.precisions:
            reduced = load_codec(spec, Runtime("cpu", precision=precision, threads=1))
            found = compare(full, reduced, clips, Steps.of(spec, "medium"))
            print(to_row(spec.name, precision, found), flush=True)
    if arguments.ear:
        full = random_ear("float32")
        short = [read_excerpt(path, EAR_SECONDS) for path in arguments.clips]
        for precision in arguments.precisions:
            found = compare(full, random_ear(precision), short, None)
            print(to_row("εar-VAE, random weights", precision, found), flush=True)


if __name__ == "__main__":
    main()
