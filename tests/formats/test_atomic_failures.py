"""What errors, full disks and killed runs leave of a file that is written atomically."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pytest

from earzip.errors import TargetError
from earzip.formats import atomic
from earzip.formats.atomic import TEMPORARY_SUFFIX, atomic_path, atomic_write, reap_stale

Writer = Callable[[Path], AbstractContextManager[BinaryIO | Path]]
is_root = os.geteuid() == 0


def fill(file: BinaryIO | Path, n_bytes: int) -> None:
    if isinstance(file, Path):
        file.write_bytes(bytes(n_bytes))
    else:
        for _ in range(0, n_bytes, 10_000):
            file.write(bytes(10_000))


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.endswith(TEMPORARY_SUFFIX)]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "song.flac.earz"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("existing", [None, b"before"])
def test_after_an_error_the_target_is_as_before(
    target: Path, error: type[BaseException], existing: bytes | None
) -> None:
    if existing:
        target.write_bytes(existing)

    def write_and_fail(write: Writer) -> None:
        with write(target) as file:
            fill(file, 3 << 20)
            raise error

    for write in (atomic_write, atomic_path):
        with pytest.raises(error):
            write_and_fail(write)
        assert leftovers(target.parent) == []
        assert (target.read_bytes() if target.exists() else None) == existing


def test_targets_that_cannot_be_written_are_target_errors(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target, reason in (
        (tmp_path / "no" / "a", "cannot be written: No such file or directory"),
        (tmp_path / "file" / "a", "cannot be written: Not a directory"),
        (tmp_path, "cannot be written: it is a directory"),
        (tmp_path / ("x" * 256), "cannot be written: File name too long"),
    ):
        for write in (atomic_write, atomic_path):
            with pytest.raises(TargetError, match=reason) as caught, write(target):
                pass
            assert caught.value.path == os.fspath(target)


def test_a_read_only_folder_is_a_target_error() -> None:
    # Not in tmp_path, whose parents are open to their owner only.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        if is_root:
            os.seteuid(65_534)  # root may write into any folder
        try:
            with pytest.raises(TargetError, match="Permission denied"), atomic_write(folder / "a"):
                pass
        finally:
            if is_root:
                os.seteuid(0)
            folder.chmod(0o755)
        assert list(folder.iterdir()) == []


def test_errors_of_other_files_are_not_blamed_on_the_target(target: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(target):
        (target.parent / "absent").read_bytes()
    assert leftovers(target.parent) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not is_root or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("fill_kib", range(0, 1025, 64))
def test_a_full_disk_is_a_target_error_and_leaves_nothing(small_disk: Path, fill_kib: int) -> None:
    (small_disk / "filler").write_bytes(bytes(fill_kib << 10))
    target = small_disk / "song.earz"
    for write in (atomic_write, atomic_path):
        with (
            pytest.raises(TargetError, match=r"song\.earz: cannot be written: No space left"),
            write(target) as file,
        ):
            fill(file, 2 << 20)
        assert [p.name for p in small_disk.iterdir()] == ["filler"]
    (small_disk / "filler").unlink()
    with atomic_write(target) as file:
        file.write(b"now")
    assert target.read_bytes() == b"now"


def test_a_read_only_file_system_is_a_target_error(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(TargetError, match="Read-only file system"), atomic_write(small_disk / "a"):
        pass


_LIMITED = """
import resource, sys
from earzip.errors import TargetError
from earzip.formats.atomic import atomic_write
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with atomic_write(sys.argv[1]) as file:
        file.write(bytes(100_001))
except TargetError as error:
    print(error.message)
"""


def test_a_file_size_limit_is_a_target_error(target: Path) -> None:
    command = [sys.executable, "-c", _LIMITED, str(target)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert result.stdout == "cannot be written: File too large\n"
    assert list(target.parent.iterdir()) == []


# Runs that die

_WRITER = """
import sys, time
from earzip.formats.atomic import atomic_path, atomic_write
write = {"write": atomic_write, "path": atomic_path}[sys.argv[1]]
with write(sys.argv[2]) as file:
    if sys.argv[1] == "write":
        file.write(bytes(3 << 20))
        file.flush()
    else:
        file.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


def writer(kind: str, target: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", _WRITER, kind, str(target)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    return process


@pytest.mark.parametrize("kind", ["write", "path"])
def test_a_killed_run_leaves_no_target_and_its_temporary_is_reaped(target: Path, kind: str) -> None:
    target.write_bytes(b"before")
    process = writer(kind, target)
    assert reap_stale(target.parent) == []  # it is alive
    assert len(leftovers(target.parent)) == 1
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert target.read_bytes() == b"before"
    (left,) = leftovers(target.parent)
    assert reap_stale(target.parent) == [target.parent / left]
    assert list(target.parent.iterdir()) == [target]


def test_kills_at_random_moments_leave_all_or_nothing(target: Path) -> None:
    script = (
        "import sys; from earzip.formats.atomic import atomic_write\n"
        "for i in range(10**9):\n"
        "    with atomic_write(sys.argv[1]) as file:\n"
        "        file.write(bytes([i % 256]) * 300_000)\n"
        "    print('x', flush=True)\n"
    )
    for i in range(12):
        command = [sys.executable, "-c", script, str(target)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 * i)
        process.kill()
        process.communicate()
        content = target.read_bytes()
        assert content == content[:1] * 300_000
        reap_stale(target.parent)
        assert list(target.parent.iterdir()) == [target]


def test_only_dead_temporaries_are_reaped(tmp_path: Path) -> None:
    dead = tmp_path / f".a.flac.0123456789abcdef{TEMPORARY_SUFFIX}"
    dead.write_bytes(b"half")
    keep = [
        tmp_path / "a.flac",
        tmp_path / f"a.0123456789abcdef{TEMPORARY_SUFFIX}",
        tmp_path / f".a.0123456789abcde{TEMPORARY_SUFFIX}",
        tmp_path / f".a.0123456789ABCDEF{TEMPORARY_SUFFIX}",
        tmp_path / f".a.0123456789abcdef{TEMPORARY_SUFFIX}.flac",
    ]
    for path in keep:
        path.write_bytes(b"x")
    link = tmp_path / f".link.0123456789abcdef{TEMPORARY_SUFFIX}"
    link.symlink_to(keep[0])
    pipe = tmp_path / f".pipe.0123456789abcdef{TEMPORARY_SUFFIX}"
    os.mkfifo(pipe)
    folder = tmp_path / f".folder.0123456789abcdef{TEMPORARY_SUFFIX}"
    folder.mkdir()
    with atomic_write(tmp_path / "b"):
        assert reap_stale(tmp_path) == [dead]
    assert all(p.exists() for p in (*keep, link, pipe, folder, tmp_path / "b"))
    assert reap_stale(tmp_path / "absent") == []


def test_a_reaper_between_open_and_lock_costs_the_writer_nothing(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one moment in which a live temporary is not locked."""
    real_flock = atomic.fcntl.flock
    reaped: list[Path] = []

    def flock(file: int, operation: int) -> None:
        if not reaped:
            monkeypatch.setattr(atomic.fcntl, "flock", real_flock)
            reaped.extend(reap_stale(target.parent))
        real_flock(file, operation)

    monkeypatch.setattr(atomic.fcntl, "flock", flock)
    with atomic_write(target) as file:
        file.write(b"whole")
    assert len(reaped) == 1
    assert target.read_bytes() == b"whole"


def test_a_failing_sync_is_a_target_error_and_leaves_nothing(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(TargetError, match="Input/output error"), atomic_write(target) as file:
        file.write(b"x")
    assert list(target.parent.iterdir()) == []
