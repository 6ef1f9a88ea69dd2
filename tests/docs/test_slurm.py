"""docs/jobs/earzip.sbatch, with stand-ins for what Slurm brings."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.docs.conftest import JOBS, Site, write_script

SCRIPT = JOBS / "earzip.sbatch"  # no program: Slurm copies it and runs the copy
N_SHARDS = 3


@pytest.fixture
def cluster(site: Site) -> Site:
    """A site with an srun that runs its command here, and an scontrol that notes what it is told.

    The real srun forwards the signals that it gets to the processes it has started.
    """
    write_script(site.bin / "srun", 'while [[ $1 == --* ]]; do shift; done; exec "$@"')
    write_script(site.bin / "scontrol", f'echo "$@" >>"{site.root}/scontrol.log"')
    return site


def _told(site: Site) -> list[str]:
    log = site.root / "scontrol.log"
    return log.read_text().splitlines() if log.exists() else []


def _task(i: int) -> dict[str, object]:
    """The variables of task ``i`` of an array 1-3 (https://slurm.schedmd.com/job_array.html)."""
    return {
        "SLURM_JOB_ID": 100 + i,
        "SLURM_CPUS_PER_TASK": 1,
        "SLURM_ARRAY_JOB_ID": 100,
        "SLURM_ARRAY_TASK_ID": i,
        "SLURM_ARRAY_TASK_COUNT": N_SHARDS,
        "SLURM_ARRAY_TASK_MIN": 1,
        "SLURM_ARRAY_TASK_MAX": N_SHARDS,
        "SLURM_ARRAY_TASK_STEP": 1,
    }


def test_it_is_a_script():
    subprocess.run(["bash", "-n", SCRIPT], check=True)


def test_the_grace_ends_before_the_time_limit():
    text = SCRIPT.read_text()
    (limit,) = re.findall(r"^#SBATCH --signal=B:USR1@(\d+)$", text, re.MULTILINE)
    (grace,) = re.findall(r"--grace (\d+)", text)
    assert int(grace) < int(limit)


def test_the_tasks_of_an_array_archive_the_library_each_file_once(cluster):
    cluster.add_music(8)
    write_script(cluster.bin / "recorded", '"$EARZIP_ITSELF" "$@" --json')
    sources = []
    for i in range(1, N_SHARDS + 1):
        ended = cluster.run(
            ["bash", SCRIPT],
            **_task(i),
            EARZIP=cluster.bin / "recorded",
            EARZIP_ITSELF=cluster.earzip,
        )
        assert ended.returncode == 0, ended.stderr
        records = [json.loads(line) for line in ended.stdout.splitlines()]
        written = [r for r in records if r["type"] == "file" and r["status"] == "written"]
        assert len(written) < 8
        sources += [Path(r["source"]).name for r in written]
    assert sorted(sources) == [f"{i}.flac" for i in range(8)]
    assert cluster.archived() == [f"{i}.flac.earz" for i in range(8)]
    assert _told(cluster) == []


_UNTIL_USR1 = """
trap 'echo told; sleep 0.3; exit {code}' USR1
echo $$
while :; do sleep 0.05; done
"""


def _at_work(cluster: Site, code: int) -> tuple[subprocess.Popen[str], int]:
    """Return the script, started, and the pid of its earzip, which ends with ``code`` at SIGUSR1."""
    busy = write_script(cluster.bin / "busy", _UNTIL_USR1.format(code=code))
    job = cluster.start(["bash", SCRIPT], **_task(2), EARZIP=busy)
    assert job.stdout is not None
    return job, int(job.stdout.readline())


@pytest.mark.parametrize(("code", "told"), [(75, ["requeue 102"]), (0, []), (3, [])])
def test_out_of_time_it_stops_earzip_and_is_queued_again_if_work_is_left(cluster, code, told):
    job, _ = _at_work(cluster, code)
    job.send_signal(signal.SIGUSR1)
    assert job.communicate()[0] == "told\n"
    assert job.returncode == code
    assert _told(cluster) == told


def test_what_is_cancelled_is_not_queued_again(cluster):
    job, earzip = _at_work(cluster, 75)
    job.send_signal(signal.SIGTERM)
    assert job.wait() == -signal.SIGTERM
    os.kill(earzip, signal.SIGUSR1)
    assert job.communicate()[0] == "told\n"
    assert _told(cluster) == []


@pytest.mark.parametrize("code", [0, 3, 75])
def test_without_a_signal_the_exit_code_is_all(cluster, code):
    ended_early = write_script(cluster.bin / "early", f"exit {code}")
    assert cluster.run(["bash", SCRIPT], **_task(1), EARZIP=ended_early).returncode == code
    assert _told(cluster) == []


def test_earzip_itself_hears_the_signal(cluster):
    cluster.add_music(1, seconds=20)
    (track,) = cluster.music.rglob("*.flac")
    for i in range(100):  # work for a minute, of which the signal leaves next to nothing
        (cluster.music / f"again {i}.flac").hardlink_to(track)
    write_script(cluster.bin / "recorded", 'exec "$EARZIP_ITSELF" "$@" --json')
    with cluster.start(
        ["bash", SCRIPT],
        **_task(2)
        | {"SLURM_ARRAY_TASK_ID": 1, "SLURM_ARRAY_TASK_MAX": 1, "SLURM_ARRAY_TASK_COUNT": 1},
        EARZIP=cluster.bin / "recorded",
        EARZIP_ITSELF=cluster.earzip,
    ) as job:
        assert job.stdout is not None
        first = json.loads(job.stdout.readline())
        assert first["status"] == "written"
        job.send_signal(signal.SIGUSR1)
        records = [json.loads(line) for line in job.stdout.read().splitlines()]
    assert job.returncode == records[-1]["exit_code"] == 75
    assert records[-1]["undone"] > 0
    assert _told(cluster) == ["requeue 102"]
