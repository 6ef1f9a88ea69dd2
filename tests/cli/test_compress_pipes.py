"""``earzip compress`` with ``-``: standard input and output."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from earzip import read_info
from tests.cli.test_compress import compress_tiny

pytestmark = pytest.mark.usefixtures("tiny_model")


def test_standard_input_goes_to_a_named_archive(earzip, music, tmp_path):
    target = tmp_path / "x.flac.earz"
    sound = (music / "one.flac").read_bytes()
    outcome = compress_tiny(earzip, "-", "-o", target, "--json", stdin=sound)
    assert outcome.exit_code == 0
    assert (outcome.records[0]["source"], outcome.records[0]["target"]) == ("-", str(target))
    header = read_info(target).header
    assert (header.source.name, header.n_samples) == ("x.flac", 22_050)


def test_an_archive_goes_to_standard_output_and_the_results_aside(earzip, music, tmp_path):
    outcome = compress_tiny(earzip, music / "one.flac", "-o", "-")
    assert outcome.exit_code == 0
    archive = tmp_path / "piped.earz"
    archive.write_bytes(outcome.stdout_bytes)
    assert read_info(archive).header.source.name == "one.flac"
    assert outcome.stderr.startswith("written     standard output (0:00, ")


def test_a_full_disk_behind_standard_output_is_no_archive(music):
    command = [sys.executable, "-m", "earzip", "compress", "--model", "tiny", "-o", "-"]
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [*command, music / "one.flac"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert run.returncode == 1
    assert run.stderr == "earzip: cannot write to standard output: No space left on device\n"


def test_a_pipe_that_brings_no_sound_is_a_failed_file(earzip, tmp_path):
    outcome = compress_tiny(earzip, "-", "-o", "-", stdin=b"text")
    assert (outcome.exit_code, outcome.stdout_bytes) == (3, b"")
    assert outcome.stderr.startswith("earzip: failed: -: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-"], "standard input needs -o FILE, ending in .earz, or -o -"),
        (["-", "-o", "folder"], "standard input needs -o FILE, ending in .earz, or -o -"),
        (["-", "x.flac", "-o", "-"], "- needs exactly one PATH"),
        ([".", "-o", "-"], "- needs exactly one PATH"),
        (["-", "-o", "-", "--json"], "--json and the result cannot both go to standard output"),
        (["-", "-o", "-", "--copy-other"], "--copy-other needs an output directory"),
    ],
)
def test_pipes_that_cannot_be_are_usage_errors(earzip, monkeypatch, arguments, message):
    monkeypatch.setattr("earzip.cli.piping._spool_stdin", must_not_read)
    outcome = compress_tiny(earzip, *arguments)
    assert outcome.exit_code == 2
    assert message in outcome.stderr


def must_not_read(path: Path) -> None:
    raise AssertionError("standard input was read")


def test_a_dry_run_reads_no_standard_input(earzip, monkeypatch, tmp_path):
    monkeypatch.setattr("earzip.cli.piping._spool_stdin", must_not_read)
    target = tmp_path / "x.earz"
    outcome = compress_tiny(earzip, "-", "-o", target, "--dry-run", "--json")
    assert outcome.exit_code == 0
    assert outcome.records[0]["status"] == "planned"
    assert (outcome.records[0]["source"], outcome.records[0]["target"]) == ("-", str(target))


@pytest.mark.parametrize("redirect", ["-o q.earz - <&-", "-o - x.flac >&-", "-o - - <&- >&-"])
def test_a_closed_pipe_is_a_usage_error(music, redirect):
    command = f"{sys.executable} -m earzip compress --model tiny {redirect}"
    run = subprocess.run(
        ["bash", "-c", command], cwd=music, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert re.fullmatch(r"earzip: standard (in|out)put is closed\n", run.stderr)


def test_a_file_named_as_a_dash_is_a_file(earzip, music, monkeypatch):
    monkeypatch.chdir(music)
    (music / "one.flac").rename(music / "-")
    outcome = compress_tiny(earzip, "./-", "--json")
    assert outcome.exit_code == 0
    assert read_info(music / "-.earz").header.source.name == "-"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_run_that_waits_for_standard_input(tmp_path, number):
    command = [sys.executable, "-m", "earzip", "compress", "-", "-o", str(tmp_path / "a.earz")]
    process = subprocess.Popen(
        [*command, "--model", "tiny"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    try:
        while not list(tmp_path.glob("earzip-*/stdin")):
            time.sleep(0.05)
        process.send_signal(number)
        process.wait(timeout=30)
    finally:
        process.kill()
        _, errors = process.communicate()
    assert (process.returncode, errors.strip()) == (75, b"earzip: stopped")
    assert list(tmp_path.iterdir()) == []
