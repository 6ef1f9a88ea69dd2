"""``compress --with-model``: archives that bring the model that they need."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from earzip.models.beside import is_kept, keep_model, kept_weights
from earzip.models.store import find_model
from tests.cli.conftest import write_sound
from tests.conftest import MODELS

TINY = ("--model", "tiny")


@pytest.fixture
def archive(earzip, music, tmp_path, tiny_model, monkeypatch):
    """A folder of two archives and their model, which is installed no more."""
    (music / "album" / "text.flac").unlink()
    target = tmp_path / "archive"
    assert earzip("compress", music, "-o", target, "--with-model", *TINY).exit_code == 0
    monkeypatch.delenv("EARZIP_MODELS")
    return target


def weights_in(folder: Path) -> Path:
    return folder / ".earzip" / f"tiny-{identity()[:16]}.safetensors"


def identity() -> str:
    return find_model(str(MODELS / "tiny.json")).sha256


def test_archives_restore_elsewhere_with_the_model_beside_them(
    earzip, archive, tmp_path, monkeypatch
):
    monkeypatch.setenv("EARZIP_MODELS", str(MODELS))
    assert earzip("restore", archive, "-o", tmp_path / "here").exit_code == 0
    monkeypatch.delenv("EARZIP_MODELS")
    elsewhere = shutil.move(archive, tmp_path / "elsewhere")
    outcome = earzip("restore", elsewhere, "-o", tmp_path / "there", "--json")
    assert outcome.exit_code == 0
    assert len(outcome.statuses()) == 3
    for name in ("one.flac", "album/two.wav.flac", "album/three.mp3.flac"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_without_it_they_do_not(earzip, archive, tmp_path):
    shutil.rmtree(archive / ".earzip")
    outcome = earzip("restore", archive / "one.flac.earz", "-o", tmp_path / "out")
    assert outcome.exit_code == 3
    assert "which is not installed" in outcome.stderr
    assert "or into .earzip beside the archive" in outcome.stderr


@pytest.mark.parametrize("processes", [(), ("--processes", "2")])
def test_verify_decodes_with_it(earzip, archive, processes):
    outcome = earzip("verify", archive, "--decode", "--json", *processes)
    assert outcome.exit_code == 0
    assert list(outcome.statuses().values()) == ["intact"] * 3


def test_info_says_where_the_model_is(earzip, archive):
    one = archive / "one.flac.earz"
    outcome = earzip("info", one)
    assert f"model     tiny {identity()[:16]}, quality medium; kept in {archive}/.earzip\n" in (
        outcome.stdout
    )
    record = earzip("info", one, "--json").records[0]
    assert record["archive"]["model"]["path"] == str(weights_in(archive).with_suffix(".json"))
    shutil.rmtree(archive / ".earzip")
    assert "quality medium; not installed\n" in earzip("info", one).stdout
    assert earzip("info", one, "--json").records[0]["archive"]["model"]["path"] is None


def test_a_link_to_an_archive_finds_the_model_of_the_archive(earzip, archive, tmp_path):
    link = tmp_path / "apart" / "link.earz"
    link.parent.mkdir()
    link.symlink_to(archive / "album" / "two.wav.earz")
    assert earzip("restore", link, "-o", tmp_path / "out.flac").exit_code == 0


def test_a_second_run_leaves_the_model_as_it_is(earzip, archive, music, monkeypatch):
    monkeypatch.setenv("EARZIP_MODELS", str(MODELS))
    files = sorted((archive / ".earzip").iterdir())
    assert files == [weights_in(archive).with_suffix(".json"), weights_in(archive)]
    before = [(file.stat().st_ino, file.stat().st_mtime_ns) for file in files]
    write_sound(music / "new.flac")
    outcome = earzip("compress", music, "-o", archive, "--with-model", "--json", *TINY)
    assert outcome.exit_code == 0
    assert outcome.statuses() == {
        "new.flac": "written",
        "one.flac": "up_to_date",
        "two.wav": "up_to_date",
        "three.mp3": "up_to_date",
        "cover.jpg": "skipped",
    }
    assert [(file.stat().st_ino, file.stat().st_mtime_ns) for file in files] == before


def test_a_missing_half_is_added(earzip, archive, music, monkeypatch):
    monkeypatch.setenv("EARZIP_MODELS", str(MODELS))
    specification = weights_in(archive).with_suffix(".json")
    specification.unlink()
    assert earzip("compress", music, "-o", archive, "--with-model", *TINY).exit_code == 0
    assert specification.exists()


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_another_file_of_its_name_is_never_replaced(
    earzip, music, tmp_path, tiny_model, suffix, force
):
    target = tmp_path / "archive"
    own = weights_in(target).with_suffix(suffix)
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    run = ("compress", music / "one.flac", "-o", target, "--with-model", *TINY, *force)
    planned = earzip(*run, "--dry-run")
    outcome = earzip(*run)
    for each in (planned, outcome):
        assert each.exit_code == 3
        assert f"{own}: is there, but " in each.stderr
        assert "remove it" in each.stderr
    assert own.read_bytes() == b"mine"
    assert (target / "one.flac.earz").exists()


def test_a_place_that_cannot_be_written_fails_and_the_archives_are_made(
    earzip, music, tmp_path, tiny_model
):
    target = tmp_path / "archive"
    target.mkdir()
    (target / ".earzip").write_text("a file, not a directory")
    outcome = earzip("compress", music / "one.flac", "-o", target, "--with-model", *TINY, "--json")
    assert outcome.exit_code == 3
    assert outcome.statuses() == {"tiny.safetensors": "failed", "one.flac": "written"}
    assert "its directory cannot be created" in outcome.stderr


def test_weights_that_are_damaged_are_not_put_anywhere(earzip, music, tmp_path, monkeypatch):
    shutil.copytree(MODELS, tmp_path / "models")
    monkeypatch.setenv("EARZIP_MODELS", str(tmp_path / "models"))
    damage(tmp_path / "models" / "tiny.safetensors")
    target = tmp_path / "archive"
    outcome = earzip("compress", music, "-o", target, "--with-model", *TINY)
    assert outcome.exit_code == 1
    assert "weights have SHA-256" in outcome.stderr
    assert list((target / ".earzip").iterdir()) == []


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_weights_damaged_beside_the_archives_are_refused(earzip, archive, tmp_path):
    damage(weights_in(archive))
    outcome = earzip("restore", archive / "one.flac.earz", "-o", tmp_path / "out.flac")
    assert outcome.exit_code == 3
    assert f"{weights_in(archive)}: weights have SHA-256" in outcome.stderr
    assert not (tmp_path / "out.flac").exists()


def test_a_model_that_only_has_the_name_is_not_used(earzip, archive, tmp_path):
    for suffix in (".json", ".safetensors"):
        other = MODELS / f"tiny-transform{suffix}"
        shutil.copy(other, weights_in(archive).with_suffix(suffix))
    outcome = earzip("restore", archive / "one.flac.earz", "-o", tmp_path / "out.flac")
    assert outcome.exit_code == 3
    assert "which is not installed" in outcome.stderr


def test_one_further_up_serves_where_the_nearest_is_damaged(earzip, archive, tmp_path):
    shutil.copytree(archive / ".earzip", archive / "album" / ".earzip")
    damage(weights_in(archive / "album"))
    assert earzip("restore", archive / "album", "-o", tmp_path / "out").exit_code == 0


def test_names_of_the_files_do_not_matter(earzip, archive, tmp_path):
    for file in list((archive / ".earzip").iterdir()):
        file.rename(file.with_name(f"what-ever{file.suffix}"))
    os.mkfifo(archive / ".earzip" / "a.json")
    (archive / ".earzip" / "b.json").write_text("{}")
    assert earzip("restore", archive, "-o", tmp_path / "out").exit_code == 0


def test_no_run_takes_what_is_beside_for_music(earzip, archive, music, tmp_path, monkeypatch):
    monkeypatch.setenv("EARZIP_MODELS", str(MODELS))
    kept = music / ".earzip"
    kept.mkdir()
    write_sound(kept / "sound.flac")
    shutil.copy(music / "album" / "cover.jpg", kept)
    target = tmp_path / "archive-2"
    run = ("compress", music, "-o", target, "--copy-other", "--json", *TINY)
    assert set(earzip(*run).statuses()) == {"one.flac", "two.wav", "three.mp3", "cover.jpg"}
    assert not (target / ".earzip").exists()
    assert not (target / "sound.flac").exists()

    shutil.copy(archive / "one.flac.earz", archive / ".earzip")
    three = {"one.flac.earz", "two.wav.earz", "three.mp3.earz"}
    assert len(earzip("verify", archive, "--json").records) == 3 + 1
    restored = earzip("restore", archive, "-o", tmp_path / "out", "--copy-other", "--json")
    assert set(restored.statuses()) == three
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"album", "one.flac"}


def test_without_an_output_directory_each_source_has_it_beside(earzip, music, tmp_path, tiny_model):
    alone = write_sound(tmp_path / "alone" / "a.flac")
    silent = tmp_path / "no-music"
    silent.mkdir()
    (music / "album" / "text.flac").unlink()
    outcome = earzip("compress", music, alone, silent, "--with-model", *TINY)
    assert outcome.exit_code == 0
    assert weights_in(music).exists()
    assert weights_in(tmp_path / "alone").exists()
    assert not (silent / ".earzip").exists()
    assert not (music / "album" / ".earzip").exists()


def test_a_single_archive_has_it_in_its_directory(earzip, music, tmp_path, tiny_model):
    target = tmp_path / "new" / "x.earz"
    assert (
        earzip("compress", music / "one.flac", "-o", target, "--with-model", *TINY).exit_code == 0
    )
    assert weights_in(target.parent).exists()
    target = tmp_path / "piped" / "x.earz"
    sound = (music / "one.flac").read_bytes()
    piped = earzip("compress", "-", "-o", target, "--with-model", *TINY, stdin=sound)
    assert piped.exit_code == 0
    assert weights_in(target.parent).exists()


def test_standard_output_has_no_place_for_it(earzip, music, tiny_model):
    outcome = earzip("compress", music / "one.flac", "-o", "-", "--with-model", *TINY)
    assert outcome.exit_code == 2
    assert "--with-model needs a directory" in outcome.stderr


def test_a_dry_run_names_it_and_writes_nothing(earzip, music, tmp_path, tiny_model):
    target = tmp_path / "archive"
    run = ("compress", music / "one.flac", "-o", target, "--with-model", *TINY)
    outcome = earzip(*run, "--dry-run")
    assert outcome.exit_code == 0
    assert f"planned     {weights_in(target)}\n" in outcome.stdout
    assert not target.exists()
    assert earzip(*run).exit_code == 0
    assert ".earzip" not in earzip(*run, "--dry-run").stdout


def test_a_run_with_nothing_to_do_puts_it_nowhere(earzip, tmp_path, tiny_model):
    (tmp_path / "none").mkdir()
    target = tmp_path / "archive"
    assert earzip("compress", tmp_path / "none", "-o", target, "--with-model", *TINY).exit_code == 0
    assert not target.exists()


def test_the_configuration_may_ask_for_it(earzip, music, tmp_path, tiny_model):
    config = tmp_path / "config.toml"
    config.write_text('[compress]\nwith-model = true\nmodel = "tiny"\n')
    target = tmp_path / "archive"
    assert earzip("--config", config, "compress", music / "one.flac", "-o", target).exit_code == 0
    assert weights_in(target).exists()


def test_a_part_that_a_killed_run_left_is_removed(earzip, music, tmp_path, tiny_model):
    target = tmp_path / "archive"
    stale = target / ".earzip" / f".tiny.{'0' * 16}.earzip-tmp"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"half")
    run = ("compress", music / "one.flac", "-o", target, "--with-model", *TINY)
    assert earzip(*run).exit_code == 0
    assert not stale.exists()


def test_many_runs_at_once_put_one_whole_model(tmp_path):
    spec = find_model(str(MODELS / "tiny.json"))
    begin, failures = threading.Barrier(8), []

    def put() -> None:
        begin.wait()
        try:
            keep_model(spec, tmp_path)
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=put) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    assert is_kept(spec, tmp_path)
    weights = kept_weights(spec, tmp_path)
    assert sorted((tmp_path / ".earzip").iterdir()) == [weights.with_suffix(".json"), weights]
