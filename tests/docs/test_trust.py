"""The page of promises: the tests that it names are there."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "trust.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="not in a checkout")


def _promises() -> list[list[str]]:
    """Return the cells of each row of the tables."""
    lines = PAGE.read_text().splitlines() if PAGE.exists() else []
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]
    return [row for row in rows if row[0] not in ("promise", "---")]


@pytest.mark.parametrize("row", _promises(), ids=lambda row: row[0][:40])
def test_a_promise_names_tests_that_are_there_and_says_what_came_out(row):
    promise, tests, cases, result = row
    assert all((promise, cases, result))
    named = re.findall(r"(test_\w+\.py)", tests)
    known = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert named or "benchmarks.faults" in tests
    assert set(named) <= known
