"""Runs over object stores that are killed, doubled, shared by processes, and long."""

from __future__ import annotations

import threading

import pytest

from earzip.formats.archive.verify import verify_structure
from tests.cli.batch_runs import Ended, Run, run, wait_for
from tests.cli.s3_server import Bucket, Request, song_bytes
from tests.conftest import MODELS

pytestmark = pytest.mark.slow

COMPRESS = ("compress", "s3://music/in", "-o", "s3://music/out", "--model", "tiny")


def fill(bucket: Bucket, n_songs: int) -> set[str]:
    """Put songs into s3://music/in; return the names of their archives."""
    for i in range(n_songs):
        bucket.put(f"in/disc {i // 16}/{i:03}.flac", song_bytes(0.2, i % 10))
    return {f"out/disc {i // 16}/{i:03}.flac.earz" for i in range(n_songs)}


def archives(bucket: Bucket) -> set[str]:
    return {key for key in bucket.keys if key.startswith("out/")}


def assert_whole(bucket: Bucket, tmp_path) -> None:
    for key in archives(bucket):
        path = tmp_path / "one.earz"
        path.write_bytes(bucket.get(key))
        assert verify_structure(path) == []


def test_200_files_from_bucket_to_bucket(bucket, tmp_path):
    expected = fill(bucket, 200)
    ended = run(tmp_path, *COMPRESS)
    assert (ended.exit_code, ended.counts) == (0, {"written": 200})
    assert archives(bucket) == expected
    bucket.server.forget()
    ended = run(tmp_path, *COMPRESS)
    assert ended.counts == {"up_to_date": 200}
    assert bucket.server.kinds["GET"] == 200
    assert "PUT" not in bucket.server.kinds


def test_a_run_killed_in_the_middle_of_a_put_leaves_nothing_and_is_continued(bucket, tmp_path):
    expected = fill(bucket, 5)
    is_putting, is_killed = threading.Event(), threading.Event()

    def hold(request: Request) -> tuple[int, str] | None:
        if request.method != "PUT" or not request.path.endswith("003.flac.earz"):
            return None
        is_putting.set()
        is_killed.wait()
        return 500, "InternalError"

    bucket.server.fault = hold
    first = Run(tmp_path / "first", *COMPRESS)
    wait_for(is_putting.is_set)
    first.kill_all()
    is_killed.set()
    bucket.server.fault = lambda _request: None
    before = archives(bucket)
    assert len(before) == 3
    assert_whole(bucket, tmp_path)
    ended = run(tmp_path / "second", *COMPRESS)
    assert ended.counts == {"up_to_date": 3, "written": 2}
    assert archives(bucket) == expected


def test_two_runs_at_once_write_each_archive_once(bucket, tmp_path):
    expected = fill(bucket, 20)
    runs = [Run(tmp_path / name, *COMPRESS) for name in ("one", "two")]
    ended: list[Ended] = [each.wait() for each in runs]
    found = [each.counts for each in ended]
    assert archives(bucket) == expected
    assert_whole(bucket, tmp_path)
    assert sum(each.get("written", 0) for each in found) == 20
    assert sum(each.get("failed", 0) for each in found) == 0
    assert {each.exit_code for each in ended} <= {0, 75}


def test_processes_share_a_bucket(bucket, tmp_path):
    expected = fill(bucket, 8)
    ended = run(tmp_path, *COMPRESS, "--processes", "2")
    assert ended.counts == {"written": 8}
    assert archives(bucket) == expected
    ended = run(tmp_path, "restore", "s3://music/out", "-o", tmp_path / "back", "--processes", "2")
    assert ended.counts == {"written": 8}


def test_actors_of_ray_share_a_bucket(bucket, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    from tests import ray_settings  # noqa: PLC0415

    ray_settings.set_up(monkeypatch)
    monkeypatch.setenv("EARZIP_MODELS", str(MODELS))
    expected = fill(bucket, 8)
    ended = run(tmp_path, *COMPRESS, "--engine", "ray", "--processes", "2", "--devices", "cpu")
    assert ended.counts == {"written": 8}, ended.stderr
    assert archives(bucket) == expected
