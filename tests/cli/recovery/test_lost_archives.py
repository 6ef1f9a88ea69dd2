"""What ``earzip verify`` and ``earzip protect`` say of archives that are gone."""

from __future__ import annotations

import shutil

import pytest

from earzip.formats.archive.recovery import RecoveryData
from tests.cli.recovery.conftest import flip

pytestmark = [
    pytest.mark.skipif(shutil.which("par2") is None, reason="par2 is not installed"),
    pytest.mark.usefixtures("tiny_model"),
]


def test_verify_tells_of_an_archive_that_is_gone(earzip, protected):
    gone = protected / "A" / "0.flac.earz"
    content = gone.read_bytes()
    gone.unlink()
    outcome = earzip("verify", protected)
    assert outcome.exit_code == 4
    told = "is gone: earzip repair brings it back, earzip protect --force forgets it"
    assert f"earzip: damaged: {gone}: {told}\n" in outcome.stderr
    assert "7 intact, 1 damaged; " in outcome.stderr
    assert f"with recovery data: earzip repair {protected}\n" in outcome.stderr
    nightly = earzip("verify", "-q", protected, "--older-than", "30d")
    assert (nightly.exit_code, nightly.stderr) == (4, f"earzip: damaged: {gone}: {told}\n")
    assert earzip("verify", protected / "A").exit_code == 4
    assert earzip("repair", protected).exit_code == 0
    assert gone.read_bytes() == content
    assert earzip("verify", protected).exit_code == 0
    gone.unlink()
    assert earzip("protect", "--force", protected).exit_code == 0
    assert earzip("verify", protected).exit_code == 0


def test_a_part_of_a_directory_tells_of_no_loss_outside_it(earzip, protected):
    gone = protected / "A" / "0.flac.earz"
    gone.unlink()
    codes = [earzip("verify", protected, "--subset", f"{i}/3").exit_code for i in (1, 2, 3)]
    assert sorted(codes) == [0, 0, 4]
    shards = [earzip("verify", protected, "--shard", f"{i}/3").exit_code for i in (1, 2, 3)]
    assert sorted(shards) == [0, 0, 4]
    for chosen in (("--include", "*.flac"), ("--exclude", "1.*"), ("--where", "duration>0")):
        assert earzip("verify", protected, *chosen).exit_code == 0
    assert earzip("verify", protected / "B").exit_code == 0
    assert earzip("verify", protected / "A" / "1.flac.earz").exit_code == 0


def test_a_hidden_directory_is_not_looked_into(earzip, protected):
    (protected / "A").rename(protected / ".Trash")
    (protected / ".Trash" / "0.flac.earz").unlink()
    assert earzip("verify", protected).exit_code == 0


def test_all_archives_of_a_directory_gone_are_told(earzip, protected):
    for archive in (protected / "A").glob("*.earz"):
        archive.unlink()
    outcome = earzip("verify", protected / "A", "--json")
    assert outcome.exit_code == 4
    assert outcome.records[-1]["damaged"] == 4
    beyond = "is gone, with too little recovery data to bring it back; earzip protect --force "
    assert outcome.stderr.count(beyond) == 4
    assert "with recovery data" not in outcome.stderr


@pytest.mark.parametrize("empties_trash", [False, True])
def test_what_was_pruned_is_no_loss_and_protect_forgets_it(earzip, protected, music, empties_trash):
    (music / "A" / "0.flac").unlink()
    shutil.rmtree(music / "B")
    (protected / "B" / "notes.txt").write_text("a file of the user's keeps the directory")
    command = ("compress", "--model", "tiny", music, "-o", protected, "--prune", "--yes")
    assert earzip(*command).exit_code == 0
    for path in (protected, protected / "A"):
        assert earzip("verify", path).exit_code == 0
    flip(protected / "A" / "1.flac.earz", 20_000)
    assert earzip("repair", protected).exit_code == 0
    assert not (protected / "A" / "0.flac.earz").exists()
    again = earzip("protect", "-q", protected, "--redundancy", 60)
    assert (again.exit_code, again.stderr) == (0, "")
    assert "0.flac.earz" not in RecoveryData.read(protected / "A").files
    if empties_trash:
        shutil.rmtree(protected / ".earzip" / "trash")
    assert earzip("verify", protected).exit_code == 0
    assert earzip("protect", protected, "--redundancy", 60, "--json").statuses() == {
        "A": "up_to_date"
    }


def test_what_the_trash_holds_of_another_day_hides_no_loss(earzip, protected):
    gone = protected / "A" / "0.flac.earz"
    other = protected / ".earzip" / "trash" / "2020-01-01T000000" / "A" / gone.name
    other.parent.mkdir(parents=True)
    shutil.copy(protected / "A" / "1.flac.earz", other)
    gone.unlink()
    assert earzip("verify", protected).exit_code == 4


def test_protect_promises_only_what_repair_can_do(earzip, archives):
    assert earzip("protect", archives, "--redundancy", 10).exit_code == 0
    (archives / "A" / "0.flac.earz").unlink()
    outcome = earzip("protect", archives, "--redundancy", 10)
    assert outcome.exit_code == 0
    assert "0.flac.earz is gone, with too little recovery data to bring it back" in outcome.stderr
    assert "brings it back" not in outcome.stderr
    assert earzip("repair", archives).exit_code == 4
