"""What a run leaves out of a tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from earzip.batch.filters import Choice, Filters, Glob
from earzip.batch.jobs import Plan
from earzip.batch.plan import Selection, plan_batch
from earzip.errors import UsageError
from earzip.formats.names import archive_name

SOUND = Selection(
    takes=lambda name: name.endswith((".flac", ".mp3")),
    otherwise="not sound",
    target_name=lambda path: archive_name(path.name),
    heeds_ignore_files=True,
)
ARCHIVES = Selection(takes=lambda name: name.endswith(".earz"), otherwise="not an archive")
NAMES = ("b.flac", "Jazz/1.mp3", "Jazz/live/2.flac", "Jazz/live/Demos/3.flac", "Demos/4.mp3")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "Music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"sound")
    return tmp_path / "Music"


def chosen(plan: Plan, root: Path) -> set[str]:
    return {str(job.source.relative_to(root)) for job in plan.jobs}


def choice(exclude: str = "", include: str = "", **more: object) -> Choice:
    return Choice(Filters.of(exclude.split(), include.split()), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.mp3", "a/b.mp3", True),
        ("*.mp3", "a/b.MP3", False),
        ("?.mp3", "ab.mp3", False),
        ("[ab].mp3", "a.mp3", True),
        ("[!ab].mp3", "a.mp3", False),
        ("[.mp3", "[.mp3", True),
        ("a/*.mp3", "a/b.mp3", True),
        ("/b.mp3", "b.mp3", True),
        ("/b.mp3", "a/b.mp3", False),
        ("a/*.mp3", "x/a/b.mp3", False),
        ("a/*.mp3", "a/x/b.mp3", False),
        ("**/a/*.mp3", "x/a/b.mp3", True),
        ("**/a/*.mp3", "a/b.mp3", True),
        ("a/**/b.mp3", "a/b.mp3", True),
        ("a/**/b.mp3", "a/x/y/b.mp3", True),
        ("a/**/b.mp3", "x/b.mp3", False),
        ("a/", "a", False),
        ("*.mp3", "a/b.mp3.earz", True),
        ("a/b.mp3", "a/b.mp3.earz", True),
        ("*.earz", "a/b.mp3.earz", True),
        ("*" * 60 + "b/c", "a" * 200 + "/c", False),
    ],
)
def test_patterns(pattern, path, matches):
    assert Glob.parse(pattern).matches(tuple(path.split("/")), is_folder=False) == matches


@pytest.mark.parametrize("pattern", ["", "/", "../Music", "./"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(UsageError, match="is not a pattern"):
        Filters.of([pattern], [])


@pytest.mark.parametrize(
    ("exclude", "include", "names"),
    [
        ("*.mp3", "", {"b.flac", "Jazz/live/2.flac", "Jazz/live/Demos/3.flac"}),
        ("Demos/", "", {"b.flac", "Jazz/1.mp3", "Jazz/live/2.flac"}),
        ("/Demos", "", {*NAMES} - {"Demos/4.mp3"}),
        ("Jazz/live", "", {"b.flac", "Jazz/1.mp3", "Demos/4.mp3"}),
        ("", "Jazz", {"Jazz/1.mp3", "Jazz/live/2.flac", "Jazz/live/Demos/3.flac"}),
        ("", "*.mp3", {"Jazz/1.mp3", "Demos/4.mp3"}),
        ("Demos", "Jazz *.flac", {"b.flac", "Jazz/1.mp3", "Jazz/live/2.flac"}),
        ("*", "*.flac", set()),
    ],
)
def test_what_of_a_tree_is_chosen(music, exclude, include, names):
    plan = plan_batch([music], SOUND, choice=choice(exclude, include))
    assert chosen(plan, music) == names
    reasons = {other.reason for other in plan.other_files}
    assert reasons <= {"excluded", "not included"}
    assert not plan.refused
    assert all(other.target is None for other in plan.other_files)  # none is copied


def test_the_name_of_a_file_that_is_named_counts(music):
    plan = plan_batch([music / "b.flac", music / "Jazz/1.mp3"], SOUND, choice=choice("*.mp3 Jazz"))
    assert chosen(plan, music) == {"b.flac"}
    assert [other.reason for other in plan.other_files] == ["excluded"]


def test_an_ignore_file_is_for_what_is_below_it(music):
    (music / ".earzipignore").write_text("# mine\n\nDemos/\n*.mp3 \n")
    (music / "Jazz/.earzipignore").write_text("!1.mp3\nlive/2.*\n")
    plan = plan_batch([music], SOUND)
    assert chosen(plan, music) == {"b.flac", "Jazz/1.mp3"}
    reasons = {other.source.name: other.reason for other in plan.other_files}
    assert reasons["2.flac"] == "excluded by .earzipignore"
    assert chosen(plan_batch([music / "Jazz"], SOUND), music) == {
        "Jazz/1.mp3",
        "Jazz/live/Demos/3.flac",
    }
    assert chosen(plan_batch([music / "Demos/4.mp3"], SOUND), music) == {"Demos/4.mp3"}


def test_a_name_that_begins_as_a_comment_does(music):
    (music / "#1.flac").touch()
    (music / "!2.flac").touch()
    (music / ".earzipignore").write_text("\\#1*\n\\!2*\n")
    assert chosen(plan_batch([music], SOUND), music) == {*NAMES}


def test_archives_have_no_ignore_files(music):
    (music / "b.flac.earz").touch()
    (music / ".earzipignore").write_text("*\n")
    assert chosen(plan_batch([music], ARCHIVES), music) == {"b.flac.earz"}
    assert not plan_batch([music], SOUND).jobs


@pytest.mark.parametrize("content", ["../x\n", None])
def test_a_directory_whose_ignore_file_cannot_be_used_fails(music, content):
    ignore = music / "Jazz/.earzipignore"
    os.mkfifo(ignore) if content is None else ignore.write_text(content)
    plan = plan_batch([music], SOUND)
    assert chosen(plan, music) == {"b.flac", "Demos/4.mp3"}
    (record,) = plan.refused
    assert record.source == music / "Jazz"
    assert record.message is not None
    assert ".earzipignore cannot be read: " in record.message


def test_listed_files_keep_their_tree(music, tmp_path):
    listed = (music / "Jazz/live", music / "Jazz/1.mp3", tmp_path / "x.flac", music / "no.flac")
    plan = plan_batch([music], SOUND, tmp_path / "out", choice("Demos/", listed=listed))
    targets = {str(job.target.relative_to(tmp_path)) for job in plan.jobs if job.target}
    assert targets == {"out/Jazz/live/2.flac.earz", "out/Jazz/1.mp3.earz"}
    assert {record.source.name: record.message for record in plan.refused} == {
        "x.flac": "is in none of the directories that are named",
        "no.flac": "No such file or directory",
    }
    plan = plan_batch([music], SOUND, tmp_path / "out", choice(include="Jazz/", listed=(music,)))
    assert len(plan.jobs) == 3
    plan = plan_batch([music], SOUND, choice=choice("Jazz", listed=listed[:2]))
    assert not plan.jobs
