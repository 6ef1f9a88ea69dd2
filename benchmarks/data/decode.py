"""Decode the fetched tracks into one flat PCM file per set: `python -m benchmarks.data.decode`."""

import argparse
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.data.pcm import Samples, decode, hours, mix, write_set
from benchmarks.data.tracks import SETS, Track, package_folder, read_tracks


def load(track: Track, root: Path) -> Samples:
    """Whole track, its stems summed, as float32 `[T, 2]` at 44.1 kHz."""
    return mix(decode(stem) for stem in track.stems(root))


def items(
    which: str, root: Path, packages: set[str] | None = None
) -> Iterator[tuple[str, Callable[[], Samples]]]:
    """Tracks of a set whose packages are fetched: name and loader of each."""
    for track in read_tracks(which):
        if package_folder(root, track.package).exists() and (
            packages is None or track.package in packages
        ):
            yield track.name, functools.partial(load, track, root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where the audio lies")
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        choices=SETS,
        help="may be repeated; train and val without it",
    )
    parser.add_argument(
        "--package", dest="packages", action="append", help="only these packages; may be repeated"
    )
    parser.add_argument(
        "--name", help="write NAME.s16 and NAME.json instead of those named after the set"
    )
    parser.add_argument("--jobs", type=int, default=2, help="tracks decoded at once")
    args = parser.parse_args()
    for which in args.sets or ["train", "val"]:
        wanted = items(which, args.root, set(args.packages) if args.packages else None)
        name = args.name or which
        entries = write_set(args.root, name, wanted, args.jobs)
        print(f"{name}.s16 ready {len(entries)} tracks {hours(entries):.2f} h")


if __name__ == "__main__":
    main()
