import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from earzip.errors import ArchiveError, DamagedArchiveError, UnsupportedArchiveError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.verify import verify_structure
from earzip.formats.symbols.layout import SYMBOL_CODINGS
from tests.formats.archive.attacks import ATTACKS, Attack
from tests.formats.archive.samples import Pieces, sample_header, segment_of, write_sample
from tests.formats.archive.unsupported_archives import UNSUPPORTED


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("attacks") / "whole.earz"
    write_sample(path)
    return path


def made(attack: Attack, whole: Path, path: Path) -> Path:
    pieces = Pieces.of(whole)
    data = attack(pieces)
    path.write_bytes(pieces.to_bytes() if data is None else data)
    return path


def read_all(path: Path) -> None:
    with ArchiveReader(path) as reader:
        for i in range(reader.n_segments):
            reader.segment(i)
        reader.pictures()


def unpack_all(path: Path) -> None:
    with ArchiveReader(path) as reader:
        for i in range(reader.n_segments):
            reader.header.unpack_segment(reader.segment(i), i)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_file_is_refused_with_a_sentence(name: str, whole: Path, tmp_path: Path) -> None:
    attack, message = ATTACKS[name]
    path = made(attack, whole, tmp_path / "hostile.earz")
    with pytest.raises(ArchiveError, match=rf"hostile\.earz: .*({message})") as caught:
        read_all(path)
    assert not isinstance(caught.value, UnsupportedArchiveError)
    assert len(str(caught.value)) < 500
    damages = verify_structure(path)
    assert any(caught.value.message.endswith(damage.message) for damage in damages)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_a_later_version_wrote_is_not_called_damage(
    name: str, whole: Path, tmp_path: Path
) -> None:
    attack, message = UNSUPPORTED[name]
    path = made(attack, whole, tmp_path / "later.earz")
    for read in (read_all, verify_structure):
        with pytest.raises(UnsupportedArchiveError, match=rf"later\.earz: .*{message}"):
            read(path)


def test_what_a_later_minor_version_adds_is_ignored(whole: Path, tmp_path: Path) -> None:
    pieces = Pieces.of(whole)
    pieces.minor = 7
    pieces.change_header("loudness", {"lufs": -14})
    pieces.change_header("source.year", 1999)
    pieces.change_header("critical", ["gain", "source.rate"])
    pieces.parts.append((9, b"a part of a kind to come"))
    path = pieces.write(tmp_path / "later.earz")
    with ArchiveReader(path) as reader:
        assert reader.header == sample_header()
        assert reader.segment(2) == segment_of(sample_header(), 2)
        assert reader.sizes.total == path.stat().st_size
        assert reader.prefix.minor == 7
    assert verify_structure(path) == []
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"?")
    assert [damage.part for damage in verify_structure(path)] == ["part 6"]


_MEASURE = """
import itertools, json, sys
from pathlib import Path
from earzip.errors import ArchiveError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.verify import verify_structure

figures = {}
for path in map(Path, sys.argv[1:]):
    calls = itertools.count()
    sys.setprofile(lambda *_: next(calls))
    try:
        verify_structure(path)
    except ArchiveError:
        pass
    try:
        with ArchiveReader(path) as reader:
            reader.tags
            for i in range(reader.n_segments):
                reader.segment(i)
    except ArchiveError:
        pass
    sys.setprofile(None)
    # Not ru_maxrss, which a process has from the one that started it.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) >> 10
    figures[path.name] = (next(calls), peak)
print(json.dumps(figures))
"""


def test_no_hostile_file_takes_much_memory_or_work(whole: Path, tmp_path: Path) -> None:
    attacks = {**ATTACKS, **UNSUPPORTED}
    assert len(attacks) > 100
    paths = [
        made(attack, whole, tmp_path / str(i)) for i, (attack, _) in enumerate(attacks.values())
    ]
    command = [sys.executable, "-c", _MEASURE, whole, *paths]
    output = subprocess.run(command, check=True, capture_output=True, timeout=300).stdout
    figures = json.loads(output)
    n_calls, _ = figures.pop(whole.name)
    assert len(figures) == len(attacks)
    names = list(attacks)
    # 5,000 tag blocks or pictures are 15 times the calls of a whole file; the 262,144 would be 500.
    laborious = {names[int(i)]: n for i, (n, _) in figures.items() if n > 50 * n_calls}
    assert not laborious
    assert max(peak for _, peak in figures.values()) < 512  # MiB


@pytest.mark.parametrize("symbols", SYMBOL_CODINGS)
def test_random_changes_under_right_checksums_never_escape_as_other_errors(
    symbols: str, tmp_path: Path
) -> None:
    """A hostile writer computes its checksums: everything behind them must bear any bytes."""
    whole = tmp_path / "whole"
    write_sample(whole, sample_header(symbols=symbols))
    noise = random.Random(11)
    for _ in range(500):
        pieces = Pieces.of(whole)
        at = noise.randrange(len(pieces.parts) + 2)
        if at == len(pieces.parts):
            pieces.header = _mutated(pieces.header, noise)
        elif at > len(pieces.parts):
            pieces.index = _mutated(pieces.to_bytes()[-200:-80], noise)
        else:
            kind, stored = pieces.parts[at]
            pieces.parts[at] = (kind, _mutated(stored, noise))
        path = pieces.write(tmp_path / "mutant")
        try:
            damages = verify_structure(path)
            read_all(path)
            unpack_all(path)
        except (DamagedArchiveError, UnsupportedArchiveError):
            continue
        assert damages == []


def _mutated(data: bytes, noise: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(noise.randrange(1, 4)):
        changed[noise.randrange(len(changed))] = noise.choice(b'\0\x7f\xff"0919{}[],:-')
    return bytes(changed)
