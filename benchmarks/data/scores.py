"""Gather MIDI files for rendering under `ROOT/midi/SOURCE/`: `python -m benchmarks.data.scores`.

Freedoom's lie as lumps in its WAD files, those of mma and Planet Blupi in their packages; music21's
corpus is engraved music, converted here (needs `pip install music21`; what is there is skipped).
"""

import argparse
import hashlib
import shutil
import struct
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

from benchmarks.data.tracks import package_folder

MIDI_MAGIC = b"MThd"

# Folder of music21's corpus -> how many of its pieces, evenly spread over the sorted list. Each
# gives something the game music lacks: chorales and madrigals, quartets, piano, fiddle tunes.
# Palestrina is left out: its encoder reserves the rights to derived formats.
CORPUS = {
    "bach": 60,
    "ryansMammoth": 30,
    "monteverdi": 12,
    "trecento": 8,
    "schumann_clara": 4,
    "schumann_robert": 6,
    "corelli": 1,
    "joplin": 1,
    "chopin": 1,
    "handel": 1,
    "schubert": 1,
    "beach": 1,
    "verdi": 1,
    "weber": 1,
    "johnson_j_r": 1,
    "mozart": 16,
    "haydn": 9,
    "beethoven": 22,
}
# A whole quartet in one file, whose repeats music21 does not finish expanding.
ENDLESS = {"opus18no4.mxl"}
NOTATION = {".mxl", ".xml", ".musicxml", ".krn", ".abc"}


def wad_lumps(wad: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of every lump of a Doom WAD file.

    Header: magic, number of lumps, offset of the directory. A directory entry: offset, size, name;
    16 bytes in all.
    """
    magic, count, directory = struct.unpack_from("<4sii", wad)
    if magic not in (b"IWAD", b"PWAD"):
        raise ValueError(f"not a WAD file: it starts with {magic!r}")
    for index in range(count):
        offset, size, name = struct.unpack_from("<ii8s", wad, directory + 16 * index)
        yield name.rstrip(b"\0").decode("ascii"), wad[offset : offset + size]


def spread(items: list[Path], count: int) -> list[Path]:
    """`count` of `items`, evenly spaced over the list; all of them if there are fewer."""
    if len(items) <= count:
        return items
    return [items[index * len(items) // count] for index in range(count)]


def gather_freedoom(root: Path, target: Path) -> None:
    """Every MIDI lump of Freedoom's two WAD files; music that levels share is kept once."""
    seen: set[bytes] = set()
    for wad in sorted(package_folder(root, "freedoom").rglob("*.wad")):
        for name, content in wad_lumps(wad.read_bytes()):
            digest = hashlib.sha256(content).digest()
            if content.startswith(MIDI_MAGIC) and digest not in seen:
                seen.add(digest)
                (target / f"{name}.mid").write_bytes(content)


def gather_package(root: Path, package: str, target: Path) -> None:
    """Every MIDI file of an unpacked package."""
    for path in sorted(package_folder(root, package).rglob("*.mid")):
        shutil.copyfile(path, target / f"{path.parent.name}-{path.name}")


def corpus_paths() -> list[Path]:
    """Chosen pieces of music21's corpus."""
    from music21 import corpus  # noqa: PLC0415  (heavy, and needed by this source only)

    folder = Path(corpus.__file__).parent
    chosen = []
    for composer, count in CORPUS.items():
        pieces = sorted(path for path in (folder / composer).rglob("*") if path.suffix in NOTATION)
        chosen += spread(pieces, count)
    return [path for path in chosen if path.name not in ENDLESS]


def convert(score: Path, target: Path) -> str | None:
    """Write a score as MIDI; what went wrong, if it did."""
    from music21 import converter  # noqa: PLC0415

    warnings.simplefilter("ignore")
    partial = target.with_suffix(".partial")
    # A corpus of many hands: a piece that music21 cannot read or play is named and left out,
    # whatever the reason.
    try:
        parsed = converter.parse(score)
        # A collection of tunes in one file: the first is enough.
        first = next(islice(getattr(parsed, "scores", [parsed]), 1), parsed)
        first.write("midi", fp=partial)
    except Exception as error:
        partial.unlink(missing_ok=True)
        return f"{score.parent.name}/{score.name}: {error}"
    partial.replace(target)
    return None


def gather_corpus(target: Path, jobs: int) -> None:
    """Chosen pieces of music21's corpus as MIDI."""
    pending = []
    for path in corpus_paths():
        converted = target / f"{path.parent.name}-{path.stem}.mid"
        if not converted.exists():
            pending.append((path, converted))
    with ProcessPoolExecutor(jobs) as pool:
        for problem in pool.map(convert, *zip(*pending, strict=True)) if pending else ():
            if problem:
                print(f"left out {problem}", file=sys.stderr)


def gather(root: Path, jobs: int) -> dict[str, int]:
    """All sources under `root/midi`; how many pieces each has."""
    counts = {}
    for source in ("freedoom", "mma", "planetblupi-music-midi", "music21"):
        target = root / "midi" / source
        target.mkdir(parents=True, exist_ok=True)
        if source == "freedoom":
            gather_freedoom(root, target)
        elif source == "music21":
            gather_corpus(target, jobs)
        else:
            gather_package(root, source, target)
        counts[source] = len(list(target.glob("*.mid")))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--root", type=Path, default=Path("data"), help="where fetch.py put the packages"
    )
    parser.add_argument("--jobs", type=int, default=2, help="scores converted at once")
    args = parser.parse_args()
    for source, count in gather(args.root, args.jobs).items():
        print(f"{source}: {count} pieces")


if __name__ == "__main__":
    main()
