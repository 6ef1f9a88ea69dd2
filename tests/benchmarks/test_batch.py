"""The figures of a batch: what is idle, and a library that is finished."""

from __future__ import annotations

import shutil

import pytest

from benchmarks import batch
from benchmarks.batch import finished_library, idle_share
from benchmarks.processes import machine
from tests.cli.batch_runs import run


def _record(rank: int, elapsed_s: float) -> dict[str, float]:
    return {"rank": rank, "elapsed_s": elapsed_s}


def test_processes_that_work_equally_long_are_never_idle():
    assert idle_share([_record(0, 3.0), _record(1, 1.0), _record(1, 2.0)], 2) == 0


def test_the_idle_share_is_of_all_processes_even_of_one_without_files():
    assert idle_share([_record(0, 4.0), _record(1, 2.0)], 2) == pytest.approx(0.25)
    assert idle_share([_record(1, 4.0)], 2) == pytest.approx(0.5)


def test_a_finished_library_is_passed_by_and_leaves_nothing(tmp_path):
    with finished_library(tmp_path, n_files=6, n_folders=3) as (music, archives):
        ended = run(tmp_path / "logs", "compress", music, "-o", archives)
        assert (ended.summary["up_to_date"], ended.summary["files"]) == (6, 6)
        shutil.rmtree(tmp_path / "logs")
    assert list(tmp_path.iterdir()) == []


def test_new_tags_leave_the_coded_sound_of_every_archive(tmp_path, monkeypatch):
    for name, value in (("N_RETAGGED", 4), ("N_SOUNDS", 2), ("RETAGGED_S", 1.0)):
        monkeypatch.setattr(batch, name, value)
    figures = batch.retagging(tmp_path, 1)
    assert (figures["same_sound"], figures["n_files"]) == (4, 4)
    assert 0 < figures["cpu_ms_to_retag"] < figures["cpu_ms_to_encode"]


def test_the_machine_is_described():
    assert {"cpu", "cores", "load_at_start", "system", "python", "torch"} == set(machine())
