"""The examples of the README, the guide, and the pages on Python and latents do what the pages say.

What differs from one music to another is not compared: numbers, units of size, times, and what an
ellipsis stands for. Lines may come in another order, as several files are in progress at a time.
"""

from __future__ import annotations

import base64
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from mutagen.flac import Picture
from mutagen.oggvorbis import OggVorbis

from earzip.cli.main import cli
from tests.conftest import tones
from tests.docs.pages import ROOT, examples

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="not in a checkout")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the music of the examples, and this process in it."""
    music = tmp_path / "Music"
    music.mkdir()
    for seed, title in enumerate(["Vibe Ace", "Sugar Plum Fairy"]):
        path = music / f"{title}.ogg"
        soundfile.write(path, tones(88_200, seed).T, 44_100, format="OGG", subtype="VORBIS")
        tags = OggVorbis(path)
        tags["title"] = title
        if seed == 0:
            picture = Picture()
            picture.mime, picture.type, picture.data = "image/jpeg", 3, b"\xff\xd8" + bytes(1500)
            tags["metadata_block_picture"] = base64.b64encode(picture.write()).decode()
        tags.save()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _stable(line: str) -> str:
    """Return a line without what depends on the music or the machine."""
    line = re.sub(r"; (\S+ of it done in )?[\d.,]+ s( at [\d.,]+ × real time)?$", "", line)
    line = re.sub(r"\b[0-9a-f]{16}\b", "HASH", line)
    line = re.sub(r"\d+(?:[.,:]\d+)*", "N", line)
    return re.sub(r"N (?:[kMG]?B|kbps)\b", "N UNIT", line)


def _pattern(line: str) -> str:
    return ".*".join(map(re.escape, _stable(line).split("…")))


def _damage(path: Path) -> None:
    """Change a byte of the sound, which begins behind the header and is longer than the rest here."""
    data = bytearray(path.read_bytes())
    at = int.from_bytes(data[12:16], "little") + int.from_bytes(data[24:28], "little") + 52 + 20
    data[at] ^= 0xFF
    path.write_bytes(data)


def _check_output(said: list[str], printed: list[str]) -> None:
    """Require a line for each that is said; others only where a line of the page is an ellipsis."""
    left = [_stable(line) for line in printed]
    for line in said:
        if line == "…":
            continue
        found = next((each for each in left if re.fullmatch(_pattern(line), each)), None)
        assert found is not None, f"{line!r} is not among {printed}"
        left.remove(found)
    assert "…" in said or left == [], f"the page leaves out {left}"


@pytest.mark.parametrize(
    "page", ["README.md", "docs/guide.md", "docs/python.md", "docs/latents.md"]
)
def test_examples_print_what_the_page_says(page, here):
    marked = examples(ROOT / page)
    assert marked
    for example in marked:
        if damaged := re.search(r'damage "([^"]+)"', example.mark):
            _damage(here / damaged[1])
        if example.language == "python":
            exec(compile(example.text, page, "exec"), {})
            continue
        assert example.language == "console"
        wanted = int(found[1]) if (found := re.search(r"exit (\d+)", example.mark)) else 0
        for command, said in example.commands():
            program, *arguments = shlex.split(command)
            assert program == "earzip"
            result = CliRunner().invoke(cli, arguments)
            assert result.exit_code == wanted, (command, result.output, result.exception)
            _check_output(said, result.output.splitlines())


def test_numbers_and_times_are_not_compared():
    said = "2 written; 3:01 of audio; 3.01 MB → 295 kB (10.3 kbps); 14.9 s at 12.1 × real time"
    _check_output([said], ["3 written; 0:04 of audio; 31 kB → 2,950 B (9 kbps); 1.2 s"])
    _check_output(["a", "…"], ["b", "a"])
    for printed in (["2 failed; 3:01 of audio; 3.01 MB → 295 kB (10.3 kbps)"], [], [said, said]):
        with pytest.raises(AssertionError):
            _check_output([said], printed)


def test_generated_music_is_no_silence(here):
    audio, rate = soundfile.read(here / "Music" / "Vibe Ace.ogg")
    assert rate == 44_100
    assert np.abs(audio).max() > 0.05
