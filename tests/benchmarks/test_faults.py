"""A small part of the suite of faults: real processes, on a file system whose calls fail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.fault_bench import Bench, State, faults_of
from benchmarks.fault_server import Ended, Fault, FaultServer
from benchmarks.faults import (
    ERRORS,
    case_of_hosts,
    case_of_same_names,
    cases_of_full_disks,
    cases_without,
    rows,
    table,
)

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="faults.c needs gcc")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("faults")
    with FaultServer(folder / "server") as server:
        yield Bench(server, folder / "bench")


def _as_promised(result: dict[str, Any]) -> bool:
    assert result["wrong"] == [], result["stderr"]
    return True


@pytest.mark.parametrize("call", sorted(ERRORS.keys() - {"link", "readlink"}))
def test_a_call_that_fails_is_a_failed_file_or_does_no_harm(bench, call):
    """In the middle of a run that compresses, where most of the calls are about files in progress."""
    n_calls = bench.count("compress, copies", call)
    n_calls = n_calls or bench.count("restore", call)
    name = "compress, copies" if bench.count("compress, copies", call) else "restore"
    assert n_calls, "the command makes no such call any more"
    assert _as_promised(bench.case(name, Fault(call, ERRORS[call][0], 1 + n_calls // 2)))


@pytest.mark.parametrize("command", ["compress", "restore", "verify"])
def test_reads_that_are_short_are_no_damage(bench, command):
    for call in ("read", "pread", "write"):
        assert _as_promised(bench.case(command, Fault(call, nth=1, mode="short", lasting=True)))


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_kill_at_a_call_leaves_nothing_half_written(bench, part):
    nth = round(part * bench.count("compress", "any"))
    result = bench.case("compress", Fault("any", nth=nth, mode="kill"))
    assert _as_promised(result)
    assert result["exit_code"] == -9


def test_what_a_file_system_does_not_have_is_not_missed(bench):
    assert all(map(_as_promised, cases_without(bench, ["compress"])))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_full_disk_fails_files_and_nothing_else(bench):
    assert all(map(_as_promised, cases_of_full_disks(bench, 2)))


def test_runs_that_see_no_lock_of_each_other_fail_no_file(bench):
    assert _as_promised(case_of_hosts(bench, n_files=24, n_runs=4))


@pytest.mark.slow
def test_eight_runs_that_see_no_lock_of_each_other_write_each_of_200_files_once(bench):
    assert _as_promised(case_of_hosts(bench, n_files=200, n_runs=8))


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_names_that_a_disk_does_not_tell_apart_are_both_refused(bench, options):
    assert _as_promised(case_of_same_names(bench, *options))


# ---- what counts as wrong


def _wrong(exit_code: int, stderr: str = "", fault: Fault | None = None, **files: str) -> list[str]:
    left = State({name: (digest, 0, 0) for name, digest in files.items()})
    ended = Ended(exit_code, 1, "", stderr)
    return list(faults_of(ended, left, {"a": "1", "b": "2"}, fault or Fault("read", nth=1)))


def test_what_breaks_a_promise_is_seen():
    assert _wrong(0, a="1", b="2") == []
    assert _wrong(3, "earzip: failed: b: Input/output error", a="1") == []
    assert _wrong(-9, fault=Fault(nth=1, mode="kill"), a="1") == []
    for broken in (
        _wrong(0, a="1"),  # not all is done
        _wrong(0, a="1", b="half"),
        _wrong(3, "earzip: failed: b", a="1", b="half"),
        _wrong(3, "", a="1"),  # no message
        _wrong(3, "earzip: failed\nTraceback (most recent call last)", a="1"),
        _wrong(-11, a="1"),
        _wrong(-14, a="1"),
        _wrong(130, "earzip: x", a="1"),
        _wrong(3, "earzip: x", a="1", **{".b.earzip-tmp": "x"}),
    ):
        assert broken


def test_the_table_counts_what_is_as_promised():
    fault = {"call": "read", "mode": "fail", "refused": ()}
    results = [
        {"command": "compress", **fault, "exit_code": 3, "wrong": []},
        {"command": "compress", **fault, "exit_code": 0, "wrong": ["hangs"]},
    ]
    (row,) = rows(results)
    assert (row["fault"], row["cases"], row["as_promised"]) == ("read fails", 2, 1)
    assert "| compress | read fails | 2 | 1 | 1 × 0, 1 × 3 |" in table([row])
