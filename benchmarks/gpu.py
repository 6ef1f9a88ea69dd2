"""What a GPU does for earzip, in one command: `python -m benchmarks.gpu --out DIR`.

For each installed model and precision, and the published network at its full size with random weights:
how near it comes to the CPU, whether it gives the same bytes twice, the memory of a batch, how many times
faster than real time it codes, and the share of the GPU's peak that this is. Then what a whole `compress`
waits for, and whether a run goes on when a process is killed. `DIR/gpu.json` has all figures and
`DIR/gpu.md` the tables; the exit code is 1 if a check failed. `--device cpu` is a dry run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_runs import compressed, killed, waits_for
from benchmarks.precision import random_ear, snr_db
from earzip.coding.codec import Codec
from earzip.coding.device import usable_runtime
from earzip.errors import UsageError
from earzip.formats.geometry import SAMPLE_RATE
from earzip.models.footprint import peak_of
from earzip.models.spec import ModelSpec
from earzip.models.store import find_model, list_models, load_codec
from earzip.network import native
from earzip.network.networks import build_network, ready_to_run
from earzip.runtime import PRECISIONS, Runtime

Sound = NDArray[np.float32]
Segments = list[NDArray[np.float32]]
T = TypeVar("T")

LEAST_SNR_DB = {"float32": 80.0, "tf32": 45.0, "float16": 35.0, "bfloat16": 25.0}
"""Of latents and sound against float32 on the CPU; less is a failed check."""
EAR = "εar-VAE, random weights"
BATCHES = (1, 2, 4, 8, 16)


@dataclass
class Row:
    """A model in a precision on the device."""

    model: str
    precision: str
    batch_size: int = 0
    """Windows of a pass; 0 on a CPU, which has no batches."""
    latents_snr_db: float = 0.0
    sound_snr_db: float = 0.0
    same_twice: bool = False
    encode_realtime: float = 0.0
    """Seconds of sound a second, network alone."""
    decode_realtime: float = 0.0
    encode_gflop: float = 0.0
    """A second of sound; products of matrices and convolutions only."""
    decode_gflop: float = 0.0
    encode_share: float = 0.0
    """Of the FLOPs that a large product of matrices reaches."""
    decode_share: float = 0.0
    counted_window_bytes: int = 0
    memory: dict[int, int] = field(default_factory=dict)
    """The most bytes that the GPU had allocated, by the windows of a pass."""
    problems: list[str] = field(default_factory=list)
    """Failed checks."""
    lacking: str | None = None
    """Why the device does not compute in the precision: no failure."""


@dataclass(frozen=True)
class Model:
    """Something to measure."""

    name: str
    load: Callable[[str, str], Codec]
    """Gives its codec on a device in a precision."""
    network: Callable[[], torch.nn.Module]
    """Gives its network as it is on a GPU, on the CPU."""


def sound(seconds: float, seed: int = 0) -> Sound:
    """Return tones that fade and noise, `[2, T]` within ±1."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    audio = 0.02 * rng.standard_normal((2, len(t)))
    for _ in range(8):
        f_hz, pan = rng.uniform(80, 4000), rng.uniform(0, 1)
        tone = np.sin(2 * np.pi * f_hz * t) * np.exp(-(t % 0.7) * 3)
        audio += 0.08 * np.stack([pan * tone, (1 - pan) * tone])
    return audio.astype(np.float32)


def measured(model: Model, codec: Codec, exact: Codec, n_windows: int, peak: float) -> Row:
    """Return the row of `codec`, beside `exact`, the same model in float32 on the CPU."""
    row = Row(model.name, codec.precision)
    part = sound(window_s(codec))
    audio = np.tile(part, (1, n_windows))
    duration_s = audio.shape[1] / SAMPLE_RATE
    wanted = encode(exact, part)
    row.latents_snr_db = at_most(snr_db(joined(encode(codec, part)), joined(wanted)))
    restored = [decode(each, wanted, part.shape[1]) for each in (codec, exact)]
    row.sound_snr_db = at_most(snr_db(*restored))
    encode(codec, audio)  # what is loaded and chosen at the first pass
    (latents, encode_s), (again, _) = (timed(lambda: encode(codec, audio)) for _ in range(2))
    once, decode_s = timed(lambda: decode(codec, latents, audio.shape[1]))
    twice = decode(codec, latents, audio.shape[1])
    row.same_twice = np.array_equal(joined(latents), joined(again)) and np.array_equal(once, twice)
    row.encode_realtime, row.decode_realtime = duration_s / encode_s, duration_s / decode_s
    row.encode_gflop, row.decode_gflop, row.counted_window_bytes = counted(model, exact)
    row.encode_share = row.encode_gflop * 1e9 * row.encode_realtime / peak
    row.decode_share = row.decode_gflop * 1e9 * row.decode_realtime / peak
    if codec.device.type == "cuda":
        row.memory = dict(memory_by_batch(codec))
        row.batch_size = max((n for n in row.memory if n <= BATCHES[-1]), default=0)
    least = LEAST_SNR_DB[row.precision]
    for what, snr in (("latents", row.latents_snr_db), ("sound", row.sound_snr_db)):
        if not snr >= least:
            row.problems.append(f"{what}: {snr:.1f} dB from the CPU's, expected {least:.0f}")
    if not row.same_twice:
        row.problems.append("a second pass gives other bytes")
    return row


def at_most(db: float) -> float:
    """Return a level that JSON can hold: equal sound is infinitely near."""
    return min(db, 300.0)


def window_s(codec: Codec) -> float:
    g = codec.geometry
    return g.core * g.hop / SAMPLE_RATE


def encode(codec: Codec, audio: Sound) -> Segments:
    return list(codec.encode([audio]))


def decode(codec: Codec, segments: Segments, n_samples: int) -> Sound:
    return joined(codec.decode(lambda i: segments[i], n_samples, range(len(segments))))


def joined(blocks: Iterator[Sound] | Segments) -> Sound:
    return np.concatenate(list(blocks), 1)


def timed(run: Callable[[], T]) -> tuple[T, float]:
    begin = time.perf_counter()
    result = run()
    return result, time.perf_counter() - begin


def counted(model: Model, codec: Codec) -> tuple[float, float, int]:
    """Return GFLOP a second of sound, of encoding and of decoding, and the bytes of a window."""
    g, network = codec.geometry, model.network()
    shapes = {
        "encode": (1, 2, (g.core + 2 * g.encoder_context) * g.hop),
        "decode": (1, codec.n_latents, g.core + 2 * g.decoder_context),
    }
    flops, most = {}, 0
    for way, shape in shapes.items():
        try:  # without computing
            with FakeTensorMode(allow_non_fake_inputs=True):
                flops[way], n_bytes = count(getattr(network, way), shape)
        except (DataDependentOutputException, DynamicOutputShapeException):
            flops[way], n_bytes = count(getattr(network, way), shape)
        most = max(most, n_bytes)
    return *(flops[way] / 1e9 / window_s(codec) for way in shapes), most


def count(run: Callable[[torch.Tensor], object], shape: tuple[int, ...]) -> tuple[int, int]:
    """Return operations, and the most bytes at one time, of `run` on noise of a shape."""
    with FlopCounterMode(display=False) as counter, native.left_out():
        most = peak_of(run, 0.1 * torch.randn(shape))
    return counter.get_total_flops(), most


def memory_by_batch(codec: Codec) -> Iterator[tuple[int, int]]:
    """Yield the most bytes that the GPU has allocated for passes of so many windows."""
    for n in BATCHES:
        torch.cuda.reset_peak_memory_stats(codec.device)
        try:
            codec._try_batch(n)
        except torch.OutOfMemoryError:
            return
        yield n, torch.cuda.max_memory_allocated(codec.device)


def peak_flops(device: str, precision: str, size: int) -> float:
    """Return the FLOPs a second of a product of two square matrices, the best of 5."""
    dtype = getattr(torch, "float32" if precision == "tf32" else precision)
    a = torch.randn(size, size, device=device).to(dtype)
    if device != "cpu":
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"

    def product() -> None:
        (a @ a)[0, 0].item()  # which waits

    product()
    return 2 * size**3 / min(timed(product)[1] for _ in range(5))


def models_of(arguments: argparse.Namespace) -> list[Model]:
    """Return what is to be measured."""
    found = []
    for name in arguments.model or [spec.name for spec in list_models()[0]]:
        spec = find_model(name)

        def load(device: str, precision: str, spec: ModelSpec = spec) -> Codec:
            return load_codec(spec, usable_runtime(Runtime(device, precision, arguments.threads)))

        def network(spec: ModelSpec = spec) -> torch.nn.Module:
            built = build_network(spec.architecture, spec.config)
            return ready_to_run(built, load_file(spec.weights_path))

        found.append(Model(spec.name, load, network))
    if not arguments.no_ear:
        # In windows as an imported model has; of a quarter on a CPU, where they take minutes.
        core = 64 if arguments.device == "cpu" else 256

        def load_ear(device: str, precision: str) -> Codec:
            return random_ear(usable_runtime(Runtime(device, precision)).precision, device, core)

        found.append(Model(EAR, load_ear, lambda: random_ear("float16").vae))
    return found


def rows_of(model: Model, arguments: argparse.Namespace) -> Iterator[Row]:
    """Yield a model's rows; what fails is a problem of its row."""
    exact = model.load("cpu", "float32")
    for precision in arguments.precisions:
        print(f"{model.name}, {precision}", file=sys.stderr, flush=True)
        try:
            peak = peak_flops(arguments.device, precision, arguments.size)
            codec = model.load(arguments.device, precision)
            yield measured(model, codec, exact, arguments.windows, peak)
            codec.close()
        except UsageError as error:
            yield Row(model.name, precision, lacking=error.message)
        except Exception as error:  # whatever a new device does, the rest is measured
            line = f"{type(error).__name__}: {error}".partition("\n")[0]
            yield Row(model.name, precision, problems=[line])
    exact.close()


def run_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    device, models = arguments.device, models_of(arguments)
    rows = [row for model in models for row in rows_of(model, arguments)]
    first = models[0].name
    with tempfile.TemporaryDirectory() as folder:
        whole = compressed(Path(folder), device, first, arguments.track_seconds, sound)
        of_kill = killed(Path(folder), device, first)
    cores = len(os.sched_getaffinity(0))
    if fastest := next((row.encode_realtime for row in rows if row.model == first), 0.0):
        whole["network_share"] = round(whole["sound_s"] / fastest / whole["elapsed_s"], 3)
        whole["waits_for"] = waits_for(whole["network_share"], whole["cores_used"] / cores)
    failed = any(row.problems for row in rows) or whole["exit_code"] or not of_kill["complete"]
    return {
        "device": name_of(device),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "cores": cores,
        "rows": [asdict(row) for row in rows],
        "compress": whole,
        "kill": of_kill,
        "ok": not failed,
    }


def name_of(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"


def to_markdown(found: dict[str, Any]) -> str:
    """Return the tables."""
    lines = [
        f"{found['device']}, PyTorch {found['torch']}, {found['cores']} cores",
        "",
        "| model | precision | latents dB | sound dB | same twice | encode × real time | decode × "
        "real time | share of peak, encode, decode | memory by batch, GB | problems |",
        "|---|---|---:|---:|---|---:|---:|---:|---|---|",
    ]
    for row in found["rows"]:
        if not row["encode_realtime"]:
            why = row["lacking"] or "; ".join(row["problems"])
            lines.append(f"| {row['model']} | {row['precision']} |{7 * ' – |'} {why} |")
            continue
        memory = ", ".join(f"{n}: {size / 1e9:.2f}" for n, size in row["memory"].items()) or "–"
        cells = [
            row["model"],
            row["precision"],
            f"{row['latents_snr_db']:.1f}",
            f"{row['sound_snr_db']:.1f}",
            "yes" if row["same_twice"] else "no",
            f"{row['encode_realtime']:.3g}",
            f"{row['decode_realtime']:.3g}",
            f"{100 * row['encode_share']:.1f} %, {100 * row['decode_share']:.1f} %",
            memory,
            "; ".join(row["problems"]) or "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    whole, kill = found["compress"], found["kill"]
    lines += [
        "",
        f"`compress`, {whole['model']}: {whole['sound_s']:.0f} s of sound in {whole['elapsed_s']} s on "
        f"{whole['cores_used']} cores; the network alone would take "
        f"{100 * whole.get('network_share', 0):.0f} % of that. It waits for "
        f"{whole.get('waits_for', 'what is unknown')}.",
        "",
        f"A process killed: exit code {kill['exit_code']}, of the next run {kill['next_exit_code']}; "
        f"{'all archives are there' if kill['complete'] else 'ARCHIVES ARE MISSING'}.",
    ]
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="directory of gpu.json and gpu.md")
    parser.add_argument("--device", default="cuda:0", help="cuda:N or cpu  [default: cuda:0]")
    parser.add_argument("--model", action="append", help="name or .json file  [default: all]")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--windows", type=int, default=64, help="of sound  [default: 64]")
    parser.add_argument("--track-seconds", type=float, default=120, help="of each of 8 tracks")
    parser.add_argument("--size", type=int, default=8192, help="of the matrices of the peak")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--no-ear", action="store_true", help="without the published network")
    arguments = parser.parse_args(words)
    found = run_all(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    text = to_markdown(found)
    (arguments.out / "gpu.md").write_text(text)
    print(text)
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
