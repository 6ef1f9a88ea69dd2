"""What a batch costs beside the coding: `python -m benchmarks.batch --out FILE`.

Planning and passing by what is done, claims, and how evenly several processes share uneven tracks, all in
processes of their own and with music made on the spot. Writes JSON and prints it. Linux only; leaves
nothing but the JSON. Begin it on a machine that has nothing else to do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks.parts import Figures, measure_parts, parts_parser
from benchmarks.processes import Usage, machine, medians, run_earzip

# As in benchmarks.processes nothing heavy is imported here: it would count towards the peaks.

N_FINISHED = 10_000
N_PLANNED = 100_000
N_FOLDERS = 1_000
N_CLAIMS = 10_000
N_RETAGGED, N_SOUNDS, RETAGGED_S = 1_000, 20, 10.0
"""The files that get other tags, how many sounds they have, and their length."""
SAME_S = (50.0,) * 10
"""Lengths of the tracks that one process and two are compared on."""
UNEVEN_S = (120.0, 45.0, 30.0, 20.0, 20.0, 15.0, 10.0, 10.0, 8.0, 5.0, 5.0, 3.0, 2.0, 1.0)
"""Lengths of the tracks that two processes share."""

_MAKE_MUSIC = """
import sys
import numpy as np, soundfile
path, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(seed)
t = np.arange(round(seconds * 44_100)) / 44_100
sound = np.zeros((len(t), 2))
for _ in range(12):
    f_hz, pan, beat_s = rng.uniform(60, 3000), rng.uniform(), rng.choice([0.25, 0.5, 1.0])
    voice = np.sin(2 * np.pi * f_hz * t) * np.exp(-(t % beat_s) / 0.2)
    sound += 0.05 * voice[:, None] * [pan, 1 - pan]
sound += 0.01 * rng.standard_normal(sound.shape)
soundfile.write(path, sound, 44_100, subtype="PCM_16")
"""

_CLAIM = """
import sys, time
from pathlib import Path
from earzip.batch.locks import claim
folder, n = Path(sys.argv[1]), int(sys.argv[2])
start = time.perf_counter()
for i in range(n):
    with claim(folder / f"track {i}.flac.earz"):
        pass
print((time.perf_counter() - start) / n)
"""

_RETITLE = """
import sys
from pathlib import Path
from mutagen.flac import FLAC
for i, path in enumerate(sorted(Path(sys.argv[1]).rglob("*.flac"))):
    file = FLAC(path)
    file["title"] = f"{sys.argv[2]} {i}"
    file.save()
"""

_SOUND = """
import hashlib, sys
from pathlib import Path
from earzip.formats.archive.reader import ArchiveReader
for path in sorted(Path(sys.argv[1]).rglob("*.earz")):
    with ArchiveReader(path) as archive:
        stored = [archive.stored_segment(i)[0] for i in range(archive.n_segments)]
    print(path, hashlib.sha256(b"".join(stored)).hexdigest())
"""


def make_music(path: Path, seconds: float, seed: int) -> None:
    """Write chords that fade, over a little noise, as 16-bit FLAC."""
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-c", _MAKE_MUSIC, path, str(seconds), str(seed)], check=True)


@contextmanager
def finished_library(work: Path, n_files: int, n_folders: int) -> Iterator[tuple[Path, Path]]:
    """Give folders of ``n_files`` tracks and of their archives: the same few under many names."""
    music, archives = work / "music", work / "archives"
    first = music / "album 0"
    for i in range(n_files // n_folders):
        make_music(first / f"track {i}.flac", 0.2, i)
    run_earzip("compress", str(music), "-o", str(archives))
    for root in (music, archives):
        for i in range(1, n_folders):
            shutil.copytree(root / "album 0", root / f"album {i}", copy_function=os.link)
    try:
        yield music, archives
    finally:
        shutil.rmtree(music)
        shutil.rmtree(archives)


def passing_by(work: Path, n_runs: int) -> Figures:
    """Return what a rerun over a finished library takes, plain and with --json."""
    with finished_library(work, N_FINISHED, N_FOLDERS) as (music, archives):
        command = ("compress", str(music), "-o", str(archives))
        return {
            "n_files": N_FINISHED,
            "plain": _of_runs(n_runs, lambda: run_earzip(*command)),
            "json": _of_runs(n_runs, lambda: run_earzip(*command, "--json")),
            "restore_dry": _of_runs(
                n_runs,
                lambda: run_earzip("restore", str(archives), "-o", str(work / "r"), "--dry-run"),
            ),
        }


def retagging(work: Path, n_runs: int) -> Figures:
    """Return what it takes to write new tags into archives, beside encoding them, for each file.

    And of how many archives the coded sound is the same afterwards, byte for byte.
    """
    music, archives = work / "music", work / "archives"
    for i in range(N_SOUNDS):
        make_music(music / f"sound {i}/track 0.flac", RETAGGED_S, i)
        for j in range(1, N_RETAGGED // N_SOUNDS):
            shutil.copyfile(music / f"sound {i}/track 0.flac", music / f"sound {i}/track {j}.flac")

    def retitled(title: str) -> Usage:
        subprocess.run([sys.executable, "-c", _RETITLE, music, title], check=True)
        return run_earzip("compress", str(music), "-o", str(archives), "--threads", "1")

    encoded = retitled("first title")
    before = _sounds_of(archives)
    retagged = medians([retitled(f"title {i}") for i in range(n_runs)])
    after = _sounds_of(archives)
    return {
        "n_files": N_RETAGGED,
        "length_s": RETAGGED_S,
        "cpu_ms_to_encode": round(1e3 * encoded.cpu_s / N_RETAGGED, 1),
        "cpu_ms_to_retag": round(1e3 * retagged.cpu_s / N_RETAGGED, 1),
        "encoded": _rounded(encoded),
        "retagged": _rounded(retagged),
        "same_sound": sum(after.get(path) == sound for path, sound in before.items()),
    }


def _sounds_of(archives: Path) -> dict[str, str]:
    """Return the SHA-256 of the coded sound of each archive, by its path."""
    command = [sys.executable, "-c", _SOUND, archives]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(line.rsplit(" ", 1) for line in said.splitlines())


def planning(work: Path, n_runs: int) -> Figures:
    """Return what the plan of a large library takes: a dry run, over empty files."""
    music = work / "music"
    n_each = N_PLANNED // N_FOLDERS
    for i in range(N_FOLDERS):
        folder = music / f"album {i}"
        folder.mkdir(parents=True)
        for j in range(n_each):
            (folder / f"track {j}.flac").touch()
    command = ("compress", str(music), "-o", str(work / "archives"), "--dry-run")
    try:
        return {
            "n_files": N_PLANNED,
            "plain": _of_runs(n_runs, lambda: run_earzip(*command)),
            "shard": _of_runs(n_runs, lambda: run_earzip(*command, "--shard", "3/100")),
        }
    finally:
        shutil.rmtree(music)


def claims(work: Path, n_runs: int) -> Figures:
    """Return how long it takes to claim a target and to let it go."""
    command = [sys.executable, "-c", _CLAIM, work, str(N_CLAIMS)]
    found = [
        float(subprocess.run(command, check=True, capture_output=True).stdout)
        for _ in range(n_runs)
    ]
    return {"n_claims": N_CLAIMS, "us_each": round(1e6 * median(found), 1)}


def two_against_one(work: Path, n_runs: int) -> Figures:
    """Return what 2 processes of 1 thread take against 1 process of 2, run in turns on the same music."""
    music = _make_tracks(work / "same", SAME_S)
    kinds = {"one_of_two_threads": (1, 2), "two_of_one_thread": (2, 1)}
    spans: dict[str, list[float]] = defaultdict(list)
    usages: dict[str, list[Usage]] = defaultdict(list)
    for i in range(n_runs):
        for kind in sorted(kinds, reverse=bool(i % 2)):
            n_processes, n_threads = kinds[kind]
            options = ("--processes", str(n_processes), "--threads", str(n_threads))
            usage, lines = _compress(work, music, *options)
            usages[kind].append(usage)
            spans[kind].append(lines[-1]["elapsed_s"])
    ratios = [
        two.wall_s / one.wall_s for one, two in zip(*(usages[kind] for kind in kinds), strict=True)
    ]
    return {
        "model": "mini",
        "audio_s": sum(SAME_S),
        **{kind: {**_rounded(medians(usages[kind])), "runs_s": spans[kind]} for kind in kinds},
        "wall_of_two_over_one": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def idleness(work: Path, n_runs: int) -> Figures:
    """Return which share of its span a process of two has nothing to do, on tracks of uneven length.

    Of the time from the first file that is begun to the last that is done: the loading of the network
    before that, which is the same however the tracks are shared out, is told beside it.
    """
    music = _make_tracks(work / "uneven", UNEVEN_S)
    shares, starts = [], []
    for _ in range(n_runs):
        _, lines = _compress(work, music, "--processes", "2", "--threads", "1")
        shares.append(idle_share(lines[:-1], 2))
        busy_s = max(_busy(lines[:-1]).values())
        starts.append(lines[-1]["elapsed_s"] - busy_s)
    return {
        "model": "mini",
        "lengths_s": UNEVEN_S,
        "idle_share": round(median(shares), 4),
        "idle_shares": [round(share, 4) for share in shares],
        "start_s": round(median(starts), 2),
    }


def idle_share(records: Sequence[Figures], n_processes: int) -> float:
    """Return the share of the longest process's time that the others, on the mean, did not work."""
    busy = _busy(records)
    return 1 - sum(busy.values()) / (n_processes * max(busy.values()))


def _busy(records: Sequence[Figures]) -> dict[int, float]:
    busy: dict[int, float] = defaultdict(float)
    for record in records:
        busy[record["rank"]] += record["elapsed_s"]
    return busy


def _make_tracks(folder: Path, lengths_s: Sequence[float]) -> Path:
    for i, seconds in enumerate(lengths_s):
        make_music(folder / f"track {i}.flac", seconds, i)
    return folder


def _compress(work: Path, music: Path, *options: str) -> tuple[Usage, list[Figures]]:
    """Compress into a new folder; return what it took, and the records and the summary."""
    with tempfile.TemporaryDirectory(dir=work) as out, tempfile.TemporaryFile("w+") as said:
        usage = run_earzip(
            "compress", str(music), "-o", out, "--devices", "cpu", *options, "--json", stdout=said
        )
        said.seek(0)
        return usage, [json.loads(line) for line in said]


def _of_runs(n_runs: int, run: Callable[[], Usage]) -> Figures:
    return _rounded(medians([run() for _ in range(n_runs)]))


def _rounded(usage: Usage) -> Figures:
    return {name: round(value, 3) for name, value in asdict(usage).items()}


PARTS: dict[str, Callable[[Path, int], Figures]] = {
    "passing_by": passing_by,
    "retagging": retagging,
    "planning": planning,
    "claims": claims,
    "two_against_one": two_against_one,
    "idleness": idleness,
}


def main() -> None:
    parser = parts_parser(__doc__, PARTS)
    parser.add_argument("--runs", type=int, default=5, help="runs of each  [default: 5]")
    arguments = parser.parse_args()

    def measure(part: str) -> Figures:
        about = {"machine": machine(), "n_runs": arguments.runs}
        with tempfile.TemporaryDirectory(prefix="earzip-batch-") as work:
            return {**about, **PARTS[part](Path(work), arguments.runs)}

    measure_parts(arguments.parts, arguments.out, measure)


if __name__ == "__main__":
    main()
