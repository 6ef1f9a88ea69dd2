"""The list of tracks (`music.tsv`), and where each lies once its package is unpacked."""

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

TRACK_LIST = Path(__file__).with_name("music.tsv")
SETS = ("train", "val", "test")


@dataclass(frozen=True)
class Track:
    """One line of `music.tsv`: a coded recording inside a Debian package."""

    package: str
    path: PurePosixPath  # inside the package; an archive `x.zip` in it is unpacked as `x.zip.d`
    sample_rate: int
    duration_s: float
    set: str

    @property
    def name(self) -> str:
        """`package/file`, short and unique in the list."""
        folder = f"{self.path.parent.name}-" if self.path.name == "song.ogg" else ""
        return f"{self.package}/{folder}{self.path.name}"

    @property
    def archive(self) -> tuple[PurePosixPath, str] | None:
        """The archive inside the package that holds the track, and the member's name in it."""
        for parent in self.path.parents:
            if parent.name.endswith((".zip.d", ".pk3.d")):
                return parent.with_suffix(""), str(self.path.relative_to(parent))
        return None

    def stems(self, root: Path) -> list[Path]:
        """Files to sum for the track: one, or song and guitar of a Frets on Fire song."""
        song = package_folder(root, self.package) / self.path
        guitar = song.with_name("guitar.ogg")
        return [song, guitar] if song.name == "song.ogg" and guitar.exists() else [song]


def read_tracks(which: str | None = None, path: Path = TRACK_LIST) -> list[Track]:
    """Every track of the list, or those of the set `which`, in the order of the list."""
    with path.open(newline="", encoding="utf-8") as lines:
        tracks = [
            Track(
                row["pkg"],
                PurePosixPath(row["file"]),
                int(row["sr"]),
                float(row["dur"]),
                row["set"],
            )
            for row in csv.DictReader(lines, delimiter="\t")
        ]
    return [track for track in tracks if which in (None, track.set)]


def package_folder(root: Path, package: str) -> Path:
    """Where `fetch.py` unpacks `package`."""
    return root / "packages" / package
