"""Fetching from the hub, of which a server on this machine plays the part."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILE = "/earlab/EAR_VAE/resolve/{}/pretrained_weight/ear_vae_44k.pyt"
CONTENT = b"not really weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """What the hub answers when it is asked for a file: its headers, then its bytes."""

    def do_HEAD(self) -> None:  # the library's name
        found = self.path in (FILE.format("main"), FILE.format("v1"), FILE.format(COMMIT))
        self.send_response(200 if found else 404)
        if found:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", '"abc"')
            self.send_header("Content-Length", str(len(CONTENT)))
        else:
            self.send_header("X-Error-Code", "RevisionNotFound")
            self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def fetch(tmp_path: Path, endpoint: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `earzip models fetch` in a process of its own: the library reads its settings once."""
    command = [sys.executable, "-m", "earzip", "models", "fetch", "ear-vae-44k"]
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_ENDPOINT": endpoint,
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }
    environment.pop("HF_HUB_OFFLINE", None)
    if not endpoint:
        environment["HF_HUB_OFFLINE"] = "1"
        del environment["HF_ENDPOINT"]
    return subprocess.run(
        [*command, "--music", str(tmp_path), *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_revision_and_digest_are_shown_before_the_file_is_used(hub: str, tmp_path: Path) -> None:
    result = fetch(tmp_path, hub)
    told = f"earlab/EAR_VAE@{COMMIT}, pretrained_weight/ear_vae_44k.pyt, SHA-256 {SHA256}"
    assert f"fetched {told}" in result.stderr
    # It is no checkpoint, which the import says; the message names the file.
    assert "ear_vae_44k.pyt: cannot be read as a checkpoint" in result.stderr
    assert result.returncode == 1
    again = fetch(tmp_path, "")  # offline: the cache is enough
    assert f"fetched {told}" in again.stderr


def test_what_is_required_is_checked(hub: str, tmp_path: Path) -> None:
    right = fetch(tmp_path, hub, "--revision", "v1", "--sha256", SHA256.upper())
    assert f"@{COMMIT}" in right.stderr
    wrong = fetch(tmp_path, hub, "--sha256", "0" * 64)
    assert f"has SHA-256 {SHA256}, expected {'0' * 64}" in wrong.stderr
    assert "fetched" not in wrong.stderr
    assert wrong.returncode == 1
    missing = fetch(tmp_path, hub, "--revision", "nosuch")
    assert "of earlab/EAR_VAE at revision nosuch cannot be fetched" in missing.stderr


def test_without_a_network_the_file_and_another_way_are_named(tmp_path: Path) -> None:
    result = fetch(tmp_path, "")
    assert result.returncode == 1
    assert "pretrained_weight/ear_vae_44k.pyt of earlab/EAR_VAE cannot be fetched" in result.stderr
    assert "earzip models import ear_vae_44k.pyt --name ear-vae-44k --music PATH" in result.stderr


def test_only_published_names_are_fetched(earzip, tmp_path: Path) -> None:
    outcome = earzip("models", "fetch", "nosuch", "--music", tmp_path)
    assert outcome.exit_code == 2
    assert "'nosuch' is not published; expected one of ear-vae-44k" in outcome.stderr
