"""Which files of a library a command works on: --exclude, --include, --files-from, .earzipignore."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import write_sound

pytestmark = pytest.mark.usefixtures("tiny_model")
NAMES = ("A/1.flac", "A/2.flac", "B/Demos/1.flac")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for i, name in enumerate(NAMES):
        write_sound(tmp_path / "Music" / name, 0.3 + i / 10)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compress(earzip, *options: object, stdin: bytes = b""):
    command = ("compress", "--model", "tiny", "Music", "-o", "Archive", "--json", *options)
    return earzip(*command, stdin=stdin)


def archives(library: Path) -> set[str]:
    folder = library / "Archive"
    found = (str(path.relative_to(folder)) for path in folder.rglob("*.earz"))
    return {name.removesuffix(".earz") for name in found if "trash" not in name}


def test_every_command_takes_the_same_patterns(earzip, library):
    assert compress(earzip, "--exclude", "Demos/", "--exclude", "2.*").exit_code == 0
    assert archives(library) == {"A/1.flac"}
    compress(earzip)
    for command in (["restore", "-o", "out", "--dry-run"], ["verify"], ["info"]):
        outcome = earzip(*command, "Archive", "--include", "A/*.flac", "--json")
        assert outcome.exit_code == 0
        names = {r["source"] for r in outcome.records[:-1] if r["status"] != "skipped"}
        assert names == {"Archive/A/1.flac.earz", "Archive/A/2.flac.earz"}, command
    status = earzip(
        "status", "--model", "tiny", "Music", "-o", "Archive", "--exclude", "A", "--json"
    )
    assert (status.records[-1]["up_to_date"], status.records[-1]["orphaned"]) == (1, 0)
    none = earzip("verify", "Archive", "--exclude", "*")
    assert none.exit_code == 3
    assert "contains no archives, or none that you include" in none.stderr


@pytest.mark.parametrize("how", ["option", "file"])
def test_archives_of_what_is_excluded_are_no_orphans(earzip, library, how):
    compress(earzip)
    options = ["--exclude", "Demos/", "--exclude", "2.flac"]
    if how == "file":
        options = []
        (library / "Music/.earzipignore").write_text("Demos/\n")
        (library / "Music/A/.earzipignore").write_text("2.*\n")
    (library / "Music/A/1.flac").unlink()
    (library / "Music/A/2.flac").unlink()  # excluded and gone: the run does not look at it
    write_sound(library / "Music/C/1.flac", 1.0)
    status = earzip("status", "--model", "tiny", "Music", "-o", "Archive", *options, "--json")
    orphaned = [r["source"] for r in status.records[:-1] if r["status"] == "orphaned"]
    assert orphaned == ["Archive/A/1.flac.earz"]
    outcome = compress(earzip, *options, "--prune", "--yes")
    assert outcome.records[-1]["pruned"] == 1
    assert archives(library) == {"A/2.flac", "B/Demos/1.flac", "C/1.flac"}


def test_a_list_of_files_keeps_their_tree(earzip, library):
    (library / "list").write_text("Music/A/2.flac\n\nMusic/B\n")
    outcome = compress(earzip, "--files-from", "list")
    assert outcome.exit_code == 0
    assert archives(library) == {"A/2.flac", "B/Demos/1.flac"}
    absolute = str(library / "Music/A/1.flac").encode()
    compress(earzip, "--files-from", "-", stdin=b"Music/A/1.flac\0" + absolute + b"\0")
    assert archives(library) == {*NAMES}
    again = earzip("compress", "--model", "tiny", "--files-from", "list", "Music", "-o", "Archive")
    assert again.stdout == ""
    assert again.stderr.startswith("2 up to date; ")
    listed = earzip("verify", "--files-from", "-", stdin=b"Archive/A\n")
    assert (listed.stdout, listed.stderr.partition(";")[0]) == ("", "2 intact")


def test_a_list_says_nothing_of_orphans(earzip, library):
    compress(earzip)
    command = ("status", "--model", "tiny", "Music", "-o", "Archive", "--files-from", "-", "--json")
    status = earzip(*command, stdin=b"Music/A/1.flac\n")
    assert status.exit_code == 0
    assert (status.records[-1]["up_to_date"], status.records[-1]["orphaned"]) == (1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--files-from", "none", "Music"], "none: cannot be read: No such file or directory"),
        (["--files-from", "-", "-"], "--files-from and standard input exclude each other"),
        (["--files-from", "-", "Music/A/1.flac"], "is not a directory"),
        (["--files-from", "-", "Music", "--prune", "--yes"], "--prune and --files-from exclude"),
        (["--exclude", "../A", "Music"], "'../A' is not a pattern of names below a directory"),
        ([], "Missing argument 'PATH...'"),
    ],
)
def test_what_does_not_fit(earzip, library, options, message):
    outcome = earzip("compress", "--model", "tiny", *options, stdin=b"Music/A\n")
    assert outcome.exit_code == 2
    assert message in outcome.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("http://host/a.flac", "earzip takes paths and s3://, gs://, az:// and hf://"),
        ("ftp://host/a.flac", "earzip takes paths and s3://, gs://, az:// and hf://"),
        ("FILE:///a.flac", "earzip takes paths and s3://, gs://, az:// and hf://"),
        ("s3:///a.flac", "names no bucket; expected a URL as s3://bucket/music"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\0"])
def test_a_line_of_a_list_that_is_no_path_is_named(earzip, library, line, message, end):
    (library / "list").write_text(f"Music/A/1.flac{end}{end}{line}{end}")
    command = ("compress", "--model", "tiny", "--files-from", "list", "-o", "Archive")
    for paths in ((), ("Music",)):
        outcome = earzip(*command, *paths)
        assert outcome.exit_code == 2
        assert f"line 3 of list: {line}: {message}\n" in outcome.stderr
    assert not (library / "Archive").exists()


def test_a_url_of_a_list_is_refused_where_paths_are_meant(earzip, library):
    outcome = earzip("report", "--files-from", "-", "-o", "x.html", stdin=b"Music\ns3://b/a.earz\n")
    assert outcome.exit_code == 2
    message = "line 2 of -: s3://b/a.earz is a URL, expected a path of this machine"
    assert message in outcome.stderr


def test_a_directory_that_is_called_like_a_scheme_is_listed_by_a_dot(earzip, library):
    write_sound(library / "http:" / "host" / "4.flac", 0.3)
    command = ("compress", "--model", "tiny", "--files-from", "-", "-o", "Archive")
    assert earzip(*command, stdin=b"./http://host/4.flac\n").exit_code == 0
    assert archives(library) == {"4.flac"}


def test_evaluate_leaves_out_originals(earzip, library):
    compress(earzip, "--exclude", "Demos")
    assert earzip("evaluate", "Music", "Archive").exit_code == 3
    outcome = earzip("evaluate", "Music", "Archive", "--exclude", "Demos", "--json")
    assert outcome.exit_code == 0
    assert outcome.records[-1]["evaluated"] == 2
    (library / "Music/.earzipignore").write_text("Demos/\n2.flac\n")
    outcome = earzip("evaluate", "Music", "Archive", "--json")
    assert (outcome.exit_code, outcome.records[-1]["evaluated"]) == (0, 1)
