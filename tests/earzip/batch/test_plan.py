"""Which files a run works on, and where their results go."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from earzip.batch.jobs import Plan
from earzip.batch.plan import Selection, is_output_file, plan_batch
from earzip.errors import UsageError
from earzip.formats.names import archive_name, name_without_archive_suffix, restored_name
from earzip.results import FileStatus

COMPRESS = Selection(
    takes=lambda name: name.lower().endswith((".flac", ".mp3")),
    otherwise="not sound",
    target_name=lambda path: archive_name(path.name),
    refuses=lambda name: "already an archive" if name.endswith(".earz") else None,
)
READ = Selection(takes=lambda name: name.endswith(".earz"), otherwise="not an archive")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    root = tmp_path / "music"
    for name in ("b.flac", "a/2.mp3", "a/1.FLAC", "a/deep/er/3.flac"):
        _touch(root / name)
    return root


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"sound")
    return path


def _targets(plan: Plan, below: Path) -> list[str]:
    return [str(job.target.relative_to(below)) for job in plan.jobs if job.target]


def _reasons(plan: Plan) -> dict[str, str]:
    return {other.source.name: other.reason for other in plan.other_files}


def test_the_tree_of_a_folder_is_mirrored_in_the_order_of_names(music, tmp_path):
    plan = plan_batch([music], COMPRESS, tmp_path / "out")
    assert _targets(plan, tmp_path / "out") == [
        "b.flac.earz", "a/1.FLAC.earz", "a/2.mp3.earz", "a/deep/er/3.flac.earz",
    ]  # fmt: skip
    assert not plan.other_files
    assert not plan.refused
    assert not (tmp_path / "out").exists()


def test_without_output_results_go_beside_their_sources(music):
    plan = plan_batch([music, music / "b.flac"], COMPRESS)
    assert _targets(plan, music) == [
        "b.flac.earz", "a/1.FLAC.earz", "a/2.mp3.earz", "a/deep/er/3.flac.earz",
    ]  # fmt: skip


def test_named_files_go_directly_under_the_output(music, tmp_path):
    plan = plan_batch([music / "a" / "2.mp3"], COMPRESS, tmp_path / "out")
    assert _targets(plan, tmp_path / "out") == ["2.mp3.earz"]


def test_a_named_file_is_taken_whatever_its_name(tmp_path):
    plan = plan_batch([_touch(tmp_path / "take.dat")], COMPRESS)
    assert _targets(plan, tmp_path) == ["take.dat.earz"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.flac", "No such file or directory"),
        ("pipe.flac", "is not a regular file"),
        ("song.flac.earz", "already an archive"),
    ],
)
def test_a_named_file_that_cannot_be_a_source_is_refused(tmp_path, name, message):
    _touch(tmp_path / "song.flac.earz")
    os.mkfifo(tmp_path / "pipe.flac")
    plan = plan_batch([tmp_path / name], COMPRESS)
    assert [(r.status, r.message) for r in plan.refused] == [(FileStatus.FAILED, message)]
    assert not plan.jobs


def test_a_path_without_the_ending_of_its_archive_is_told_which_is_meant(tmp_path):
    archive = _touch(tmp_path / "song.flac.earz")
    for selection, hint in ((READ, f"; did you mean {archive}?"), (COMPRESS, "")):
        plan = plan_batch([tmp_path / "song.flac"], selection)
        assert [r.message for r in plan.refused] == [f"No such file or directory{hint}"]


def test_sidecars_and_hidden_files_are_left_aside_with_the_place_of_a_copy(music, tmp_path):
    for name in ("a/cover.jpg", "a/.nfo", ".trash/x.flac", "a/.hidden.flac"):
        _touch(music / name)
    plan = plan_batch([music], COMPRESS, tmp_path / "out")
    assert len(plan.jobs) == 4
    assert _reasons(plan) == {
        "cover.jpg": "not sound",
        ".nfo": "hidden",
        "x.flac": "hidden",
        ".hidden.flac": "hidden",
    }
    cover = next(b for b in plan.other_files if b.source.name == "cover.jpg")
    assert cover.target == tmp_path / "out" / "a" / "cover.jpg"


def test_a_hidden_folder_that_is_named_is_searched(tmp_path):
    _touch(tmp_path / ".music" / "x.flac")
    assert len(plan_batch([tmp_path / ".music"], COMPRESS).jobs) == 1


def test_a_link_to_a_folder_above_ends_the_walk(music):
    (music / "a" / "loop").symlink_to(music)
    (music / "a" / "self").symlink_to("self")
    plan = plan_batch([music], COMPRESS)
    assert len(plan.jobs) == 4
    assert _reasons(plan) == {"loop": "a link to a parent directory", "self": "not sound"}


def test_linked_folders_and_files_are_followed(music, tmp_path):
    _touch(tmp_path / "elsewhere" / "4.flac")
    (music / "linked").symlink_to(tmp_path / "elsewhere")
    (music / "z.flac").symlink_to(tmp_path / "elsewhere" / "4.flac")
    plan = plan_batch([music], COMPRESS, tmp_path / "out")
    assert {"linked/4.flac.earz", "z.flac.earz"} < set(_targets(plan, tmp_path / "out"))


def test_folders_that_link_to_each_other_are_visited_once_each(tmp_path):
    root = tmp_path / "root"
    names = [f"{i:02}" for i in range(12)]
    for name in names:
        _touch(root / name / "song.flac")
        for other in names:
            if other != name:
                (root / name / f"to {other}").symlink_to(root / other)
    plan = plan_batch([root], COMPRESS)
    assert [job.source for job in plan.jobs] == [root / name / "song.flac" for name in names]
    assert _reasons(plan)["to 05"] == f"already visited as {root / '05'}"


def test_a_folder_is_visited_under_its_own_name_rather_than_a_link(music):
    (music / "0").symlink_to(music / "a" / "deep")
    plan = plan_batch([music], COMPRESS)
    assert music / "a" / "deep" / "er" / "3.flac" in [job.source for job in plan.jobs]
    assert _reasons(plan) == {"0": f"already visited as {music / 'a' / 'deep'}"}


def test_a_hidden_link_to_a_folder_does_not_hide_it(music):
    (music / ".trash").mkdir()
    (music / ".trash" / "a").symlink_to(music / "a")
    assert len(plan_batch([music], COMPRESS).jobs) == 4


def test_a_broken_link_and_a_pipe_named_like_sound_are_refused(music):
    (music / "gone.flac").symlink_to("nowhere")
    os.mkfifo(music / "pipe.flac")
    plan = plan_batch([music], COMPRESS)
    assert {(r.source.name, r.message) for r in plan.refused} == {
        ("gone.flac", "No such file or directory"),
        ("pipe.flac", "is not a regular file"),
    }


def test_the_output_inside_a_source_is_not_searched(music):
    _touch(music / "out" / "old.flac")
    plan = plan_batch([music], COMPRESS, music / "out")
    assert len(plan.jobs) == 4
    assert _reasons(plan) == {"out": "the output directory"}


def test_results_of_an_earlier_run_beside_their_sources_are_not_mentioned(music):
    _touch(music / "b.flac.earz")
    _touch(music / "other.earz")
    _touch(music / f".b.flac.earz.{'0' * 16}.earzip-tmp")
    assert _reasons(plan_batch([music], COMPRESS)) == {"other.earz": "already an archive"}


def test_two_sources_with_one_target_are_both_refused(tmp_path):
    one, two = _touch(tmp_path / "1" / "a.flac"), _touch(tmp_path / "2" / "a.flac")
    free = _touch(tmp_path / "2" / "b.flac")
    plan = plan_batch([tmp_path / "1", tmp_path / "2"], COMPRESS, tmp_path / "out")
    assert [job.source for job in plan.jobs] == [free]
    both = f"{tmp_path / 'out/a.flac.earz'}; do each alone, with its own -o"
    assert [(r.source, r.message) for r in plan.refused] == [
        (one, f"has the same target as {two}: {both}"),
        (two, f"has the same target as {one}: {both}"),
    ]


def test_a_copy_never_takes_the_place_of_a_result(music, tmp_path):
    _touch(music / "b.flac.earz")
    plan = plan_batch([music], COMPRESS, tmp_path / "out")
    assert len(plan.jobs) == 4
    assert plan.refused == []
    beside = next(b for b in plan.other_files if b.source == music / "b.flac.earz")
    assert (beside.target, beside.reason) == (
        None,
        "already an archive; it has the name of a file to be written",
    )


def test_one_file_reached_through_two_names_of_its_folder_is_done_once(music, tmp_path):
    (tmp_path / "link").symlink_to(music)
    plan = plan_batch([music, tmp_path / "link"], COMPRESS)
    assert len(plan.jobs) == 4


def _io_error(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_folder_that_cannot_be_listed_is_refused_and_the_others_go_on(music, monkeypatch):
    real = os.scandir
    monkeypatch.setattr(
        os, "scandir", lambda path: (_io_error if path == music / "a" else real)(path)
    )
    plan = plan_batch([music], COMPRESS)
    message = "cannot list the directory: Input/output error"
    assert [(r.source, r.message) for r in plan.refused] == [(music / "a", message)]
    assert len(plan.jobs) == 1


@pytest.mark.parametrize("selection", [COMPRESS, READ])
@pytest.mark.parametrize("name", ["a", ".hidden", "cover.jpg"])
def test_what_cannot_be_looked_at_is_refused_whatever_its_name(music, monkeypatch, selection, name):
    """It may be a folder: what is in it is not passed over."""

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name, self.is_symlink = entry.name, entry.is_symlink
            self.stat = _io_error if entry.name == name else entry.stat

    @contextmanager
    def scandir(path: Path) -> Iterator[list[Entry]]:
        with real(path) as entries:
            yield [Entry(entry) for entry in entries]

    (music / ".hidden").mkdir()
    (music / "cover.jpg").touch()
    real = os.scandir
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        plan = plan_batch([music], selection, music.parent / "out")
    assert [(r.source, r.message) for r in plan.refused] == [(music / name, "Input/output error")]


def test_a_link_to_nowhere_that_is_not_named_like_sound_is_no_failure(music):
    for name, to in (
        ("to nothing", "nothing"),
        ("to itself", "to itself"),
        ("in a file", "b.flac/x"),
    ):
        (music / name).symlink_to(to)
    plan = plan_batch([music], COMPRESS)
    assert plan.refused == []
    assert [other.source.name for other in plan.other_files] == [
        "in a file",
        "to itself",
        "to nothing",
    ]


def test_a_named_folder_that_goes_while_it_is_looked_at_is_refused(music, monkeypatch):
    from earzip.batch import plan as planning  # noqa: PLC0415

    monkeypatch.setattr(planning, "folder_id", lambda _folder: None)
    plan = planning.plan_batch([music], COMPRESS)
    assert [r.source for r in plan.refused] == [music]


@pytest.mark.parametrize(
    "junk",
    [
        ".DS_Store", "._cover.jpg", "._1.flac", "Thumbs.db", "DESKTOP.INI", "@eaDir/SYNO.jpg",
        "@eaDir/1.flac/a.mp3", "$RECYCLE.BIN/x.flac", "#recycle/b.flac", ".Trash-1000/files/b.flac",
        "__MACOSX/._b.flac", ".AppleDouble/b.flac", "System Volume Information/x", ".nfs0001",
    ],
)  # fmt: skip
def test_what_systems_make_for_themselves_is_neither_archived_nor_copied(music, tmp_path, junk):
    before = plan_batch([music], COMPRESS, tmp_path / "out")
    _touch(music / "a" / junk)
    plan = plan_batch([music], COMPRESS, tmp_path / "out")
    assert plan.jobs == before.jobs
    (other,) = plan.other_files
    assert (other.target, other.reason) == (None, "made by a system for itself")
    assert other.source == music / "a" / junk.split("/")[0]


def test_an_output_that_is_a_file_is_a_usage_error(music, tmp_path):
    with pytest.raises(UsageError, match="expected a directory"):
        plan_batch([music], COMPRESS, _touch(tmp_path / "out"))


def test_folders_nested_deeper_than_python_calls_are_walked(tmp_path):
    folders = [tmp_path / "d"]
    for _ in range(sys.getrecursionlimit() + 100):
        folders.append(folders[-1] / "d")
    for folder in folders:
        folder.mkdir()
    song = _touch(folders[-1] / "x.flac")
    assert len(plan_batch([tmp_path], COMPRESS).jobs) == 1
    song.unlink()  # pytest's own cleaning would recurse
    for folder in reversed(folders):
        folder.rmdir()


@pytest.mark.parametrize(
    ("archive", "container", "restored"),
    [
        ("a.flac.earz", "flac", "a.flac"),
        ("a.mp3.earz", "flac", "a.mp3.flac"),
        ("a.mp3.earz", "wav", "a.mp3.wav"),
        ("a.wav.earz", "wav", "a.wav"),
        ("a.wav.earz", "flac", "a.wav.flac"),
        ("A.FLAC.EARZ", "flac", "A.FLAC"),
        ("a", "flac", "a.flac"),
    ],
)
def test_restored_files_are_named_after_their_archives(archive, container, restored):
    assert restored_name(archive, container) == restored


def test_an_archives_name_leads_back_to_its_source():
    assert name_without_archive_suffix(archive_name("a.flac")) == "a.flac"


def test_only_a_single_file_may_name_its_output(tmp_path):
    song = _touch(tmp_path / "a.flac")
    assert is_output_file([song], tmp_path / "x.EARZ", {".earz"})
    assert not is_output_file([song, song], tmp_path / "x.earz", {".earz"})
    assert not is_output_file([tmp_path], tmp_path / "x.earz", {".earz"})
    assert not is_output_file([song], tmp_path / "x", {".earz"})
    (tmp_path / "d.earz").mkdir()
    assert not is_output_file([song], tmp_path / "d.earz", {".earz"})
