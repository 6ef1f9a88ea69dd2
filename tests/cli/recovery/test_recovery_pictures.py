"""``earzip protect`` and ``earzip repair`` over archives that share pictures, with par2 itself."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from earzip.formats.archive.recovery import RecoveryData, recovery_path
from tests.cli.recovery.conftest import flip, write_song

pytestmark = [
    pytest.mark.skipif(shutil.which("par2") is None, reason="par2 is not installed"),
    pytest.mark.usefixtures("tiny_model"),
]
N_BYTES = 60_000
PICTURES = {album: np.random.default_rng(seed).bytes(N_BYTES) for seed, album in enumerate("AB")}
NAMES = {album: f"{hashlib.sha256(image).hexdigest()}.earzpic" for album, image in PICTURES.items()}


@pytest.fixture
def archives(earzip, tmp_path: Path) -> Path:
    """The archives of two albums of three tracks, each with a picture that its tracks share."""
    for seed, album in enumerate("AB"):
        for i in range(3):
            write_song(tmp_path / "music" / album / f"{i}.flac", seed, N_BYTES)
    out = tmp_path / "out"
    options = ("--model", "tiny", "--pictures", "share")
    assert earzip("compress", *options, tmp_path / "music", "-o", out).exit_code == 0
    return out


@pytest.fixture
def protected(earzip, archives: Path) -> Path:
    assert earzip("protect", archives, "--redundancy", 100).exit_code == 0
    return archives


def contents(folder: Path) -> dict[str, bytes]:
    """Return what archives and shared pictures hold."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in (".earz", ".earzpic")
    }


def statuses(outcome) -> dict[str, tuple[str, str | None]]:
    """Return status and message of each record, by directory and name."""
    return {
        "/".join(Path(each["source"]).parts[-2:]): (each["status"], each["message"])
        for each in outcome.records[:-1]
    }


def test_pictures_are_protected_with_their_archives(earzip, archives):
    outcome = earzip("protect", archives, "--json")
    assert [record["message"] for record in outcome.records[:-1]] == [
        "3 archives, 1 shared picture"
    ] * 2
    assert outcome.records[-1]["checked_bytes"] == sum(map(len, contents(archives).values()))
    data = RecoveryData.read(archives / "A")
    assert data is not None
    assert set(data.files) == {"0.flac.earz", "1.flac.earz", "2.flac.earz", NAMES["A"]}
    assert "2 up to date" in earzip("protect", archives).stderr


def test_recovery_data_without_a_picture_is_made_anew(earzip, protected):
    """As that of versions which protected archives only."""
    picture = protected / "A" / NAMES["A"]
    image = picture.read_bytes()
    other = picture.with_name(hashlib.sha256(b"other").hexdigest() + ".earzpic")
    other.write_bytes(b"other")
    outcome = earzip("protect", protected, "--redundancy", 100, "--json")
    assert outcome.statuses() == {"A": "written", "B": "up_to_date"}
    picture.unlink()
    other.unlink()
    assert earzip("repair", protected).exit_code == 0
    assert (picture.read_bytes(), other.read_bytes()) == (image, b"other")


def test_a_damaged_picture_comes_back(earzip, protected):
    before = contents(protected)
    picture = protected / "A" / NAMES["A"]
    picture.chmod(0o640)
    flip(picture, 3, 30_000, -5)
    time_ns = picture.stat().st_mtime_ns
    outcome = earzip("repair", protected, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    repaired = {name: said for name, said in statuses(outcome).items() if said[0] != "intact"}
    assert list(repaired) == [f"A/{NAMES['A']}"]  # not one of the archives that have it
    assert repaired[f"A/{NAMES['A']}"][0] == "repaired"
    assert contents(protected) == before
    assert (stat.S_IMODE(picture.stat().st_mode), picture.stat().st_mtime_ns) == (0o640, time_ns)
    assert "6 intact" in earzip("verify", protected).stderr


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        lambda picture: os.truncate(picture, 20_000),
        lambda picture: picture.write_bytes(b""),
        lambda picture: (picture.unlink(), os.mkfifo(picture)),
    ],
    ids=["missing", "cut", "empty", "pipe"],
)
def test_a_picture_that_is_not_whole_comes_back(earzip, protected, spoil):
    before = contents(protected)
    spoil(protected / "B" / NAMES["B"])
    outcome = earzip("repair", protected, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert contents(protected) == before
    assert outcome.records[-1]["damaged"] == 0
    assert "6 intact" in earzip("repair", protected).stderr


def test_restore_without_a_picture_names_the_command_that_brings_it_back(
    earzip, protected, tmp_path
):
    advice = f"earzip: info: with recovery data: earzip repair {protected}\n"
    arguments = ("restore", protected, "-o", tmp_path / "restored")
    assert advice not in earzip(*arguments).stderr
    for spoil in (lambda picture: flip(picture, 3), Path.unlink):
        spoil(protected / "A" / NAMES["A"])
        incomplete = earzip(*arguments, "--force")
        assert (incomplete.exit_code, incomplete.stderr.endswith(advice)) == (3, True)
    assert earzip("repair", protected).exit_code == 0
    assert earzip(*arguments).exit_code == 0


def test_a_missing_picture_is_named(earzip, protected):
    (protected / "A" / NAMES["A"]).unlink()
    said = statuses(earzip("repair", protected, "--json"))
    assert said[f"A/{NAMES['A']}"] == ("repaired", None)
    assert sorted(status for status, _ in said.values()) == ["intact"] * 6 + ["repaired"]


def test_a_picture_comes_back_and_is_named_where_one_archive_is_named(earzip, protected):
    before = contents(protected)
    flip(protected / "A" / NAMES["A"], 30_000)
    (protected / "A" / "1.flac.earz").unlink()
    outcome = earzip("repair", protected / "A" / "0.flac.earz")
    assert outcome.exit_code == 0
    assert f"repaired    {protected / 'A' / NAMES['A']}" in outcome.stdout
    assert contents(protected) == before


def test_pictures_and_archives_come_back_together(earzip, protected):
    before = contents(protected)
    flip(protected / "A" / NAMES["A"], 30_000)
    flip(protected / "A" / "0.flac.earz", 200)
    (protected / "B" / NAMES["B"]).unlink()
    (protected / "B" / "1.flac.earz").unlink()
    outcome = earzip("repair", protected)
    assert outcome.exit_code == 0, outcome.stderr
    assert contents(protected) == before


def test_an_archive_that_was_changed_since_is_not_set_back_with_its_picture(
    earzip, protected, tmp_path
):
    music = tmp_path / "music" / "A" / "0.flac"
    options = ("--model", "tiny", "--quality", "high")
    assert earzip("compress", *options, music, "-o", protected / "A").exit_code == 0
    before = contents(protected)
    flip(protected / "A" / NAMES["A"], 30_000)
    flip(protected / "A" / "1.flac.earz", 200)
    outcome = earzip("repair", protected)
    assert outcome.exit_code == 0, outcome.stderr
    assert contents(protected) == before


def test_damaged_pictures_keep_the_recovery_data_as_it_is(earzip, protected):
    before = recovery_path(protected / "A").read_bytes()
    flip(protected / "A" / NAMES["A"], 3)
    for options in (("--redundancy", 100), ("--force",)):
        outcome = earzip("protect", protected / "A", *options)
        assert outcome.exit_code == 4
        assert f"{NAMES['A']} is damaged: repair or remove it first" in outcome.stderr
    assert recovery_path(protected / "A").read_bytes() == before


def test_damage_behind_the_first_bytes_is_for_verify_to_find_where_data_is_up_to_date(
    earzip, protected
):
    flip(protected / "A" / NAMES["A"], 30_000)
    assert "2 up to date" in earzip("protect", protected, "--redundancy", 100).stderr
    assert earzip("verify", protected).exit_code == 4
    assert earzip("protect", protected, "--force").exit_code == 4


def test_a_picture_beyond_repair_is_named_and_stays(earzip, archives):
    assert earzip("protect", archives, "--redundancy", 10).exit_code == 0
    picture = archives / "A" / NAMES["A"]
    picture.unlink()
    before = contents(archives)
    outcome = earzip("repair", archives)
    assert outcome.exit_code == 4
    (line, _summary, advice) = outcome.stderr.splitlines()
    assert line.startswith(f"earzip: damaged: {picture}: is missing; not repaired: ")
    assert line.endswith("; 3 archives have it")
    assert "3 intact, 1 damaged, 3 intact but for 1 shared picture" in outcome.stderr
    again = "earzip: info: from the sources: earzip compress --verify-sources"
    assert advice == f"{again} SOURCES -o {archives}"
    assert again not in earzip("repair", archives, "-q").stderr
    assert contents(archives) == before
    music = archives.parent / "music"
    earzip("compress", "--verify-sources", "--model", "tiny", music, "-o", archives)
    assert earzip("verify", archives).exit_code == 0


def test_a_picture_that_came_since_cannot_be_repaired(earzip, protected, tmp_path):
    write_song(tmp_path / "music" / "A" / "3.flac", 9, N_BYTES)
    options = ("--model", "tiny", "--pictures", "share")
    earzip("compress", *options, tmp_path / "music", "-o", protected)
    new = hashlib.sha256(np.random.default_rng(9).bytes(N_BYTES)).hexdigest() + ".earzpic"
    flip(protected / "A" / new, 3)
    outcome = earzip("repair", protected)
    assert outcome.exit_code == 4
    assert (
        f"{new}: is damaged; not repaired: it was added or changed after the recovery data was made; "
        "1 archive has it\n" in outcome.stderr
    )


@pytest.mark.parametrize("name", ["0.flac.earz", NAMES["A"]], ids=["archive", "picture"])
@pytest.mark.parametrize("content", [b"somebody's letter", None], ids=["letter", "damaged"])
def test_a_link_out_of_the_tree_is_replaced_and_not_written_through(
    earzip, protected, tmp_path, name, content
):
    before = contents(protected)
    place, elsewhere = protected / "A" / name, tmp_path / "elsewhere" / name
    elsewhere.parent.mkdir()
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    if content is None:
        flip(elsewhere, -20)
    else:
        elsewhere.write_bytes(content)
    kept = elsewhere.read_bytes()
    outcome = earzip("repair", protected, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert statuses(outcome)[f"A/{name}"][0] == "repaired"
    assert elsewhere.read_bytes() == kept
    assert not place.is_symlink()
    assert contents(protected) == before


def test_an_archive_in_place_of_a_link_keeps_the_picture_beside_what_it_led_to(
    earzip, archives, tmp_path
):
    links = tmp_path / "links"
    links.mkdir()
    place, elsewhere = links / "0.flac.earz", archives / "A" / "0.flac.earz"
    place.symlink_to(elsewhere)
    assert earzip("protect", links, "--redundancy", 100).exit_code == 0
    flip(elsewhere, -20)
    assert earzip("repair", links).exit_code == 0
    assert not place.is_symlink()
    assert earzip("verify", links).exit_code == 0
    assert (links / NAMES["A"]).read_bytes() == PICTURES["A"]


def test_a_link_that_leads_nowhere_fails_and_stays_whatever_else_is_repaired(
    earzip, archives, tmp_path
):
    links = tmp_path / "links"
    links.mkdir()
    away, damaged = (archives / "A" / f"{i}.flac.earz" for i in range(2))
    for archive in (away, damaged):
        (links / archive.name).symlink_to(archive)
    assert earzip("protect", links, "--redundancy", 100).exit_code == 0
    away.rename(tmp_path / "away")  # as on a disk that is not mounted
    flip(damaged, -20)
    outcome = earzip("repair", links, "--json")
    assert {name: status for name, (status, _) in statuses(outcome).items()} == {
        "links/0.flac.earz": "failed",
        "links/1.flac.earz": "repaired",
    }
    assert [(links / archive.name).is_symlink() for archive in (away, damaged)] == [True, False]
