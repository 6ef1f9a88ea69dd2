"""``--copy-other``: files beside the sources, copied whole, as private as they are, over no others."""

from __future__ import annotations

import os

import pytest

from earzip.batch.jobs import OtherFile, Plan
from earzip.batch.signals import StopSignal
from earzip.results import FileStatus
from tests.earzip.batch.plan_runs import files_below, run_plan


def test_what_a_killed_run_has_left_of_a_copy_is_removed(plan, tmp_path):
    picture = tmp_path / "booklet.pdf"
    picture.write_bytes(b"picture")
    target = tmp_path / "scans" / "booklet.pdf"
    plan.other_files.append(OtherFile(picture, target, "not sound"))
    stale = target.with_name(f".booklet.pdf.{'0' * 16}.earzip-tmp")
    stale.parent.mkdir()
    stale.write_bytes(b"half")
    run_plan(plan, copy_others=True)
    assert [path.name for path in target.parent.iterdir()] == ["booklet.pdf"]


def test_bystanders_are_listed(with_cover, tmp_path):
    report, records = run_plan(with_cover)
    assert records[-1] == ("cover.jpg", FileStatus.SKIPPED, "not sound")
    assert report.exit_code == 0
    assert not (tmp_path / "out" / "cover.jpg").exists()


def test_copied_bystanders_keep_their_bytes_and_times(with_cover, tmp_path):
    _, records = run_plan(with_cover, copy_others=True)
    copy = tmp_path / "out" / "cover.jpg"
    assert records[-1][1] is FileStatus.COPIED
    assert (copy.read_bytes(), copy.stat().st_mtime) == (b"picture", 1_000_000_000)
    _, records = run_plan(with_cover, copy_others=True)
    assert records[-1][1] is FileStatus.UP_TO_DATE


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1777, 0o600, 0o644])
def test_a_copy_is_as_private_as_its_source_and_can_not_be_run(with_cover, tmp_path, mode):
    (tmp_path / "cover.jpg").chmod(mode)
    before = os.umask(0o022)
    try:
        run_plan(with_cover, copy_others=True)
    finally:
        os.umask(before)
    copied = (tmp_path / "out" / "cover.jpg").stat().st_mode & 0o7777
    assert copied == mode & 0o644


def test_a_copy_of_a_file_that_changes_meanwhile_is_a_failed_file(
    with_cover, tmp_path, monkeypatch
):
    cover = tmp_path / "cover.jpg"
    real = os.utime

    def utime(*arguments: object, **options: object) -> None:
        real(*arguments, **options)  # type: ignore[arg-type, call-overload]
        cover.write_bytes(b"another picture")

    monkeypatch.setattr(os, "utime", utime)
    report, records = run_plan(with_cover, copy_others=True)
    assert records[-1] == ("cover.jpg", FileStatus.FAILED, "changed while it was copied")
    assert (report.exit_code, (tmp_path / "out" / "cover.jpg").exists()) == (3, False)


def test_a_signal_ends_a_long_copy(with_cover, tmp_path):
    class Asked(StopSignal):
        def check(self) -> None:
            self.request(0)
            super().check()

    report, records = run_plan(Plan([], with_cover.other_files), copy_others=True, stop=Asked())
    assert (records, report.exit_code) == ([], 75)
    assert files_below(tmp_path / "out") == []


def test_a_copy_that_another_machine_has_made_meanwhile_is_up_to_date(
    with_cover, tmp_path, monkeypatch
):
    copy = tmp_path / "out" / "cover.jpg"
    real = os.utime

    def utime(*arguments: object, **options: object) -> None:
        copy.write_bytes(b"picture")
        real(*arguments, **options)  # type: ignore[arg-type, call-overload]

    monkeypatch.setattr(os, "utime", utime)
    _, records = run_plan(with_cover, copy_others=True)
    assert records[-1] == ("cover.jpg", FileStatus.UP_TO_DATE, None)


def test_a_copy_never_replaces_another_file_unless_forced(with_cover, tmp_path):
    copy = tmp_path / "out" / "cover.jpg"
    copy.parent.mkdir()
    copy.write_bytes(b"another")
    report, records = run_plan(with_cover, copy_others=True)
    assert records[-1] == ("cover.jpg", FileStatus.FAILED, f"{copy}: already exists")
    assert (report.exit_code, copy.read_bytes()) == (3, b"another")
    run_plan(with_cover, copy_others=True, force=True)
    assert copy.read_bytes() == b"picture"


def test_a_bystander_that_cannot_be_read_is_a_failed_file(plan, tmp_path):
    plan.other_files.append(OtherFile(tmp_path / "gone", tmp_path / "out" / "gone", "not sound"))
    _, records = run_plan(plan, copy_others=True)
    assert records[-1] == (
        "gone", FileStatus.FAILED, "cannot copy: No such file or directory",
    )  # fmt: skip
    assert not (tmp_path / "out" / "gone").exists()
