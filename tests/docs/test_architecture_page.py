"""docs/architecture.md speaks of the rooms and files that there are."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.docs.pages import ROOT
from tests.test_architecture import EVERYONE, MAY_IMPORT

PAGE = ROOT / "docs" / "architecture.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="not in a checkout")


def test_every_package_has_its_paragraph_and_no_other():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    named = set(re.findall(r"\*\*`(earzip[\w.]*)`\*\*", PAGE.read_text()))
    assert named == set(tool["packages"]) - {"earzip"}


def test_the_table_is_the_one_that_is_tested():
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE.read_text().split("\n## ")[1], re.M)
    written = {
        room: set(re.findall(r"`(\w+)`", imports))
        for rooms, imports in rows[1:]
        for room in re.findall(r"`(\w+)`", rooms)
    }
    kept = MAY_IMPORT.keys() - {"__main__", *EVERYONE}
    assert written == {room: MAY_IMPORT[room] for room in kept}


def test_every_package_is_drawn_above_what_it_imports():
    drawing = PAGE.read_text().split("```")[1].splitlines()
    layer = {name: line for line, text in enumerate(drawing) for name in re.findall(r"\w+", text)}
    assert layer.keys() == MAY_IMPORT.keys() - {"__main__", *EVERYONE}
    for package, line in layer.items():
        assert all(line < layer[target] for target in MAY_IMPORT[package]), package


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_files_that_are_named_exist(page):
    paths = re.findall(
        r"`((?:earzip|formats|cli|tests|docs|benchmarks)/[\w./-]+)`", (ROOT / page).read_text()
    )
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_modules_of_the_walks_exist():
    walks = PAGE.read_text().partition("## A sample, in")[2].partition("## Where decisions")[0]
    places = {"cli": "cli", "formats": "formats"}
    for name in re.findall(
        r"^((?:cli|tasks|transcode|formats|coding|network|results)[\w.]*)  ", walks, re.M
    ):
        room, _, rest = name.partition(".")
        path = ROOT / places.get(room, f"earzip/{room}")
        path = path.joinpath(*rest.split(".")) if rest else path
        assert path.is_dir() or path.with_suffix(".py").exists(), name
