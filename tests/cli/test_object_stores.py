"""Commands whose paths are URLs, on a server of S3 in this process."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earzip import CompressOptions, compress_file
from earzip.stores.store import Clients
from earzip.stores.urls import parse_url
from tests.cli.conftest import Earzip, write_sound
from tests.cli.s3_server import Bucket, song_bytes
from tests.cli.store_runs import COMPRESS, run
from tests.conftest import MODELS


def test_a_tree_is_archived_from_bucket_to_bucket(earzip, bucket, songs):
    outcome = run(earzip, *COMPRESS, "--json")
    assert outcome.exit_code == 0
    # Both sides are listed once, and nothing is found at s3://music/out, so that is looked for as one
    # object. Of each file the source is fetched and looked at again, and the archive is put.
    assert bucket.server.kinds == {"LIST": 2 + 1, "GET": 3, "HEAD": 1 + 3, "PUT": 3}
    written = {r["source"]: r["target"] for r in outcome.records if r.get("status") == "written"}
    assert written == {f"s3://music/in/{n}": f"s3://music/out/{n}.earz" for n in songs}
    assert bucket.keys[-3:] == [f"out/{name}.earz" for name in songs]


def test_the_archives_are_those_of_a_run_over_files(earzip, bucket, songs, tmp_path):
    run(earzip, *COMPRESS)
    for name in songs:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.get(f"in/{name}"))
    earzip("compress", tmp_path / "in", "-o", tmp_path / "out", "--model", "tiny")
    earzip("restore", tmp_path / "out", "-o", tmp_path / "local")
    run(earzip, "restore", "s3://music/out", "-o", tmp_path / "restored")
    for name in songs:
        ours, theirs = (soundfile.read(tmp_path / f / name)[0] for f in ("restored", "local"))
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_up_to_date_costs_a_ranged_request(earzip, bucket, songs):
    run(earzip, *COMPRESS)
    bucket.server.forget()
    outcome = run(earzip, *COMPRESS)
    assert "3 up to date" in outcome.stderr
    assert bucket.server.kinds == {"LIST": 2, "GET": 3}
    assert all(r.span for r in bucket.server.requests if r.method == "GET" and ".earz" in r.path)
    assert bucket.server.n_received < 3 * 8192 + 10_000


def test_status_reads_the_beginning_of_an_archive(earzip, bucket, tiny_model):
    bucket.put("in/a.flac", song_bytes(15))
    run(earzip, *COMPRESS)
    bucket.server.forget()
    outcome = run(earzip, "status", "s3://music/in", "-o", "s3://music/out", "--model", "tiny")
    assert outcome.exit_code == 0
    assert bucket.server.kinds == {"LIST": 2, "GET": 1}
    assert bucket.server.n_received < 8192 + 3000 < len(bucket.get("out/a.flac.earz"))


def test_a_changed_source_keeps_its_archive(earzip, bucket, songs):
    run(earzip, *COMPRESS)
    before = bucket.get("out/a.flac.earz")
    bucket.put("in/a.flac", song_bytes(0.6, seed=9))
    outcome = run(earzip, *COMPRESS, "--json")
    failed = next(r for r in outcome.records if r.get("status") == "failed")
    assert failed["message"].startswith(
        "s3://music/out/a.flac.earz: already exists, made from an earlier"
    )
    assert (outcome.exit_code, bucket.get("out/a.flac.earz")) == (3, before)
    assert run(earzip, *COMPRESS, "--force").exit_code == 0
    assert bucket.get("out/a.flac.earz") != before


def test_status_and_a_dry_run_fetch_no_source_that_is_up_to_date_or_new(earzip, bucket, songs):
    run(earzip, *COMPRESS)
    bucket.put("in/new.flac", song_bytes(seed=5))
    bucket.server.forget()
    status = ("s3://music/in", "-o", "s3://music/out", "--model", "tiny")
    assert "new" in run(earzip, "status", *status).stdout
    assert "s3://music/out/new.flac.earz (new)" in run(earzip, *COMPRESS, "--dry-run").stdout
    assert not [r for r in bucket.server.requests if r.path.endswith(".flac")]
    assert bucket.server.count("PUT") == 0


def test_status_fetches_a_source_that_may_have_changed(earzip, bucket, songs):
    run(earzip, *COMPRESS)
    bucket.put("in/a.flac", song_bytes(0.6, seed=9))
    bucket.server.forget()
    outcome = run(
        earzip, "status", "s3://music/in", "-o", "s3://music/out", "--model", "tiny", "--json"
    )
    changed = [r["source"] for r in outcome.records if r.get("state") == "changed"]
    assert (outcome.exit_code, changed) == (3, ["s3://music/in/a.flac"])
    assert [r.path for r in bucket.server.requests if r.path.endswith(".flac")] == [
        "/music/in/a.flac"
    ]


def test_moved_sources_take_their_archives_along(earzip, bucket, songs):
    run(earzip, *COMPRESS)
    bucket.client.copy_object(Bucket="music", CopySource="music/in/a.flac", Key="in/moved.flac")
    bucket.client.delete_object(Bucket="music", Key="in/a.flac")
    outcome = run(earzip, *COMPRESS, "--json")
    assert outcome.statuses()["moved.flac"] in ("moved", "written")
    assert "out/moved.flac.earz" in bucket.keys


@pytest.fixture(scope="module")
def made_archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of three archives."""
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate(("a.flac", "b.flac", "c d.flac")):
        path = folder / "music" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(song_bytes(seed=seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARZIP_MODELS", str(MODELS))
        options = CompressOptions(model="tiny")
        for path in sorted((folder / "music").iterdir()):
            compress_file(path, folder / "out" / f"{path.name}.earz", options)
    return folder / "out"


@pytest.fixture
def archives(bucket: Bucket, made_archives: Path, tiny_model: str) -> list[str]:
    """The names of three archives below s3://music/out."""
    paths = sorted(made_archives.iterdir())
    for path in paths:
        bucket.put(f"out/{path.name}", path.read_bytes())
    bucket.server.forget()
    return [path.name for path in paths]


@pytest.fixture(scope="module")
def made_tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of some 80 kB with tags, and one of which the cover alone has 300 kB."""
    from mutagen.flac import FLAC, Picture  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("tracks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARZIP_MODELS", str(MODELS))
        for seed, name in enumerate(("a", "b", "covered")):
            source = folder / f"{name}.flac"
            source.write_bytes(song_bytes(15, seed))
            file = FLAC(source)
            file["title"] = f"track {name}"
            if name == "covered":
                picture = Picture()
                picture.data, picture.mime, picture.type = b"\xff\xd8" * 150_000, "image/jpeg", 3
                file.add_picture(picture)
            file.save()
            compress_file(source, folder / "out" / f"{name}.earz", CompressOptions(model="tiny"))
    return folder / "out"


@pytest.fixture
def tracks(bucket: Bucket, made_tracks: Path, tiny_model: str) -> None:
    """Two archives below s3://music/out, and one at s3://music/covered.earz."""
    for name, folder in (("a", "out/"), ("b", "out/"), ("covered", "")):
        bucket.put(f"{folder}{name}.earz", (made_tracks / f"{name}.earz").read_bytes())
    bucket.server.forget()


@pytest.mark.parametrize("command", ["info", "list"])
def test_facts_of_an_archive_cost_one_range(earzip, bucket, tracks, command):
    outcome = run(earzip, command, "s3://music/out", "--json")
    assert ("track a" in outcome.stdout, "track b" in outcome.stdout) == (True, True)
    assert bucket.server.kinds == {"LIST": 1, "GET": 2}
    assert all(r.span for r in bucket.server.requests if r.method == "GET" and ".earz" in r.path)


def test_facts_of_a_large_archive_cost_two_small_ranges(earzip, bucket, tracks):
    outcome = run(earzip, "list", "s3://music/covered.earz")
    assert "track covered" in outcome.stdout
    # A listing of what is below it finds nothing, so it is looked for as one object.
    assert bucket.server.kinds == {"LIST": 1, "HEAD": 1, "GET": 2}
    assert bucket.server.n_received < 12_000


def test_a_query_reads_an_archive_once(earzip, bucket, tracks):
    outcome = run(earzip, "list", "s3://music/out", "--where", "title=track b", "--json")
    assert [Path(r["source"]).name for r in outcome.records if r["type"] == "file"] == ["b.earz"]
    assert bucket.server.kinds == {"LIST": 1, "GET": 2}


def test_verify_reads_all_of_an_archive(earzip, bucket, archives):
    key = "out/b.flac.earz"
    data = bytearray(bucket.get(key))
    data[-200] ^= 1
    bucket.put(key, bytes(data))
    outcome = run(earzip, "verify", "s3://music/out", "--json")
    assert outcome.exit_code == 4
    assert outcome.statuses() == {
        "a.flac.earz": "intact", "b.flac.earz": "damaged", "c d.flac.earz": "intact"
    }  # fmt: skip


def test_verify_remembers_archives_by_their_urls(earzip, bucket, archives, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    due = ("verify", "s3://music/out", "--older-than", "1d", "--json")
    assert set(run(earzip, *due).statuses().values()) == {"intact"}
    bucket.server.forget()
    assert set(run(earzip, *due).statuses().values()) == {"checked_lately"}
    assert "GET" not in bucket.server.kinds or bucket.server.n_received < 20_000


@pytest.fixture
def long_archive(earzip: Earzip, bucket: Bucket, tiny_model: str, tmp_path: Path) -> Path:
    """An archive of 100 seconds, some 500 kB, here and at s3://music/long.wav.earz."""
    source = write_sound(tmp_path / "long.wav", 100)
    earzip("compress", source, "--model", "tiny")
    archive = tmp_path / "long.wav.earz"
    bucket.put("long.wav.earz", archive.read_bytes())
    bucket.server.forget()
    return archive


def test_an_excerpt_is_read_by_a_few_ranges(earzip, bucket, long_archive, tmp_path):
    part = ("--start", "1:10", "--end", "1:12", "--format", "wav")
    command = [sys.executable, "-m", "earzip", "restore", "s3://music/long.wav.earz", "-o", "-"]
    streamed = subprocess.run([*command, *part], capture_output=True, check=True).stdout
    earzip("restore", long_archive, "-o", tmp_path / "part.wav", *part)
    ours = soundfile.read(io.BytesIO(streamed))[0]
    np.testing.assert_array_equal(ours, soundfile.read(tmp_path / "part.wav")[0])
    gets = [r for r in bucket.server.requests if r.method == "GET" and r.span]
    assert len(gets) <= 4
    asked = sum(int(b) - int(a) + 1 for a, b in (r.span[6:].split("-") for r in gets))
    assert asked < long_archive.stat().st_size / 2


def test_shards_share_a_bucket(earzip, bucket, songs):
    n_written = 0
    for shard in ("1/2", "2/2"):
        outcome = run(earzip, *COMPRESS, "--shard", shard, "--json")
        n_written += outcome.records[-1]["written"]
    assert n_written == 3
    assert len([key for key in bucket.keys if key.startswith("out/")]) == 3


def test_files_are_listed_and_left_out_as_ever(earzip, bucket, songs, tmp_path):
    bucket.put("in/.earzipignore", b"c d.flac\n")
    listed = tmp_path / "list"
    listed.write_text("s3://music/in/album\n")
    outcome = run(earzip, *COMPRESS, "--files-from", listed, "--exclude", "a.flac", "--json")
    assert outcome.statuses() == {"b.flac": "written", "c d.flac": "skipped"} | {
        "cover.jpg": "skipped"
    }
    assert [key for key in bucket.keys if key.startswith("out/")] == ["out/album/b.flac.earz"]


def test_a_restored_file_is_known_again(earzip, bucket, archives):
    restore = ("restore", "s3://music/out", "-o", "s3://music/back", "--json")
    assert set(run(earzip, *restore).statuses().values()) == {"written"}
    bucket.server.forget()
    assert set(run(earzip, *restore).statuses().values()) == {"up_to_date"}
    assert bucket.server.count("PUT") == 0
    assert all(r.span for r in bucket.server.requests if ".flac" in r.path)


def test_results_go_beside_their_sources_and_between_store_and_disk(
    earzip, bucket, songs, tmp_path
):
    assert run(earzip, "compress", "s3://music/in/a.flac", "--model", "tiny").exit_code == 0
    assert "in/a.flac.earz" in bucket.keys
    path = tmp_path / "a.flac"
    assert run(earzip, "restore", "s3://music/in/a.flac.earz", "-o", path).exit_code == 0
    assert soundfile.info(path).frames == 22_050
    to = "s3://music/up/a.earz"
    assert run(earzip, "compress", path, "-o", to, "--model", "tiny").exit_code == 0
    assert "up/a.earz" in bucket.keys
    piped = run(
        earzip, "compress", "-", "-o", "s3://music/up/p.earz", "--model", "tiny", stdin=song_bytes()
    )
    assert piped.exit_code == 0
    assert "up/p.earz" in bucket.keys


def test_shared_pictures_go_along(earzip, bucket, tiny_model, tmp_path):
    from mutagen.flac import FLAC, Picture  # noqa: PLC0415

    for seed in (1, 2):
        path = tmp_path / f"{seed}.flac"
        path.write_bytes(song_bytes(seed=seed))
        file, picture = FLAC(path), Picture()
        picture.data, picture.mime, picture.type = b"\xff\xd8" + b"p" * 5000, "image/jpeg", 3
        file.add_picture(picture)
        file.save()
        bucket.put(f"in/{seed}.flac", path.read_bytes())
    assert run(earzip, *COMPRESS, "--pictures", "share").exit_code == 0
    assert len([key for key in bucket.keys if key.endswith(".earzpic")]) == 1
    outcome = run(earzip, "restore", "s3://music/out", "-o", tmp_path / "back")
    assert outcome.exit_code == 0, outcome.stderr
    assert FLAC(tmp_path / "back" / "1.flac").pictures
    assert "2 up to date" in run(earzip, *COMPRESS, "--pictures", "share").stderr


def test_a_listing_does_not_stay_with_the_client(bucket, songs):
    store = Clients().store(parse_url("s3://music/in"))
    assert len(list(store.listed())) == len(songs) + 1  # and a picture
    assert not store._fs.dircache


def test_a_model_goes_into_a_store(earzip, bucket, tiny_model):
    outcome = run(earzip, "models", "export", "tiny", "-o", "s3://music/models")
    assert outcome.exit_code == 0, outcome.stderr
    assert "s3://music/models/tiny.json" in outcome.stdout
    assert {"models/tiny.json", "models/tiny.safetensors"} <= set(bucket.keys)
    again = run(earzip, "models", "export", "tiny", "-o", "s3://music/models")
    assert (again.exit_code, "already exists" in again.stderr) == (1, True)


def test_no_client_is_loaded_without_a_url(tmp_path):
    code = (
        "import sys\nfrom earzip.cli.main import cli\n"
        "for command in cli.list_commands(None): cli.get_command(None, command)\n"
        "print({'fsspec', 's3fs', 'huggingface_hub'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
