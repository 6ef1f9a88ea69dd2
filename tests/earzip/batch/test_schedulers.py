"""The environment of a job array tells a task its number."""

from __future__ import annotations

import pytest

from earzip.batch.schedulers import SCHEDULERS, this_task
from earzip.errors import UsageError


def _environment(text: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in text.split())


@pytest.mark.parametrize(
    ("text", "task"),
    [
        (
            "SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=8 SLURM_ARRAY_TASK_MIN=1 "
            "SLURM_ARRAY_TASK_STEP=1",
            (1, 8),
        ),
        (
            "SLURM_ARRAY_TASK_ID=20 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=10 "
            "SLURM_ARRAY_TASK_STEP=5",
            (3, 3),
        ),
        ("SLURM_ARRAY_TASK_ID=0 SLURM_ARRAY_TASK_COUNT=2", (1, 2)),
        ("AWS_BATCH_JOB_ARRAY_INDEX=0 AWS_BATCH_JOB_ARRAY_SIZE=10", (1, 10)),
        ("BATCH_TASK_INDEX=3 BATCH_TASK_COUNT=4", (4, 4)),
        ("CLOUD_RUN_TASK_INDEX=1 CLOUD_RUN_TASK_COUNT=2", (2, 2)),
        ("SKYPILOT_JOB_RANK=0 SKYPILOT_NUM_JOBS=5", (1, 5)),
        ("SGE_TASK_ID=7 SGE_TASK_FIRST=1 SGE_TASK_LAST=8 SGE_TASK_STEPSIZE=3", (3, 3)),
        ("SGE_TASK_ID=4 SGE_TASK_FIRST=4 SGE_TASK_LAST=5 SGE_TASK_STEPSIZE=1", (1, 2)),
        # Of jobs that are no arrays.
        (
            "LSB_JOBINDEX=0 SGE_TASK_ID=undefined AWS_BATCH_JOB_ARRAY_INDEX=1 AWS_BATCH_JOB_ARRAY_SIZE=2",
            (2, 2),
        ),
    ],
)
def test_schedulers_that_tell_the_count(text, task):
    environment = _environment(text)
    assert this_task(environment) == task
    assert this_task(environment, task[1]) == task
    with pytest.raises(UsageError, match=f"shard is auto/99, but an? .* has {task[1]} tasks"):
        this_task(environment, 99)


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("JOB_COMPLETION_INDEX=0", (1, 8)),
        ("JOB_COMPLETION_INDEX=7", (8, 8)),
        ("LSB_JOBINDEX=8", (8, 8)),
        ("PBS_ARRAY_INDEX=1", (1, 8)),
        ("PBS_ARRAYID=3", (3, 8)),
    ],
)
def test_schedulers_that_do_not_tell_the_count(text, task):
    assert this_task(_environment(text), 8) == task
    with pytest.raises(UsageError, match=r"how many tasks an? .* has; add it, as auto/8"):
        this_task(_environment(text))


@pytest.mark.parametrize(
    ("text", "count", "message"),
    [
        (
            "PATH=/bin LSB_JOBINDEX=0",
            None,
            "needs a job array, and none of SLURM_ARRAY_TASK_ID, JOB_",
        ),
        (
            "SLURM_ARRAY_TASK_ID=1",
            None,
            "SLURM_ARRAY_TASK_COUNT of a Slurm array, which is not set",
        ),
        ("SLURM_ARRAY_TASK_ID=x SLURM_ARRAY_TASK_COUNT=2", None, "SLURM_ARRAY_TASK_ID .* is x"),
        ("JOB_COMPLETION_INDEX=\u0663", 8, "JOB_COMPLETION_INDEX .* is \u0663"),
        (
            "SLURM_ARRAY_TASK_ID=5 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=1",
            None,
            "SLURM_ARRAY_TASK_ID is 5, which is not one of 3 tasks that are numbered from 1",
        ),
        ("JOB_COMPLETION_INDEX=8", 8, "is 8, which is not one of 8 tasks that are numbered from 0"),
        ("PBS_ARRAY_INDEX=0", 8, "is 0, which is not one of 8 tasks that are numbered from 1"),
        (
            "JOB_COMPLETION_INDEX=1 SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=2",
            2,
            r"finds a Slurm array \(SLURM_ARRAY_TASK_ID\) and an Indexed Job of Kubernetes \(JOB_COMP",
        ),
    ],
)
def test_what_is_no_task_is_a_usage_error(text, count, message):
    with pytest.raises(UsageError, match=message):
        this_task(_environment(text), count)


def test_no_two_schedulers_are_told_by_one_variable():
    names = [scheduler.index for scheduler in SCHEDULERS]
    assert len({*names}) == len(names)
