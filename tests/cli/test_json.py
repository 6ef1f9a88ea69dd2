"""docs/json.md describes what the commands print: no field more, none less."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from earzip.results import FileStatus
from tests.cli.conftest import write_sound

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
TABLES = "record", "statuses", "compress", "planned", "restore", "list", "summary"


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
def commands(tmp_path, tiny_model):
    """A command line of compress, and one of restore for its results."""
    pytest.importorskip("auraloss")
    music = write_sound(tmp_path / "music" / "one.flac").parent
    archive = tmp_path / "archive"
    return {
        "compress": ("compress", "--json", "--check", "--model", tiny_model, music, "-o", archive),
        "restore": ("restore", "--json", archive, "-o", tmp_path / "restored"),
    }


def test_every_field_of_a_record_is_described(commands, earzip):
    described = _described()
    for command, arguments in commands.items():
        for status in ("written", "up_to_date"):
            record, _ = earzip(*arguments).records
            assert record["status"] == status
            assert set(record) == described["record"] | described[command]


def test_every_field_of_the_summary_is_described(commands, earzip):
    statuses = {status.value for status in FileStatus}
    described = _described()
    assert described["statuses"] == statuses
    _, summary = earzip(*commands["compress"]).records
    assert set(summary) == described["summary"] | statuses
