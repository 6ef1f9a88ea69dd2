"""``earzip protect`` and ``earzip repair``, with par2 itself and real damage."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess

import mutagen.flac
import pytest

from earzip.batch.signals import StopRequested
from earzip.formats.archive.recovery import RecoveryData, make_recovery, recovery_path
from tests.cli.conftest import write_sound
from tests.cli.recovery.conftest import flip, tree, write_song

pytestmark = [
    pytest.mark.skipif(shutil.which("par2") is None, reason="par2 is not installed"),
    pytest.mark.usefixtures("tiny_model"),
]
AWKWARD = [
    os.fsdecode(b"latin \xe9.flac"), "new\nline.flac", "back\\slash.flac", "What?.flac", "star*.flac",
    "-dash.flac", " lead.flac", "100%41.flac", "50% more.flac", 'a"b.flac', "ü ☃.flac", "a:b.flac",
]  # fmt: skip


def test_recovery_data_is_made_once_and_again_when_archives_change(earzip, archives, music):
    outcome = earzip("protect", archives, "--json")
    assert outcome.exit_code == 0
    assert outcome.statuses() == {"A": "written", "B": "written"}
    sizes = [recovery_path(archives / name).stat().st_size for name in "AB"]
    total = sum(path.stat().st_size for path in archives.rglob("*.earz"))
    assert outcome.records[-1]["recovery_bytes"] == sum(sizes)
    assert outcome.records[-1]["checked_bytes"] == total
    assert 0.1 < sum(sizes) / total < 0.2
    before = [recovery_path(archives / name).stat().st_ino for name in "AB"]
    again = earzip("protect", archives)
    assert again.exit_code == 0
    assert again.stderr.startswith("2 up to date; ")
    assert "of recovery data\n" in again.stderr
    assert [recovery_path(archives / name).stat().st_ino for name in "AB"] == before
    write_song(music / "B" / "4.flac", 9)
    earzip("compress", "--model", "tiny", music, "-o", archives)
    assert earzip("protect", archives, "--json").statuses() == {"A": "up_to_date", "B": "written"}
    assert earzip("protect", archives, "--json").statuses() == {
        "A": "up_to_date",
        "B": "up_to_date",
    }
    changed = earzip("protect", archives, "--redundancy", 20, "--json", "--processes", 2)
    assert changed.statuses() == {"A": "written", "B": "written"}


def test_flipped_bytes_a_cut_a_gone_and_an_overwritten_archive_come_back(earzip, protected):
    before = tree(protected)
    (protected / "B" / "1.flac.earz").chmod(0o600)
    flip(protected / "A" / "0.flac.earz", 3, 20_000, -5)
    os.truncate(protected / "A" / "1.flac.earz", 40_000)
    (protected / "B" / "0.flac.earz").unlink()
    (protected / "B" / "1.flac.earz").write_text("not an archive")
    damage = earzip("verify", protected)
    assert f"earzip: info: with recovery data: earzip repair {protected}\n" in damage.stderr
    assert earzip("protect", protected).exit_code != 0  # nothing is protected that is damaged
    outcome = earzip("repair", protected, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    repaired = {r["source"] for r in outcome.records if r.get("status") == "repaired"}
    assert repaired == {
        str(protected / name)
        for name in ("A/0.flac.earz", "A/1.flac.earz", "B/0.flac.earz", "B/1.flac.earz")
    }
    assert outcome.records[-1]["intact"] == 4
    after = tree(protected)
    assert {name: content for name, (content, _, _) in after.items()} == {
        name: content for name, (content, _, _) in before.items()
    }
    assert after["A/0.flac.earz"] == before["A/0.flac.earz"]  # its time and mode too
    assert after["B/0.flac.earz"] == before["B/0.flac.earz"]
    assert stat.S_IMODE(after["B/1.flac.earz"][2]) == 0o600
    assert [path.name for path in (protected / "A").iterdir() if "flac.earz" not in path.name] == [
        ".earzip"
    ]
    assert "8 intact" in earzip("repair", protected).stderr
    assert earzip("protect", protected, "--redundancy", 60, "--json").records[-1]["up_to_date"] == 2


def test_one_archive_can_be_named_there_or_gone(earzip, protected):
    before = tree(protected)
    gone = protected / "A" / "2.flac.earz"
    gone.unlink()
    flip(protected / "B" / "0.flac.earz", 20_000)
    outcome = earzip("repair", gone, "-v")
    assert (outcome.exit_code, outcome.stdout) == (0, f"repaired    {gone} (is missing)\n")
    assert earzip("repair", protected / "A" / "never.flac.earz").exit_code == 1
    assert earzip("repair", protected / "B" / "0.flac.earz").exit_code == 0
    assert {n: c for n, (c, _, _) in tree(protected).items()} == {
        n: c for n, (c, _, _) in before.items()
    }


def test_damage_beyond_repair_is_named_and_changes_nothing(earzip, protected):
    damaged = protected / "A" / "0.flac.earz"
    for i in range(3):
        archive = protected / "A" / f"{i}.flac.earz"
        flip(archive, *range(1000, archive.stat().st_size, 3000))
    (protected / "A" / "3.flac.earz").unlink()
    flip(protected / "B" / "0.flac.earz", 20_000)
    before = damaged.read_bytes()
    outcome = earzip("repair", protected, "--json")
    assert outcome.exit_code == 4
    counts = outcome.records[-1]
    assert (counts["damaged"], counts["repaired"], counts["intact"]) == (4, 1, 3)
    recovery = recovery_path(protected / "A")
    assert f"not repaired: {recovery}: can replace " in outcome.stderr
    assert f"{protected / 'A' / '3.flac.earz'}: is missing; not repaired: " in outcome.stderr
    assert damaged.read_bytes() == before
    assert not (protected / "A" / "3.flac.earz").exists()


def test_recovery_data_that_is_damaged_itself_repairs_what_it_can(earzip, protected):
    recovery = recovery_path(protected / "A")
    content = (protected / "A" / "0.flac.earz").read_bytes()
    size = recovery.stat().st_size
    flip(recovery, 100, size // 3, size // 2)
    flip(protected / "A" / "0.flac.earz", 20_000)
    assert earzip("repair", protected).exit_code == 0
    assert (protected / "A" / "0.flac.earz").read_bytes() == content
    assert earzip("protect", protected, "--redundancy", 60, "--json").statuses() == {
        "A": "written",
        "B": "up_to_date",
    }
    recovery.write_bytes(bytes(1000))
    flip(protected / "A" / "0.flac.earz", 20_000)
    outcome = earzip("repair", protected)
    assert outcome.exit_code == 4
    assert f"not repaired: {recovery}: is damaged itself" in outcome.stderr


def test_damage_keeps_the_recovery_data_as_it_is(earzip, protected):
    before = recovery_path(protected / "A").read_bytes()
    flip(protected / "A" / "1.flac.earz", 10)  # in what tells whether it has changed
    outcome = earzip("protect", protected, "--redundancy", 60)
    assert outcome.exit_code == 4
    assert f"earzip: damaged: {protected / 'A'}: 1.flac.earz is damaged (" in outcome.stderr
    assert recovery_path(protected / "A").read_bytes() == before
    assert earzip("protect", protected, "--force").exit_code == 4
    assert recovery_path(protected / "A").read_bytes() == before
    assert earzip("repair", protected).exit_code == 0


def test_an_archive_that_was_changed_since_is_not_set_back(earzip, protected, music):
    changed = protected / "A" / "0.flac.earz"
    tagged = mutagen.flac.FLAC(music / "A" / "0.flac")
    tagged["title"] = "another title"
    tagged.save()
    earzip("compress", "--model", "tiny", music, "-o", protected)
    content = changed.read_bytes()
    before = (protected / "A" / "1.flac.earz").read_bytes()
    flip(protected / "A" / "1.flac.earz", 20_000)
    outcome = earzip("repair", protected, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.records[-1]["repaired"] == 1
    assert changed.read_bytes() == content
    assert (protected / "A" / "1.flac.earz").read_bytes() == before


def test_an_archive_that_came_since_cannot_be_repaired_and_the_reason_is_told(
    earzip, protected, music
):
    write_song(music / "A" / "4.flac", 9)
    earzip("compress", "--model", "tiny", music, "-o", protected)
    flip(protected / "A" / "4.flac.earz", 20_000)
    outcome = earzip("repair", protected)
    assert outcome.exit_code == 4
    assert "it was added or changed after the recovery data was made" in outcome.stderr


def test_what_is_gone_stays_protected_until_it_is_forgotten(earzip, protected):
    gone = protected / "A" / "0.flac.earz"
    content = gone.read_bytes()
    gone.unlink()
    outcome = earzip("protect", protected, "--redundancy", 60)
    assert outcome.exit_code == 0
    assert (
        "0.flac.earz is gone: earzip repair brings it back, earzip protect --force forgets it"
        in (outcome.stderr)
    )
    assert earzip("repair", protected).exit_code == 0
    assert gone.read_bytes() == content
    gone.unlink()
    forgotten = earzip("protect", protected, "--force")
    assert "0.flac.earz is gone, and not protected any more" in forgotten.stderr
    assert "7 intact" in earzip("repair", protected).stderr
    assert not gone.exists()


def test_all_of_a_directory_comes_back_if_there_is_as_much_recovery_data(earzip, archives):
    assert earzip("protect", archives, "--redundancy", 100).exit_code == 0
    before = tree(archives)
    for archive in (archives / "A").glob("*.earz"):
        archive.unlink()
    for path in (archives, archives / "A"):
        assert earzip("repair", path).exit_code == 0
        assert tree(archives) == before
        (archives / "A" / "0.flac.earz").unlink()


def test_names_of_all_kinds_are_protected(earzip, tmp_path):
    for i, name in enumerate(AWKWARD):
        write_song(tmp_path / "music" / name, i, 20_000)
    out = tmp_path / "out"
    assert earzip("compress", "--model", "tiny", tmp_path / "music", "-o", out).exit_code == 0
    assert earzip("protect", out, "--redundancy", 100).exit_code == 0
    data = RecoveryData.read(out)
    assert data is not None
    assert set(data.files) == {f"{name}.earz" for name in AWKWARD}
    assert data.is_whole
    before = tree(out)
    for i, name in enumerate(AWKWARD):
        archive = out / f"{name}.earz"
        if i % 2:
            archive.unlink()
        else:
            flip(archive, 5_000)
    outcome = earzip("repair", out)
    assert (outcome.exit_code, "12 repaired" in outcome.stderr) == (0, True), outcome.stderr
    assert tree(out) == before


def test_other_commands_see_none_of_it(earzip, protected, music, tmp_path):
    assert earzip("compress", "--model", "tiny", music, "-o", protected, "--json").records[-1][
        "up_to_date"
    ] == (8)
    assert earzip("status", "--model", "tiny", music, "-o", protected).exit_code == 0
    assert "8 intact" in earzip("verify", protected).stderr
    assert earzip("list", protected, "--json").records[-1]["read"] == 8
    restored = tmp_path / "restored"
    earzip("restore", protected, "-o", restored, "--copy-other")
    assert len([path for path in restored.rglob("*") if path.is_file()]) == 8
    shutil.rmtree(music / "B")
    pruned = earzip("compress", "--model", "tiny", music, "-o", protected, "--prune", "--yes")
    assert pruned.exit_code == 0
    assert not (protected / "B").exists()  # no archive is left that it could protect
    assert recovery_path(protected / "A").exists()
    assert "4 intact" in earzip("repair", protected).stderr


def test_any_program_for_par2_can_use_the_data(protected, tmp_path):
    """As the guide says: the directory of the archives is its base."""
    archive = protected / "A" / "0.flac.earz"
    content = archive.read_bytes()
    flip(archive, 20_000)
    command = ["par2", "repair", "-q", "-q", f"-B{protected / 'A'}", recovery_path(protected / "A")]
    subprocess.run(command, check=True, capture_output=True)
    assert archive.read_bytes() == content


def test_recovery_data_is_as_private_as_the_most_private_archive(earzip, archives):
    (archives / "A" / "0.flac.earz").chmod(0o600)
    assert earzip("protect", archives).exit_code == 0
    assert stat.S_IMODE(recovery_path(archives / "A").stat().st_mode) == 0o600
    assert stat.S_IMODE(recovery_path(archives / "B").stat().st_mode) & 0o044


def test_without_par2_one_sentence_says_what_to_install(earzip, archives, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    for command in ("protect", "repair"):
        outcome = earzip(command, archives)
        assert outcome.exit_code == 2
        assert outcome.stderr.endswith(
            "earzip: needs the program par2, which is not installed; install it with apt install par2, "
            "or brew install par2\n"
        )


def test_a_file_is_not_protected_alone(earzip, archives):
    outcome = earzip("protect", archives / "A" / "0.flac.earz")
    assert outcome.exit_code == 2
    assert "is not a directory; recovery data is of whole directories" in outcome.stderr


def test_two_runs_do_not_protect_the_same_tree(earzip, archives):
    from earzip.batch.locks import RunLock  # noqa: PLC0415

    with RunLock("protect", [archives]):
        outcome = earzip("protect", archives)
    assert outcome.exit_code == 75


def test_a_stop_ends_par2_and_leaves_nothing(archives, tmp_path, monkeypatch):
    script = tmp_path / "bin" / "par2"
    script.parent.mkdir()
    pid = tmp_path / "pid"
    script.write_text(f"#!/bin/sh\necho $$ >{pid}\nexec sleep 600\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))

    def stop() -> None:
        if pid.exists() and pid.read_text():
            raise StopRequested

    with pytest.raises(StopRequested):
        make_recovery(archives / "A", 10, stop)
    assert not recovery_path(archives / "A").exists()
    assert list((tmp_path / "tmp").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_set_that_names_files_elsewhere_is_refused(earzip, tmp_path):
    """As one that somebody has put there: par2 would write where it says."""
    album = tmp_path / "album"
    (album / "inner").mkdir(parents=True)
    (album / "inner" / "x.earz").write_bytes(bytes(5000))
    subprocess.run(
        [
            "par2",
            "create",
            "-q",
            "-q",
            "-s400",
            "-c4",
            "-n1",
            "-R",
            f"-B{album}",
            tmp_path / "set",
            album,
        ],
        check=True,
        capture_output=True,
    )
    recovery_path(album).parent.mkdir()
    next(tmp_path.glob("set.vol*")).rename(recovery_path(album))
    write_sound(tmp_path / "song.flac")
    assert earzip("compress", "--model", "tiny", tmp_path / "song.flac", "-o", album).exit_code == 0
    flip(album / "song.flac.earz", -5)
    outcome = earzip("repair", album)
    assert outcome.exit_code == 4
    assert f"{recovery_path(album)}: is not of earzip: it names files elsewhere" in outcome.stderr
