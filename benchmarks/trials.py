"""Judge networks in training on the clips of a tier: `python -m benchmarks.trials RUN…`.

RUN is the folder of a run, whose checkpoint is taken, or `mini`. Each clip is coded at steps of several
exponents; printed are rate, Zimtohrli distance, the five measures and, by interpolation over the
exponents, rates and distances at given rates; with `--ladder` of Opus (made by `--opus`), the share
of Opus's bits. Results are appended to `--out`, a line a clip and exponent.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from benchmarks.opus_share import Point, opus_kbps
from earzip.coding.level import LevelMeter, gain_to_reference_db
from earzip.coding.quantizer import dequantize, preset_exponents, quantize, step_sizes
from earzip.coding.rate_distortion import round_coefficients
from earzip.formats.archive.frames import compress_frames
from earzip.formats.geometry import SAMPLE_RATE
from earzip.formats.symbols.coding import pack
from earzip.metrics.measures import measure
from earzip.models.store import find_model, load_codec
from earzip.network.config import LevelConfig, n_sparse_latents
from earzip.network.levels import fine_edges
from earzip.network.networks import Network, build_network, ready_to_run
from earzip.runtime import Runtime
from earzip.training.level_bits import choose_rest
from earzip.training.run_state import read_facts, read_parts

Audio = NDArray[np.float32]
OPUS_KBPS = (10, 12, 16, 20, 24, 32, 48, 64, 96)
SETTINGS = {"low": (30, 0), "medium": (14, -8), "high": (-6, -12)}
"""Exponents added to those of coefficients and of the other latents, for networks with levels."""
THRIFT = 0.12
"""Squared steps of error that a bit of coefficients is worth; see `round_coefficients`."""
TONAL_THRIFT = 0.0
"""The same where the sound is tonal: partials that are not coded are not drawn either."""
_LEAD = 12  # frames of zeros before and behind a clip: more than networks reach


def distance(original: Audio, restored: Audio) -> float:
    """Zimtohrli distance, mean of the channels; audio is `[2, T]`."""
    import zimtohrli  # noqa: PLC0415  (an extra)

    judge = zimtohrli.Pyohrli()
    pairs = zip(*(resample_poly(x, 160, 147, axis=1) for x in (original, restored)), strict=True)
    values = [
        judge.distance(*(np.ascontiguousarray(x, np.float32) for x in pair)) for pair in pairs
    ]
    return float(np.mean(values))


def read_clips(root: Path, tier: str, seconds: float) -> dict[str, Audio]:
    """The middle of each clip of a tier, `[2, T]`, by file stem."""
    clips = {}
    for path in sorted((root / "tiers" / tier).glob("*.wav")):
        audio = soundfile.read(path, dtype="float32", always_2d=True)[0].T
        length = min(audio.shape[1], round(seconds * SAMPLE_RATE))
        start = (audio.shape[1] - length) // 2
        clips[path.stem] = np.ascontiguousarray(audio[:, start : start + length])
    return clips


def measures(original: Audio, restored: Audio, all_of_them: bool) -> dict[str, float]:
    """The Zimtohrli distance and, for `all_of_them`, the five measures."""
    if not all_of_them:
        return {"d": distance(original, restored)}
    found = measure(original, restored)
    values = {
        name: float(getattr(found, name)) for name in ("si_sdr_db", "mel", "stft", "icpc", "ccpc")
    }
    return {"d": distance(original, restored), **values}


def opus_ladder(clips: dict[str, Audio], all_of_them: bool) -> list[dict[str, Any]]:
    """Rates and scores of opusenc's defaults on each clip."""
    rows = []
    for name, audio in clips.items():
        with tempfile.TemporaryDirectory() as folder:
            wav, coded, back = (Path(folder, f) for f in ("a.wav", "a.opus", "b.wav"))
            soundfile.write(wav, audio.T, SAMPLE_RATE, subtype="FLOAT")
            for kbps in OPUS_KBPS:
                for command in (
                    ["opusenc", "--quiet", "--bitrate", str(kbps), wav, coded],
                    ["opusdec", "--quiet", "--rate", str(SAMPLE_RATE), "--float", coded, back],
                ):
                    subprocess.run(command, check=True, capture_output=True)
                sound = soundfile.read(back, dtype="float32", always_2d=True)[0].T
                sound = np.pad(sound, ((0, 0), (0, max(0, audio.shape[1] - sound.shape[1]))))
                rate = 8 * coded.stat().st_size / audio.shape[1] * SAMPLE_RATE / 1000
                row = {"clip": name, "run": "opus", "setting": kbps, "kbps": rate}
                rows.append(row | measures(audio, sound[:, : audio.shape[1]], all_of_them))
        print(
            name,
            *(f"{row['kbps']:.1f}/{row['d']:.4f}" for row in rows[-len(OPUS_KBPS) :]),
            flush=True,
        )
    return rows


def load(run: str) -> tuple[Network, str, list[int]]:
    """The network of a run's checkpoint, its architecture, and exponents of its posterior scales."""
    if run == "mini":
        spec = find_model("mini")
        return (
            load_codec(spec, Runtime("cpu", threads=1)).vae,
            spec.architecture,
            list(spec.step_exponents),
        )
    checkpoint = Path(run, "checkpoint.safetensors")
    config = read_facts(checkpoint)["config"]
    network = build_network(config["architecture"], config["model"])
    ready_to_run(network, read_parts(checkpoint, ["network"])["network"])
    with torch.inference_mode():
        scale = network.encode(torch.zeros(1, 2, 8 * network.config.hop)).scale[0].mean(1)
    return network, config["architecture"], [round(16 * math.log2(s)) for s in scale.tolist()]


def code(
    network: Network,
    architecture: str,
    exponents: list[int],
    added: tuple[int, int],
    latents: Any,
    rounding: float,
    thrifts: tuple[float, float] = (THRIFT, TONAL_THRIFT),
) -> tuple[float, Any, dict[str, float]]:
    """Bits of `latents` `[D, F]`, their quantised values, and bits by kind."""
    config = network.config
    n_sparse = n_sparse_latents(architecture, config.to_json())
    if not isinstance(config, LevelConfig):
        steps = preset_exponents(exponents, added[0], n_sparse)
        symbols = quantize(latents, steps, rounding)
        n_bits = 8 * len(compress_frames(pack(symbols, n_sparse)))
        return n_bits, dequantize(symbols, steps), {}
    steps = np.array(exponents, np.int32)
    steps[:n_sparse] += added[0]
    steps[n_sparse : -1 - config.layout["tonal"]] += added[1]
    sizes = step_sizes(steps)[:, None]
    symbols = np.zeros(latents.shape, np.int32)
    first = -1 - config.layout["tonal"]
    thrift = _thrift_of_cells(latents[first:-1] > 0, config, thrifts)
    symbols[:n_sparse] = round_coefficients(latents[:n_sparse] / sizes[:n_sparse], thrift)
    rest, kinds = choose_rest(latents[n_sparse:], sizes[n_sparse:, 0], config)
    kinds["coefficients"] = 8 * len(compress_frames(pack(symbols[:n_sparse], n_sparse)))
    symbols[n_sparse:] = rest
    return sum(kinds.values()), dequantize(symbols, steps), kinds


def _thrift_of_cells(
    is_tonal: NDArray[np.bool_], config: LevelConfig, thrifts: tuple[float, float]
) -> NDArray[np.float32]:
    """The thrift of each coefficient `[2 · n_bins, F]`, given the tonal bands `[n, F]`."""
    edges = fine_edges(config.hop)[::2]
    cells = np.full((config.n_bins, is_tonal.shape[1]), thrifts[0], np.float32)
    for (low, high), tonal in zip(pairwise(edges), is_tonal, strict=True):
        cells[low:high, tonal] = thrifts[1]
    return np.concatenate([cells, cells])


@torch.inference_mode()
def judge(
    run: str,
    clips: dict[str, Audio],
    settings: dict[str, tuple[int, int]],
    rounding: float,
    all_of_them: bool,
) -> list[dict[str, Any]]:
    """Rates and scores of a run on each clip at each setting."""
    network, architecture, exponents = load(run)
    hop, rows = network.config.hop, []
    for name, audio in clips.items():
        meter = LevelMeter()
        meter.add(audio)
        gain = np.float32(10 ** (gain_to_reference_db(meter.level_db()) / 20))
        n = audio.shape[1]
        behind = _LEAD * hop + -n % hop
        padded = np.pad(audio * gain, ((0, 0), (_LEAD * hop, behind)))
        latents = network.encode(torch.from_numpy(padded)[None]).mean[0].numpy()
        for setting, added in settings.items():
            kept = latents[:, _LEAD - 1 : 1 - _LEAD]
            n_bits, values, kinds = code(network, architecture, exponents, added, kept, rounding)
            values = np.pad(values, ((0, 0), (_LEAD - 1, _LEAD - 1)))
            sound = network.decode(torch.from_numpy(values.astype(np.float32))[None])[0].numpy()
            sound = sound[:, _LEAD * hop : _LEAD * hop + n] / gain
            seconds = n / SAMPLE_RATE
            row = {"clip": name, "run": run, "setting": setting, "kbps": n_bits / seconds / 1000}
            row |= measures(audio, sound, all_of_them)
            row |= {f"kbps_{kind}": bits / seconds / 1000 for kind, bits in kinds.items()}
            rows.append(row)
    return rows


def share(row: dict[str, Any], ladder: list[dict[str, Any]]) -> float:
    """The share of Opus's bits by Zimtohrli distance."""
    points = [Point(r["kbps"], r["d"]) for r in ladder if r["clip"] == row["clip"]]
    return float(row["kbps"] / opus_kbps(row["d"], points, "d")[0])


def report(rows: list[dict[str, Any]], ladder: list[dict[str, Any]]) -> None:
    """Print means by run and setting, and the worst clips."""
    for run, setting in dict.fromkeys((r["run"], r["setting"]) for r in rows):
        mine = [r for r in rows if (r["run"], r["setting"]) == (run, setting)]
        means = {
            k: float(np.mean([r[k] for r in mine])) for k in mine[0] if type(mine[0][k]) is float
        }
        text = " ".join(f"{k} {v:.5f}" if k == "d" else f"{k} {v:.3f}" for k, v in means.items())
        if ladder:
            shares = sorted(((share(r, ladder), r["clip"]) for r in mine), reverse=True)
            mean = math.exp(float(np.mean([math.log(s) for s, _ in shares])))
            worst = ", ".join(f"{name} {s:.2f}" for s, name in shares[:4])
            text = f"share of Opus {mean:.3f} (worst {worst}) {text}"
        print(f"{Path(run).name} {setting}: {text}", flush=True)


def _pair(text: str) -> tuple[int, int]:
    first, _, second = text.partition(",")
    return int(first), int(second or 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("--root", type=Path, default=Path("data"), help="where tiers/ lies")
    parser.add_argument("--tier", default="val")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each clip, its middle")
    parser.add_argument("--every", type=int, default=1, help="only each so many of the clips")
    parser.add_argument(
        "--added",
        nargs="*",
        metavar="A[,B]",
        help="exponents added to the steps of coefficients, and of other latents where there are levels",
    )
    parser.add_argument("--measures", action="store_true", help="the five measures too")
    parser.add_argument("--rounding", type=float, default=0.4)
    parser.add_argument("--ladder", type=Path, help="Opus's rows")
    parser.add_argument("--opus", action="store_true", help="make --ladder")
    parser.add_argument("--out", type=Path, help="append the rows to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    clips = dict(list(read_clips(args.root, args.tier, args.seconds).items())[:: args.every])
    if args.opus:
        rows = opus_ladder(clips, args.measures)
        args.ladder.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ladder = (
        [json.loads(line) for line in args.ladder.read_text().splitlines()] if args.ladder else []
    )
    settings = {a: _pair(a) for a in args.added} if args.added else SETTINGS
    for run in args.runs:
        rows = judge(run, clips, settings, args.rounding, args.measures)
        if args.out:
            with args.out.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        report(rows, ladder)


if __name__ == "__main__":
    main()
