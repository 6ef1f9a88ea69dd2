"""A library made of the user's own music, its archives, and what is restored from them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.music_folder import ITEMS, Item, make_library
from tests.cli.batch_runs import Ended, Run, contents

GOOD = [item for item in ITEMS if item.fate != "refused"]

Tree = dict[str, tuple[str, int]]
"""SHA-256 and time of modification, in ns, of every file by its path in the tree."""


def tree(folder: Path) -> Tree:
    """Return what the files below ``folder`` hold, hidden ones too."""
    return {
        name: (digest, (folder / name).stat().st_mtime_ns)
        for name, digest in contents(folder).items()
    }


def by_source(ended: Ended, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records of files by the source's path in ``folder``."""
    return {Path(r["source"]).relative_to(folder).as_posix(): r for r in ended.records}


@dataclass(frozen=True)
class Library:
    """The folder of music, what it held before any command, and a place for the rest."""

    root: Path
    before: Tree

    @property
    def music(self) -> Path:
        """The folder of sources."""
        return self.root / "music"

    def earzip(self, *arguments: object) -> Ended:
        """Run `earzip` with --json in a process of its own."""
        started = Run(self.root / "log", *arguments)
        started.process.wait()  # as long as the music takes
        return started.wait()

    def left_behind(self) -> list[Path]:
        """Return what commands have left in TMPDIR."""
        return list((self.root / "tmp").iterdir())

    def source(self, item: Item) -> Path:
        """Return where the file of ``item`` is; skip where the user's music has none."""
        path = self.music / item.name
        if not path.exists():
            pytest.skip(f"EARZIP_MUSIC holds no file that ends in .{item.suffix}")
        return path


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Return the library, made of the music that the environment names."""
    if not (named := os.environ.get("EARZIP_MUSIC")):
        pytest.skip(
            "EARZIP_MUSIC must name a folder of music, as in EARZIP_MUSIC=~/Music pytest -m acceptance"
        )
    if missing := [
        tool for tool in ("ffmpeg", "ffprobe", "metaflac") if shutil.which(tool) is None
    ]:
        pytest.skip(f"needs {', '.join(missing)}")
    root = tmp_path_factory.mktemp("acceptance")
    (root / "tmp").mkdir()
    make_library(Path(named).expanduser(), root / "music")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(root / "tmp"))
        patch.setenv("XDG_CONFIG_HOME", str(root / "config"))  # not the user's
        patch.setenv("XDG_STATE_HOME", str(root / "state"))
        yield Library(root, tree(root / "music"))


@dataclass(frozen=True)
class Archived:
    """The archives of the library, and what the command said of them."""

    folder: Path
    before: Tree
    ended: Ended
    records: dict[str, dict[str, Any]]
    """By source."""


@pytest.fixture(scope="session")
def archived(library: Library) -> Archived:
    """Return the archives of everything."""
    folder = library.root / "archives"
    ended = library.earzip("compress", library.music, "-o", folder)
    return Archived(folder, tree(folder), ended, by_source(ended, library.music))


@pytest.fixture(scope="session")
def infos(library: Library, archived: Archived) -> dict[str, dict[str, Any]]:
    """Return what `earzip info` says of the archives, by source."""
    ended = library.earzip("info", archived.folder)
    assert ended.exit_code == 0
    records = by_source(ended, archived.folder)
    return {name.removesuffix(".earz"): record["archive"] for name, record in records.items()}
