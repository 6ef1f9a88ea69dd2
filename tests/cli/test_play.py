"""``earzip play`` through players that record what they get, with and without a terminal."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC

from earzip.cli.keys import _keys_of
from earzip.errors import UsageError
from earzip.playback.players import find_player
from tests.conftest import MODELS, tones
from tests.earzip.tiny_archives import damage_segment

pytestmark = pytest.mark.usefixtures("tiny_model")
RATE = 44_100
_WAIT_S = 60

# Takes sound no faster than it is heard, as a device does, and keeps it; one file for each time it runs.
SLOW_PLAYER = """
import os, sys, time
folder = sys.argv[1]
kept = open(os.path.join(folder, f"{len(os.listdir(folder))}.wav"), "wb", buffering=0)
n, start = 0, time.monotonic()
while data := os.read(0, 4096):
    kept.write(data)
    n += len(data)
    time.sleep(max(0, n / 176400 - (time.monotonic() - start)))
"""


@pytest.fixture
def archives(earzip, tmp_path: Path) -> Path:
    """Three tracks of 2, 30 and 1 s; the last has no tags."""
    music = tmp_path / "music"
    music.mkdir()
    for number, (title, seconds) in enumerate([("One", 2.0), ("Two", 30.0), ("", 1.0)], 1):
        path = music / f"{number}.flac"
        soundfile.write(path, tones(round(seconds * RATE), number).T, RATE, subtype="PCM_16")
        if title:
            file = FLAC(path)
            file["title"], file["artist"], file["tracknumber"] = title, "Ich", str(number)
            file.save()
    earzip("compress", "--model", "tiny", music, "-o", tmp_path / "archives")
    return tmp_path / "archives"


@pytest.fixture
def recorder(tmp_path: Path) -> str:
    """A player that takes everything at once and keeps it."""
    script = tmp_path / "recorder"
    script.write_text(f"#!/bin/sh\ncat > '{tmp_path}/played.wav'\n")
    script.chmod(0o755)
    return str(script)


@pytest.fixture
def slow(tmp_path: Path) -> tuple[str, Path]:
    """A player that takes as much time as the sound does, and where it keeps what it gets."""
    (tmp_path / "slow.py").write_text(SLOW_PLAYER)
    (tmp_path / "kept").mkdir()
    return f"{sys.executable} '{tmp_path}/slow.py' '{tmp_path}/kept'", tmp_path / "kept"


def _samples(path: Path) -> np.ndarray:
    """Return what stands behind the header of a WAV stream without an end."""
    data = path.read_bytes()
    assert data[:4] == b"RIFF"
    assert data[36:40] == b"data"
    return np.frombuffer(data[44:], "<i2").reshape(-1, 2)


def _restored(earzip, archive: Path, tmp_path: Path, *more: str) -> np.ndarray:
    target = tmp_path / "restored.wav"
    target.unlink(missing_ok=True)
    earzip("restore", archive, "-o", target, "--bits", "16", "--no-dither", *more)
    return soundfile.read(target, dtype="int16")[0]


def test_tracks_are_played_in_order_without_a_gap(earzip, archives, recorder, tmp_path):
    order = [archives / "3.flac.earz", archives / "1.flac.earz"]
    outcome = earzip("play", *order, "--player", recorder)
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (
        0, "3.flac (0:01)\nIch – One (0:02)\n", "",
    )  # fmt: skip
    expected = np.concatenate([_restored(earzip, path, tmp_path) for path in order])
    assert (_samples(tmp_path / "played.wav") == expected).all()


def test_a_folder_a_query_and_a_range(earzip, archives, recorder, tmp_path):
    times = ("--start", "0.5", "--end", "1.25")
    outcome = earzip("play", archives, "--where", "artist=ich", *times, "--player", recorder)
    assert (outcome.exit_code, outcome.stdout) == (0, "Ich – One (0:02)\nIch – Two (0:30)\n")
    expected = [
        _restored(earzip, archives / f"{name}.flac.earz", tmp_path, *times) for name in "12"
    ]
    played = _samples(tmp_path / "played.wav")
    assert len(played) == 2 * round(0.75 * RATE)
    assert (played == np.concatenate(expected)).all()


def test_an_exact_copy_is_what_is_played(earzip, tmp_path, recorder):
    pytest.importorskip("librosa")
    song = tmp_path / "x.wav"
    soundfile.write(song, tones(RATE).T, RATE, subtype="PCM_16")
    floor = ("--min-si-sdr", "200", "--below-floor", "lossless")
    assert earzip("compress", "--model", "tiny", song, *floor).exit_code == 0
    earzip("play", f"{song}.earz", "--player", recorder)
    assert (_samples(tmp_path / "played.wav") == soundfile.read(song, dtype="int16")[0]).all()


def test_what_cannot_be_played_is_named_and_the_others_go_on(earzip, archives, recorder, tmp_path):
    damage_segment(archives / "2.flac.earz", 0)
    (archives / "4.earz").write_text("no archive")
    outcome = earzip("play", archives, tmp_path / "nowhere", "--player", recorder)
    assert outcome.exit_code == 1  # a path that is not there
    assert "nowhere: No such file or directory" in outcome.stderr
    assert "2.flac.earz: 0:00.00–0:00.37: bytes have changed" in outcome.stderr
    assert "4.earz: is not an earzip archive" in outcome.stderr
    assert len(_samples(tmp_path / "played.wav")) == 3 * RATE
    assert earzip("play", archives, "--player", recorder).exit_code == 3


def test_no_player_is_started_where_nothing_can_be_played(earzip, tmp_path):
    """One that gets no sound fails, and its error would hide what is wrong."""
    (tmp_path / "x.earz").write_text("no archive")
    outcome = earzip("play", tmp_path / "x.earz", "--player", f"touch '{tmp_path}/started'")
    assert outcome.exit_code == 3
    assert outcome.stderr.count("\n") == 1
    assert "x.earz: is not an earzip archive" in outcome.stderr
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sh -c 'cat >/dev/null; echo no device >&2; exit 7'", "sh ended with 7: no device"),
        # Without a device ffplay ends so.
        ("sh -c 'echo no sound card >&2'", "sh ended before the sound did: no sound card"),
    ],
)
def test_a_player_that_fails_is_an_error(earzip, archives, command, message):
    outcome = earzip("play", archives, "--player", command)
    assert outcome.exit_code == 1
    assert f"the player {message}" in outcome.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--player nowhere-at-all", "there is no such program"),
        ("--player 'x", "cannot be read: No closing quotation"),
        ("--start 2 --end 1", "are not a range"),
    ],
)
def test_wrong_command_lines(earzip, archives, options, message):
    outcome = earzip("play", archives, *options.split(" "))
    assert outcome.exit_code == 2
    assert message in outcome.stderr


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        (("play", "aplay", "paplay", "ffplay", "mpv"), "mpv"),
        (("play", "aplay", "paplay", "ffplay"), "ffplay"),
        (("play", "aplay"), "aplay"),
    ],
)
def test_a_player_that_is_installed_is_found(tmp_path, monkeypatch, installed, chosen):
    for name in installed:
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_player(None).name == chosen


def test_without_a_player_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no player is installed: install mpv"):
        find_player(None)


@pytest.mark.skipif(not shutil.which("ffplay"), reason="needs ffplay")
def test_ffplay_itself_plays_what_it_gets_in_the_time_that_it_takes(earzip, archives, monkeypatch):
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    before = time.monotonic()
    outcome = earzip(
        "play", archives / "1.flac.earz", archives / "3.flac.earz", "--player",
        "ffplay -v error -nostats -nodisp -autoexit -i pipe:0",
    )  # fmt: skip
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert time.monotonic() - before > 2.5  # of sound are 3 s


def test_a_stop_from_outside_ends_the_player_too(archives, slow):
    command, kept = slow
    process = subprocess.Popen(
        [sys.executable, "-m", "earzip", "play", archives / "2.flac.earz", "--player", command],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"EARZIP_MODELS": str(MODELS)},
        start_new_session=True,
    )
    try:
        _wait(lambda: any(path.stat().st_size > 100_000 for path in kept.iterdir()))
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=_WAIT_S)
    finally:
        process.kill()
    assert (process.returncode, stderr) == (75, b"\nearzip: stopped\n")
    assert not _is_running(command)


def _wait(condition) -> None:
    end = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def _is_running(command: str) -> bool:
    script = command.split("'")[1]
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return script in found.stdout


class Terminal:
    """A terminal of 70 columns with `earzip play` on it."""

    def __init__(self, *arguments: object) -> None:
        self._ours, self.theirs = os.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 70, 0, 0))
        self.before = termios.tcgetattr(self.theirs)
        self.seen = ""

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, "-m", "earzip", "play", *map(str, arguments)],
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            start_new_session=True,
            preexec_fn=take_terminal,  # noqa: PLW1509  # no threads here
            env=os.environ | {"EARZIP_MODELS": str(MODELS), "PYTHONUTF8": "1"},
        )

    def press(self, keys: str) -> None:
        self.seen = ""
        os.write(self._ours, keys.encode())

    def wait_for(self, *texts: str) -> None:
        """Wait until one of the texts has been shown since a key was pressed."""
        end = time.monotonic() + _WAIT_S
        while not any(text in self.seen for text in texts):
            assert time.monotonic() < end, self.seen
            if select.select([self._ours], [], [], 0.1)[0]:
                self.seen += os.read(self._ours, 65_536).decode(errors="replace")

    def wait_for_end(self) -> int:
        end = time.monotonic() + _WAIT_S
        while self.process.poll() is None:
            assert time.monotonic() < end, self.seen
            if select.select([self._ours], [], [], 0.1)[0]:
                self.seen += os.read(self._ours, 65_536).decode(errors="replace")
        return self.process.returncode

    @property
    def is_restored(self) -> bool:
        return termios.tcgetattr(self.theirs) == self.before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(archives, slow) -> Iterator[Terminal]:
    terminal = Terminal(archives, "--player", slow[0])
    yield terminal
    terminal.close()


def test_keys_pause_move_and_change_the_track(terminal, slow):
    terminal.wait_for("space pauses")
    terminal.wait_for("Ich – One  0:01 / 0:02  1 of 3")
    terminal.press("n")
    terminal.wait_for("Ich – Two  0:01 / 0:30  2 of 3")
    terminal.press(" ")
    terminal.wait_for("2 of 3  paused")
    _wait(lambda: not _is_running(slow[0]))
    terminal.press(" ")
    terminal.wait_for("Ich – Two  0:02 / 0:30  2 of 3\r", "Ich – Two  0:03 / 0:30  2 of 3\r")
    terminal.press("\x1b[C")
    terminal.wait_for("  0:12 / 0:30", "  0:13 / 0:30")
    terminal.press("\x1b[D")
    terminal.wait_for("  0:03 / 0:30", "  0:04 / 0:30")
    terminal.wait_for("  0:05 / 0:30")
    terminal.press("p")  # first to the beginning, then to the track before
    terminal.wait_for("Ich – Two  0:00 / 0:30")
    terminal.press("p")
    terminal.wait_for("Ich – One  0:00 / 0:02")
    terminal.press("q")
    assert terminal.wait_for_end() == 0
    assert terminal.is_restored
    assert not _is_running(slow[0])
    assert terminal.seen.endswith("\r\n")


def test_moving_beyond_the_end_goes_to_the_next_track_and_then_it_is_over(terminal):
    terminal.wait_for("Ich – One  0:00 / 0:02")
    terminal.press("n")
    terminal.wait_for("Ich – Two  0:00 / 0:30")
    terminal.press("\x1b[A")  # a minute
    terminal.wait_for("3.flac  0:0")
    assert terminal.wait_for_end() == 0
    assert terminal.is_restored


def test_ctrl_c_restores_the_terminal(terminal, slow):
    terminal.wait_for("Ich – One  0:01 / 0:02")
    assert not terminal.is_restored
    terminal.press("\x03")
    assert terminal.wait_for_end() == 75
    assert terminal.is_restored
    assert terminal.seen.endswith("earzip: stopped\r\n")
    assert not _is_running(slow[0])


def test_a_player_that_fails_leaves_the_terminal_as_it_was(archives):
    terminal = Terminal(archives, "--player", "sh -c 'exit 3'")
    assert terminal.wait_for_end() == 1
    assert terminal.is_restored
    terminal.close()


def test_keys_in_one_go_are_told_apart():
    assert _keys_of(b" \x1b[C\x1bODnq\x1b[Z") == [
        " ", "right", "left", "n", "q", "\x1b", "[", "Z",
    ]  # fmt: skip
