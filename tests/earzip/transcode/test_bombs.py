"""Small archives that ask for much: what reading and restoring them takes, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.symbols.work import segment_work, work_limit
from tests.conftest import MODELS
from tests.earzip.transcode.whole_archives import write_wholes
from tests.formats.archive.bombs import BOMBS
from tests.formats.archive.samples import Pieces

_MAX_MIB = 512

# Each in a process forked from one that has loaded all that it needs.
_MEASURE = """
import json, os, sys, time
from pathlib import Path
from earzip.errors import ArchiveError, EarzipError
from earzip.formats.archive.verify import verify_structure
from earzip.models.pool import CodecPool
from earzip.options import RestoreOptions
from earzip.transcode.restore import restore_file
from earzip.models.store import find_model

folder, out, whole = map(Path, sys.argv[1:])
restore_file(whole, out, codecs=CodecPool())
figures = {}


def measured(work):
    begin = time.process_time()
    try:
        result = work()
    except EarzipError as error:
        result = f"{type(error).__name__}: {error.message}"
    return result, time.process_time() - begin


def measure(path):
    # Not ru_maxrss, which a process has from the one that it was forked from.
    Path("/proc/self/clear_refs").write_text("5")
    verified, verify_s = measured(lambda: [d.message for d in verify_structure(path)])
    restored, restore_s = measured(lambda: restore_file(path, out).status)
    peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    return verified, verify_s, restored, restore_s, int(peak) >> 10


for path in sorted(folder.glob("*.earz")):
    out.unlink(missing_ok=True)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, json.dumps(measure(path)).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    figures[path.stem] = json.loads(answer)
print(json.dumps(figures))
"""


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return for each bomb what `verify` and `restore` said, CPU seconds of each, and MiB at most."""
    folder = tmp_path_factory.mktemp("bombs")
    wholes = write_wholes(folder / "wholes")
    (folder / "bombs").mkdir()
    for name, (kind, make) in BOMBS.items():
        pieces = Pieces.of(wholes[kind])
        make(pieces)
        pieces.write(folder / "bombs" / f"{name}.earz")
    command = [sys.executable, "-c", _MEASURE, folder / "bombs", folder / "out.flac"]
    environment = {"EARZIP_MODELS": str(MODELS), "PATH": "", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [*command, wholes["packed-1"]],
        check=True,
        capture_output=True,
        env=environment,
        timeout=600,
    )
    found: dict[str, list[Any]] = json.loads(run.stdout)
    return found


def test_no_bomb_takes_much_memory(figures: dict[str, list[Any]]) -> None:
    assert len(figures) == len(BOMBS) > 50
    peaks = {name: peak for name, (*_, peak) in figures.items()}
    assert {name: peak for name, peak in peaks.items() if peak >= _MAX_MIB} == {}


def test_verify_and_restore_agree_on_bombs(figures: dict[str, list[Any]]) -> None:
    """But for shapes that the model does not have, which only a reader with the model can tell."""
    for name, (verified, _, restored, _, _) in figures.items():
        if "its geometry is not that of its model" not in restored:
            assert (verified == []) == (restored == "written"), name


def test_no_bomb_that_is_taken_asks_for_more_work_than_its_size_allows(
    figures: dict[str, list[Any]], tmp_path: Path
) -> None:
    wholes = write_wholes(tmp_path)
    for name, (verified, *_) in figures.items():
        if verified != []:
            continue
        kind, make = BOMBS[name]
        pieces = Pieces.of(wholes[kind])
        make(pieces)
        with ArchiveReader(pieces.write(tmp_path / "bomb.earz")) as reader:
            header = reader.header
            shape = header.symbols, header.model.n_latents
            units = sum(
                segment_work(reader.segment(i), *shape, header.segment_frames(i))
                for i in range(reader.n_segments)
            )
            assert units <= work_limit(reader.sizes.total), name


@pytest.mark.parametrize(
    "name",
    [
        "one integer a segment of 1,024 frames",
        "one integer a channel of 1,024 frames",
        "one integer a channel of levels",
        "512 levels a frame",
        "512 levels in segments of 32 frames",
    ],
)
def test_segments_of_next_to_no_bytes_are_refused_before_they_are_decoded(
    name: str, figures: dict[str, list[Any]]
) -> None:
    ((verified,), _, restored, *_) = figures[name]
    assert "its sound asks for more than" in verified
    assert restored == f"TooMuchWorkError: {verified}"
