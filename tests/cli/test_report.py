"""``earzip report``: the page as a file, and what the command says and refuses."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from earzip.formats.atomic import TEMPORARY_SUFFIX
from earzip.page import builder
from tests.cli.conftest import write_sound

pytest.importorskip("PIL")


@pytest.fixture
def archives(earzip, tiny_model, tmp_path) -> Path:
    """Return a folder of archives of two sounds in two folders; the sounds are in music/."""
    write_sound(tmp_path / "music" / "one.flac", 1.5)
    write_sound(tmp_path / "music" / "album" / "two.wav", 0.3, 48_000, 1)
    assert (
        earzip(
            "compress", "--model", tiny_model, tmp_path / "music", "-o", tmp_path / "archive"
        ).exit_code
        == 0
    )
    return tmp_path / "archive"


def summary_of(page: Path) -> dict[str, Any]:
    found = re.search(r'id="summary">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found
    return json.loads(found[1])


def rows_of(page: Path) -> dict[str, list[Any]]:
    found = re.search(r'id="rows">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found
    return json.loads(zlib.decompress(base64.b64decode(found[1])))


def test_a_page_is_written_of_a_folder_of_archives(earzip, archives, tmp_path):
    page = tmp_path / "report.html"
    outcome = earzip("report", archives, "-o", page)
    assert outcome.exit_code == 0
    assert "2 tracks, 2 with pictures" in outcome.stderr
    assert outcome.stdout == ""
    assert rows_of(page)["name"] == ["one.flac.earz", "album/two.wav.earz"]
    assert summary_of(page)["totals"]["n_tracks"] == 2
    assert rows_of(page)["mel"] == [None, None]


def test_lines_for_archives_are_printed_if_asked_for(earzip, archives, tmp_path):
    named = earzip("report", archives, "-o", tmp_path / "r.html", "--verbose")
    assert named.stdout.count(".earz (") == 2
    quiet = earzip("report", archives, "-o", tmp_path / "r.html", "--quiet")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")


def test_originals_are_compared_with(earzip, archives, tmp_path):
    page = tmp_path / "report.html"
    outcome = earzip("report", archives, "--originals", tmp_path / "music", "-o", page, "--json")
    assert outcome.exit_code == 0
    assert all(isinstance(value, float) for value in rows_of(page)["mel"])
    assert all(record["measures"]["mel"] > 0 for record in outcome.records[:-1])
    assert '"original"' in page.read_text(encoding="utf-8")


def test_an_original_that_was_changed_is_told_and_not_used(earzip, archives, tmp_path):
    write_sound(tmp_path / "music" / "one.flac", 1.0)
    page = tmp_path / "report.html"
    outcome = earzip("report", archives, "--originals", tmp_path / "music", "-o", page)
    assert outcome.exit_code == 0
    assert "SHA-256" in outcome.stderr
    measured = rows_of(page)["mel"]
    assert measured[0] is None
    assert measured[1] is not None
    assert "SHA-256" in rows_of(page)["notes"][0][0]


def test_audio_is_embedded_when_it_is_asked_for(earzip, archives, tmp_path):
    page = tmp_path / "report.html"
    assert earzip("report", archives, "-o", page).exit_code == 0
    assert "audio/flac" not in page.read_text(encoding="utf-8")
    assert earzip("report", archives, "--audio", "-o", page).exit_code == 0
    assert page.read_text(encoding="utf-8").count('type="audio/flac;base64"') == 2


def test_damaged_archives_are_listed_and_end_with_3(earzip, archives, tmp_path):
    two = archives / "album" / "two.wav.earz"
    two.write_bytes(two.read_bytes()[:-9])
    (archives / "none.earz").write_bytes(b"no archive")
    page = tmp_path / "report.html"
    outcome = earzip("report", archives, "-o", page)
    assert outcome.exit_code == 3
    problems = {problem["path"]: problem["message"] for problem in summary_of(page)["problems"]}
    assert problems.keys() == {"album/two.wav.earz", "none.earz"}
    assert "cut short" in problems["album/two.wav.earz"]
    assert rows_of(page)["name"] == ["one.flac.earz"]


def test_a_damaged_exact_copy_is_a_problem_and_costs_the_comparison_only(
    earzip, tiny_model, tmp_path
):
    song = write_sound(tmp_path / "song.flac", 0.5)
    floor = ("--min-si-sdr", 90, "--below-floor", "lossless")
    assert earzip("compress", "--model", tiny_model, *floor, song).exit_code == 0
    archive = tmp_path / "song.flac.earz"
    archive.write_bytes(archive.read_bytes()[:-1] + bytes([archive.read_bytes()[-1] ^ 1]))
    page = tmp_path / "report.html"
    outcome = earzip("report", archive, "-o", page)
    assert outcome.exit_code == 3
    assert "exact copy" in outcome.stderr
    rows = rows_of(page)
    assert "exact copy" in rows["problem"][0]
    assert (rows["notes"], rows["view"]) == ([[]], [0])
    assert '"sides":{"restored":' in page.read_text(encoding="utf-8")


def test_a_page_of_nothing_but_damage_is_written(earzip, tmp_path):
    (tmp_path / "none.earz").write_bytes(b"no archive")
    assert earzip("report", tmp_path, "-o", tmp_path / "r.html").exit_code == 3
    assert summary_of(tmp_path / "r.html")["totals"]["n_tracks"] == 0


def test_an_archive_that_is_named_twice_is_one_track(earzip, archives, tmp_path):
    one = archives / "one.flac.earz"
    assert earzip("report", one, one, archives, "-o", tmp_path / "r.html").exit_code == 0
    assert rows_of(tmp_path / "r.html")["name"] == ["one.flac.earz", "album/two.wav.earz"]


def test_an_archive_by_two_spellings_of_its_path_is_one_track(earzip, archives, tmp_path):
    spellings = (archives / "one.flac.earz", archives / "album" / ".." / "one.flac.earz")
    assert earzip("report", *spellings, "-o", tmp_path / "r.html").exit_code == 0
    assert rows_of(tmp_path / "r.html")["name"] == ["one.flac.earz"]


def test_an_absent_model_costs_the_pictures_only(earzip, archives, tmp_path, monkeypatch):
    monkeypatch.delenv("EARZIP_MODELS")
    page = tmp_path / "report.html"
    outcome = earzip("report", archives, "-o", page)
    assert outcome.exit_code == 3
    assert "not decoded" in outcome.stderr
    assert rows_of(page)["view"] == [None, None]
    assert all("tiny" in problem for problem in rows_of(page)["problem"])
    assert "earzip/models" in outcome.stderr
    assert not any("/" in problem for problem in rows_of(page)["problem"])


def test_a_bug_of_one_track_does_not_cost_the_page(earzip, archives, tmp_path, monkeypatch):
    def broken(*_args: object, **_options: object) -> None:
        raise ZeroDivisionError("nobody thought of it")

    monkeypatch.setattr(builder, "analyse", broken)
    outcome = earzip("report", archives, "-o", tmp_path / "r.html")
    assert outcome.exit_code == 1
    assert "Traceback" in outcome.stderr
    assert "nobody thought of it" in rows_of(tmp_path / "r.html")["problem"][0]


def test_a_page_is_replaced_and_nothing_else_is(earzip, archives, tmp_path):
    page = tmp_path / "report.html"
    page.write_text("<!doctype html><title>mine</title>")
    outcome = earzip("report", archives, "-o", page)
    assert outcome.exit_code == 1
    assert "--force" in outcome.stderr
    assert "mine" in page.read_text()
    assert earzip("report", archives, "-o", page, "--force").exit_code == 0
    assert earzip("report", archives, "-o", page).exit_code == 0


def test_an_archive_is_never_replaced(earzip, archives, tmp_path):
    disguised = tmp_path / "song.html"
    shutil.copy(archives / "one.flac.earz", disguised)
    before = disguised.read_bytes()
    outcome = earzip("report", disguised, "-o", disguised, "--force")
    assert outcome.exit_code == 2
    assert disguised.read_bytes() == before


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("page", "must end in .html"),
        ("song.flac", "must end in .html"),
        ("folder.html", "is a directory"),
    ],
)
def test_a_wrong_name_for_the_page_is_refused(earzip, archives, tmp_path, output, reason):
    (tmp_path / "folder.html").mkdir()
    outcome = earzip("report", archives, "-o", tmp_path / output)
    assert outcome.exit_code == 2
    assert reason in outcome.stderr


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_a_pipe_in_the_place_of_the_page_is_refused(archives, tmp_path, options):
    os.mkfifo(tmp_path / "r.html")
    run = subprocess.run(
        [sys.executable, "-m", "earzip", "report", archives, "-o", tmp_path / "r.html", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 2
    assert "is not a regular file" in run.stderr


def test_no_archive_is_no_page(earzip, tmp_path):
    outcome = earzip("report", tmp_path, "-o", tmp_path / "r.html")
    assert outcome.exit_code == 3
    assert "contains no archives" in outcome.stderr
    assert not (tmp_path / "r.html").exists()


def test_without_pillow_the_extra_is_named(earzip, archives, tmp_path, monkeypatch):
    monkeypatch.setattr("earzip.cli.report.find_spec", lambda name: None)
    outcome = earzip("report", archives, "-o", tmp_path / "r.html")
    assert outcome.exit_code == 2
    assert "pip install '.[report]'" in outcome.stderr


def test_an_unwritable_page_is_told_before_the_work(earzip, archives, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "analyse", lambda *a, **k: pytest.fail("decoded in vain"))
    outcome = earzip("report", archives, "-o", tmp_path / "nowhere" / "r.html")
    assert outcome.exit_code == 1
    assert "cannot be written" in outcome.stderr


def test_an_interrupt_leaves_no_page_and_ends_with_75(tiny_model, tmp_path, earzip):
    song = write_sound(tmp_path / "long.wav", 30)
    assert earzip("compress", "--model", tiny_model, song).exit_code == 0
    program = (
        "import os, signal\n"
        "from earzip.page import spectrum\n"
        "add = spectrum.Spectrogram.add\n"
        "def stop(self, block):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    spectrum.Spectrogram.add = add\n"
        "spectrum.Spectrogram.add = stop\n"
        "from earzip.cli.main import main; main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, "report", f"{song}.earz", "-o", tmp_path / "r.html"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert run.returncode == 75, run.stderr
    assert run.stderr.splitlines()[-2:] == [
        "earzip: stopped with 1 file left; only what is printed is kept: another run begins anew",
        f"earzip: {tmp_path / 'r.html'}: was not written",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.wav", "long.wav.earz"]


def test_an_interrupt_before_the_first_sound_says_so_too(earzip, archives, tmp_path, monkeypatch):
    def stop(_plan: object) -> None:
        raise KeyboardInterrupt

    page = tmp_path / "r.html"
    assert earzip("report", archives, "-o", page).exit_code == 0
    before = page.read_bytes()
    monkeypatch.setattr("earzip.cli.report._read_all_facts", stop)
    outcome = earzip("report", archives, "-o", page)
    assert outcome.exit_code == 75
    assert outcome.stderr.split("\n") == [
        f"earzip: {page}: was not written; the one that was there stays",
        "",  # click ends the line that has ^C
        "earzip: stopped",
        "",
    ]
    assert page.read_bytes() == before


def test_what_a_killed_run_has_left_of_a_page_is_removed(earzip, archives, tmp_path):
    left = tmp_path / f".r.html.0123456789abcdef{TEMPORARY_SUFFIX}"
    left.write_bytes(b"half a page")
    assert earzip("report", archives, "-o", tmp_path / "r.html").exit_code == 0
    assert not left.exists()
