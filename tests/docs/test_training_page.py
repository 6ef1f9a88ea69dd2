"""docs/training.md names the parts that can be switched off, and their fields."""

from __future__ import annotations

import re

import pytest

from earzip.training.config import PARTS
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "training.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="not in a checkout")


def test_the_table_of_parts_is_that_of_the_command():
    rows = re.findall(r"^\| `([\w-]+)` \| (`[^|]+`) \| ", PAGE.read_text(), re.M)
    written = {part: re.findall(r"`([\w.]+)`", fields) for part, fields in rows}
    assert written == {part: list(fields) for part, fields in PARTS.items()}
