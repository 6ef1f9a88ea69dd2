"""The progress bar, on a terminal and elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

from tests.cli.batch_runs import write_music
from tests.conftest import MODELS

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ADVANCE = """
import time
from earzip.cli.progress import ProgressBar
with ProgressBar(3, 400) as bar:
    bar.file_done(100)
    for _ in range(2):
        time.sleep(0.12)
        bar.advance(30)
    bar.file_done(100)
    with bar.aside():
        print("aside", flush=True)
    time.sleep(0.12)
    bar.advance(20)
"""


_TWO_AT_ONCE = """
import time
from earzip.cli.progress import ProgressBar
with ProgressBar(4, 400, 200) as bar:
    for seconds in (10, 30, 40):
        time.sleep(0.12)
        bar.advance(seconds)
    time.sleep(0.12)
    bar.file_done(100, 50)
    time.sleep(0.12)
    bar.advance(20)
"""


def _on_a_terminal(command: list[str], width: int = 100, **options: object) -> str:
    """Return what ``command`` writes to stderr, a terminal, without its escapes."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, width))
    process = subprocess.Popen(command, stderr=follower, **options)
    os.close(follower)
    written = b""
    try:
        while block := os.read(leader, 4096):
            written += block
    except OSError:  # the other end is closed
        pass
    os.close(leader)
    assert process.wait() == 0
    return _ESCAPES.sub("", written.decode())


def test_a_terminal_shows_files_seconds_and_the_time_to_go():
    shown = _on_a_terminal([sys.executable, "-c", _ADVANCE], stdout=subprocess.DEVNULL)
    bars = [line.strip() for line in re.split(r"[\r\n]+", shown) if line.strip()]
    assert bars[0].startswith("0 % |")
    assert bars[0].endswith("| 0/3 files")
    # 80 of the 180 seconds that the two files of 300 bytes hold at 60 seconds per 100 bytes.
    assert re.match(
        r"44 % \|.*\| 2/3 files, 1:20 of audio, \d+ × real time, 0:0\d to go$", bars[-1]
    )


def _bars(shown: str) -> list[str]:
    return [line.strip() for line in re.split(r"[\r\n]+", shown) if "%" in line]


def test_tracks_that_are_done_side_by_side_are_told_apart():
    shown = _on_a_terminal([sys.executable, "-c", _TWO_AT_ONCE], stdout=subprocess.DEVNULL)
    # Of the 200 seconds that are expected; and once a track of 50 s is done, of 4 times as many.
    shares = [int(bar.split()[0]) for bar in _bars(shown)]
    assert shares == [0, 5, 20, 40, 40, 50]


def test_the_bar_waits_where_more_is_to_come_than_was_thought():
    more = _TWO_AT_ONCE.replace("file_done(100, 50)", "file_done(100, 80)")
    shown = _on_a_terminal([sys.executable, "-c", more], stdout=subprocess.DEVNULL)
    # Of 200 seconds, then of 320: 100 of them are 31 %.
    assert [int(bar.split()[0]) for bar in _bars(shown)] == [0, 5, 20, 40, 40, 40]


def test_a_terminal_that_does_not_say_how_wide_it_is_has_a_bar():
    shown = _on_a_terminal([sys.executable, "-c", _ADVANCE], 0, stdout=subprocess.DEVNULL)
    assert len(_bars(shown)) > 2


def test_without_a_terminal_nothing_is_shown():
    run = subprocess.run(
        [sys.executable, "-c", _ADVANCE], capture_output=True, text=True, check=True
    )
    assert (run.stdout, run.stderr) == ("aside\n", "")


def test_results_are_not_mixed_with_the_bar(tmp_path: Path):
    song = tmp_path / "x.flac"
    song.touch()
    command = [sys.executable, "-m", "earzip", "compress", "--dry-run", str(song), "--json"]
    with (tmp_path / "records").open("wb") as records:
        shown = _on_a_terminal(command, stdout=records)
    assert "1 planned" in shown
    assert len((tmp_path / "records").read_text().splitlines()) == 2


def test_what_is_said_of_the_processes_is_not_mixed_with_the_bar(tmp_path: Path):
    music = write_music(tmp_path / "music", [0.1, 0.1])
    command: list[object] = [sys.executable, "-m", "earzip", "compress", "--model", "tiny", music]
    command += ["-o", tmp_path / "out", "--devices", "cpu", "--processes", "2", "--threads", "1"]
    shown = _on_a_terminal(
        [*map(str, command)],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"EARZIP_MODELS": str(MODELS)},
    )
    assert re.search(r"[\r\n]earzip: info: 2 processes on the CPU, 1 thread each\r?\n", shown)


_READ = """
import time
from earzip.cli.progress import ProgressBar
with ProgressBar(4, 4_000_000) as bar:
    for _ in range(3):
        bar.file_done(1_000_000, n_read=1_000_000)
        time.sleep(0.12)
    bar.file_done(1_000_000)
"""


def test_where_files_are_only_read_bytes_are_counted():
    shown = _on_a_terminal([sys.executable, "-c", _READ], stdout=subprocess.DEVNULL)
    bars = _bars(shown)
    assert bars[1].endswith("1/4 files, 1 MB")
    # 2 MB in a little more than 0.24 s.
    assert re.match(r"50 % \|.*\| 2/4 files, 2 MB, [5-8](\.\d+)? MB/s, 0:00 to go$", bars[2])
    assert bars[-1].startswith("100 % ")
