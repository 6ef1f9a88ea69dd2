"""How an album cut into tracks joins: `python -m benchmarks.joins`.

Cuts test clips into pieces at random samples, archives and restores each piece by itself, puts them
together again, and looks at the error against the original where they join: by how much it jumps from one
sample to the next, at the join and at most within 32 samples of it, beside the clip coded whole.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.clips import read_clips
from benchmarks.data.pcm import SAMPLE_RATE
from earzip.models.pool import CodecPool
from earzip.options import CompressOptions, RestoreOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file

Sound = NDArray[np.float32]

WIDTH = 64  # samples


def coded(sound: Sound, options: CompressOptions, codecs: CodecPool, folder: Path) -> Sound:
    """What comes back of `sound`, float32 `[T, 2]`, after an archive."""
    source, archive, target = (folder / name for name in ("in.wav", "in.earz", "out.wav"))
    soundfile.write(source, sound, SAMPLE_RATE, subtype="FLOAT")
    compress_file(source, archive, options, codecs=codecs)
    restore_file(archive, target, RestoreOptions(bits="float"), codecs=codecs)
    restored: Sound = soundfile.read(target, dtype="float32")[0]
    for path in (source, archive, target):
        path.unlink()
    return restored


def error_jumps(restored: Sound, original: Sound) -> Sound:
    """By how much the error changes from each sample to the next, the larger of both channels."""
    jumps: Sound = np.abs(np.diff(restored - original, axis=0)).max(1)
    return jumps


def rank(values: Sound, among: Sound) -> Sound:
    """Above which share of `among` each of `values` is."""
    shares: Sound = np.searchsorted(np.sort(among), values) / len(among)
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder that holds tiers/")
    parser.add_argument("--tiers", nargs="+", default=["T3"], help="  [default: T3]")
    parser.add_argument("--cuts", type=int, default=4, help="of each clip  [default: 4]")
    parser.add_argument("--quality", default="medium", help="  [default: medium]")
    arguments = parser.parse_args()
    options = CompressOptions(quality=arguments.quality)
    rng = np.random.default_rng(0)
    at_joins: list[float] = []
    around: list[float] = []
    with CodecPool() as codecs, tempfile.TemporaryDirectory() as name:
        for clip in read_clips(arguments.root, arguments.tiers):
            original = clip.load()
            cuts = np.sort(rng.integers(WIDTH, len(original) - WIDTH, arguments.cuts))
            pieces = np.split(original, cuts)
            joined = np.concatenate([coded(p, options, codecs, Path(name)) for p in pieces])
            jumps = error_jumps(joined, original)
            uncut = error_jumps(coded(original, options, codecs, Path(name)), original)
            peaks = uncut[: len(uncut) // WIDTH * WIDTH].reshape(-1, WIDTH).max(1)
            near = np.array([jumps[cut - WIDTH // 2 : cut + WIDTH // 2].max() for cut in cuts])
            at_joins += list(rank(jumps[cuts - 1], uncut))
            around += list(rank(near, peaks))
            print(
                f"{clip.name:40} at joins {np.median(jumps[cuts - 1]):.5f}, around them "
                f"{np.median(near):.4f}; coded whole {np.median(uncut):.4f} and {np.median(peaks):.4f}",
                flush=True,
            )
    print(
        f"{len(around)} joins. The error's jump at a join is above {np.median(at_joins):.0%} of all "
        f"jumps (median; a place like any other: 50 %), at worst above {max(at_joins):.1%}. The "
        f"largest within {WIDTH} samples is above {np.median(around):.0%} of the largest of as many "
        f"samples elsewhere, at worst above {max(around):.1%}."
    )


if __name__ == "__main__":
    main()
