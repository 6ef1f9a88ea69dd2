"""One run over a directory at a time, and shards of it side by side."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from earzip.batch.locks import RunLock
from earzip.batch.shard import Shard
from earzip.errors import LockedError


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _run(folder: Path, shard: Shard | None = None) -> None:
    with RunLock("compress", [folder], shard):
        pass


def test_a_second_run_is_told_who_holds_the_folder(tmp_path):
    with RunLock("compress", [tmp_path]):
        who = f"process {os.getpid()} on {socket.gethostname()} since 20"
        with pytest.raises(LockedError, match=who) as error, RunLock("compress", [tmp_path]):
            pass
        assert error.value.exit_code == 75
        assert error.value.path == str(tmp_path)
        assert "--no-lock" in str(error.value)
    _run(tmp_path)
    assert _names(tmp_path) == []


def test_other_commands_and_folders_are_not_locked(tmp_path):
    (tmp_path / "a").mkdir()
    with (
        RunLock("compress", [tmp_path]),
        RunLock("restore", [tmp_path]),
        RunLock("compress", [tmp_path / "a"]),
    ):
        assert _names(tmp_path) == [".compress.earzip-lock", ".restore.earzip-lock", "a"]
    assert _names(tmp_path) == ["a"]


def test_a_folder_that_is_not_there_yet_is_made_and_locked(tmp_path):
    folder = tmp_path / "by" / "and" / "by"
    with (
        RunLock("compress", [folder]),
        pytest.raises(LockedError),
        RunLock("compress", [folder]),
    ):
        pass
    assert _names(folder) == []


def test_all_folders_are_locked_or_none(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
    with (
        RunLock("compress", [second]),
        pytest.raises(LockedError),
        RunLock("compress", [first, second]),
    ):
        pass
    assert _names(first) == []


def test_one_folder_by_two_names_is_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with RunLock("compress", [tmp_path, tmp_path / "link", tmp_path / "."]):
        pass


def test_the_folder_is_made(tmp_path):
    folder = tmp_path / "new" / "below" / "another"
    with RunLock("compress", [folder]):
        assert folder.is_dir()
        with pytest.raises(LockedError):
            _run(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_nothing_is_locked_where_nothing_can_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with RunLock("compress", [tmp_path]):
        assert _names(tmp_path) == []


def test_nothing_is_locked_where_there_can_be_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with RunLock("compress", [tmp_path / "file" / "x"]):
        assert _names(tmp_path) == ["file"]


@pytest.mark.parametrize("shard", [None, Shard(1, 2)])
def test_nothing_is_locked_or_left_on_a_file_system_without_locks(tmp_path, monkeypatch, shard):
    def flock(_file: int, _kind: int) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", flock)
    _run(tmp_path, shard)
    assert _names(tmp_path) == []


def test_a_lock_of_another_user_holds(tmp_path, monkeypatch):
    def open_as_another(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return open_file(path, flags, mode)

    with RunLock("compress", [tmp_path]):
        open_file = os.open
        monkeypatch.setattr("os.open", open_as_another)
        with pytest.raises(LockedError, match=f"process {os.getpid()}"):
            _run(tmp_path)
    _run(tmp_path)  # nobody holds it, and this user can make none


def test_the_lock_of_a_killed_run_is_taken_over(tmp_path):
    hold = "import sys,time,pathlib; from earzip.batch.locks import RunLock\n"
    hold += "with RunLock('compress', [pathlib.Path(sys.argv[1])]): print(1, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", hold, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    with pytest.raises(LockedError, match=f"process {process.pid} "):
        _run(tmp_path)
    process.kill()
    process.communicate()
    _run(tmp_path)
    assert _names(tmp_path) == []


def test_shards_of_one_number_work_side_by_side_and_a_whole_run_waits(tmp_path):
    with RunLock("compress", [tmp_path], Shard(1, 3)), RunLock("compress", [tmp_path], Shard(2, 3)):
        with pytest.raises(LockedError, match=f"process {os.getpid()}"):
            _run(tmp_path, Shard(2, 3))
        who = rf"locked by another compress run \(shard 1/3, process {os.getpid()} on "
        with pytest.raises(LockedError, match=who):
            _run(tmp_path)
    with RunLock("compress", [tmp_path]), pytest.raises(LockedError, match="process"):
        _run(tmp_path, Shard(1, 3))


def test_a_shard_that_ends_leaves_the_lock_to_the_others(tmp_path):
    with RunLock("compress", [tmp_path], Shard(1, 3)):
        _run(tmp_path, Shard(2, 3))
        with pytest.raises(LockedError):
            _run(tmp_path)


def test_shards_of_another_number_are_refused_while_one_is_at_work(tmp_path):
    with (
        RunLock("compress", [tmp_path], Shard(3, 8)),
        pytest.raises(LockedError, match=rf"locked by shard 3/8 \(process {os.getpid()} on "),
    ):
        _run(tmp_path, Shard(1, 4))


def _leave_lock_file(folder: Path) -> Path:
    """Leave what a killed shard leaves."""
    path = folder / ".compress.1-of-3.earzip-lock"
    path.write_text("process 1 on nowhere since 2020")
    return path


def test_nothing_stays_after_a_run_of_a_shard(tmp_path):
    for number in (2, 1, 3):
        _run(tmp_path, Shard(number, 3))
        assert _names(tmp_path) == []


@pytest.mark.parametrize("shard", [None, Shard(1, 2), Shard(1, 3)])
def test_what_a_killed_shard_left_is_removed(tmp_path, shard):
    _leave_lock_file(tmp_path)
    _run(tmp_path, shard)
    assert _names(tmp_path) == []


@contextmanager
def _held(path: Path, kind: int) -> Iterator[int]:
    """Hold the lock of a file that says of nobody, as runs do for moments."""
    with path.open("ab") as file:
        fcntl.flock(file, kind)
        yield file.fileno()


def test_shards_that_look_at_those_of_another_number_at_once_let_each_other_be(tmp_path):
    with _held(_leave_lock_file(tmp_path), fcntl.LOCK_SH):
        _run(tmp_path, Shard(1, 2))


def test_a_lock_that_says_of_nobody_is_waited_for(tmp_path):
    """As that of a shard which removes the file as the last that shares it, in a moment."""
    with _held(tmp_path / ".compress.earzip-lock", fcntl.LOCK_EX) as file:
        timer = threading.Timer(0.1, fcntl.flock, (file, fcntl.LOCK_UN))
        timer.start()
        _run(tmp_path, Shard(1, 2))
        timer.join()


def test_a_lock_that_says_of_nobody_is_not_waited_for_to_the_end_of_days(tmp_path):
    with (
        _held(tmp_path / ".compress.earzip-lock", fcntl.LOCK_EX),
        pytest.raises(LockedError, match="locked by another compress run; wait"),
    ):
        _run(tmp_path, Shard(1, 2))
