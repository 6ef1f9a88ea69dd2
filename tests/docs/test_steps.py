"""The steps of .ci/run, of nox and of CONTRIBUTING.md are the same."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.docs.pages import ROOT

pytestmark = pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="not in a checkout")
STEPS = {"tests", "lint", "types", "smoke"}


def test_nox_has_the_steps_of_ci():
    named = re.findall(r"^@nox\.session\ndef (\w+)", (ROOT / "noxfile.py").read_text(), re.M)
    assert set(named) == STEPS
    functions = re.findall(r"^(\w+)\(\) \{", (ROOT / ".ci" / "run").read_text(), re.M)
    assert set(functions) - {"step", "wheel", "tools"} == STEPS


def test_contributing_names_them():
    assert set(re.findall(r"`\.ci/run (\w+)`", (ROOT / "CONTRIBUTING.md").read_text())) == STEPS


def test_an_unknown_step_is_refused():
    ended = subprocess.run(
        [ROOT / ".ci" / "run", "tset"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, "tset" in ended.stderr) == (2, True)


def test_the_readme_has_a_test_command_that_uses_all_cores():
    found = re.findall(r"<!-- test command -->\n```sh\n(.+)\n```", (ROOT / "README.md").read_text())
    assert len(found) == 1
    assert found[0].endswith("-m pytest -q -n auto")
