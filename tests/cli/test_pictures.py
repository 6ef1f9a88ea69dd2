"""``earzip compress --pictures`` over albums: stored once, moved, pruned, missing, and told of."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import mutagen.flac
import pytest

from earzip import read_info
from tests.cli.batch_runs import contents, run
from tests.earzip.transcode.covers import cover, tagged

pytestmark = pytest.mark.usefixtures("tiny_model")

COVERS = {"A": cover(seed=1), "B": cover(seed=2)}
NAMES = {album: hashlib.sha256(image).hexdigest() + ".earzpic" for album, image in COVERS.items()}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Two albums of three tracks, each with a cover."""
    for i in range(6):
        album = "AB"[i // 3]
        (tmp_path / "Music").mkdir(exist_ok=True)
        tagged(tmp_path / "Music" / album / f"{i % 3}.flac", COVERS[album], seed=i)
    return tmp_path / "Music"


def compress(earzip, library: Path, *options: object):
    return earzip(
        "compress", "--model", "tiny", library, "-o", library.parent / "Archive", *options
    )


@pytest.fixture
def archives(earzip, library: Path) -> Path:
    """The archives of the library, which share pictures."""
    assert compress(earzip, library, "--pictures", "share").exit_code == 0
    return library.parent / "Archive"


def files(folder: Path, *, trash: bool = False) -> list[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if (".earzip" in path.parts) is trash)


def trashed(folder: Path) -> list[str]:
    """Return what is in the trash, without the names of runs."""
    return sorted(name.split("/", 3)[3] for name in files(folder, trash=True))


SHARED = sorted([f"A/{NAMES['A']}", f"B/{NAMES['B']}"])


def test_a_picture_is_stored_once_in_a_directory(earzip, library, archives):
    assert [name for name in files(archives) if not name.endswith(".earz")] == SHARED
    assert earzip("verify", archives).stderr.partition(";")[0] == "6 intact"
    again = compress(earzip, library, "--pictures", "share")
    assert again.stderr.startswith("6 up to date; ")
    n_bytes = sum(path.stat().st_size for path in archives.rglob("*.earz*"))
    summary = compress(earzip, library, "--json").records[-1]
    assert summary["archive_bytes"] + summary["shared_picture_bytes"] == n_bytes
    assert summary["picture_bytes"] == 0
    assert summary["shared_picture_bytes"] == sum(map(len, COVERS.values()))


def test_lines_and_totals_tell_of_shared_pictures(earzip, library):
    embedded = compress(earzip, library)
    assert "and 3" in embedded.stdout
    assert "of pictures" in embedded.stdout
    shared = compress(earzip, library, "--pictures", "share")
    assert shared.stdout.count("repictured  ") == 6
    assert "6 repictured; " in shared.stderr
    (library.parent / "Archive" / SHARED[0]).unlink()
    again = compress(earzip, library)
    assert again.stdout.startswith("repictured  ")
    assert again.stdout.count("\n") < 6
    assert len(re.findall(r", shares \d+ kB of pictures\)", shared.stdout)) == 6
    listed = earzip("list", library.parent / "Archive")
    for stderr in (shared.stderr, listed.stderr):
        assert "with pictures" in stderr
    assert "shared: " + NAMES["A"] in earzip("info", library.parent / "Archive/A").stdout


def test_who_pays_for_many_pictures_is_told_how_to_share_them(earzip, library):
    advice = "--pictures share keeps one that tracks of a directory have in common only once"
    assert advice in compress(earzip, library).stderr
    assert advice not in compress(earzip, library).stderr  # nothing was written
    shutil.rmtree(library.parent / "Archive")
    assert advice not in compress(earzip, library, "-q").stderr
    shutil.rmtree(library.parent / "Archive")
    assert advice not in compress(earzip, library, "--pictures", "embed").stderr


def test_a_new_archive_that_embeds_where_others_share_is_told_of_once(earzip, library, archives):
    hint = "its archives share their pictures, and a new one embeds them; add --pictures share"
    for album in "AB":
        tagged(library / album / "3.flac", COVERS[album], seed=9)
    assert f"earzip: info: {archives / 'A'}: {hint}\n" in (out := compress(earzip, library)).stderr
    assert out.stderr.count(hint) == 1
    assert hint not in compress(earzip, library).stderr  # nothing is new
    tagged(library / "A" / "4.flac", COVERS["A"], seed=10)
    assert "share" not in compress(earzip, library, "--pictures", "share").stderr
    compress(earzip, library, "--pictures", "embed")  # the files of before stay
    tagged(library / "A" / "5.flac", COVERS["A"], seed=11)
    assert hint not in compress(earzip, library).stderr


def test_processes_that_share_the_work_write_the_same(archives, library, tmp_path):
    options = ("--pictures", "share", "--processes", 3, "--devices", "cpu")
    ended = run(tmp_path, "compress", "--model", "tiny", library, "-o", tmp_path / "P", *options)
    assert (ended.exit_code, ended.summary["written"]) == (0, 6)
    assert contents(tmp_path / "P") == contents(archives)
    assert files(tmp_path / "P") == files(archives)


def test_dry_run_and_status_tell_what_becomes_of_pictures(earzip, library, archives):
    planned = compress(earzip, library, "--pictures", "drop", "--dry-run")
    assert planned.stdout.count("(pictures: share → drop)") == 6
    command = ("status", "--model", "tiny", library, "-o", archives)
    assert earzip(*command, "--pictures", "share").exit_code == 0
    compared = earzip(*command, "--pictures", "drop")
    assert (compared.exit_code, compared.stdout.count("(pictures: share → drop)")) == (3, 6)
    compared = earzip(*command, "--fit-pictures", 50)
    assert (compared.exit_code, compared.stdout.count("planned")) == (3, 6)
    assert earzip("status", "--model", "tiny", library, "-o", archives).exit_code == 0
    (archives / SHARED[0]).unlink()
    outcome = earzip("status", "--model", "tiny", library, "-o", archives)
    assert outcome.exit_code == 3
    assert outcome.stdout.count("(a shared picture is missing)") == 3


def test_an_album_is_moved_with_its_pictures(earzip, library, archives):
    (archives / "A").rename(archives.parent / "Elsewhere")
    assert earzip("verify", archives.parent / "Elsewhere").exit_code == 0
    restored = archives.parent / "Restored"
    outcome = earzip("restore", "--copy-other", archives.parent / "Elsewhere", "-o", restored)
    assert outcome.exit_code == 0
    assert files(restored) == ["0.flac", "1.flac", "2.flac"]
    images = [picture.data for picture in mutagen.flac.FLAC(restored / "0.flac").pictures]
    assert images == [COVERS["A"]]


def test_an_archive_that_lacks_its_picture(earzip, library, archives, tmp_path):
    """A friend who got it restores sound and tags, and learns which file is missing."""
    lone = tmp_path / "lone.flac.earz"
    shutil.copy(archives / "A/0.flac.earz", lone)
    outcome = earzip("restore", lone, "-o", tmp_path / "lone.flac")
    assert outcome.exit_code == 3
    assert f"picture 1 is left out: {NAMES['A']} is not beside the archive" in outcome.stderr
    assert "incomplete: " in outcome.stderr
    assert mutagen.flac.FLAC(tmp_path / "lone.flac")["title"] == ["Song"]
    verified = earzip("verify", lone)
    assert verified.exit_code == 4
    assert (
        f"earzip: damaged: {tmp_path / NAMES['A']}: is missing; 1 archive has it\n"
        in verified.stderr
    )
    assert f"shared, missing: {NAMES['A']}" in earzip("info", lone).stdout
    assert earzip("list", lone).exit_code == 0
    again = earzip("restore", lone, "-o", tmp_path / "lone.flac", "--json").records
    assert again[0]["status"] == "incomplete"
    assert again[0]["missing_pictures"] == [NAMES["A"]]
    shutil.copy(archives / SHARED[0], tmp_path)
    assert earzip("restore", lone, "-o", tmp_path / "lone.flac").exit_code == 0
    assert len(mutagen.flac.FLAC(tmp_path / "lone.flac").pictures) == 1


def test_verify_names_a_lost_picture_once_and_the_archives_that_have_it_are_counted(
    earzip, library, archives
):
    (archives / SHARED[0]).unlink()
    (archives / SHARED[1]).write_bytes(COVERS["B"][:-1])
    own = archives / "B/0.flac.earz"
    own.write_bytes(own.read_bytes()[:-1] + b"?")
    outcome = earzip("verify", archives, "--json")
    assert outcome.exit_code == 4
    problems = [line for line in outcome.stderr.splitlines() if ": damaged: " in line]
    assert problems[0].startswith(f"earzip: damaged: {own}: ")
    assert problems[1:] == [
        f"earzip: damaged: {archives / SHARED[0]}: is missing; 3 archives have it",
        f"earzip: damaged: {archives / SHARED[1]}: is damaged; 3 archives have it",
    ]
    assert "\n1 damaged, 5 intact but for 2 shared pictures; " in outcome.stderr
    *records, summary = outcome.records
    assert summary["damaged"] == len(records) == 6
    for record in records:
        path = archives / SHARED["B/" in record["source"]]
        assert record["damaged_pictures"] == {
            str(path): "is damaged" if path.exists() else "is missing"
        }
        assert f"{path.name} " in record["damages"][-1]
    assert earzip("verify", archives, "-q").stderr.splitlines() == problems
    shared_work = earzip("verify", archives, "-q", "--processes", 2)
    assert shared_work.stderr.splitlines()[1:] == problems[1:]
    compress(earzip, library, "--verify-sources")
    assert earzip("verify", archives).exit_code == 0


def test_an_archive_from_a_pipe_has_no_pictures_beside_it(earzip, archives, tmp_path):
    data = (archives / "A/0.flac.earz").read_bytes()
    outcome = earzip("restore", "-", "-o", tmp_path / "out.flac", stdin=data)
    assert outcome.exit_code == 3
    assert "is left out" in outcome.stderr


def test_prune_leaves_pictures_that_an_archive_has(earzip, library, archives):
    (library / "A/0.flac").unlink()
    outcome = compress(earzip, library, "--prune", "--yes")
    assert outcome.exit_code == 0
    assert (archives / SHARED[0]).exists()
    # What is in the trash is whole too.
    assert trashed(archives) == sorted(["A/0.flac.earz", f"A/{NAMES['A']}"])
    (trash,) = (archives / ".earzip/trash").iterdir()
    assert earzip("verify", trash / "A").exit_code == 0


def test_prune_takes_the_pictures_of_an_album_along(earzip, library, archives):
    shutil.rmtree(library / "B")
    dry = compress(earzip, library, "--prune", "--dry-run", "--json").records[:-1]
    planned = [Path(record["source"]).name for record in dry if record["status"] == "planned"]
    assert sorted(planned) == sorted([*(f"{i}.flac.earz" for i in range(3)), NAMES["B"]])
    outcome = compress(earzip, library, "--prune", "--yes", "--json")
    assert outcome.records[-1]["pruned"] == 4
    assert not (archives / "B").exists()
    assert trashed(archives) == sorted([*(f"B/{i}.flac.earz" for i in range(3)), SHARED[1]])
    assert compress(earzip, library, "--prune", "--yes", "--json").records[-1]["pruned"] == 0


def test_prune_takes_what_another_storage_has_left(earzip, library, archives):
    compress(earzip, library, "--pictures", "embed")
    assert [name for name in files(archives) if not name.endswith(".earz")] == SHARED
    outcome = compress(earzip, library, "--prune", "--yes", "--json")
    assert outcome.records[-1]["pruned"] == 2
    assert all(name.endswith(".earz") for name in files(archives))
    assert trashed(archives) == SHARED


def test_without_prune_no_picture_goes(earzip, library, archives):
    compress(earzip, library, "--pictures", "drop")
    assert [name for name in files(archives) if not name.endswith(".earz")] == SHARED


def test_pictures_beside_an_archive_that_cannot_be_read_stay(earzip, library, archives):
    compress(earzip, library, "--pictures", "embed")
    (archives / "A/strange.earz").write_bytes(b"x" * 100)
    outcome = compress(earzip, library, "--exclude", "strange*", "--prune", "--yes", "--json")
    assert (archives / SHARED[0]).exists()
    assert not (archives / SHARED[1]).exists()
    assert outcome.exit_code == 0


def test_pictures_beside_the_sources(earzip, library):
    command = ("compress", "--model", "tiny", library, "--pictures", "share")
    assert earzip(*command).exit_code == 0
    assert (library / SHARED[0]).exists()
    again = earzip(*command, "-v")
    assert again.stderr.startswith("6 up to date; ")  # and nothing is skipped
    # Who copies other files takes the archives of the tree along, and so their pictures.
    elsewhere = library.parent / "Other"
    assert compress_to(earzip, library, elsewhere, "--copy-other").exit_code == 0
    assert (elsewhere / SHARED[0]).read_bytes() == COVERS["A"]


def compress_to(earzip, library: Path, folder: Path, *options: object):
    return earzip("compress", "--model", "tiny", library, "-o", folder, *options)


def test_one_archive_named_by_the_user(earzip, library, tmp_path):
    out = tmp_path / "one" / "song.earz"
    one = library / "A/0.flac"
    assert (
        earzip("compress", "--model", "tiny", one, "-o", out, "--pictures", "share").exit_code == 0
    )
    assert files(out.parent) == sorted([NAMES["A"], "song.earz"])


def test_standard_output_has_no_directory_for_pictures(earzip, library):
    outcome = earzip("compress", library / "A/0.flac", "-o", "-", "--pictures", "share")
    assert outcome.exit_code == 2
    assert "--pictures share needs a directory" in outcome.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pictures", "hide"], "'hide' is not one of 'embed', 'share', 'drop'"),
        (["--fit-pictures", "8"], "8 is not in the range 16<=x<=10000"),
        (["--fit-pictures", "600", "--pictures", "drop"], "cannot be both scaled and dropped"),
    ],
)
def test_wrong_options(options, message, earzip, library):
    outcome = compress(earzip, library, *options)
    assert outcome.exit_code == 2
    assert message in outcome.stderr


def test_scaling_needs_an_extra(earzip, library, monkeypatch):
    monkeypatch.setattr("earzip.transcode.scaled_pictures.find_spec", lambda _name: None)
    outcome = compress(earzip, library, "--fit-pictures", "100")
    assert outcome.exit_code == 2
    assert "--fit-pictures needs Pillow" in outcome.stderr
    assert not (library.parent / "Archive").exists()


def test_scaled_pictures_of_an_album(earzip, library):
    outcome = compress(earzip, library, "--pictures", "share", "--fit-pictures", "100")
    assert outcome.exit_code == 0
    folder = library.parent / "Archive"
    info = earzip("info", folder / "A/0.flac.earz").stdout
    assert "pictures  scaled to fit 100 pixels" in info
    assert len({read_info(path).picture_files for path in (folder / "A").glob("*.earz")}) == 1
    assert compress(earzip, library).stderr.startswith("6 up to date")
    assert compress(earzip, library, "--pictures", "drop").exit_code == 0
    assert "pictures  left out" in earzip("info", folder / "A/0.flac.earz").stdout


def test_a_disk_that_is_full_leaves_no_archive_without_its_picture(earzip, library):
    folder = library.parent / "Archive" / "A"
    folder.mkdir(parents=True)
    (folder / NAMES["A"]).mkdir()  # as good as a full disk: the picture cannot be written
    outcome = compress(earzip, library, "--pictures", "share")
    assert outcome.exit_code == 3
    assert files(folder) == []
    (folder / NAMES["A"]).rmdir()
    assert compress(earzip, library, "--pictures", "share").exit_code == 0
    assert earzip("verify", library.parent / "Archive").exit_code == 0
