"""Names that a file system takes for one."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from earzip.batch.jobs import Job, OtherFile, Plan
from earzip.batch.same_names import refuse_same_names


def _folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let names differ by more than case and accents' form, as on exFAT and macOS."""

    def folded(path: Path) -> str:
        return unicodedata.normalize("NFC", str(path)).casefold()

    monkeypatch.setattr(Path, "samefile", lambda self, other: folded(self) == folded(other))


def _plan(folder: Path, *names: str) -> Plan:
    jobs = [Job(folder / "in" / name, folder / "out" / name, 1) for name in names]
    cover = OtherFile(folder / "in" / "Cover.jpg", folder / "out" / "Cover.jpg", "not sound")
    return Plan(jobs, [cover])


ALIKE = [
    ("Song", "song"),
    ("A/song", "a/song"),
    ("Straße", "STRASSE"),
    ("caf\u00e9", "cafe\u0301"),
    ("x" * 200 + "A", "x" * 200 + "a"),
]


@pytest.mark.parametrize("names", ALIKE)
def test_targets_that_are_one_file_are_refused_with_each_other(tmp_path, monkeypatch, names):
    _folds(monkeypatch)
    plan = _plan(tmp_path, *names, "else")
    refuse_same_names(plan, copies=True)
    assert [job.source.name for job in plan.jobs] == ["else"]
    first, second = plan.refused
    assert (first.source, second.source) == tuple(tmp_path / "in" / name for name in names)
    assert str(tmp_path / "out" / names[1]) in str(first.message)
    assert str(tmp_path / "out" / names[0]) in str(second.message)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("names", ALIKE)
def test_where_names_are_told_apart_both_are_done(tmp_path, names):
    plan = _plan(tmp_path, *names)
    refuse_same_names(plan, copies=True)
    assert (len(plan.jobs), plan.refused) == (2, [])
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_without_suspects_nothing_is_written(tmp_path):
    plan = _plan(tmp_path, "a", "b")
    refuse_same_names(plan, copies=True)
    assert len(plan.jobs) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("copies", [True, False])
def test_copies_count_where_they_are_made(tmp_path, monkeypatch, copies):
    _folds(monkeypatch)
    plan = _plan(tmp_path, "cover.JPG")
    refuse_same_names(plan, copies=copies)
    assert (len(plan.refused), len(plan.jobs)) == ((2, 0) if copies else (0, 1))
    assert len(plan.other_files) == (0 if copies else 1)
