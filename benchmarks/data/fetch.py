"""Download and unpack the packages that hold the music: `python -m benchmarks.data.fetch`.

Debian packages are unpacked, never installed. What is already there is skipped, so an interrupted
run can be repeated. Needs apt-get and dpkg; the test set pip and npm too.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Container, Iterable
from pathlib import Path

from benchmarks.data.tracks import SETS, Track, package_folder, read_tracks

# 1.4 GB, so it comes after everything else is usable.
LAST = "0ad-data"

# Packages beyond those of music.tsv. TimGM6mb plays the test pieces: training must not hear it.
MORE_DEBS = {
    "midi": (
        "freedoom",
        "mma",
        "planetblupi-music-midi",
        "fluid-soundfont-gm",
        "musescore-general-soundfont-lossless",
        "opl3-soundfont",
    ),
    "voices": ("0ad-data", "freedroidrpg-data"),
    "drums": (
        "hydrogen-drumkits",
        "fluid-soundfont-gm",
        "opl3-soundfont",
        "musescore-general-soundfont-lossless",
        "timgm6mb-soundfont",
    ),
    "test": ("openttd-openmsx", "timgm6mb-soundfont", "lmms-common"),
}
SDISTS = {"test": ("encodec==0.1.1",)}
NPM = {"test": ("supersonic-scsynth-samples",)}


def download_deb(package: str, folder: Path) -> Path:
    """Newest `.deb` of `package`, downloaded into `folder`."""
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=", "download", package]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (deb,) = folder.glob("*.deb")
    return deb


def fetch_deb(package: str, target: Path) -> None:
    """Unpack the Debian package into `target`."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        deb = download_deb(package, Path(scratch))
        subprocess.run(["dpkg", "-x", deb, target], check=True)


def fetch_sdist(requirement: str, target: Path) -> None:
    """Unpack a source distribution from PyPI into `target`."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        pip = [sys.executable, "-m", "pip", "-q", "download", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "--no-build-isolation", "-d", scratch, requirement], check=True)
        (sdist,) = Path(scratch).glob("*.tar.gz")
        unpack_tar(sdist, target)


def unpack_tar(path: Path, target: Path) -> None:
    """Extract a tar file, refusing members that would land outside `target`."""
    with tarfile.open(path) as opened:
        opened.extractall(target, filter="data")


def fetch_npm(package: str, target: Path) -> None:
    """Unpack a package from npm into `target`."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        npm = ["npm", "pack", "--silent", package]
        subprocess.run(npm, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        (tarball,) = Path(scratch).glob("*.tgz")
        unpack_tar(tarball, target)


def fetch_once(name: str, fetch: Callable[[str, Path], None], root: Path) -> None:
    """Fetch unless it is there; a folder appears under its final name only when complete."""
    target = package_folder(root, name.partition("==")[0])
    if target.exists():
        return
    print(f"fetching {name}", file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    fetch(name, partial)
    partial.rename(target)


def unpack_archives(tracks: Iterable[Track], root: Path) -> None:
    """Extract the tracks that lie in a zip archive inside their package, beside that archive."""
    for track in tracks:
        target = package_folder(root, track.package) / track.path
        if track.archive is None or target.exists():
            continue
        inner, member = track.archive
        archive = package_folder(root, track.package) / inner
        with zipfile.ZipFile(archive) as opened:
            opened.extract(member, archive.with_name(f"{archive.name}.d"))


def fetch_music(which: str, root: Path, without: Container[str] = ()) -> None:
    """Every package that holds a track of the set, unpacked, with the archives inside."""
    tracks = [track for track in read_tracks(which) if track.package not in without]
    for package in sorted(
        {track.package for track in tracks}, key=lambda name: (name == LAST, name)
    ):
        fetch_once(package, fetch_deb, root)
        unpack_archives((track for track in tracks if track.package == package), root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path("data"), help="where the audio goes")
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        choices=[*SETS, *MORE_DEBS],
        help="may be repeated; all without it",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="leave it out, for instance 0ad-data (1.4 GB); may be repeated",
    )
    args = parser.parse_args()
    root = args.root.absolute()
    for which in args.sets or list(dict.fromkeys([*SETS, *MORE_DEBS])):
        if which in SETS:
            fetch_music(which, root, args.without)
        for names, fetch in (
            (MORE_DEBS.get(which, ()), fetch_deb),
            (SDISTS.get(which, ()), fetch_sdist),
            (NPM.get(which, ()), fetch_npm),
        ):
            for name in names:
                if name not in args.without:
                    fetch_once(name, fetch, root)


if __name__ == "__main__":
    main()
