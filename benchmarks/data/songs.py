"""Mix songs whose vocals lie apart into the flat set `songs`: `python -m benchmarks.data.songs`.

`--songs FOLDER` holds, for each song, `NAME.vocals.*` and `NAME.band.*`. The songs of "Everything is
Free" (`SONGS`) are meant, whose sets are fixed here: training, validation and test each have their own.
A song comes as its vocals alone, without the pauses, and as mixes with the vocals at several levels.
"""

import argparse
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.data.pcm import (
    CHANNELS,
    SAMPLE_RATE,
    Samples,
    decode,
    hours,
    mix,
    normalise,
    write_set,
)

SOURCE = "everythingisfree"
SONGS = {
    "train": ("lithium", "sodium", "potassium", "rubidium"),
    "val": ("caesium",),
    "test": ("francium",),
}
VOCAL_GAINS_DB = (-6.0, 0.0, 4.5, 9.0)
"""Of the vocals in the mixes of a song, beside their level in the song itself."""

_BLOCK_S, _SOUNDING_DB, _MARGIN_BLOCKS = 0.1, -45.0, 3


def stem(folder: Path, song: str, part: str) -> Path:
    """The file of a song's `vocals` or `band`; FileNotFoundError if there is not exactly one."""
    found = sorted(folder.glob(f"{song}.{part}.*"))
    if len(found) != 1:
        raise FileNotFoundError(f"{folder}: {len(found)} files {song}.{part}.*, expected one")
    return found[0]


def sounding(audio: Samples) -> Samples:
    """`audio` (float32 `[T, 2]`) without its pauses.

    A block of 100 ms is a pause where it and three on each side are below −45 dB of the loudest.
    """
    size = round(_BLOCK_S * SAMPLE_RATE)
    n_blocks = -(-len(audio) // size)
    padded = np.pad(audio, ((0, n_blocks * size - len(audio)), (0, 0)))
    blocks = padded.reshape(n_blocks, size, CHANNELS)
    power = np.square(blocks, dtype=np.float64).mean((1, 2))
    loud = power > power.max(initial=0.0) * 10 ** (_SOUNDING_DB / 10)
    near = np.convolve(loud, np.ones(2 * _MARGIN_BLOCKS + 1), "same") > 0
    kept: Samples = blocks[near].reshape(-1, CHANNELS)
    return kept


def vocals_alone(folder: Path, song: str) -> Samples:
    """The vocals of a song without the pauses."""
    return sounding(decode(stem(folder, song, "vocals")))


def mixed(folder: Path, song: str, vocals_db: float) -> Samples:
    """A song with its vocals at `vocals_db` of their level in it."""
    vocals = decode(stem(folder, song, "vocals")) * np.float32(10 ** (vocals_db / 20))
    return normalise(mix([vocals, decode(stem(folder, song, "band"))]))


def items(folder: Path) -> Iterator[tuple[str, Callable[[], Samples]]]:
    """Name and maker of each training track."""
    for song in SONGS["train"]:
        yield f"{SOURCE}/{song} vocals", functools.partial(vocals_alone, folder, song)
        for gain_db in VOCAL_GAINS_DB:
            maker = functools.partial(mixed, folder, song, gain_db)
            yield f"{SOURCE}/{song} {gain_db:+g} dB", maker


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path("data"), help="where the set goes")
    parser.add_argument("--songs", type=Path, required=True, help="the folder with the stems")
    parser.add_argument("--jobs", type=int, default=2, help="tracks made at once")
    args = parser.parse_args()
    entries = write_set(args.root, "songs", items(args.songs), args.jobs)
    print(f"songs.s16 ready {len(entries)} tracks {hours(entries):.2f} h")


if __name__ == "__main__":
    main()
