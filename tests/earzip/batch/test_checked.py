"""What is remembered of checks, and what happens to it where two runs, names and disks are difficult."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from earzip.batch.checked import CheckedLog, default_checked_path
from earzip.batch.jobs import Job, Plan
from earzip.results import FileRecord, FileStatus

DAY_S = 86_400.0
ROOT = Path(__file__).parents[3]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state" / "checked.sqlite3"


@pytest.fixture
def archives(tmp_path: Path) -> list[Path]:
    """Three files, one of them with a name that is not UTF-8."""
    paths = [tmp_path / name for name in ("a.earz", "b.earz", os.fsdecode(b"\xff\xfe.earz"))]
    for path in paths:
        path.write_bytes(b"archive")
    return paths


def plan_of(paths: list[Path]) -> Plan:
    return Plan([Job(path, None, path.stat().st_size) for path in paths])


def check(
    database: Path | None,
    paths: list[Path],
    status: FileStatus = FileStatus.INTACT,
    *,
    decoded: bool = False,
) -> list[str]:
    """Note a check of ``paths``; return the warnings."""
    warnings: list[str] = []
    with CheckedLog(database, warnings.append, decoded=decoded) as log:
        log.watch(plan_of(paths))
        for path in paths:
            log.note(FileRecord(status, path))
    return warnings


def due(
    database: Path | None, paths: list[Path], older_than_s: float = DAY_S, *, decoded: bool = False
) -> tuple[list[Path], list[str]]:
    """Return which of ``paths`` are to be checked, and the warnings."""
    warnings: list[str] = []
    with CheckedLog(database, warnings.append, decoded=decoded) as log:
        plan = plan_of(paths)
        log.watch(plan)
        log.leave_out(plan, older_than_s)
    left = [job.source for job in plan.jobs]
    assert {record.source for record in plan.beforehand} == set(paths) - set(left)
    assert {record.status for record in plan.beforehand} <= {FileStatus.CHECKED_LATELY}
    return left, warnings


def age(database: Path, seconds: float, column: str = "checked_s") -> None:
    """Let all checks be so much older."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"UPDATE checked SET {column} = {column} - ?", (seconds,))


def test_what_was_found_intact_is_not_due_until_it_is_old(database, archives):
    assert due(database, archives) == (archives, [])
    assert check(database, archives[1:]) == []
    assert due(database, archives) == (archives[:1], [])
    age(database, DAY_S + 10)
    assert due(database, archives) == (archives, [])
    assert due(database, archives, 2 * DAY_S) == (archives[:1], [])


def test_what_has_changed_is_due(database, archives):
    check(database, archives)
    archives[0].write_bytes(b"another archive")
    os.utime(archives[1], ns=(1, 1))
    assert due(database, archives) == (archives[:2], [])


def test_what_changes_while_it_is_checked_is_due(database, archives):
    with CheckedLog(database, pytest.fail) as log:
        log.watch(plan_of(archives[:1]))
        archives[0].write_bytes(b"another archive")
        log.note(FileRecord(FileStatus.INTACT, archives[0]))
    assert due(database, archives[:1])[0] == archives[:1]


@pytest.mark.parametrize("status", [FileStatus.DAMAGED, FileStatus.FAILED])
def test_what_is_damaged_is_forgotten(database, archives, status):
    check(database, archives)
    check(database, archives[:1], status)
    assert due(database, archives)[0] == archives[:1]


def test_a_check_that_decodes_counts_for_both_and_another_for_itself(database, archives):
    check(database, archives[:1], decoded=True)
    check(database, archives[1:])
    assert due(database, archives)[0] == []
    assert due(database, archives, decoded=True)[0] == archives[1:]
    # A later check without decoding leaves what was known of the sound, unless the file is another.
    check(database, archives[:1])
    assert due(database, archives[:1], decoded=True)[0] == []
    archives[0].write_bytes(b"another archive")
    check(database, archives[:1])
    assert due(database, archives[:1], decoded=True)[0] == archives[:1]


def test_another_path_to_a_folder_is_the_same_archive_and_a_copy_is_not(
    database, archives, tmp_path
):
    check(database, archives)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert due(database, [link / "a.earz"])[0] == []
    copy = tmp_path / "copy" / "a.earz"
    copy.parent.mkdir()
    copy.write_bytes(archives[0].read_bytes())
    os.utime(copy, ns=(archives[0].stat().st_mtime_ns,) * 2)
    assert due(database, [copy])[0] == [copy]


def test_a_check_of_the_future_does_not_count(database, archives):
    check(database, archives)
    age(database, -100 * DAY_S)
    assert due(database, archives)[0] == archives


def test_a_damaged_database_is_put_aside_once(database, archives):
    check(database, archives)
    database.write_bytes(b"no database, " * 100)
    left, (warning,) = due(database, archives)
    assert left == archives
    assert warning.startswith(
        f"{database}: file is not a database; it is now checked.sqlite3.damaged"
    )
    assert database.with_name("checked.sqlite3.damaged").read_bytes().startswith(b"no database")
    assert check(database, archives) == []
    assert due(database, archives) == ([], [])


def test_a_damaged_database_does_not_cost_what_is_noted(database, archives):
    database.parent.mkdir()
    database.write_bytes(b"no database, " * 100)
    assert len(check(database, archives)) == 1
    assert due(database, archives) == ([], [])


def test_a_database_that_cannot_be_used_is_told_once_and_only_to_who_relies_on_it(
    database, archives, tmp_path
):
    database.parent.write_text("a file in place of the folder")
    assert check(database, archives) == []
    left, (warning,) = due(database, archives)
    assert left == archives
    assert warning.startswith(f"{database}: ")
    assert "it is not known, or not remembered, when archives were checked" in warning
    assert due(None, archives) == (
        archives,
        [
            "there is no home directory: it is not known, or not remembered, when archives were checked"
        ],
    )


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_checked_path() == tmp_path / "earzip" / "checked.sqlite3"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/you")
    assert default_checked_path() == Path("/home/you/.local/state/earzip/checked.sqlite3")


_NOTES_MANY = """
import sys
from pathlib import Path
from tests.earzip.batch.test_checked import check
for _ in range(20):
    assert check(Path(sys.argv[1]), [Path(path) for path in sys.argv[2:]]) == []
"""


def test_runs_at_once_do_not_lose_what_they_note(database, tmp_path):
    paths = [tmp_path / f"{i}.earz" for i in range(40)]
    for path in paths:
        path.write_bytes(b"archive")
    runs = [
        subprocess.Popen([sys.executable, "-c", _NOTES_MANY, database, *paths[i::4]], cwd=ROOT)
        for i in range(4)
    ]
    assert [run.wait(120) for run in runs] == [0, 0, 0, 0]
    assert due(database, paths) == ([], [])


def test_another_run_that_writes_for_long_costs_no_check(database, archives, monkeypatch):
    monkeypatch.setattr("earzip.batch.checked._WAIT_S", 0.1)
    check(database, archives[:1])
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        left, (warning,) = due(database, archives)
        assert left == archives
        assert "database is locked" in warning
        warnings: list[str] = []
        with CheckedLog(database, warnings.append) as log:
            log.watch(plan_of(archives))
            for path in archives:
                log.note(FileRecord(FileStatus.INTACT, path))
            other.rollback()
        assert warnings == []
    assert due(database, archives)[0] == []


def test_batches_are_written_as_time_goes_by(database, archives, monkeypatch):
    monkeypatch.setattr("earzip.batch.checked._BATCH_S", 0.0)
    with CheckedLog(database, pytest.fail) as log:
        log.watch(plan_of(archives))
        time.sleep(0.001)
        log.note(FileRecord(FileStatus.INTACT, archives[0]))
        assert due(database, archives[:1])[0] == []  # a kill from here on costs nothing
