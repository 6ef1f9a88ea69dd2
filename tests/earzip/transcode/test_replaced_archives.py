"""What lies where an archive goes: replaced or kept, and what is said of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile

from earzip import read_info
from earzip.errors import TargetError
from earzip.formats.archive.verify import verify_structure
from earzip.formats.symbols.layout import Layout
from earzip.models.spec import ModelSpec
from earzip.options import CompressOptions
from earzip.transcode.compress import compress_file
from tests.conftest import MODELS, tones
from tests.earzip.tiny_archives import TINY, exact, with_floor
from tests.formats.audio.audio_files import music, write_wav

pytestmark = pytest.mark.usefixtures("tiny_model")
TO_REPLACE = "to replace it: earzip compress --force --model tiny"


def test_other_settings_replace_the_archive_of_the_same_source(song: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.earz"
    compress_file(song, target, TINY)
    result = compress_file(song, target, CompressOptions(model="tiny", quality="high"))
    assert result.status == "written"
    assert read_info(target).header.quantizer.quality == "high"
    assert result.warnings == (
        "replaced the archive made with other settings: quality medium → high",
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            CompressOptions("tiny", "low"),
            f"is of quality medium, low is lower; {TO_REPLACE} --quality low",
        ),
        (
            CompressOptions("tiny", "4.9"),
            f"is of quality medium, 4.9 is lower; {TO_REPLACE} --quality 4.9",
        ),
        (
            CompressOptions("tiny", bitrate_kbps=2),
            rf"is of [\d.]+ kbps, 2 is lower; {TO_REPLACE} --bitrate 2",
        ),
    ],
)
def test_a_lower_quality_needs_force(
    song: Path, tmp_path: Path, options: CompressOptions, why: str
) -> None:
    target = tmp_path / "a.earz"
    compress_file(song, target, TINY)
    before = target.read_bytes()
    with pytest.raises(TargetError, match=why):
        compress_file(song, target, options)
    assert target.read_bytes() == before
    assert compress_file(song, target, replace(options, force=True)).status == "written"


def test_a_quality_that_a_floor_has_raised_is_none_to_come_down_from(
    song: Path, tmp_path: Path
) -> None:
    pytest.importorskip("auraloss")
    target = tmp_path / "a.earz"
    options = with_floor("raise")
    compress_file(song, target, options)
    assert read_info(target).header.quantizer.quality == "10"
    assert compress_file(song, target, options).status == "up_to_date"


def test_what_differs_from_the_archive_that_is_replaced_is_named(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.earz"
    shutil.copytree(MODELS, tmp_path / "models")
    monkeypatch.setenv("EARZIP_MODELS", str(tmp_path / "models"))
    path = tmp_path / "models" / "tiny.json"
    compress_file(song, target, TINY)
    before = read_info(target).header.model.sha256

    def replaced_after(change: Callable[[dict[str, Any]], object]) -> str:
        spec = json.loads(path.read_text())
        change(spec)
        path.write_text(json.dumps(spec))
        (warning,) = compress_file(song, target, TINY).warnings
        return warning.removeprefix("replaced the archive made with other settings: ")

    for change in (
        lambda s: s["presets"]["medium"].update(rounding=0.4),
        lambda s: s["presets"]["medium"].update(exponent=1),
        lambda s: s["step_exponents"].__setitem__(0, -1),
    ):
        assert replaced_after(change) == "other steps or rounding"
    model = replaced_after(lambda s: s["geometry"].update(core=32))
    now = read_info(target).header.model.sha256
    assert model == f"model tiny {before[:16]} → tiny {now[:16]}"
    (both,) = compress_file(song, target, CompressOptions("tiny-transform", "low")).warnings
    other = read_info(target).header.model.sha256
    assert both.endswith(
        f"settings: model tiny {now[:16]} → tiny-transform {other[:16]}, quality medium → low"
    )


def test_another_coding_of_the_symbols_is_named(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.earz"
    transform = CompressOptions("tiny-transform")
    compress_file(song, target, transform)
    # As a version would that had another coding for coefficients.
    monkeypatch.setattr(ModelSpec, "layout", Layout())
    (warning,) = compress_file(song, target, transform).warnings
    assert warning.endswith("made with other settings: symbols context-1 → packed-1")


def test_an_archive_of_the_source_before_it_changed_is_kept(song: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.earz"
    compress_file(song, target, TINY)
    before = target.read_bytes()
    soundfile.write(song, tones(5_000).T, 44_100)
    with pytest.raises(TargetError, match="made from an earlier version of this source"):
        compress_file(song, target, TINY)
    assert target.read_bytes() == before
    forced = CompressOptions(model="tiny", force=True)
    assert compress_file(song, target, forced).status == "written"


def test_an_archive_that_cannot_say_of_what_it_is_is_made_anew_by_force(
    song: Path, tmp_path: Path
) -> None:
    archive = compress_file(song, tmp_path / "song.earz", TINY).target
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(
        TargetError,
        match=r"already exists and is too damaged .* to replace it: earzip compress --force",
    ):
        compress_file(song, archive, TINY)
    assert archive.stat().st_size == 100
    compress_file(song, archive, CompressOptions(model="tiny", force=True))
    assert verify_structure(archive) == []


def test_a_damaged_archive_is_not_up_to_date(song: Path, tmp_path: Path) -> None:
    target = tmp_path / "song.earz"
    compress_file(song, target, TINY)
    whole = target.read_bytes()
    target.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    result = compress_file(song, target, replace(TINY, verify_sources=True))
    assert (result.status, result.warnings) == ("written", ("replaced a damaged archive",))
    assert target.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"precious", None])
def test_what_is_not_ours_is_never_replaced(
    song: Path, tmp_path: Path, content: bytes | None
) -> None:
    target = tmp_path / "a.earz"
    if content is None:
        other = tmp_path / "other.wav"
        soundfile.write(other, tones(5000, 1).T, 44_100)
        compress_file(other, target, TINY)
        content = target.read_bytes()
    else:
        target.write_bytes(content)
    with pytest.raises(TargetError, match="to replace it: earzip compress --force"):
        compress_file(song, target, TINY)
    assert target.read_bytes() == content
    forced = CompressOptions(model="tiny", force=True)
    assert compress_file(song, target, forced).status == "written"


def test_the_source_is_never_overwritten(song: Path) -> None:
    before = song.read_bytes()
    with pytest.raises(TargetError, match="the source itself"):
        compress_file(song, song, CompressOptions(model="tiny", force=True))
    assert song.read_bytes() == before


def test_what_force_takes_away_is_told(song: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.earz"
    forced = replace(TINY, force=True)
    other = write_wav(tmp_path / "b.wav", music(20_000), subtype="PCM_16")
    compress_file(other, target, replace(TINY, quality="high"))
    (note,) = compress_file(song, target, forced).warnings
    assert note == "replaced the archive of another file, 'b.wav', of quality high"
    soundfile.write(song, tones(5_000).T, 44_100)
    (note,) = compress_file(song, target, forced).warnings
    assert note == "replaced the archive of an earlier version of this source, of quality medium"
    target.write_bytes(target.read_bytes()[:-1])
    (note,) = compress_file(song, target, forced).warnings
    assert note == "replaced an archive that was too damaged to tell its source"
    target.write_bytes(b"my notes")
    (note,) = compress_file(song, target, forced).warnings
    assert note == "replaced a file that was not an archive"


def test_an_exact_copy_that_force_takes_away_is_told(song: Path, tmp_path: Path) -> None:
    pytest.importorskip("auraloss")
    other = write_wav(tmp_path / "b.wav", music(20_000), subtype="PCM_16")
    target = exact(other, tmp_path / "a.earz")
    result = compress_file(song, target, replace(TINY, force=True))
    expected = (
        "replaced the archive of another file, 'b.wav', of quality medium, and its exact copy"
    )
    assert result.warnings == (expected,)
    assert result.exact_bytes  # what was promised of the place is kept, of the new source
