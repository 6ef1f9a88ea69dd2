"""Plans of files that are not there: their work is a stand-in for that of `compress`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from earzip.batch.jobs import OtherFile, Plan
from tests.earzip.batch.plan_runs import job_of


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(jobs=[job_of(tmp_path, name) for name in ("a", "b", "c", "d")])


@pytest.fixture
def with_cover(plan: Plan, tmp_path: Path) -> Plan:
    cover = tmp_path / "cover.jpg"
    cover.write_bytes(b"picture")
    os.utime(cover, (1_000_000_000, 1_000_000_000))
    plan.other_files.append(OtherFile(cover, tmp_path / "out" / "cover.jpg", "not sound"))
    return plan
