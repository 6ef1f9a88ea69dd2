"""Judge networks in training on the clips of a tier: `python -m benchmarks.trials RUN…`.

RUN is the folder of a run, whose checkpoint is taken, or the name of a model. Each clip is coded as
archives code it, header and tags aside, at each preset; printed are rate, Zimtohrli distance and, with
`--measures`, the five measures; with `--ladder` of Opus (made by `--opus`), the share of Opus's bits.
Results are appended to `--out`, a line a clip and preset.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from benchmarks.opus_share import Point, opus_kbps
from earzip.coding.level import LevelMeter, gain_to_reference_db
from earzip.coding.quantizer import dequantize
from earzip.formats.archive.frames import compress_frames
from earzip.formats.geometry import SAMPLE_RATE
from earzip.formats.symbols.coding import pack
from earzip.metrics.measures import measure
from earzip.models.install import PRESETS_OF_LEVELS
from earzip.models.spec import ModelSpec, Preset
from earzip.models.store import find_model, load_codec
from earzip.network.networks import Network, build_network, ready_to_run
from earzip.options import QUALITIES
from earzip.runtime import Runtime
from earzip.training.run_state import read_facts, read_parts

Audio = NDArray[np.float32]
OPUS_KBPS = (10, 12, 16, 20, 24, 32, 48, 64, 96)
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


def load(run: str) -> tuple[Network, ModelSpec]:
    """The network of a run's checkpoint, or of an installed model, and a specification of it."""
    if not Path(run).is_dir():
        spec = find_model(run)
        return load_codec(spec, Runtime("cpu", threads=1)).vae, spec
    checkpoint = Path(run, "checkpoint.safetensors")
    config = read_facts(checkpoint)["config"]
    network = build_network(config["architecture"], config["model"])
    ready_to_run(network, read_parts(checkpoint, ["network"])["network"])
    dimensions = network.config
    with torch.inference_mode():
        scale = network.encode(torch.zeros(1, 2, 8 * dimensions.hop)).scale[0].mean(1)
    preset = Preset(0, 0.4)
    geometry = {"hop": dimensions.hop, "lead": 0, "core": 64, "encoder_context": 0}
    return network, ModelSpec(
        name="trial",
        architecture=config["architecture"],
        config=dimensions.to_json(),
        geometry={**geometry, "decoder_context": 0},
        n_latents=dimensions.n_latents,
        step_exponents=tuple(round(16 * math.log2(s)) for s in scale.tolist()),
        presets=dict.fromkeys(QUALITIES, preset),
        weights_sha256=64 * "0",
        licence="",
        source="",
        path=checkpoint,
    )


def presets_of(spec: ModelSpec, added: Sequence[tuple[int, int | None]]) -> dict[str, Preset]:
    """Presets to judge: those of an installed model or, for a run, those that are asked for."""
    if not added:
        return dict(spec.presets) if spec.name != "trial" else PRESETS_OF_LEVELS
    like = PRESETS_OF_LEVELS["medium"] if spec.layout.groups else spec.presets["medium"]
    return {f"{a},{b}": replace(like, exponent=a, others=b) for a, b in added}


@torch.inference_mode()
def judge(
    network: Network,
    spec: ModelSpec,
    presets: dict[str, Preset],
    clips: dict[str, Audio],
    all_of_them: bool,
) -> list[dict[str, Any]]:
    """Rates and scores of a network on each clip at each preset."""
    hop, rows = network.config.hop, []
    for name, audio in clips.items():
        meter = LevelMeter()
        meter.add(audio)
        gain = np.float32(10 ** (gain_to_reference_db(meter.level_db()) / 20))
        n = audio.shape[1]
        behind = _LEAD * hop + -n % hop
        padded = np.pad(audio * gain, ((0, 0), (_LEAD * hop, behind)))
        latents = network.encode(torch.from_numpy(padded)[None]).mean[0].numpy()
        kept = latents[:, _LEAD - 1 : 1 - _LEAD]
        for setting, preset in presets.items():
            symbols = spec.quantize(kept, preset)
            n_bits = 8 * len(compress_frames(pack(symbols, spec.layout)))
            values = dequantize(symbols, spec.exponents_at(preset))
            values = np.pad(values, ((0, 0), (_LEAD - 1, _LEAD - 1)))
            sound = network.decode(torch.from_numpy(values)[None])[0].numpy()
            sound = sound[:, _LEAD * hop : _LEAD * hop + n] / gain
            kbps = n_bits / n * SAMPLE_RATE / 1000
            row = {"clip": name, "run": spec.name, "setting": setting, "kbps": kbps}
            rows.append(row | measures(audio, sound, all_of_them))
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


def _pair(text: str) -> tuple[int, int | None]:
    first, _, second = text.partition(",")
    return int(first), int(second) if second else None


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
        type=_pair,
        default=[],
        metavar="A[,B]",
        help="exponents added to the steps of coefficients, and of other latents",
    )
    parser.add_argument("--measures", action="store_true", help="the five measures too")
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
    for run in args.runs:
        network, spec = load(run)
        rows = judge(network, spec, presets_of(spec, args.added), clips, args.measures)
        rows = [{**row, "run": Path(run).name} for row in rows]
        if args.out:
            with args.out.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        report(rows, ladder)


if __name__ == "__main__":
    main()
