"""Bytes of archives changed at random: each change must be found."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from io import RawIOBase
from pathlib import Path

from benchmarks.acceptance.command import Checks, Earzip
from earzip.transcode.inspect import verify_archive

_SEED = 2509
_BY_COMMAND = 3  # flips of each archive that are checked by the command, too
_DAMAGED = 4  # its exit code


def check_flips(
    checks: Checks, earzip: Earzip, archives: Sequence[Path], n_flips: int, work: Path
) -> None:
    """Give one byte of an archive another value, ``n_flips`` times, shared by ``archives``."""
    chance = random.Random(_SEED)
    work.mkdir()
    for number, archive in enumerate(archives):
        copy = work / f"{number}.earz"
        shutil.copyfile(archive, copy)
        with copy.open("r+b", buffering=0) as file:
            content = archive.read_bytes()
            share = n_flips // len(archives) + (number < n_flips % len(archives))
            for flip in range(share):
                # The parts before the sound are small: every second flip goes there.
                end = len(content) if flip % 2 else min(len(content), 4096)
                place = chance.randrange(end)
                value = content[place] ^ chance.randrange(1, 256)
                _put(file, place, value)
                about = f"{archive.name}: byte {place} from {content[place]} to {value}"
                _check_one(checks, copy, about)
                if flip < _BY_COMMAND:
                    checks.require_exit(earzip("verify", copy), _DAMAGED)
                _put(file, place, content[place])
        checks.require("flips undone", copy.read_bytes() == content, archive.name)


def _put(file: RawIOBase, place: int, value: int) -> None:
    file.seek(place)
    file.write(bytes([value]))


def _check_one(checks: Checks, copy: Path, about: str) -> None:
    try:
        found = not verify_archive(copy).is_whole
    except Exception as error:  # whatever it is: a promise is broken, and the next flip is to come
        about += f": {error!r}"
        found = False
    checks.require("every flipped byte is found", found, about)
