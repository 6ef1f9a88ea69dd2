"""Which task of a job array this process is, as schedulers tell it by the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from earzip.errors import UsageError


@dataclass(frozen=True)
class Scheduler:
    """The environment variables of the tasks of an array.

    ``index`` names the variable of a task's number, ``first`` that of the least number or the number
    itself, ``step`` that of the step between numbers. How many tasks there are is told by the variable
    ``count`` or follows from ``last``, the variable of the greatest number. Without either the user has
    to tell. ``no_array`` is what ``index`` says in a job that is no array.
    """

    name: str
    index: str
    first: str | int
    step: str | None = None
    count: str | None = None
    last: str | None = None
    no_array: str | None = None

    def is_here(self, environment: Mapping[str, str]) -> bool:
        """Return whether this process is a task of an array of this scheduler."""
        return environment.get(self.index, self.no_array) != self.no_array

    def least(self, environment: Mapping[str, str]) -> str:
        """Return the least number of the tasks, as the scheduler tells it."""
        return str(self.first) if isinstance(self.first, int) else environment.get(self.first, "0")

    def number_and_count(self, environment: Mapping[str, str]) -> tuple[int, int | None]:
        """Return the number of the task, from 1, and how many there are, None where that is not told.

        Raises UsageError for what is no number.
        """

        def value_of(name: str, default: str | None = None) -> int:
            value = environment.get(name, default)
            if value is None or not (value.isascii() and value.isdecimal()):
                raise UsageError(
                    f"shard auto needs {name} of {self.name}, which is {value or 'not set'}"
                )
            return int(value)

        first = value_of(str(self.first), self.least(environment))
        step = max(value_of(self.step, "1"), 1) if self.step else 1
        count = None
        if self.count:
            count = value_of(self.count)
        elif self.last:
            count = (value_of(self.last) - first) // step + 1
        return (value_of(self.index) - first) // step + 1, count


SCHEDULERS = (
    # https://slurm.schedmd.com/job_array.html#env_vars
    Scheduler(
        "a Slurm array",
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_MIN",
        step="SLURM_ARRAY_TASK_STEP",
        count="SLURM_ARRAY_TASK_COUNT",
    ),
    # https://kubernetes.io/docs/tasks/job/indexed-parallel-processing-static
    Scheduler("an Indexed Job of Kubernetes", "JOB_COMPLETION_INDEX", 0),
    # https://docs.aws.amazon.com/batch/latest/userguide/job_env_vars.html
    Scheduler(
        "an array job of AWS Batch",
        "AWS_BATCH_JOB_ARRAY_INDEX",
        0,
        count="AWS_BATCH_JOB_ARRAY_SIZE",
    ),
    # https://cloud.google.com/batch/docs/create-run-basic-job
    Scheduler("a job of Google Cloud Batch", "BATCH_TASK_INDEX", 0, count="BATCH_TASK_COUNT"),
    # https://cloud.google.com/run/docs/container-contract
    Scheduler("a Cloud Run job", "CLOUD_RUN_TASK_INDEX", 0, count="CLOUD_RUN_TASK_COUNT"),
    # https://docs.skypilot.co/en/stable/examples/pools.html
    Scheduler("a SkyPilot job", "SKYPILOT_JOB_RANK", 0, count="SKYPILOT_NUM_JOBS"),
    # SGE_TASK_ID of sge_job(1); "undefined" in a job that is no array.
    Scheduler(
        "a Grid Engine array",
        "SGE_TASK_ID",
        "SGE_TASK_FIRST",
        step="SGE_TASK_STEPSIZE",
        last="SGE_TASK_LAST",
        no_array="undefined",
    ),
    # These number as the user likes, and tell no least number: an array has to begin with 1.
    # https://www.ibm.com/docs/en/SSWRJV_10.1.0/lsf_admin/job_array_cl_args.html
    Scheduler("an LSF array", "LSB_JOBINDEX", 1, no_array="0"),
    Scheduler("a PBS array", "PBS_ARRAY_INDEX", 1),
    Scheduler("a Torque array", "PBS_ARRAYID", 1),
)


def this_task(environment: Mapping[str, str], count: int | None = None) -> tuple[int, int]:
    """Return which task of an array this process is, from 1, and how many there are.

    ``count``: how many there are, as the user says it. Raises UsageError if this is no task of an array,
    or one of two, if nobody tells the count, or if scheduler and user tell different ones.
    """
    here = [scheduler for scheduler in SCHEDULERS if scheduler.is_here(environment)]
    if not here:
        names = ", ".join(scheduler.index for scheduler in SCHEDULERS)
        raise UsageError(f"shard auto needs a job array, and none of {names} is set")
    if len(here) > 1:
        names = " and ".join(f"{scheduler.name} ({scheduler.index})" for scheduler in here)
        raise UsageError(f"shard auto finds {names}; name the shard, as 3/8")
    (scheduler,) = here
    number, told = scheduler.number_and_count(environment)
    if told is None and count is None:
        raise UsageError(
            f"shard auto is not told how many tasks {scheduler.name} has; add it, as auto/8"
        )
    if told is not None and count is not None and told != count:
        raise UsageError(f"shard is auto/{count}, but {scheduler.name} has {told} tasks")
    n_tasks = told if count is None else count
    assert n_tasks is not None
    if not 1 <= number <= n_tasks:
        raise UsageError(
            f"{scheduler.index} is {environment[scheduler.index]}, which is not one of {n_tasks} tasks "
            f"that are numbered from {scheduler.least(environment)}"
        )
    return number, n_tasks
