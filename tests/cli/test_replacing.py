"""The command that a refusal names replaces what was in the way, and nothing else."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from earzip.transcode.inspect import read_info
from tests.cli.conftest import write_sound

pytestmark = pytest.mark.usefixtures("tiny_model")
NAME = 'It\'s a "song".wav'


def advised(stderr: str) -> list[str]:
    """Return the arguments of the command that the only refusal names."""
    (line,) = (line for line in stderr.splitlines() if "to replace it: earzip " in line)
    return shlex.split(line.partition("to replace it: earzip ")[2])


def files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and ".earzip" not in path.parts
    }


@pytest.fixture
def library(tmp_path: Path) -> Path:
    write_sound(tmp_path / "Music/An Album" / NAME)
    write_sound(tmp_path / "Music/An Album/other.wav")
    return tmp_path / "Music"


def lower(source: Path) -> tuple[str, ...]:
    return ("--quality", "low")


def other_sound(source: Path) -> tuple[str, ...]:
    write_sound(source, 0.7)
    return ()


@pytest.mark.parametrize("beside", [False, True], ids=["elsewhere", "beside"])
@pytest.mark.parametrize("command", [("compress",), ("compress", "--dry-run")], ids=" ".join)
@pytest.mark.parametrize("change", [lower, other_sound])
def test_an_archive_in_a_directory_of_its_own(earzip, library, change, command, beside):
    archives = library if beside else library.parent / "Archive"
    tree = ("--model", "tiny", library, *(() if beside else ("-o", archives)))
    earzip("compress", *tree, "--include", NAME)
    before = files(library.parent)
    options = change(library / "An Album" / NAME)
    refused = earzip(*command, *tree, "--include", NAME, *options)
    assert refused.exit_code == 3
    assert earzip(*advised(refused.stderr)).exit_code == 0
    assert files(library.parent) == before
    info = read_info(archives / "An Album" / f"{NAME}.earz")
    assert info.header.quantizer.quality == ("low" if change is lower else "medium")
    assert earzip("status", *tree, "--include", NAME, *options).exit_code == 0


def test_many_of_a_higher_quality_are_told_once(earzip, library):
    command = ("compress", "--model", "tiny", library)
    earzip(*command, "--quality", "high")
    for options in ((), ("--dry-run",)):
        refused = earzip(*command, *options)
        assert refused.exit_code == 3
        advice = "earzip: info: 2 archives stay of quality high: run with --quality high\n"
        assert refused.stderr.count(advice) == 1
    assert "--quality high\n" not in earzip(*command, "--quiet").stderr
    one = earzip(*command, "--include", NAME)
    assert (one.exit_code, "archives stay of" in one.stderr) == (3, False)


def test_an_archive_of_standard_input(earzip, library, tmp_path):
    song = library / "An Album" / NAME
    command = ("compress", "--model", "tiny", "-", "-o", tmp_path / "x.earz")
    earzip(*command, stdin=song.read_bytes())
    write_sound(song, 0.7)
    refused = earzip(*command, stdin=song.read_bytes())
    assert refused.exit_code == 3
    assert advised(refused.stderr)[-3:] == ["-", "-o", str(tmp_path / "x.earz")]
    assert earzip(*advised(refused.stderr), stdin=song.read_bytes()).exit_code == 0


@pytest.mark.parametrize("form", ["npy", "safetensors"])
def test_latents(earzip, library, form):
    earzip("compress", "--model", "tiny", library)
    latents = library.parent / "Latents"
    command = ("latents", library, "-o", latents, "--format", form, "--dtype", "float16")
    assert earzip(*command).exit_code == 0
    before = files(library.parent)
    target = latents / "An Album" / f"{NAME}.{'json' if form == 'npy' else form}"
    content = target.read_bytes()
    target.write_bytes(b"other")
    refused = earzip(*command)
    assert refused.exit_code == 3
    assert earzip(*advised(refused.stderr)).exit_code == 0
    assert (files(library.parent), target.read_bytes()) == (before, content)
    if form == "npy":
        assert json.loads(target.read_text())["name"] == NAME
        assert np.load(target.with_suffix(".npy")).dtype == np.float16
