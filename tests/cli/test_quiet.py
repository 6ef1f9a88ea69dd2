"""How much is printed: what was done and what is wrong; every file; problems only."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("tiny_model")


@pytest.fixture
def archived(earzip, music: Path) -> list[object]:
    """Return the command that has archived the music, except for a file that is none."""
    (music / "album" / "text.flac").unlink()
    command = ["compress", "--model", "tiny", music, "-o", music.parent / "archive"]
    assert earzip(*command).exit_code == 0
    return command


def test_a_directory_in_which_nothing_is_to_do_has_a_summary_alone(earzip, archived):
    again = earzip(*archived)
    assert again.stdout == ""
    assert again.stderr.startswith("3 up to date, 1 skipped; ")
    assert len(again.stderr.splitlines()) == 1
    verified = earzip("verify", archived[-1])
    assert (verified.stdout, verified.stderr.partition(";")[0]) == ("", "3 intact")


def test_what_is_done_is_named(earzip, archived, music):
    (music / "album" / "two.wav").rename(music / "four.wav")
    lines = earzip(*archived).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["moved"]


def test_verbose_names_every_file(earzip, archived):
    lines = earzip(*archived, "-v").stdout.splitlines()
    assert sorted(line.split()[0] for line in lines) == ["skipped", "up", "up", "up"]
    assert earzip("verify", archived[-1], "--verbose").stdout.count("intact") == 3


def test_of_a_file_that_is_named_is_told_what_became_of_it(earzip, archived, music):
    archive = music.parent / "archive" / "one.flac.earz"
    again = earzip("compress", "--model", "tiny", music / "one.flac", "-o", archive.parent)
    assert again.stdout.startswith(f"up to date  {archive} ")
    assert earzip("verify", archive).stdout == f"intact      {archive}\n"
    both = earzip("verify", archive, archive.parent / "album").stdout
    assert both == f"intact      {archive}\n"


def test_a_quiet_status_tells_by_its_exit_code_that_archives_are_behind(earzip, archived, music):
    command = ("status", *archived[1:], "-q")
    assert earzip(*command).exit_code == 0
    (music / "one.flac").rename(music / "four.flac")
    outcome = earzip(*command)
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (3, "", "")


def test_verbose_says_that_a_cue_sheet_is_no_file_apart(earzip, archived, music):
    (music / "one.cue").write_text("")
    lines = earzip(*archived, "-v").stdout.splitlines()
    why = "a cue sheet, which goes into the tags of its sound if they have none"
    assert f"skipped     {music / 'one.cue'} ({why})" in lines
    assert why in earzip(*archived[:3], music / "one.cue").stderr


def test_quiet_prints_problems_only(earzip, archived, music):
    archive = music.parent / "archive" / "one.flac.earz"
    archive.unlink()
    for _ in ("written", "up to date"):
        outcome = earzip(*archived, "-q")
        assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "")
    assert archive.exists()
    archive.write_bytes(b"")
    found = earzip("verify", archive.parent, "--quiet")
    assert (found.exit_code, found.stdout) == (4, "")
    assert [line.split(":")[1] for line in found.stderr.splitlines()] == [" damaged"]
    status = earzip("status", "--model", "tiny", *archived[3:], "-q")
    assert (status.exit_code, status.stdout) == (3, "")


def test_json_is_complete_all_the_same(earzip, archived):
    for options in ([], ["-q"], ["-v"]):
        records = earzip(*archived, "--json", *options).records
        assert [each["type"] for each in records] == ["file"] * 4 + ["summary"]


def test_the_two_contradict_each_other(earzip, archived, tmp_path):
    outcome = earzip(*archived, "-v", "-q")
    assert outcome.exit_code == 2
    assert "--quiet and --verbose exclude each other" in outcome.stderr
    config = tmp_path / "config.toml"
    config.write_text("[compress]\nquiet = true")
    assert "up to date" in earzip("--config", config, *archived, "-v").stdout
    assert earzip("--config", config, *archived).stderr == ""
