"""Messages on a terminal of 80 columns, and where there is none."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path

from tests.cli.conftest import write_sound
from tests.conftest import MODELS

WIDTH = 80


def _on_a_terminal(*arguments: object) -> list[str]:
    """Return the lines that `earzip` prints on a terminal, without its progress bar."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "earzip", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"EARZIP_MODELS": str(MODELS), "OMP_NUM_THREADS": "1"},
    )
    os.close(theirs)
    printed = b""
    try:
        while part := os.read(ours, 4096):
            printed += part
    except OSError:  # its end is closed
        pass
    os.close(ours)
    process.wait(60)
    lines = printed.decode().split("\r\n")
    return [line.rpartition("\r")[2] for line in lines]


def test_a_message_is_broken_between_words_and_never_in_a_path(tmp_path: Path) -> None:
    album = tmp_path / "An album with a long name (2011 remaster)"
    write_sound(album / "one.wav", seconds=0.1)
    bad = album / "02 Not sound at all.flac"
    bad.write_text("text")
    lines = _on_a_terminal("compress", "--model", "tiny", album, "-o", tmp_path / "out")
    at = lines.index(f"earzip: failed: {bad}:")
    assert lines[at + 1].startswith("  is not sound that ")
    message = lines[at + 1 :]
    n_lines = next(i for i, line in enumerate(message) if not line.startswith("  "))
    assert n_lines > 1 or len(message[0]) > 60
    assert all(len(line) <= WIDTH for line in message[:n_lines])


def test_an_error_that_ends_the_command_is_broken_between_words(tmp_path: Path) -> None:
    target = tmp_path / "both.earz"
    write_sound(tmp_path / "a" / "one.wav", seconds=0.1)
    lines = _on_a_terminal("compress", "--model", "tiny", tmp_path / "a", "-o", target)
    assert " ".join("".join(f"{line}\n" for line in lines).split()) == (
        f"earzip: {target}: is named like a file, which holds the result of one source; "
        "there is no directory of this name"
    )
    assert all(len(line) <= WIDTH for line in lines if str(tmp_path) not in line)


def test_without_a_terminal_a_message_is_one_line(earzip, tiny_model: str, tmp_path: Path) -> None:
    bad = tmp_path / f"{'long ' * 20}.flac"
    bad.write_text("text")
    stderr = earzip("compress", "--model", tiny_model, bad).stderr
    assert stderr.startswith(f"earzip: failed: {bad}: is not sound that ")
    assert len(stderr.splitlines()) == 2
