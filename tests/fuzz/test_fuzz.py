"""A little of ``python -m fuzz``, and whether it would notice."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from fuzz import NAMES  # noqa: E402
from fuzz.mutation import damaged  # noqa: E402
from fuzz.targets import TARGETS  # noqa: E402


def fuzz(*arguments: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own: it forks, and this one has threads."""
    command = [sys.executable, "-m", "fuzz", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_readers_bear_some_damaged_files(tmp_path):
    done = fuzz("all", "--runs", 100, "--seed", 1, "--findings", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": 100 inputs") == len(NAMES)


@pytest.mark.slow
def test_readers_bear_damaged_files_for_half_an_hour(tmp_path):
    done = fuzz("all", "--minutes", 30, "--findings", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_names_are_those_of_the_targets():
    assert tuple(TARGETS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_is_damaged_was_read_before(name, tmp_path):
    """Seeds that are refused at their first byte would leave all else untried."""
    target = TARGETS[name]
    seeds = list(target.seeds(tmp_path))
    assert len(seeds) >= 2
    assert sum(map(len, seeds)) < 3_000_000
    n_read = 0
    for seed in seeds:
        (tmp_path / "input").write_bytes(seed)
        try:
            target.read(tmp_path / "input")
        except target.allowed:
            continue
        n_read += 1
    assert n_read >= 0.6 * len(seeds)


def test_damage_depends_on_the_seed_alone_and_is_bounded():
    data = bytes(range(256)) * 40
    mutants = [damaged(data, random.Random(seed)) for seed in range(300)]
    assert mutants == [damaged(data, random.Random(seed)) for seed in range(300)]
    assert len(set(mutants)) > 290
    assert max(map(len, mutants)) <= 1 << 20
    assert all(isinstance(damaged(b"", random.Random(seed)), bytes) for seed in range(100))


_PLANTED = """
import ctypes, os, sys, time
from pathlib import Path
from earzip.errors import SourceError
from fuzz import engine
from fuzz.targets import Target

def target(fault):
    def read(path):
        if path.read_bytes() != b"seed":
            raise SourceError("is damaged")
        exec(fault)

    def damaged(data, rng):
        return rng.choice([data, b""])

    return Target(read, SourceError, lambda folder: iter([b"seed"]), damaged)

for fault in sys.argv[2:]:
    # Only the limit that is tried is short: a machine may be busy.
    engine.MAX_CPU_S = 0.5 if "while" in fault else 60.0
    engine._MAX_WAIT_S = 0.5 if "sleep" in fault else 120.0
    n_runs, finding = engine.fuzz(target(fault), "0", engine.Limits(runs=40))
    print(fault)
    if finding is None:
        print(f"{n_runs} inputs, nothing found\\0")
        continue
    assert engine.replay(target(fault), finding.data), "not found again"
    assert engine.replay(target(fault), b"other") is None
    path = engine.save(finding, "planted", Path(sys.argv[1]))
    assert path.read_bytes() == b"seed"
    assert path.with_suffix(".txt").read_text() == finding.what
    print(finding.what, "\\0")
"""

FAULTS = {
    "raise KeyError('title')": "KeyError: 'title'",
    "raise ValueError('of a library')": "ValueError: of a library",
    "ctypes.string_at(0)": "dies of SIGSEGV",
    "os.abort()": "dies of SIGABRT",
    "while True: pass": "takes more than 0.5 s",
    "time.sleep(600)": "waits for more than 0.5 s",
    "bytearray(b'x') * (600 << 20)": "takes more than 512 MiB",
    "bytearray(8 << 30)": "MemoryError",
    "os.open(path, os.O_RDONLY)": "leaves a file open",
    "pass": "40 inputs, nothing found",
}


def test_faults_of_readers_are_found_and_their_inputs_saved(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _PLANTED, str(tmp_path), *FAULTS],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [text.strip() for text in done.stdout.split("\0")[:-1]]
    for (fault, what), text in zip(FAULTS.items(), found, strict=True):
        assert text.startswith(f"{fault}\n")
        assert what in text


def test_one_input_can_be_read_again(tmp_path):
    (tmp_path / "input").write_bytes(b"[[[[")
    done = fuzz("config", "model", "--input", tmp_path / "input")
    assert (done.returncode, done.stdout) == (0, "config: nothing found\nmodel: nothing found\n")
    done = fuzz("nothing")
    assert done.returncode == 2


def test_it_is_not_in_the_wheel():
    assert (
        "fuzz"
        not in (ROOT / "pyproject.toml")
        .read_text()
        .split("[tool.setuptools]")[1]
        .split("[tool.ruff]")[0]
    )
