"""What a file holds that is written atomically, and whom it replaces."""

import errno
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from earzip.errors import TargetError
from earzip.formats import atomic
from earzip.formats.atomic import TEMPORARY_SUFFIX, atomic_path, atomic_write, reap_stale


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


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_file_that_comes_in_between_is_protected(
    target: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    if not hard_links:
        monkeypatch.setattr(os, "link", _no_link)
    with (
        pytest.raises(TargetError, match="already exists"),
        atomic_write(target, replace=False),
    ):
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert leftovers(target.parent) == []


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_new_file_is_made_without_replacing(
    target: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    if not hard_links:
        monkeypatch.setattr(os, "link", _no_link)
    with atomic_write(target, replace=False) as file:
        file.write(b"ours")
    assert target.read_bytes() == b"ours"
    assert list(target.parent.iterdir()) == [target]


def _no_link(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


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
