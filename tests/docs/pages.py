"""The Markdown pages of this repository, and what stands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_PLACES = {".": "*.md", "docs": "**/*.md", "formats": "*.md", "benchmarks": "**/*.md"}
PAGES = sorted(
    path for folder, pattern in _PLACES.items() for path in (ROOT / folder).glob(pattern)
)

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARKED = re.compile(
    r"^<!-- run(?:: ([^>]*?))? -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


def prose(page: Path) -> str:
    """Return the text of a page without its fenced blocks."""
    return _FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the fragments that GitHub gives to the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number, unique = 0, slug
        while unique in found:
            number += 1
            unique = f"{slug}-{number}"
        found.add(unique)
    return found


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^]]+\]: (\S+)$", text, re.M)


@dataclass(frozen=True)
class Example:
    """A block after ``<!-- run -->``; the mark may say more: ``<!-- run: damage "FILE", exit 4 -->``."""

    mark: str
    language: str
    text: str

    def commands(self) -> list[tuple[str, list[str]]]:
        """Return each command of a console block, and the lines that it is said to print."""
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        assert not parts[0].strip(), "a console block begins with a command"
        return [(part.split("\n")[0], part.splitlines()[1:]) for part in parts[1:]]


def examples(page: Path) -> list[Example]:
    """Return the marked blocks of a page, in order."""
    return [Example(*found) for found in _MARKED.findall(page.read_text())]
