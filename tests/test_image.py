"""The Dockerfile and what it installs, read as Docker and pip would: nothing here builds an image."""

from __future__ import annotations

import json
import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(
    not (ROOT / "Dockerfile").exists(), reason="not in a checkout: the tests of a built wheel"
)
LOCKS = ROOT / "requirements"
TARGETS = ("cpu", "cuda")


def _instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each on one line, without comments."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    found = [line.split(maxsplit=1) for line in text.replace("\\\n", "").splitlines() if line]
    return [(name, " ".join(rest.split())) for name, rest in found]


def _stages() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions of each stage, by its name."""
    stages: dict[str, list[tuple[str, str]]] = {}
    for name, rest in _instructions():
        if name == "FROM":
            stages[rest.rpartition(" AS ")[2]] = here = []
        here.append((name, rest))
    return stages


def _lineage(stage: str) -> list[tuple[str, str]]:
    """Return the instructions of a stage and of those that it is made from."""
    here = _stages()[stage]
    above = here[0][1].partition(" AS ")[0]
    return (_lineage(above) if above in _stages() else []) + here


def _locked(name: str) -> dict[str, tuple[str, int]]:
    """Return the version of each package of a lock, and how many hashes it has."""
    text = (LOCKS / name).read_text().replace("\\\n", "")
    found = {}
    for line in text.splitlines():
        if pinned := re.match(r"([A-Za-z0-9._-]+)==(\S+)", line):
            n_hashes = len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", line))
            found[canonicalize_name(pinned[1])] = pinned[2], n_hashes
    return found


def _asked_for() -> list[Requirement]:
    """Return what pyproject.toml asks for, for the extras of the image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    of_extras = (extras[name] for name in ("av", "pictures", "s3", "gcs", "azure"))
    texts = [*project["dependencies"], *chain.from_iterable(of_extras)]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("target", TARGETS)
def test_a_lock_pins_what_earzip_asks_for(target):
    locked = _locked(f"{target}.txt")
    for asked in _asked_for():
        version, _ = locked[canonicalize_name(asked.name)]
        assert asked.specifier.contains(version.partition("+")[0]), asked


@pytest.mark.parametrize("name", ["cpu.txt", "cuda.txt", "build.txt"])
def test_each_package_of_a_lock_has_its_hash_and_none_its_own_source(name):
    locked = _locked(name)
    assert locked
    assert {package for package, (_, n_hashes) in locked.items() if not n_hashes} == set()
    text = re.sub(r"#.*", "", (LOCKS / name).read_text())
    urls = set(re.findall(r"[a-z]+://\S+", text)) | set(re.findall(r"--find-links\s.*", text))
    assert urls <= {"https://pypi.org/simple", "https://download.pytorch.org/whl/cpu"}


def test_only_the_image_for_nvidia_has_nvidia_libraries():
    assert not [name for name in _locked("cpu.txt") if "nvidia" in name or name == "triton"]
    assert [name for name in _locked("cuda.txt") if "nvidia" in name]
    assert _locked("cpu.txt")["torch"][0].endswith("+cpu")


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_is_earzip_itself_and_not_root(target):
    image = _lineage(target)
    (entry,) = [rest for name, rest in image if name == "ENTRYPOINT"]
    assert json.loads(entry) == ["earzip"]  # without a shell, which would keep SIGTERM to itself
    assert [rest for name, rest in image if name == "USER"] == ["1000"]
    assert ("COPY", f"--from=build-{target} /opt/earzip /opt/earzip") in image


@pytest.mark.parametrize("target", TARGETS)
def test_pip_takes_nothing_that_is_not_locked(target):
    lines = [rest for name, rest in _lineage(f"build-{target}") if name == "RUN"]
    installs = [line for line in lines if "pip install" in line]
    assert installs == [
        "pip install --require-hashes -r /requirements/build.txt",
        f"pip install --require-hashes -r /requirements/{target}.txt",
        "pip install --no-deps --no-build-isolation /clone",
    ]


def test_the_context_has_what_the_build_needs():
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert all((ROOT / name).exists() for name in kept)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sources = {path.split("/")[0] for path in project["tool"]["setuptools"]["package-dir"].values()}
    files = {project["project"]["readme"], "LICENSE", "pyproject.toml", "requirements"}
    assert sources | files <= kept
