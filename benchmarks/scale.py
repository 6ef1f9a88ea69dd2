"""What a run of a million tracks costs beside the coding: `python -m benchmarks.scale --out FILE`.

A tree of tracks that are holes of real sizes, 216 s on the mean, goes through `earzip compress` with
stand-ins for the work (`benchmarks.stand_in`). Parts:

    local       processes of one machine, which answer at once: the coordinator's cost a file
    paced       the same, each at `--speed` times real time: how long workers wait for the coordinator
    launched    processes under torchrun that answer at once
    ray         actors of a Ray cluster of this machine that answer at once
    shard       the plan of one shard in 64: each lists the whole tree
    objects     the same of as many objects, which a server that stands in for S3 lists

Writes JSON and prints it. Linux only; leaves nothing but the JSON. A million tracks need 9 GB of memory
and 1.2 million inodes for 64 processes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.object_server import serving
from benchmarks.parts import Figures, measure_parts, parts_parser
from benchmarks.processes import machine
from benchmarks.stand_in import FIGURES, SPEED

_TRACKS_AN_ALBUM, _ALBUMS_AN_ARTIST = 12, 10
_BYTES_A_SECOND = 110_000  # of FLAC, as the plan reckons
_LENGTH_S = (20.0, 1200.0)
_LENGTH_MEAN, _LENGTH_SPREAD = 5.25, 0.5  # of the logarithm: 216 s on the mean


def make_tree(root: Path, n_files: int) -> None:
    """Make ``n_files`` FLAC files without contents, in albums of artists, the same each time."""
    rng = random.Random(0)
    shortest, longest = _LENGTH_S
    for i in range(n_files):
        album, track = divmod(i, _TRACKS_AN_ALBUM)
        artist, album = divmod(album, _ALBUMS_AN_ARTIST)
        folder = root / f"artist {artist:05}" / f"album {album}"
        if track == 0:
            folder.mkdir(parents=True)
        seconds = min(max(rng.lognormvariate(_LENGTH_MEAN, _LENGTH_SPREAD), shortest), longest)
        with (folder / f"{track + 1:02} a track of some length.flac").open("wb") as file:
            file.truncate(round(seconds * _BYTES_A_SECOND))


def compress(
    music: Path | str,
    work: Path,
    options: Sequence[str],
    *,
    speed: float = 0.0,
    launcher: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Figures:
    """Return the phases of a run over ``music``, and what its records say of the processes."""
    out, figures, said = (work / name for name in ("out", "figures.json", "records.jsonl"))
    command = [sys.executable, *launcher, "-m", "benchmarks.stand_in", "compress", str(music)]
    command += ["-o", str(out), "--json", "--metrics", str(work / "run.prom"), *options]
    variables = {**os.environ, FIGURES: str(figures), SPEED: str(speed), **(environment or {})}
    began = time.perf_counter()
    try:
        with said.open("w") as stdout:
            subprocess.run(command, check=True, stdout=stdout, env=variables)
        wall_s = time.perf_counter() - began
        with said.open() as lines:
            of_processes = _of_records(lines)
        return {
            "wall_s": round(wall_s, 2),
            "phases": json.loads(figures.read_text()),
            **of_processes,
        }
    finally:
        shutil.rmtree(out, ignore_errors=True)
        for path in (figures, said):
            path.unlink(missing_ok=True)


def _of_records(lines: Iterable[str]) -> Figures:
    """Return how many files the records tell of, how large they are, and for how long who worked."""
    n_files, n_bytes, busy_s = 0, 0, 0.0
    for line in lines:
        record = json.loads(line)
        if record["type"] == "file":
            n_files, n_bytes = n_files + 1, n_bytes + len(line)
            busy_s += record["elapsed_s"]
        else:
            elapsed_s = record["elapsed_s"]
    return {
        "n_records": n_files,
        "record_bytes": round(n_bytes / max(n_files, 1)),
        "busy_s": round(busy_s, 1),
        "elapsed_s": elapsed_s,
    }


def with_cost(figures: Figures) -> Figures:
    """Return ``figures`` with the coordinator's cost a file: to plan, and to give and take."""
    phases, n = figures["phases"], figures["n_records"]
    cpu = {phase: at["cpu_s"] for phase, at in phases.items()}
    return {
        **figures,
        "plan_us_a_file": round(1e6 * (cpu["settled"] - cpu["loaded"]) / n, 1),
        "work_us_a_file": round(1e6 * (cpu["worked"] - cpu["settled"]) / n, 1),
    }


def local(music: Path, work: Path, arguments: argparse.Namespace) -> Figures:
    return with_cost(compress(music, work, _on_cpu(arguments.workers)))


def paced(_music: Path, work: Path, arguments: argparse.Namespace) -> Figures:
    with tree(work / "paced", arguments.paced_files) as music:
        figures = compress(music, work, _on_cpu(arguments.workers), speed=arguments.speed)
    phases = figures["phases"]
    span_s = phases["worked"]["wall_s"] - phases["settled"]["wall_s"]
    cpu_s = phases["worked"]["cpu_s"] - phases["settled"]["cpu_s"]
    return {
        **with_cost(figures),
        "speed": arguments.speed,
        "files_a_second": round(figures["n_records"] / span_s, 1),
        "share_of_a_core": round(cpu_s / span_s, 3),
        "share_at_work": round(figures["busy_s"] / (arguments.workers * span_s), 3),
    }


def launched(music: Path, work: Path, arguments: argparse.Namespace) -> Figures:
    launcher = ("-m", "torch.distributed.run", "--standalone")
    launcher += ("--nproc-per-node", str(arguments.workers))
    return with_cost(compress(music, work, _CPU, launcher=launcher))


def ray(music: Path, work: Path, arguments: argparse.Namespace) -> Figures:
    with ray_cluster(arguments.workers) as address:
        on_ray = [*_CPU, "--engine", "ray"]
        return with_cost(compress(music, work, on_ray, environment={"RAY_ADDRESS": address}))


@contextmanager
def ray_cluster(n_cpus: int) -> Iterator[str]:
    """Give the address of a cluster of this machine, which is told that it has so many CPUs."""
    # A short name: the paths of sockets have an end, at 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        cluster = subprocess.Popen(
            [sys.executable, "-c", _CLUSTER, str(n_cpus), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with cluster:
            assert cluster.stdout
            while not (line := cluster.stdout.readline()).startswith("ADDRESS "):
                if not line:
                    raise RuntimeError("Ray has started no cluster")
            yield line.split()[1]
            cluster.communicate("")


_CLUSTER = """
import sys
import ray

cluster = ray.init(
    num_cpus=int(sys.argv[1]),
    include_dashboard=False,
    object_store_memory=80 << 20,
    _temp_dir=sys.argv[2],
)
print("ADDRESS", cluster.address_info["address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""


def shard(music: Path, work: Path, _arguments: argparse.Namespace) -> Figures:
    return compress(music, work, _OF_SHARD)


def objects(_music: Path, work: Path, arguments: argparse.Namespace) -> Figures:
    with serving(arguments.files) as environment:
        return compress("s3://music", work, _OF_SHARD, environment=environment)


_OF_SHARD = ["--shard", "3/64", "--dry-run"]


_CPU = ["--devices", "cpu", "--threads", "1"]


def _on_cpu(n_workers: int) -> list[str]:
    return [*_CPU, "--processes", str(n_workers)]


@contextmanager
def tree(root: Path, n_files: int) -> Iterator[Path]:
    """Give a tree of `make_tree`."""
    try:
        make_tree(root, n_files)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


PARTS: dict[str, Callable[[Path, Path, argparse.Namespace], Figures]] = {
    "local": local,
    "paced": paced,
    "launched": launched,
    "ray": ray,
    "shard": shard,
    "objects": objects,
}


def main() -> None:
    parser = parts_parser(__doc__, PARTS)
    parser.add_argument("--files", type=int, default=1_000_000, help="tracks  [default: 1000000]")
    parser.add_argument(
        "--paced-files", type=int, default=20_000, help="of paced  [default: 20000]"
    )
    parser.add_argument("--workers", type=int, default=64, help="processes  [default: 64]")
    parser.add_argument(
        "--speed", type=float, default=1000.0, help="× real time a worker of paced  [default: 1000]"
    )
    arguments = parser.parse_args()
    about = {"machine": machine(), "n_files": arguments.files, "n_workers": arguments.workers}
    with tempfile.TemporaryDirectory(prefix="earzip-scale-") as folder:
        work = Path(folder)
        with tree(work / "music", arguments.files) as music:
            measure_parts(
                arguments.parts,
                arguments.out,
                lambda part: {**about, **PARTS[part](music, work, arguments)},
            )


if __name__ == "__main__":
    main()
