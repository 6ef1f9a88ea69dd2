"""What of voices and attacks the tiers T5, T6 and val are made of: names and makers of the clips."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.data import drums, songs
from benchmarks.data.pcm import Samples, decode

Maker = tuple[str, Callable[[], Samples]]
"""Name, `package/track`, and what gives the track: float32 `[T, 2]` at 44.1 kHz."""

RECORDINGS = {
    "hungarian-dance-5": "us-army-strings",
    "lets-go-fishin": "karissa-hobbs",
    "solo-trumpet": "mihai-sorohan",
    "sugar-plum-fairy": "kevin-macleod",
    "vibe-ace": "kevin-macleod",
}
"""Of `FOLDER/test`: file and the name that `licences.tsv` has for its maker."""

ATTACKS = {
    "val": {
        "kits": ("pattern", "strokes"),
        "struck": ("castanets", "wood-block", "harpsichord", "pizzicato", "muted-guitar"),
        "applause": (1000,),
    },
    "test": {
        "kits": ("pattern", "strokes"),
        "struck": (
            "castanets", "claves", "triangle", "harpsichord", "glockenspiel", "pizzicato",
            "muted-guitar", "nylon-guitar", "koto",
        ),
        "applause": (1001, 1002, 1003),
    },
}  # fmt: skip


def voices(folder: Path, which: str) -> Iterator[Maker]:
    """Songs of a set, each mixed and as its vocals alone, and for the test the recordings.

    `folder` has `songs/` (see `benchmarks.data.songs`) and, for the set `test`, `test/`.
    """
    for song in songs.SONGS[which]:
        name = f"{songs.SOURCE}/{song}"
        yield f"{name}-vocals", functools.partial(songs.vocals_alone, folder / "songs", song)
        yield f"{name}-song", functools.partial(songs.mixed, folder / "songs", song, 0.0)
        yield f"{name}-loud-vocals", functools.partial(songs.mixed, folder / "songs", song, 6.0)
    if which == "test":
        for recording, maker in RECORDINGS.items():
            path = folder / "test" / f"{recording}.ogg"
            yield f"{maker}/{recording}", functools.partial(decode, path)


def attacks(root: Path, which: str, seconds: float) -> Iterator[Maker]:
    """Patterns and strokes of the kits of a set, single instruments, applause."""
    plan = ATTACKS[which]
    for kit in drums.KITS[which]:
        for kind in plan["kits"]:
            maker = functools.partial(drums.drum_track, root, kit, kind, 0, seconds)
            yield f"{drums.PACKAGE}/{kit}-{kind}", maker
    for package in drums.SOUNDFONTS[which]:
        for instrument in plan["struck"]:
            maker = functools.partial(drums.struck_track, root, package, instrument, 0, seconds)
            yield f"{package}/{instrument}", maker
    for number in plan["applause"]:
        maker = functools.partial(drums.applause_track, number, seconds)
        yield f"synthetic/applause-{number}", maker
