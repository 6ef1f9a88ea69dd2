"""docs/json.md describes what the commands print: no field more, none less."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from earzip.report import FileStatus
from tests.cli.conftest import write_sound

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
TABLES = "record", "statuses", "compress", "restore", "summary"


def _described() -> dict[str, set[str]]:
    """Return the names in the first column of each table."""
    tables = re.findall(r"^\|-.*\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    return {
        name: {
            word for row in table.splitlines() for word in re.findall(r"`(\w+)`", row.split("|")[1])
        }
        for name, table in zip(TABLES, tables, strict=True)
    }


@pytest.fixture
def records(earzip, tmp_path, tiny_model):
    """The summary, and a record of each, of a run of compress and one of restore."""
    pytest.importorskip("auraloss")
    music = write_sound(tmp_path / "music" / "one.flac").parent
    found = {}
    for command, *arguments in (
        ("compress", "--check", "--model", tiny_model, music, "-o", tmp_path / "archive"),
        ("restore", tmp_path / "archive", "-o", tmp_path / "restored"),
    ):
        outcome = earzip(command, "--json", *arguments)
        found[command], found[f"{command} summary"] = outcome.records
    return found


@pytest.mark.parametrize("command", ["compress", "restore"])
def test_every_field_of_a_record_is_described(command, records):
    described = _described()
    assert set(records[command]) == described["record"] | described[command]


def test_every_field_of_the_summary_is_described(records):
    statuses = {status.value for status in FileStatus}
    described = _described()
    assert described["statuses"] == statuses
    assert set(records["compress summary"]) == described["summary"] | statuses
