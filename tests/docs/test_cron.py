"""docs/jobs/earzip-cron.sh, run as cron runs it."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.docs.conftest import JOBS, write_script

pytestmark = pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
SCRIPT = JOBS / "earzip-cron.sh"


def test_it_is_a_script_for_any_shell():
    for shell in ("sh", "bash"):
        subprocess.run([shell, "-n", SCRIPT], check=True)


def test_a_good_night_says_nothing(site):
    site.add_music(2)
    ended = site.run([SCRIPT])
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert site.archived() == ["0.flac.earz", "1.flac.earz"]
    summary = json.loads((site.logs / "last.jsonl").read_text().splitlines()[-1])
    assert (summary["type"], summary["written"], summary["exit_code"]) == ("summary", 2, 0)
    assert "2 written" in (site.logs / "last.log").read_text()


def test_a_bad_file_is_worth_a_mail(site):
    site.add_music(1)
    (site.music / "text.flac").write_text("no music")
    ended = site.run([SCRIPT])
    assert ended.returncode == 3
    assert "earzip ended with 3" in ended.stdout
    assert "text.flac: is not sound" in ended.stdout


def test_a_run_that_was_stopped_is_not_worth_a_mail(site):
    stopped = write_script(site.bin / "stopped", "echo stopped >&2; exit 75")
    ended = site.run([SCRIPT], EARZIP=stopped)
    assert (ended.returncode, ended.stdout, ended.stderr) == (75, "", "")


def test_of_two_at_the_same_time_one_works_and_the_other_leaves_its_logs_alone(site):
    site.add_music(2)
    # It waits for the second one to come and go before it begins.
    waiting = write_script(
        site.bin / "waiting",
        f'echo begun >&2; until [ -e {site.root}/go ]; do sleep 0.05; done\nexec "$EARZIP_ITSELF" "$@"',
    )
    first = site.start([SCRIPT], EARZIP=waiting, EARZIP_ITSELF=site.earzip)
    log = site.logs / "last.log"
    while not (log.exists() and log.read_text()):
        assert first.poll() is None
    second = site.run([SCRIPT])
    assert (second.returncode, second.stdout, second.stderr) == (75, "", "")
    assert log.read_text() == "begun\n"
    assert site.archived() == []
    (site.root / "go").touch()
    stdout, stderr = first.communicate()
    assert (first.returncode, stdout, stderr) == (0, "", "")
    assert site.archived() == ["0.flac.earz", "1.flac.earz"]


def test_the_lock_outlives_the_script_as_long_as_earzip_works(site):
    site.add_music(1)
    waiting = write_script(
        site.bin / "waiting",
        f"echo begun >&2; until [ -e {site.root}/go ]; do sleep 0.05; done",
    )
    script = site.start([SCRIPT], EARZIP=waiting)
    log = site.logs / "last.log"
    while not (log.exists() and log.read_text()):
        assert script.poll() is None
    script.kill()
    script.wait()
    assert site.run([SCRIPT]).returncode == 75
    (site.root / "go").touch()
    subprocess.run(["flock", site.logs / "lock", "true"], check=True)  # waits for its end
    assert site.run([SCRIPT]).returncode == 0
