"""docs/python.md names the parameters that there are, and its examples pass the type checker."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys

import pytest

import earzip
from tests.docs.pages import ROOT, examples

PAGE = ROOT / "docs" / "python.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="not in a checkout")


def test_functions_have_the_parameters_that_are_named():
    rows = re.findall(r"^\| `(\w+)\(([^`]*)\)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(rows) >= 8
    for name, written in rows:
        parameters = inspect.signature(getattr(earzip, name)).parameters
        for part in written.replace("*, ", "").split(", "):
            parameter, _, default = part.partition("=")
            assert parameter in parameters, f"{name} has no {parameter}"
            assert not default or repr(parameters[parameter].default) == default.replace('"', "'")


@pytest.mark.slow
def test_examples_pass_the_type_checker(tmp_path):
    # As the wheel lays them out: mypy does not follow the mapping of pyproject.toml.
    for source, package in {
        "earzip": "earzip",
        "formats": "earzip/formats",
        "cli": "earzip/cli",
    }.items():
        shutil.copytree(ROOT / source, tmp_path / package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    found = examples(PAGE)
    assert len(found) >= 6
    files = []
    for number, example in enumerate(found):
        files.append(f"example_{number}.py")
        (tmp_path / files[-1]).write_text(example.text)
    wrong = "import earzip\nearzip.encode('samples', 44_100).latents.title\n"
    (tmp_path / "wrong.py").write_text(wrong)
    checked = [
        subprocess.run(
            [sys.executable, "-m", "mypy", *names],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        for names in (files, ["wrong.py"])
    ]
    assert checked[0].returncode == 0, checked[0].stdout
    assert "arg-type" in checked[1].stdout
    assert "attr-defined" in checked[1].stdout
