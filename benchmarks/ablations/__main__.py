"""Train with parts of the objective switched off, and print a table: `python -m benchmarks.ablations`.

The εar-VAE paper's ablations (arXiv 2509.14912): without the transformer, without K-weighting, without
the phase losses, magnitudes over left and right alone, phase over mid and side too. Each is a run of
`earzip train run` by the same configuration; a second seed of the complete objective tells noise from
effect. What is finished is not trained again, so an interrupted command can be repeated.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.ablations.judge import Judged, judge

FOLDER = Path(__file__).parent

VARIANTS: dict[str, list[str]] = {
    "complete": [],
    "complete, another seed": ["--set", "seed=101"],
    "no transformer": ["--without", "transformer"],
    "no K-weighting": ["--without", "k-weighting"],
    "no phase losses": ["--without", "phase", "--without", "correlation"],
    "magnitude: left and right alone": ["--without", "mid-side"],
    "phase: mid and side too": ["--set", "loss.phase_channels=mslr"],
}


def train(config: Path, options: list[str], music: Path, run: Path) -> None:
    """Train a variant to its end, in a process of its own."""
    command = [sys.executable, "-m", "earzip", "train", "run", str(config)]
    command += ["--music", str(music), "--output", str(run), *options]
    subprocess.run(command, check=True)


def table(name: str, results: dict[str, Judged]) -> str:
    """Markdown table of the variants of one configuration."""
    lines = [
        f"| {name} | kbps | SI-SDR dB ↑ | mel ↓ | STFT ↓ | ICPC % ↑ | CCPC % ↑ | above 10 kHz dB ↓ |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for variant, judged in results.items():
        m = judged.measures
        lines.append(
            f"| {variant} | {judged.kbps:.1f} | {m.si_sdr_db:.2f} | {m.mel:.3f} | {m.stft:.3f} "
            f"| {100 * m.icpc:.2f} | {100 * m.ccpc:.2f} | {judged.treble_db:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="where train.s16 and val.s16 lie")
    parser.add_argument("--out", type=Path, required=True, help="where the runs and results go")
    parser.add_argument(
        "--config",
        dest="configs",
        action="append",
        choices=["spectral", "ear"],
        help="both without it",
    )
    parser.add_argument(
        "--set", dest="changes", action="append", default=[], help="as of `earzip train run`"
    )
    args = parser.parse_args()
    changes = [word for change in args.changes for word in ("--set", change)]
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.configs or ["spectral", "ear"]:
        config = FOLDER / f"{name}.json"
        results: dict[str, Judged] = {}
        for variant, options in VARIANTS.items():
            if "transformer" in options and name == "spectral":
                continue  # it has none
            run = args.out / name / variant.translate(str.maketrans(" :,", "---"))
            train(config, [*options, *changes], args.root, run)
            results[variant] = judge(run, args.root)
            (args.out / f"{name}.json").write_text(_to_json(results))
        print(table(name, results), end="\n\n", flush=True)


def _to_json(results: dict[str, Judged]) -> str:
    data: dict[str, Any] = {
        variant: {"kbps": j.kbps, **asdict(j.measures), "treble_db": j.treble_db}
        for variant, j in results.items()
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
