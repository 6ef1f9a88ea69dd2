"""Gather game voice packs into the flat set `voices`: `python -m benchmarks.data.voices`.

Speech, mono on both channels, to be mixed over music by the trainer: the music has almost no
voices. Clips last a second or two, so those of one speaker are joined with short pauses.
"""

import argparse
import functools
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.data.pcm import CHANNELS, SAMPLE_RATE, Samples, decode, hours, normalise, write_set
from benchmarks.data.tracks import package_folder

PAUSE_S = 0.15
CLIPS_PER_TRACK = 20

# The sounds of freedroidrpg that are spoken.
SPOKEN = ("First_Contact", "Start_Attack", "voice_samples", "tux_ingame_comments")


def unpack_0ad(root: Path) -> Path:
    """Voices of 0 A.D., extracted beside the archive they come in."""
    (archive,) = package_folder(root, "0ad-data").rglob("public.zip")
    target = archive.with_name("public.zip.d")
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            # "global" holds animals.
            spoken = name.startswith("audio/voice/") and "/global/" not in name
            if spoken and name.endswith(".ogg") and not (target / name).exists():
                opened.extract(name, target)
    return target / "audio" / "voice"


def clips(root: Path) -> dict[str, list[Path]]:
    """Clips of each speaker, by `package/speaker`; those of 0 A.D. if it is fetched."""
    speakers: dict[str, list[Path]] = defaultdict(list)
    if package_folder(root, "0ad-data").exists():
        for path in sorted(unpack_0ad(root).rglob("*.ogg")):
            gender = "female" if "female" in path.name else "male"
            speakers[f"0ad-data/{path.parent.parent.name}-{gender}"].append(path)
    for path in sorted(package_folder(root, "freedroidrpg-data").rglob("*.ogg")):
        for kind in SPOKEN:
            if path.name.startswith(kind) or path.parent.name == kind:
                speakers[f"freedroidrpg-data/{kind}"].append(path)
    return speakers


def join(paths: list[Path]) -> Samples:
    """Clips one after the other with pauses, each with its peak at −1 dBFS."""
    pause = np.zeros((round(PAUSE_S * SAMPLE_RATE), CHANNELS), np.float32)
    parts = []
    for path in paths:
        parts += [normalise(decode(path)), pause]
    return np.concatenate(parts)


def items(root: Path) -> Iterator[tuple[str, Callable[[], Samples]]]:
    """Name and maker of each track of up to `CLIPS_PER_TRACK` clips."""
    for speaker, paths in clips(root).items():
        for first in range(0, len(paths), CLIPS_PER_TRACK):
            chunk = paths[first : first + CLIPS_PER_TRACK]
            yield f"{speaker}-{first // CLIPS_PER_TRACK}", functools.partial(join, chunk)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path("data"), help="where the audio lies")
    parser.add_argument("--jobs", type=int, default=2, help="tracks decoded at once")
    args = parser.parse_args()
    entries = write_set(args.root, "voices", items(args.root), args.jobs)
    print(f"voices.s16 ready {len(entries)} tracks {hours(entries):.2f} h")


if __name__ == "__main__":
    main()
