"""Training samples: ``earzip latents --format npy`` and the shards, and the loaders that read them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import stat
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC

import earzip.webdataset
from earzip import DamagedArchiveError, NotAnArchiveError
from earzip import open as open_archive
from tests.cli.batch_runs import Run, wait_for
from tests.conftest import tones
from tests.earzip.tiny_archives import damage_segment

webdataset = pytest.importorskip("webdataset")

NAMES = ("one.flac", "Live. 1999/01. two.flac", "Live. 1999/three.flac")
TEXT = ("name", "text", "model", "model_sha256", "quality", "archive", "tags", "title", "artist")
"""Keys of a sample's JSON that are text, among others."""


@pytest.fixture
def archives(earzip, tiny_model, tmp_path):
    """Archives of three tracks, two of which have tags."""
    for i, name in enumerate(NAMES):
        path = tmp_path / "Music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tones(20_000 + 4_410 * i, i).T, 44_100)
        if i:
            tags = FLAC(path)
            tags["title"], tags["artist"], tags["mood"] = f"Song {i}", ["Ann", "Bob"], "calm"
            tags.save()
    folder = tmp_path / "Archive"
    assert (
        earzip("compress", "--model", tiny_model, tmp_path / "Music", "-o", folder).exit_code == 0
    )
    return folder


@pytest.fixture
def shards(earzip, archives, tmp_path):
    """Make shards of two tracks; return their paths."""

    def make(form: str = "webdataset", *options: object) -> list[Path]:
        folder = tmp_path / form
        arguments = ("--format", form, "--samples-per-shard", 2, *options)
        outcome = earzip("latents", archives, "-o", folder, *arguments)
        assert outcome.exit_code == 0, outcome.stderr
        return sorted(folder.glob("*.tar"))

    return make


def latents_of(archive: Path) -> np.ndarray:
    with open_archive(archive) as track:
        return np.concatenate(list(track.latents()), 1)


def samples_of(paths: list[Path], *decoders: object) -> dict[str, dict]:
    """Return what webdataset reads: each sample by the name in its JSON."""
    dataset = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False)
    return {sample["json"]["name"]: sample for sample in dataset.decode(*decoders)}


def test_webdataset_reads_shards(shards, archives):
    paths = shards()
    assert [path.name for path in paths] == ["latents-000000.tar", "latents-000001.tar"]
    samples = samples_of(paths)
    assert set(samples) == set(NAMES)
    for name, sample in samples.items():
        assert sample["npy"].dtype == np.float32
        np.testing.assert_array_equal(sample["npy"], latents_of(archives / f"{name}.earz"))
        assert sample["__key__"] == hashlib.sha256(name.encode()).hexdigest()[:32]


def test_facts_have_the_same_keys_and_types_in_every_sample(shards):
    samples = samples_of(shards())
    kinds = [{key: type(value) for key, value in s["json"].items()} for s in samples.values()]
    assert kinds[0] == kinds[1] == kinds[2]
    assert all(kinds[0][key] is str for key in TEXT)
    assert {kinds[0][key] for key in ("seconds_total", "gain_db")} == {float}
    untagged, tagged = samples[NAMES[0]]["json"], samples[NAMES[1]]["json"]
    assert (untagged["title"], untagged["text"], json.loads(untagged["tags"])) == ("", "", {})
    assert (tagged["title"], tagged["artist"]) == ("Song 1", "Ann; Bob")
    assert tagged["text"] == "Song 1, Ann; Bob"
    assert json.loads(tagged["tags"])["mood"] == ["calm"]


def test_facts_are_those_that_stable_audio_tools_asks_for(shards, archives, earzip, tmp_path):
    """As its loaders read them: a mask of a 1 for each frame, seconds, ``text`` for the prompt."""
    earzip("latents", archives, "-o", tmp_path / "npy", "--format", "npy")
    found = sorted((tmp_path / "npy").rglob("*.npy"))
    assert len(found) == 3
    pairs = [
        (np.load(p), json.loads(Path(str(p).replace(".npy", ".json")).read_text())) for p in found
    ]
    for path in shards():
        with tarfile.open(path) as tar:
            files = {info.name: tar.extractfile(info).read() for info in tar}
        for name in (name for name in files if name.endswith(".npy")):
            array = np.lib.format.read_array(io.BytesIO(files[name]))
            pairs.append((array, json.loads(files[name.replace(".npy", ".json")])))
    assert len(pairs) == 6
    for array, facts in pairs:
        assert facts["padding_mask"] == [1] * array.shape[1]
        assert facts["seconds_total"] == pytest.approx(facts["n_samples"] / 44_100)
        assert isinstance(facts["text"], str)


def test_datasets_streams_shards(shards, archives):
    datasets = pytest.importorskip("datasets", reason="needs the extra datasets")
    for form in ("webdataset", "webdataset-earz"):
        files = [str(path) for path in shards(form)]
        found = datasets.load_dataset(
            "webdataset", data_files=files, split="train", streaming=True
        ).with_format("numpy")
        names = set()
        for sample in found:
            names.add(name := str(sample["json"]["name"]))
            is_array = form == "webdataset"
            array = sample["npy"] if is_array else earzip.webdataset.decode("earz", sample["earz"])
            np.testing.assert_array_equal(array, latents_of(archives / f"{name}.earz"))
        assert names == set(NAMES)


def test_archives_in_shards_are_decoded_by_the_loader(shards, archives):
    paths = shards("webdataset-earz")
    assert [path.name for path in paths] == ["archives-000000.tar", "archives-000001.tar"]
    samples = samples_of(paths, earzip.webdataset.decode)
    assert set(samples) == set(NAMES)
    for name, sample in samples.items():
        np.testing.assert_array_equal(sample["earz"], latents_of(archives / f"{name}.earz"))
    with tarfile.open(paths[0]) as tar:
        kept = {tar.extractfile(i).read() for i in tar if i.name.endswith(".earz")}
    assert kept <= {path.read_bytes() for path in archives.rglob("*.earz")}


def test_a_plain_tar_of_archives_is_decoded_too(archives, tmp_path):
    with tarfile.open(tmp_path / "plain.tar", "w") as tar:
        tar.add(archives / "one.flac.earz", "one.flac.earz")
    (sample,) = webdataset.WebDataset(str(tmp_path / "plain.tar"), shardshuffle=False).decode(
        earzip.webdataset.decode
    )
    np.testing.assert_array_equal(sample["flac.earz"], latents_of(archives / "one.flac.earz"))


def test_the_decoder_passes_on_what_is_no_archive_and_names_what_is_damaged(archives):
    assert earzip.webdataset.decode("json", b"{}") is None
    with pytest.raises(NotAnArchiveError, match=r"^a\.earz: "):
        earzip.webdataset.decode("a.earz", b"no archive" * 100)
    damage_segment(archives / "one.flac.earz", 0)
    with pytest.raises(DamagedArchiveError, match=r"^\.earz: .*bytes have changed"):
        earzip.webdataset.decode(".earz", (archives / "one.flac.earz").read_bytes())


def test_float16_halves_arrays_and_is_as_near_as_it_can_be(shards, archives):
    for name, sample in samples_of(shards("webdataset", "--dtype", "float16")).items():
        wanted = latents_of(archives / f"{name}.earz")
        assert sample["npy"].dtype == np.float16
        np.testing.assert_array_equal(sample["npy"], wanted.astype(np.float16))


@pytest.mark.parametrize("form", ["webdataset", "webdataset-earz"])
def test_shards_are_the_same_bytes_each_time_and_stay_as_they_are(
    form, shards, archives, earzip, tmp_path
):
    first = {path.name: path.read_bytes() for path in shards(form)}
    times = [path.stat().st_mtime_ns for path in shards(form)]  # again: up to date
    assert times == [path.stat().st_mtime_ns for path in shards(form)]
    moved = shutil.copytree(archives, tmp_path / "elsewhere" / "Copy")
    os.utime(moved / "one.flac.earz", (1, 1))
    arguments = ("--format", form, "--samples-per-shard", 2)
    outcome = earzip("latents", moved, "-o", tmp_path / "again", *arguments)
    assert outcome.exit_code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == first


def test_a_run_goes_on_with_the_shards_that_are_missing(shards):
    whole = {path: path.read_bytes() for path in shards()}
    kept, lost = sorted(whole)
    lost.unlink()
    before = kept.stat().st_mtime_ns
    assert {path: path.read_bytes() for path in shards()} == whole
    assert kept.stat().st_mtime_ns == before


def test_shards_of_other_samples_are_refused_and_replaced_by_force(
    shards, archives, earzip, tmp_path
):
    paths = shards()
    before = paths[0].read_bytes()
    arguments = ("--format", "webdataset", "--samples-per-shard", 2, "--dtype", "float16")
    outcome = earzip("latents", archives, "-o", paths[0].parent, *arguments)
    assert outcome.exit_code == 3
    assert "already exists with other samples; use --force" in outcome.stderr
    assert paths[0].read_bytes() == before
    assert earzip("latents", archives, "-o", paths[0].parent, *arguments, "--force").exit_code == 0
    assert {s["npy"].dtype.name for s in samples_of(paths).values()} == {"float16"}


def test_a_shard_that_was_cut_short_or_added_to_is_not_up_to_date(shards, archives, earzip):
    for change in (lambda data: data[:-512], lambda data: data + bytes(512)):
        path = shards("webdataset", "--force")[0]
        path.write_bytes(change(path.read_bytes()))
        arguments = ("--format", "webdataset", "--samples-per-shard", 2)
        assert earzip("latents", archives, "-o", path.parent, *arguments).exit_code == 3


def test_shards_of_another_run_are_never_left_among_those_of_this_one(shards, archives, earzip):
    paths = shards()
    for options in ([], ["--force"]):
        outcome = earzip(
            "latents", archives, "-o", paths[0].parent, "--format", "webdataset", *options
        )
        assert outcome.exit_code == 1
        assert "has latents-000001.tar, beyond the 1 shard of these archives" in outcome.stderr


@pytest.mark.parametrize("form", ["webdataset", "webdataset-earz"])
@pytest.mark.parametrize("damaged", NAMES)  # first, last and between in the order of keys
def test_a_damaged_archive_is_left_out_and_named(form, damaged, archives, earzip, tmp_path):
    with open_archive(archives / f"{damaged}.earz") as track:
        assert track.n_segments > 1  # so that a part of the sample is written when damage is found
        last = track.n_segments - 1
    damage_segment(archives / f"{damaged}.earz", last)
    (archives / "none.earz").write_bytes(b"no archive")
    outcome = earzip("latents", archives, "-o", tmp_path / "out", "--format", form, "--json")
    assert outcome.exit_code == 3
    records = {Path(r["source"]).name: r for r in outcome.records if r["type"] == "file"}
    assert records["none.earz"]["status"] == "failed"
    (shard,) = (record for name, record in records.items() if name.endswith(".tar"))
    assert (shard["status"], shard["n_tracks"]) == ("incomplete", 2)
    assert shard["message"] == "1 of 3 archives left out"
    assert f"{damaged}.earz: 0:0" in shard["warnings"][0]
    assert Path(shard["target"]).stat().st_size == shard["shard_bytes"]
    assert set(samples_of([Path(shard["target"])])) == set(NAMES) - {damaged}


@pytest.mark.parametrize("form", ["webdataset", "webdataset-earz"])
@pytest.mark.parametrize("damaged", NAMES)
def test_a_shard_is_made_whole_once_its_archives_are(form, damaged, archives, earzip, tmp_path):
    archive = archives / f"{damaged}.earz"
    whole = archive.read_bytes()
    arguments = ("latents", archives, "-o", tmp_path / "out", "--format", form)
    damage_segment(archive, 0)
    for _ in range(2):  # as long as it is damaged, a run says so
        outcome = earzip(*arguments)
        assert outcome.exit_code == 3
        assert "1 of 3 archives left out" in outcome.stderr
    archive.write_bytes(whole)
    assert earzip(*arguments).exit_code == 0
    assert set(samples_of(list((tmp_path / "out").iterdir()))) == set(NAMES)
    assert "1 up to date" in earzip(*arguments).stderr


def test_a_sample_of_an_archive_that_is_damaged_now_is_not_lost(archives, earzip, tmp_path):
    one, two, _ = (archives / f"{name}.earz" for name in NAMES)
    whole = one.read_bytes()
    arguments = ("latents", archives, "-o", tmp_path / "out", "--format", "webdataset")
    damage_segment(one, 0)
    assert earzip(*arguments).exit_code == 3
    (shard,) = (tmp_path / "out").iterdir()
    before = shard.read_bytes()
    one.write_bytes(whole)
    damage_segment(two, 0)
    outcome = earzip(*arguments)
    assert outcome.exit_code == 3
    assert "already exists, with the sample of an archive that is damaged now" in outcome.stderr
    assert shard.read_bytes() == before


def test_a_shard_of_nothing_is_not_written(archives, earzip, tmp_path):
    damage_segment(archives / "one.flac.earz", 0)
    arguments = (archives / "one.flac.earz", "-o", tmp_path / "out", "--format", "webdataset")
    outcome = earzip("latents", *arguments)
    assert outcome.exit_code == 3
    assert "no archive is left for it" in outcome.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_archives_of_several_models_are_refused(archives, earzip, tmp_path):
    song = tmp_path / "Music" / "one.flac"
    earzip("compress", "--model", "tiny-transform", song, "-o", archives / "other.flac.earz")
    arguments = (archives, "-o", tmp_path / "out", "--format", "webdataset")
    outcome = earzip("latents", *arguments)
    assert outcome.exit_code == 2
    assert "archives are of 2 models" in outcome.stderr
    assert not (tmp_path / "out").exists()
    assert earzip("latents", *arguments, "--where", "model=tiny").exit_code == 0
    assert set(samples_of(list((tmp_path / "out").iterdir()))) == set(NAMES)


def test_a_track_without_sound_is_no_sample(archives, earzip, tiny_model, tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), 44_100)
    earzip("compress", "--model", tiny_model, tmp_path / "empty.wav", "-o", archives)
    arguments = (archives, "-o", tmp_path / "out", "--format", "webdataset", "--json")
    outcome = earzip("latents", *arguments)
    assert outcome.exit_code == 0
    assert outcome.statuses()["empty.wav.earz"] == "skipped"
    assert set(samples_of(list((tmp_path / "out").iterdir()))) == set(NAMES)


def test_shards_are_as_private_as_their_most_private_archive(archives, earzip, tmp_path):
    (archives / "one.flac.earz").chmod(0o600)
    earzip("latents", archives, "-o", tmp_path / "out", "--format", "webdataset")
    (shard,) = (tmp_path / "out").iterdir()
    assert stat.S_IMODE(shard.stat().st_mode) == 0o600


def test_a_dry_run_lists_shards_and_writes_none(archives, earzip, tmp_path):
    arguments = ("--format", "webdataset", "--samples-per-shard", 2, "--dry-run")
    outcome = earzip("latents", archives, "-o", tmp_path / "out", *arguments)
    assert outcome.exit_code == 0
    assert "latents-000001.tar" in outcome.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "webdataset"], "need a directory: -o DIR"),
        (["--format", "webdataset", "-o", "-"], "need a directory: -o DIR"),
        (["--format", "webdataset-earz", "-o", "x", "--dtype", "float16"], "--dtype is for arrays"),
        (["--format", "npy", "--samples-per-shard", "5"], "--samples-per-shard is for webdataset"),
        (["--format", "npy", "-o", "-"], "writes two files"),
        (["--format", "webdataset", "-o", "x.tar"], "is named like a file"),
    ],
)
def test_contradictions_are_refused(archives, earzip, arguments, message):
    outcome = earzip("latents", archives, *arguments)
    assert outcome.exit_code == 2
    assert message in outcome.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_ends_early_leaves_whole_shards_and_the_next_one_the_others(
    number, archives, earzip, tmp_path
):
    many = tmp_path / "Many"
    many.mkdir()
    for i in range(300):
        os.link(archives / f"{NAMES[1]}.earz", many / f"{i}.earz")
    arguments = ("latents", many, "--format", "webdataset", "--samples-per-shard", 50)
    out = tmp_path / "out"
    run = Run(tmp_path / "log", *arguments, "-o", out)
    wait_for(lambda: list(out.glob("*.tar")) or run.is_over)
    os.kill(run.process.pid, number)
    assert run.process.wait() == (-number if number == signal.SIGKILL else 75)
    left = {path.name: path.read_bytes() for path in out.glob("*.tar")}
    assert 0 < len(left) < 6
    assert earzip(*arguments, "-o", out).exit_code == 0
    assert earzip(*arguments, "-o", tmp_path / "undisturbed").exit_code == 0
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "undisturbed").iterdir()}
    assert {path.name: path.read_bytes() for path in out.iterdir()} == wanted
    assert left.items() <= wanted.items()
