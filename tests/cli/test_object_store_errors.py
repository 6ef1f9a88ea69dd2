"""What fails, is refused or is not there in a bucket, on a server of S3 in this process."""

from __future__ import annotations

import errno
import re
import sys

import pytest

from tests.cli.s3_server import Request, song_bytes
from tests.cli.store_runs import COMPRESS, run


def test_a_result_that_came_meanwhile_is_not_replaced(earzip, bucket, songs):
    def other_run(request: Request) -> None:
        if request.method == "PUT" and request.path.endswith("a.flac.earz"):
            bucket.server.fault = lambda _request: None
            bucket.put("out/a.flac.earz", b"of another run")

    bucket.server.fault = other_run
    outcome = run(earzip, *COMPRESS, "--json")
    assert outcome.exit_code == 75
    assert outcome.statuses()["a.flac"] == "locked"
    assert [r["status"] for r in outcome.records[:-1]].count("written") == 2
    assert bucket.get("out/a.flac.earz") == b"of another run"


def test_a_put_that_fails_twice_is_made_again(earzip, bucket, songs):
    left = [503, 500]

    def fault(request: Request) -> tuple[int, str] | None:
        is_ours = request.method == "PUT" and request.path.endswith("a.flac.earz")
        return (left.pop(), "InternalError") if is_ours and left else None

    bucket.server.fault = fault
    outcome = run(earzip, *COMPRESS, "--json")
    assert (outcome.exit_code, left) == (0, [])
    assert outcome.statuses()["a.flac"] == "written"


@pytest.mark.parametrize("n_failing", [2, 3])
def test_earzip_makes_a_put_again_which_its_client_has_given_up(
    earzip, bucket, songs, monkeypatch, n_failing
):
    s3fs = pytest.importorskip("s3fs")
    put_file, keys = s3fs.S3FileSystem.put_file, list[str]()

    def put(self, path, key, **options):
        keys.append(key)
        if key.endswith("/a.flac.earz") and keys.count(key) <= n_failing:
            raise OSError(errno.ECONNRESET, "the line is down")
        return put_file(self, path, key, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "put_file", put)
    monkeypatch.setattr("earzip.stores.store._WAITS_S", (0.0, 0.0))
    outcome = run(earzip, *COMPRESS, "--json")
    assert keys.count("music/out/a.flac.earz") == 3
    is_put = n_failing < 3
    assert outcome.exit_code == (0 if is_put else 3)
    assert outcome.statuses()["a.flac"] == ("written" if is_put else "failed")
    assert ("out/a.flac.earz" in bucket.keys) == is_put
    others = {key for key in bucket.keys if key.startswith("out/")} - {"out/a.flac.earz"}
    assert others == {"out/album/b.flac.earz", "out/album/c d.flac.earz"}
    assert not bucket.client.list_multipart_uploads(Bucket="music").get("Uploads")
    if not is_put:
        message = "s3://music/out/a.flac.earz: cannot be written: the line is down"
        failed = next(r for r in outcome.records if r.get("status") == "failed")
        assert failed["message"] == message


def test_a_put_that_is_refused_fails_its_file_alone(earzip, bucket, songs):
    bucket.server.fault = lambda request: (
        (403, "AccessDenied")
        if request.method == "PUT" and request.path.endswith("a.flac.earz")
        else None
    )
    outcome = run(earzip, *COMPRESS, "--json")
    assert outcome.exit_code == 3
    failed = next(r for r in outcome.records if r.get("status") == "failed")
    assert (failed["source"], failed["target"]) == (
        "s3://music/in/a.flac", "s3://music/out/a.flac.earz"
    )  # fmt: skip
    assert re.fullmatch(
        r"s3://music/out/a\.flac\.earz: cannot be written: access is denied: .*", failed["message"]
    )
    assert "out/a.flac.earz" not in bucket.keys


def test_credentials_that_are_missing_or_wrong_are_said_in_a_sentence(
    earzip, bucket, songs, monkeypatch, tmp_path
):
    bucket.server.fault = lambda _request: (403, "InvalidAccessKeyId")
    outcome = run(earzip, *COMPRESS)
    assert outcome.exit_code == 1
    assert "cannot be listed: access is denied" in outcome.stderr
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    outcome = run(earzip, *COMPRESS)
    assert outcome.exit_code == 1
    assert "no credentials for s3:// were found" in outcome.stderr
    assert len(outcome.stderr.strip().splitlines()) <= 3


def test_a_bucket_or_an_object_that_is_not_there_is_said_so(earzip, bucket):
    outcome = run(earzip, "info", "s3://no-such-bucket/in")
    assert (outcome.exit_code, "there is no such bucket" in outcome.stderr) == (1, True)
    outcome = run(earzip, "info", "s3://music/none.earz")
    assert outcome.exit_code == 1
    assert "s3://music/none.earz: No such file" in outcome.stderr


def test_a_client_that_is_not_installed_is_named_by_its_extra(earzip, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    outcome = run(earzip, "info", "s3://music/in")
    assert outcome.exit_code == 2
    assert "in the clone of earzip: pip install '.[s3]'" in outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("play", "s3://music/in"),
        ("protect", "s3://music/in"),
        ("repair", "s3://music/in"),
        ("report", "s3://music/in", "-o", "page.html"),
        ("evaluate", "s3://music/in", "s3://music/out"),
        ("compress", "s3://music/in", "-o", "s3://music/out", "--prune", "--yes"),
        ("compress", "s3://music/in", "-o", "s3://music/out", "--with-model"),
        ("compress", "s3://music/in", "-o", "s3://music/out", "--copy-other"),
        ("restore", "s3://music/out", "-o", "restored", "--split"),
        ("info", "s3://"),
        ("info", "s3://music/../other"),
        ("info", "s3://music/in//other"),
    ],
)
def test_what_needs_files_is_refused(earzip, bucket, arguments):
    bucket.server.forget()
    outcome = run(earzip, *arguments)
    assert outcome.exit_code == 2
    assert "s3://" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert bucket.server.requests == []


def test_objects_that_no_file_can_stand_in_for_are_failures(earzip, bucket, songs):
    bucket.put("in//empty.flac", song_bytes())
    bucket.put("in/a.flac/below.flac", song_bytes())
    bucket.put(f"in/{'x' * 300}.flac", song_bytes())
    bucket.put("in/marker/", b"")
    outcome = run(earzip, *COMPRESS, "--json")
    failed = [r["source"] for r in outcome.records if r.get("status") == "failed"]
    assert sorted(source.removeprefix("s3://music/in/")[:6] for source in failed) == [
        "a.flac", "empty.", "xxxxxx"
    ]  # fmt: skip
    assert outcome.statuses()["below.flac"] == "written"
    assert outcome.exit_code == 3


@pytest.mark.parametrize("marker", ["in/", "in/album/", "in/album", "out/", "out/album"])
def test_an_empty_object_may_stand_for_a_directory(earzip, bucket, songs, marker):
    bucket.put(marker, b"")
    assert run(earzip, *COMPRESS).exit_code == 0
    assert {f"out/{name}.earz" for name in songs} <= set(bucket.keys)
    assert "3 up to date" in run(earzip, *COMPRESS).stderr


def test_empty_buckets_and_directories_are_no_failures(earzip, bucket, tiny_model):
    bucket.put("in/", b"")
    for source in ("s3://music/in", "s3://music"):
        outcome = run(earzip, "compress", source, "-o", "s3://music/out", "--model", "tiny")
        assert (outcome.exit_code, "nothing to compress" in outcome.stderr) == (0, True)
        bucket.client.delete_object(Bucket="music", Key="in/")


def test_archives_without_a_source_are_told_of_without_a_way_to_prune_them(earzip, bucket, songs):
    run(earzip, *COMPRESS)
    bucket.client.delete_object(Bucket="music", Key="in/a.flac")
    bucket.put("in/new.flac", song_bytes(seed=5))
    outcome = run(earzip, *COMPRESS)
    assert "1 archive without a source stays\n" in outcome.stderr


def test_secrets_in_the_address_of_a_server_are_not_said(earzip, bucket, songs, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:secret1@127.0.0.1:9/?signature=secret2")
    outcome = run(earzip, *COMPRESS, "--json")
    assert outcome.exit_code == 1
    assert "http://127.0.0.1:9/" in outcome.stderr
    assert "secret" not in outcome.stdout + outcome.stderr


def test_a_full_disk_of_this_machine_is_named(earzip, bucket, songs, monkeypatch, tmp_path):
    import s3fs  # noqa: PLC0415  # of an extra

    async def get_file(*_args: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(s3fs.S3FileSystem, "_get_file", get_file)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = run(earzip, *COMPRESS)
    assert outcome.exit_code == 3
    assert f"there is no room left in {tmp_path}, the temporary directory" in outcome.stderr
