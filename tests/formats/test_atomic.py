"""What a file holds that is written atomically, and whom it replaces."""

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from earzip.errors import TargetError
from earzip.formats import atomic
from earzip.formats.atomic import (
    TEMPORARY_SUFFIX,
    atomic_path,
    atomic_write,
    look_again,
    private_as,
    reap_stale,
    set_mtime,
)


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.endswith(TEMPORARY_SUFFIX)]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "song.flac.earz"


@pytest.mark.smoke
def test_a_file_appears_whole_when_the_block_ends(target: Path) -> None:
    with atomic_write(target) as file:
        file.write(b"abc")
        file.flush()
        assert not target.exists()
        file.seek(1)
        file.write(b"B")
    assert target.read_bytes() == b"aBc"
    assert list(target.parent.iterdir()) == [target]


def test_a_path_is_for_libraries_that_write_themselves(target: Path) -> None:
    with atomic_path(target) as path:
        assert path.parent == target.parent
        path.write_bytes(b"abc")
        assert not target.exists()
    assert target.read_bytes() == b"abc"
    assert list(target.parent.iterdir()) == [target]


def test_a_library_may_replace_the_temporary(target: Path) -> None:
    with atomic_path(target) as path:
        other = target.with_name("other")
        other.write_bytes(b"abc")
        other.replace(path)
    assert target.read_bytes() == b"abc"
    assert list(target.parent.iterdir()) == [target]


def test_an_existing_file_is_replaced(target: Path) -> None:
    target.write_bytes(b"before")
    with atomic_write(target) as file:
        file.write(b"after")
    assert target.read_bytes() == b"after"


def test_an_existing_file_can_be_protected(target: Path) -> None:
    target.write_bytes(b"before")
    for write in (atomic_write, atomic_path):
        with (
            pytest.raises(TargetError, match=r"song\.flac\.earz: already exists"),
            write(target, replace=False),
        ):
            pytest.fail("the block must not run")
    assert target.read_bytes() == b"before"


@pytest.fixture(params=["renameat2", "link", "neither"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the calls that name a file without replacing another, as file systems do."""
    if request.param != "renameat2":
        monkeypatch.setattr(atomic, "_renameat2", _no_such_call)
    if request.param == "neither":
        monkeypatch.setattr(os, "link", _no_link)


@pytest.mark.usefixtures("_way")
def test_a_file_that_comes_in_between_is_protected(target: Path) -> None:
    with (
        pytest.raises(TargetError, match="already exists"),
        atomic_write(target, replace=False),
    ):
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert leftovers(target.parent) == []


@pytest.mark.usefixtures("_way")
def test_a_new_file_is_made_without_replacing(target: Path) -> None:
    with atomic_write(target, replace=False) as file:
        file.write(b"ours")
    assert target.read_bytes() == b"ours"
    assert list(target.parent.iterdir()) == [target]


def _no_link(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def _no_such_call(*_: object) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def test_without_links_no_empty_file_stands_for_the_one_that_comes(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the two steps would leave it."""
    monkeypatch.setattr(atomic, "_renameat2", _no_such_call)
    monkeypatch.setattr(os, "link", _no_link)
    real = Path.replace

    def replace(self: Path, to: Path) -> Path:
        assert not to.exists()
        return real(self, to)

    monkeypatch.setattr(Path, "replace", replace)
    with atomic_write(target, replace=False) as file:
        file.write(b"ours")
    assert target.read_bytes() == b"ours"


def test_what_another_run_has_made_meanwhile_is_looked_at_again(target: Path) -> None:
    """Of two that see no lock of each other, as on two machines."""
    calls = []

    def write() -> bytes:
        calls.append(target.exists())
        if target.exists():
            return b"is there: " + target.read_bytes()
        with atomic_write(target, replace=False) as file:
            target.write_bytes(b"theirs")
            file.write(b"ours")
        return b"written"

    assert look_again(write) == b"is there: theirs"
    assert calls == [False, True]


@pytest.mark.parametrize("way", [atomic_write, atomic_path])
def test_a_temporary_that_another_run_took_for_a_dead_ones_is_made_again(
    target: Path, way: Callable[[Path], AbstractContextManager[object]]
) -> None:
    temporaries = []

    def write() -> None:
        with way(target):
            temporaries.extend(leftovers(target.parent))
            if len(temporaries) == 1:
                (target.parent / temporaries[0]).unlink()

    look_again(write)
    assert target.exists()
    assert len(set(temporaries)) == 2
    temporaries.clear()
    with pytest.raises(TargetError, match="another run has removed its temporary file"):
        write()


def test_each_of_many_runs_may_take_a_temporary_away(target: Path) -> None:
    takers = list(range(15))  # that begin one after the other, and see no lock

    def write() -> None:
        with atomic_write(target) as file:
            file.write(b"whole")
            if takers:
                takers.pop()
                (temporary,) = target.parent.glob(".*.earzip-tmp")
                temporary.unlink()

    look_again(write)
    assert (target.read_bytes(), takers) == (b"whole", [])


def test_other_errors_are_not_tried_again(tmp_path: Path) -> None:
    calls = []

    def write() -> None:
        calls.append(1)
        with atomic_write(tmp_path / "no" / "folder"):
            pass

    with pytest.raises(TargetError):
        look_again(write)
    assert len(calls) == 1


def test_of_many_writers_that_do_not_replace_one_wins(target: Path) -> None:
    won: list[int] = []
    barrier = threading.Barrier(8)

    def write(i: int) -> None:
        barrier.wait()
        try:
            with atomic_write(target, replace=False) as file:
                file.write(bytes([i]) * 1000)
                time.sleep(0.01)
            won.append(i)
        except TargetError:
            pass

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert target.read_bytes() == bytes(won) * 1000
    assert leftovers(target.parent) == []


def test_a_symbolic_link_is_replaced_and_not_followed(target: Path) -> None:
    source = target.with_name("source.flac")
    source.write_bytes(b"master")
    target.symlink_to(source)
    with atomic_write(target) as file:
        file.write(b"ours")
    assert source.read_bytes() == b"master"
    assert not target.is_symlink()


def test_the_mode_is_that_of_any_new_file(target: Path) -> None:
    mask = os.umask(0o027)
    try:
        with atomic_write(target) as file:
            file.write(b"x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("source", "expected"), [(0o600, 0o600), (0o640, 0o640), (0o444, 0o644), (0o4777, 0o644)]
)
@pytest.mark.parametrize("way", [atomic_write, atomic_path])
def test_a_file_is_as_private_as_another_from_its_first_byte_on(
    target: Path, source: int, expected: int, way: Callable[..., AbstractContextManager[object]]
) -> None:
    other = target.with_name("other")
    other.touch()
    other.chmod(source)
    mask = os.umask(0o022)
    try:
        with way(target, mode=private_as(other.stat())):
            (temporary,) = leftovers(target.parent)
            assert stat.S_IMODE((target.parent / temporary).stat().st_mode) == expected
    finally:
        os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == expected


def test_names_beyond_an_ascii_locale_have_temporaries(tmp_path: Path) -> None:
    script = (
        "import os, sys; from earzip.formats.atomic import atomic_write\n"
        "with atomic_write(os.fsdecode(os.environb[b'TARGET'])) as file: file.write(b'x')"
    )
    target = tmp_path / "Café.earz"
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        env=os.environ
        | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "TARGET": str(target)},
    )
    assert target.read_bytes() == b"x"


def test_a_time_is_set_or_a_target_error(target: Path) -> None:
    target.touch()
    for mtime_ns in (10**18, -(10**18), 0):
        set_mtime(target, mtime_ns, target)
        assert target.stat().st_mtime_ns == mtime_ns
    set_mtime(target, None, target)
    assert target.stat().st_mtime_ns == 0
    gone = target.with_name("gone")
    with pytest.raises(TargetError, match="gone: its time cannot be set: No such file"):
        set_mtime(gone, 5, gone)
    with pytest.raises(TargetError, match="its time cannot be set"):
        set_mtime(target, 10**40, target)


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "日" * 85])
def test_the_longest_names_have_room_for_a_temporary(tmp_path: Path, name: str) -> None:
    with atomic_path(tmp_path / name) as path:
        assert len(os.fsencode(path.name)) <= 255
        path.write_bytes(b"x")
    assert (tmp_path / name).exists()


def test_a_file_system_without_locks_and_folder_sync_is_written_all_the_same(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(atomic.fcntl, "flock", unsupported)
    real_fsync = os.fsync

    def fsync(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            unsupported()
        real_fsync(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_write(target) as file:
        file.write(b"whole")
        assert reap_stale(target.parent) == []
    assert target.read_bytes() == b"whole"
