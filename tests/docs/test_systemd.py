"""docs/jobs/earzip.service and earzip.timer."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.conftest import JOBS, Site

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def _settings() -> dict[str, str]:
    lines = (JOBS / "earzip.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))


def _analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _units(site: Site) -> list[Path]:
    """Copy the units; ``ExecStart`` must be there for systemd, so it gets the path of this earzip."""
    units = [site.root / "earzip.service", site.root / "earzip.timer"]
    for unit in units:
        text = (JOBS / unit.name).read_text()
        unit.write_text(text.replace("/opt/earzip/bin/earzip", str(site.earzip)))
    return units


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(site):
    units = _units(site)
    verified = _analyze("verify", *units)
    assert (verified.returncode, verified.stderr) == (0, "")
    # It would tell: a setting that it does not know is only a warning to it.
    units[0].write_text(units[0].read_text() + "SucessExitStatus=75\n")
    assert "SucessExitStatus" in _analyze("verify", *units).stderr


@needs_systemd
def test_the_timer_fires_every_night():
    (calendar,) = re.findall("^OnCalendar=(.*)$", (JOBS / "earzip.timer").read_text(), re.MULTILINE)
    told = _analyze("calendar", "--iterations=2", "--base-time=2030-01-01 12:00", calendar).stdout
    assert re.findall(r"2030-01-\d\d \d\d:\d\d:\d\d", told)[-2:] == [
        "2030-01-02 02:00:00",
        "2030-01-03 02:00:00",
    ]


def test_a_stop_leaves_time_for_the_files_in_hand():
    settings = _settings()
    grace = re.search(r"--grace (\d+)", settings["ExecStart"])
    assert grace is not None
    assert int(settings["TimeoutStopSec"]) > int(grace[1])
    assert settings["KillMode"] == "mixed"
    assert settings["SuccessExitStatus"] == "75"


def test_the_sandbox_leaves_the_gpus_and_the_archive():
    settings = _settings()
    assert not {"PrivateDevices", "ProtectClock", "DeviceAllow", "DevicePolicy"} & set(settings)
    words = shlex.split(settings["ExecStart"])
    home = settings["Environment"].removeprefix("HOME=")
    assert words[words.index("-o") + 1] == settings["ReadWritePaths"]
    assert str(Path(words[words.index("--metrics") + 1]).parent) == home


def test_its_home_is_not_hidden_from_it():
    settings = _settings()
    assert settings["ProtectHome"] == "yes"
    assert settings["Environment"] == f"HOME=/var/lib/{settings['StateDirectory']}"


def test_what_the_service_starts_archives_the_music(site):
    site.add_music(2)
    metrics = site.root / "earzip.prom"
    words = [
        {
            "/opt/earzip/bin/earzip": site.earzip,
            "/srv/music": site.music,
            "/srv/archive": site.archive,
        }.get(word, metrics if word.endswith(".prom") else word)
        for word in shlex.split(_settings()["ExecStart"])
    ]
    ended = site.run(words)
    assert ended.returncode == 0, ended.stderr
    assert site.archived() == ["0.flac.earz", "1.flac.earz"]
    assert 'earzip_run_files{command="compress"' in metrics.read_text()
