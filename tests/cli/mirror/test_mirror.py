"""``earzip compress`` over a library that changes: new tags, moved albums, tracks that are gone."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import mutagen.flac
import pytest
import soundfile

from earzip import read_info
from tests.cli.mirror.conftest import archives, compress, statuses
from tests.conftest import tones

pytestmark = pytest.mark.usefixtures("tiny_model")


def test_new_tags_a_moved_album_and_a_track_that_is_gone(earzip, library):
    compress(earzip, library)
    tags = mutagen.flac.FLAC(library / "A/1.flac")
    tags["title"] = "another title"
    tags.save()
    (library / "B").rename(library / "C")
    (library / "A/2.flac").unlink()
    outcome = compress(earzip, library)
    assert outcome.exit_code == 0
    assert statuses(outcome, library) == {
        "Music/A/1.flac": "retagged",
        "Music/C/1.flac": "moved",
        "Music/C/2.flac": "moved",
    }
    names = ["A/1", "A/2", "B/1", "B/2", "C/1", "C/2"]
    assert archives(library) == [f"{name}.flac.earz" for name in names]
    info = read_info(library.parent / "Archive/A/1.flac.earz")
    assert info.tags.payload["fields"]["title"] == ["another title"]
    summary = outcome.records[-1]
    assert (summary["retagged"], summary["moved"], summary["up_to_date"]) == (1, 2, 0)
    assert summary["coded_s"] == 0
    again = compress(earzip, library)
    assert again.records[-1]["up_to_date"] == 3


def test_force_encodes_what_is_up_to_date_and_what_was_moved(earzip, library):
    compress(earzip, library)
    (library / "B").rename(library / "C")
    planned = compress(earzip, library, "--force", "--dry-run").records[:-1]
    assert [record["state"] for record in planned] == ["replaced"] * 2 + ["new"] * 2
    outcome = compress(earzip, library, "--force")
    assert outcome.records[-1]["written"] == 4
    assert all(record["warnings"] == [] for record in outcome.records[:-1])


def test_prune_moves_what_has_no_source_to_the_trash(earzip, library):
    compress(earzip, library)
    (library / "B").rename(library / "C")
    (library / "A/2.flac").unlink()
    moved = [each["message"] for each in compress(earzip, library, "--dry-run").records[:-1]]
    dry = compress(earzip, library, "--prune", "--dry-run")
    for messages, fate in (
        (moved, "stays until --prune"),
        ([each["message"] for each in dry.records[:-1]], "goes to the trash"),
    ):
        told = [text for text in messages if text and text.startswith("moved from ")]
        assert len(told) == 2
        assert all(text.endswith(f".earz, which {fate}") for text in told)
    planned = {Path(r["source"]).name for r in dry.records[:-1] if "trash" in (r["target"] or "")}
    assert planned == {"1.flac.earz", "2.flac.earz"}
    assert len(archives(library)) == 4
    outcome = compress(earzip, library, "--prune", "--yes")
    assert outcome.exit_code == 0
    assert outcome.records[-1]["pruned"] == 3
    kept = [name for name in archives(library) if "trash" not in name]
    assert kept == ["A/1.flac.earz", "C/1.flac.earz", "C/2.flac.earz"]
    trashed = [name.split("/", 3)[3] for name in archives(library) if "trash" in name]
    assert trashed == ["A/2.flac.earz", "B/1.flac.earz", "B/2.flac.earz"]
    assert not (library.parent / "Archive/B").exists()
    assert statuses(compress(earzip, library, "--prune", "--yes"), library) == {}


def test_prune_beside_the_sources(earzip, library):
    assert earzip("compress", "--model", "tiny", library).exit_code == 0
    (library / "A/1.flac").unlink()
    outcome = earzip("compress", "--model", "tiny", library, "--prune", "--yes", "--json")
    assert outcome.records[-1]["pruned"] == 1
    assert not (library / "A/1.flac.earz").exists()
    assert len([*(library / ".earzip/trash").rglob("*.earz")]) == 1


def test_prune_does_not_take_a_disk_that_is_not_mounted_for_an_empty_one(earzip, library):
    compress(earzip, library)
    for path in library.rglob("*.flac"):
        path.unlink()
    outcome = compress(earzip, library, "--prune", "--yes")
    assert outcome.exit_code == 2
    assert "no source was found, so nothing is pruned" in outcome.stderr
    assert len(archives(library)) == 4


def test_prune_does_not_take_most_of_an_archive_unasked(earzip, library):
    compress(earzip, library)
    out = library.parent / "Archive"
    for i in range(12):
        (out / f"old {i}.flac.earz").write_bytes((out / "A/1.flac.earz").read_bytes())
    outcome = compress(earzip, library, "--prune", "--yes")
    assert outcome.exit_code == 2
    assert "12 archives have no source, and only 4 have one" in outcome.stderr
    assert len(archives(library)) == 16


def test_prune_waits_for_sources_that_could_not_be_looked_at(earzip, library):
    compress(earzip, library)
    (library / "A/1.flac").unlink()
    os.mkfifo(library / "B/pipe.flac")
    outcome = compress(earzip, library, "--prune", "--yes")
    assert outcome.exit_code == 3
    assert "nothing is pruned: 1 path could not be looked at" in outcome.stderr
    assert len(archives(library)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--yes"], "--yes needs --prune"),
        (["--prune", "--shard", "1/2"], "--prune and --shard exclude each other"),
    ],
)
def test_options_that_do_not_fit(earzip, library, options, message):
    outcome = compress(earzip, library, *options)
    assert outcome.exit_code == 2
    assert message in outcome.stderr


def test_prune_without_a_terminal_needs_yes(earzip, library):
    compress(earzip, library)
    (library / "A/1.flac").unlink()
    outcome = compress(earzip, library, "--prune")
    assert outcome.exit_code == 2
    assert "--prune asks first, and there is no terminal; add --yes" in outcome.stderr
    assert len(archives(library)) == 4


@pytest.mark.parametrize(("answer", "n_left"), [("n", 4), ("y", 3)])
def test_prune_asks_at_a_terminal(earzip, library, answer, n_left):
    compress(earzip, library)
    (library / "A/1.flac").unlink()
    ours, theirs = pty.openpty()
    out = library.parent / "Archive"
    command = [sys.executable, "-m", "earzip", "compress", "--model", "tiny", library, "-o", out]
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [*command, "--prune"], stdin=theirs, capture_output=True, text=True, check=True
    )
    os.close(ours)
    os.close(theirs)
    assert "1 archive without a source. Move to the trash?" in done.stderr
    assert str(out / "A/1.flac.earz") in done.stderr
    assert len([name for name in archives(library) if "trash" not in name]) == n_left
    assert ("info: nothing was moved to the trash\n" in done.stderr) is (answer == "n")
    assert "--prune moves" not in done.stderr


def test_prune_waits_until_nothing_fails(earzip, library):
    compress(earzip, library)
    (library / "new").mkdir()
    moved = (library / "A/1.flac").rename(library / "new/1.flac")
    moved.write_bytes(moved.read_bytes()[:-2000])
    outcome = compress(earzip, library, "--prune", "--yes")
    assert outcome.exit_code == 3
    assert "nothing is pruned: 1 file failed" in outcome.stderr
    assert len(archives(library)) == 4


def test_prune_counts_archives_that_stay_not_new_sources(earzip, library):
    compress(earzip, library)
    out = library.parent / "Archive"
    for i in range(12):
        (out / f"old {i}.flac.earz").write_bytes((out / "A/1.flac.earz").read_bytes())
    for path in library.rglob("*.flac"):
        path.unlink()
    for i in range(20):
        soundfile.write(library / f"{i}.flac", tones(1_000, seed=i).T, 44_100)
    outcome = compress(earzip, library, "--prune", "--yes")
    assert outcome.exit_code == 2
    assert "16 archives have no source, and only 0 have one" in outcome.stderr


def test_an_archive_under_two_names_of_one_file_is_no_orphan(earzip, library):
    """As a disk shows that takes upper and lower case, or forms of accents, for one."""
    compress(earzip, library)
    out = library.parent / "Archive"
    os.link(out / "A/1.flac.earz", out / "A/1.FLAC.earz")
    outcome = compress(earzip, library, "--prune", "--yes")
    assert outcome.records[-1]["pruned"] == 0
    assert (out / "A/1.flac.earz").exists()


def test_an_archive_of_a_file_that_was_named_is_no_orphan(earzip, library):
    soundfile.write(library / "A/5.flac", tones(20_000, seed=7).T, 44_100)
    (library / "A/5.flac").rename(library / "A/5.snd2")
    out = library.parent / "Archive"
    compress(earzip, library)
    assert (
        earzip("compress", "--model", "tiny", library / "A/5.snd2", "-o", out / "A").exit_code == 0
    )
    outcome = compress(earzip, library, "--prune", "--yes")
    assert outcome.records[-1]["pruned"] == 0
    assert (out / "A/5.snd2.earz").exists()


def test_paths_that_overlap_name_an_orphan_once(earzip, library):
    assert earzip("compress", "--model", "tiny", library).exit_code == 0
    (library / "A/1.flac").unlink()
    command = ("compress", "--model", "tiny", library, library / "A", "--prune", "--yes", "--json")
    outcome = earzip(*command)
    assert outcome.exit_code == 0
    assert outcome.records[-1]["pruned"] == 1


def test_a_source_that_comes_back_while_the_question_waits_keeps_its_archive(
    earzip, library, monkeypatch
):
    compress(earzip, library)
    source = library / "A/1.flac"
    data = source.read_bytes()
    source.unlink()
    monkeypatch.setattr("earzip.cli.mirror.Mirror.ask", lambda _self: source.write_bytes(data))
    outcome = compress(earzip, library, "--prune", "--yes")
    assert outcome.exit_code == 0
    assert outcome.records[-1]["pruned"] == 0
    assert len(archives(library)) == 4


def test_two_prunes_in_one_second_have_a_trash_each(earzip, library, monkeypatch):
    monkeypatch.setattr("earzip.batch.mirror.time.strftime", lambda _format: "now")
    for _ in range(2):
        compress(earzip, library)
        data = (library / "A/1.flac").read_bytes()
        (library / "A/1.flac").unlink()
        assert compress(earzip, library, "--prune", "--yes").records[-1]["pruned"] == 1
        (library / "A/1.flac").write_bytes(data)
    trash = library.parent / "Archive/.earzip/trash"
    assert sorted(path.name for path in trash.iterdir()) == ["now", "now-2"]
