"""Time and memory of whole `earzip` processes: `python -m benchmarks.speed`.

Compresses and restores each file in processes of their own, several times, and prints the medians
as a Markdown table: wall time, CPU time, peak memory. Without files it makes two FLAC files of 4
and 60 minutes from the test tracks, with ffmpeg, and keeps them in the working folder. Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO

from benchmarks.data.tracks import read_tracks

# Nothing heavy may be imported here: the kernel counts the memory that a parent has when it starts
# a process towards the peak of that process.

TRACK_MINUTES = (4, 60)


@dataclass(frozen=True)
class Usage:
    """What one process took."""

    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class Line:
    """Medians of one command on one file."""

    command: str
    file: Path
    duration_s: float
    usage: Usage


def run_earzip(*arguments: str, stdout: IO[str] | int = subprocess.DEVNULL) -> Usage:
    """Run `earzip` in a process of its own; RuntimeError unless it exits with 0.

    The CPU time is also that of the processes that it started and waited for; the peak is of one.
    """
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "earzip", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=said,
        )
        # Of subprocess's own ways to wait none tells the resources of one process.
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace")
            command = " ".join(arguments)
            raise RuntimeError(f"earzip {command}: exit code {process.returncode}\n{text}")
    return Usage(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def medians(runs: Sequence[Usage]) -> Usage:
    """Return the median of each figure."""
    return Usage(
        wall_s=median(usage.wall_s for usage in runs),
        cpu_s=median(usage.cpu_s for usage in runs),
        peak_mb=median(usage.peak_mb for usage in runs),
    )


def repeat(n_runs: int, run: Callable[[], Usage]) -> Usage:
    """Return the medians of `n_runs` runs."""
    return medians([run() for _ in range(n_runs)])


def measure(file: Path, n_runs: int, options: Sequence[str]) -> list[Line]:
    """Compress and restore `file`, each `n_runs` times; `options` are those of `compress`."""
    duration_s = duration(file)
    with tempfile.TemporaryDirectory(prefix="earzip-speed-") as name:
        archive, restored = Path(name, f"{file.name}.earz"), Path(name, "restored.flac")

        def compress() -> Usage:
            # An archive that is up to date would be skipped.
            archive.unlink(missing_ok=True)
            return run_earzip("compress", str(file), "-o", str(archive), *options)

        def restore() -> Usage:
            restored.unlink(missing_ok=True)
            return run_earzip("restore", str(archive), "-o", str(restored))

        return [
            Line("compress", file, duration_s, repeat(n_runs, compress)),
            Line("restore", file, duration_s, repeat(n_runs, restore)),
        ]


def duration(file: Path) -> float:
    """Return the seconds of sound in `file`."""
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration"]
    command += ["-of", "default=nk=1:nw=1", str(file)]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)


def make_track(root: Path, minutes: int, target: Path) -> None:
    """Write the first `minutes` of the test tracks, one after the other, as 16-bit FLAC."""
    files = []
    missing_s = 60.0 * minutes
    for track in read_tracks("test"):
        if missing_s <= 0:
            break
        files.append(track.stems(root)[0])
        missing_s -= track.duration_s
    inputs = [word for file in files for word in ("-i", str(file))]
    same = "aresample=44100,aformat=sample_fmts=s16:channel_layouts=stereo"
    chains = [f"[{i}:a:0]{same}[a{i}]" for i in range(len(files))]
    labels = "".join(f"[a{i}]" for i in range(len(files)))
    # Time stamps counted anew: those of some tracks are off by a few samples.
    joined = f"{labels}concat=n={len(files)}:v=0:a=1,asetpts=N/SR/TB[out]"
    partial = target.with_name(f".{target.name}")
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *inputs]
    command += ["-filter_complex", ";".join([*chains, joined]), "-map", "[out]"]
    command += ["-t", str(60 * minutes), "-c:a", "flac", "-f", "flac", str(partial)]
    subprocess.run(command, check=True)
    partial.replace(target)


def to_markdown(lines: Sequence[Line], help_usage: Usage) -> str:
    """Return the table, and what `earzip --help` takes."""
    rows = [
        f"| {line.command} | {line.file.name} | {line.duration_s / 60:.1f} "
        f"| {line.usage.wall_s:.2f} | {line.duration_s / line.usage.wall_s:.1f} "
        f"| {line.usage.cpu_s:.2f} | {line.usage.peak_mb:.0f} |"
        for line in lines
    ]
    return "\n".join(
        [
            "| command | file | minutes | wall s | × real time | CPU s | peak MB |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            f"`earzip --help`: {help_usage.cpu_s:.2f} s of CPU, {help_usage.wall_s:.2f} s, "
            f"{help_usage.peak_mb:.0f} MB",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", metavar="FILE", type=Path, nargs="*", help="sound files")
    parser.add_argument("--root", type=Path, default=Path("data"), help="where fetch.py put music")
    parser.add_argument(
        "--work", type=Path, default=Path("data/speed"), help="folder for the files made"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each  [default: 3]")
    parser.add_argument("--quality", default="medium", help="of compress  [default: medium]")
    arguments = parser.parse_args()
    files = arguments.files
    if not files:
        arguments.work.mkdir(parents=True, exist_ok=True)
        files = [arguments.work / f"{minutes}-minutes.flac" for minutes in TRACK_MINUTES]
        for file, minutes in zip(files, TRACK_MINUTES, strict=True):
            if not file.exists():
                make_track(arguments.root, minutes, file)
    options = ["--quality", arguments.quality]
    lines = [line for file in files for line in measure(file, arguments.runs, options)]
    help_usage = repeat(arguments.runs, lambda: run_earzip("--help"))
    print(f"{len(os.sched_getaffinity(0))} cores, median of {arguments.runs} runs\n")
    print(to_markdown(lines, help_usage))


if __name__ == "__main__":
    main()
