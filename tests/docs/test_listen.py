"""The clips in docs/listen are what their page says, and the README's first commands work on them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shlex
import zlib

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from mutagen.flac import FLAC

from earzip.cli.main import cli
from earzip.models.store import find_model
from tests.docs.pages import ROOT

LISTEN = ROOT / "docs" / "listen"
pytestmark = pytest.mark.skipif(not LISTEN.exists(), reason="not in a checkout")
NAMES = ("lets-go-fishin", "vibe-ace")
QUALITIES = ("low", "medium", "high")


@pytest.fixture(scope="module")
def page() -> str:
    return (LISTEN / "report.html").read_text(encoding="utf-8")


def _views(page: str) -> list[dict]:
    return [json.loads(text) for text in re.findall(r'id="view-\d+">(.*?)</script>', page)]


def _sound(page: str, name: str) -> np.ndarray:
    found = re.search(rf'id="{name}">(.*?)</script>', page)
    assert found
    return soundfile.read(io.BytesIO(base64.b64decode(found[1])), dtype="int16")[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_has_its_author_and_licence_and_so_have_the_restored_ones(name):
    page = (LISTEN / "README.md").read_text(encoding="utf-8")
    for folder in ("original", *QUALITIES):
        tags = FLAC(LISTEN / folder / f"{name}.flac")
        assert tags["license"] == ["https://creativecommons.org/licenses/by/3.0/"]
        assert tags["artist"][0] in page
        assert f"]({folder}/{name}.flac)" in page


@pytest.mark.parametrize("name", NAMES)
def test_restored_clips_are_as_long_as_their_original_and_lossless(name):
    facts = [
        soundfile.info(LISTEN / folder / f"{name}.flac") for folder in ("original", *QUALITIES)
    ]
    assert {each.frames for each in facts} == {facts[0].frames}
    assert {each.subtype for each in facts} == {"PCM_16"}
    assert facts[0].duration <= 5


def test_they_are_small():
    assert sum(path.stat().st_size for path in LISTEN.rglob("*.flac")) < 2_200_000


def test_the_page_has_the_same_sounds_but_for_dither(page):
    names = {side["audio"] for view in _views(page) for side in view["sides"].values()}
    sounds = [_sound(page, name).astype(int) for name in names]
    for path in LISTEN.rglob("*.flac"):
        clip = soundfile.read(path, dtype="int16")[0].astype(int)
        most = min(np.abs(clip - sound).max() for sound in sounds if sound.shape == clip.shape)
        assert most == (0 if path.parent.name == "original" else 1)
    assert len(sounds) == 8


def test_they_were_made_by_the_model_that_is_built_in(page):
    rows = re.search(r'id="rows">(.*?)</script>', page)
    assert rows
    columns = json.loads(zlib.decompress(base64.b64decode(rows[1])))
    assert set(columns["model_sha256"]) == {find_model("mini-2").sha256}
    assert sorted(columns["quality"]) == sorted(2 * QUALITIES)
    originals = {
        hashlib.sha256((LISTEN / "original" / f"{name}.flac").read_bytes()).hexdigest()
        for name in NAMES
    }
    assert {source["sha256"] for source in columns["source"]} == originals


def test_the_first_commands_of_the_readme_work(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"\.venv/bin/earzip ((?:compress|restore) [^\n&]*)", text)
    assert [command.split()[0] for command in commands] == ["compress", "restore"]
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        assert CliRunner().invoke(cli, shlex.split(command)).exit_code == 0
    for name in NAMES:
        restored = soundfile.info(tmp_path / "restored" / f"{name}.flac")
        assert restored.frames == soundfile.info(LISTEN / "original" / f"{name}.flac").frames
