"""Links of all pages lead somewhere, and lines are short enough to read."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, links, prose

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="not in a checkout")
MAX_COLUMNS = 120
OTHERS = ("benchmarks/", "formats/")
"""Pages whose lines are not broken for reading."""


def _name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_internal_links_resolve(page):
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leads out of the repository"
        if fragment:
            assert fragment in anchors(target), f"{link}: there is no such heading"


@pytest.mark.parametrize("page", [p for p in PAGES if not _name(p).startswith(OTHERS)], ids=_name)
def test_lines_of_prose_are_short(page):
    long = [
        line
        for line in prose(page).splitlines()
        if len(line) > MAX_COLUMNS and not line.startswith(("|", "![")) and "](" not in line
    ]
    assert long == []


def test_every_page_can_be_found_from_the_readme():
    found, new = set(), {ROOT / "README.md"}
    while new:
        found |= new
        targets = {
            (page.parent / link.partition("#")[0]).resolve()
            for page in new
            for link in links(page)
            if not re.match(r"[a-z]+:|#", link)
        }
        new = {path for path in targets if path.suffix == ".md" and path.exists()} - found
    assert set(PAGES) - found == set()
