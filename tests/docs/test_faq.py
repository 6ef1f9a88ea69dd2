"""docs/faq.md quotes messages as they are in the source, and names all that is not read.

In a message … stands for what varies.
"""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from earzip.formats.tags.unread import UNREAD_CONTAINERS, UNREAD_OUTER
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "faq.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="not in a checkout")


def _quoted() -> list[str]:
    """Return the messages in the first column of the table, without the rows of exit codes."""
    table = PAGE.read_text().partition("## Messages and exit codes")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[2:]
    assert all(re.match(r"exit code|`", cell) for cell in cells), "messages are in backticks"
    return [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]


@cache
def _strings_of_source() -> list[str]:
    """Return the strings of all modules but docstrings, with … for the values of f-strings."""
    strings = []
    for folder in ("cli", "earzip", "formats"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text())
            documentation = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr):
                    strings.append("".join(map(_rendered, node.values)))
                elif isinstance(node, ast.Constant) and id(node) not in documentation:
                    strings.append(_rendered(node))
    return strings


def _rendered(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else "…"


@pytest.mark.parametrize("message", _quoted() if PAGE.exists() else [])
def test_a_quoted_message_is_in_the_source(message):
    assert any(message in string for string in _strings_of_source())


def test_messages_are_quoted():
    assert len(_quoted()) > 10


def test_what_is_not_read_is_listed():
    section = PAGE.read_text().partition("\n## What is not read\n")[2].partition("\n## ")[0]
    outer = [name.removesuffix(" tag") for name in UNREAD_OUTER.values()]
    names = [*outer, *UNREAD_CONTAINERS.values()]
    assert [name for name in names if name not in section] == []
