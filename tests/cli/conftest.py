"""The command line in this process, and small sounds to give it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from earzip.cli.main import cli
from tests.cli.batch_runs import Run
from tests.cli.s3_server import SETTINGS, Bucket, S3Server, serving, song_bytes


@dataclass
class Outcome:
    """What a command has left: its exit code and what it printed."""

    exit_code: int
    stdout: str
    stderr: str
    stdout_bytes: bytes

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON Lines on stdout."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    def statuses(self) -> dict[str, str]:
        """Return the status of each source by its name."""
        files = [record for record in self.records if record["type"] == "file"]
        return {Path(record["source"]).name: record["status"] for record in files}


@pytest.fixture(autouse=True)
def _no_run_outlives_its_test() -> Iterator[None]:
    yield
    for run in Run.started:
        run.kill_all()
    Run.started.clear()


Earzip = Callable[..., Outcome]


@pytest.fixture
def earzip() -> Earzip:
    """Run the command line with these arguments."""

    def run(*arguments: object, stdin: bytes = b"") -> Outcome:
        result = CliRunner().invoke(cli, [str(a) for a in arguments], input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(
            result.exit_code,
            result.stdout_bytes.decode(errors="replace"),
            result.stderr,
            result.stdout_bytes,
        )

    return run


def write_sound(path: Path, seconds: float = 0.5, rate: int = 44_100, channels: int = 2) -> Path:
    """Write a tone, in the format that the name of ``path`` says; return ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * rate)) / rate
    tone = 0.25 * np.sin(2 * np.pi * 440 * t)
    soundfile.write(path, np.stack([tone] * channels, 1), rate)
    return path


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return a folder of three sounds in two folders, a file that is none, and a cover."""
    root = tmp_path / "music"
    write_sound(root / "one.flac")
    write_sound(root / "album" / "two.wav", 0.3, 48_000, 1)
    write_sound(root / "album" / "three.mp3")
    (root / "album" / "cover.jpg").write_bytes(b"\xff\xd8picture")
    (root / "album" / "text.flac").write_text("no music")
    return root


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A server of S3 in this process."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with serving() as running:
        yield running


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """The bucket ``music`` on a server of S3."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    made = Bucket(s3_server)
    yield made
    s3_server.fault = lambda _request: None
    made.remove()


@pytest.fixture
def songs(bucket: Bucket, tiny_model: str) -> list[str]:
    """The names of three songs below s3://music/in, beside a cover."""
    names = ["a.flac", "album/b.flac", "album/c d.flac"]
    for seed, name in enumerate(names):
        bucket.put(f"in/{name}", song_bytes(seed=seed))
    bucket.put("in/album/cover.jpg", b"\xff\xd8picture")
    bucket.server.forget()
    return names
