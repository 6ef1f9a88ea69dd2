"""The main job, end to end, on real music: `python -m benchmarks.acceptance`.

Builds a folder of tagged test tracks in every format, with files that are odd, cut or no sound at
all; gives earzip's commands in processes of their own: compress, again, verify, info, restore to
FLAC, to WAV and as the source was; and lets other programs (libsndfile, ffmpeg, ffprobe, mutagen)
check what came out. Then changes bytes of archives at random. Prints what was checked as Markdown;
the exit code is 1 if anything did not hold. Needs ffmpeg and metaflac.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.acceptance.command import Checks, Earzip
from benchmarks.acceptance.music import make_folder
from benchmarks.acceptance.run import Acceptance, Line

_MAX_SHOWN = 5  # failures of one promise


def tracks_table(lines: dict[str, Line]) -> str:
    """Return a row for each file; losses are those that earzip told of tags, by variant."""
    rows = [
        "| file | s | archive kB | kbps | correlation | level dB | losses told | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for name, line in lines.items():
        if line.like is None:
            rows.append(f"| {name} | | | | | | | {line.fate} |")
            continue
        losses = ", ".join(f"{n} {variant}" for variant, n in line.n_losses.items() if n)
        rows.append(
            f"| {name} | {line.seconds:.1f} | {line.archive_bytes / 1000:.1f} | {line.kbps:.1f} "
            f"| {line.like.correlation:.3f} | {line.like.level_db:+.2f} | {losses} | {line.fate} |"
        )
    return "\n".join(rows)


def checks_table(checks: Checks) -> str:
    """Return a row for each promise, and under the table what did not hold."""
    rows = ["| promise | checked | failed |", "| --- | ---: | ---: |"]
    details = []
    for promise, tally in checks.tallies.items():
        rows.append(f"| {promise} | {tally.n_checked} | {len(tally.failures)} |")
        details += [f"- {promise}: {failure}" for failure in tally.failures[:_MAX_SHOWN]]
        if len(tally.failures) > _MAX_SHOWN:
            details.append(f"- {promise}: and {len(tally.failures) - _MAX_SHOWN} more")
    return "\n".join([*rows, "", *details])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path("data"), help="where fetch.py put music")
    parser.add_argument(
        "--work", type=Path, default=Path("data/acceptance"), help="a folder that is not there yet"
    )
    parser.add_argument(
        "--seconds", type=float, default=20, help="of each track  [default: %(default)s]"
    )
    parser.add_argument(
        "--flips", type=int, default=10_000, help="bytes to change  [default: %(default)s]"
    )
    arguments = parser.parse_args()
    if arguments.work.exists():
        parser.error(f"{arguments.work} is there already")
    make_folder(arguments.root, arguments.work / "music", arguments.seconds)
    acceptance = Acceptance(arguments.work, Earzip(arguments.work / "tmp"))
    acceptance.run(arguments.flips)
    print(tracks_table(acceptance.lines))
    print()
    print(checks_table(acceptance.checks))
    sys.exit(1 if acceptance.checks.n_failed else 0)


if __name__ == "__main__":
    main()
