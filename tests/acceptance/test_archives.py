"""A library of real music becomes archives, which say what their sources were."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earzip.formats.audio.resample import stereo_44k
from earzip.formats.audio.source import open_source
from earzip.formats.tags.read import read_tags
from earzip.transcode.inspect import verify_archive
from tests.acceptance.conftest import GOOD, Archived, Library, by_source, tree
from tests.acceptance.music_folder import ITEMS, NOT_SOUND, SIDECARS, Item
from tests.acceptance.sound import (
    Shape,
    as_long,
    decode,
    decoded_shape,
    power,
    probe_stream,
    sample_format,
)
from tests.cli.batch_runs import contents

pytestmark = pytest.mark.acceptance

BAD = [item.name for item in ITEMS if item.fate == "refused"] + list(NOT_SOUND)
_SLACK_FRAMES = 2 * 4096  # of a cut lossy stream: decoders differ in what they make of its end
_LEAST_READING_SNR_DB = 40.0  # MP3 and Opus decoders differ in their arithmetic
_REPEATED = ["FLAC/With a cue sheet block.flac", "Odd ones/48k.wav", "Vorbis/Caves.ogg"]
_FLIPPED = [*_REPEATED, "Odd ones/mono.flac", "Others/Goldenvalley.m4a"]
_FLIPS = 2000

each_item = pytest.mark.parametrize("item", GOOD, ids=lambda item: item.name)


def test_a_run_with_bad_files_ends_with_3(archived: Archived) -> None:
    assert archived.ended.exit_code == 3


@each_item
def test_a_sound_is_archived_and_told_if_it_was_cut(
    library: Library, archived: Archived, item: Item
) -> None:
    library.source(item)
    record = archived.records[item.name]
    assert (record["status"], record["message"]) == ("written", None)
    told = any("cut short" in warning for warning in record["warnings"])
    assert told == (item.fate == "truncated")


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_named_with_its_reason(
    library: Library, archived: Archived, name: str
) -> None:
    record = archived.records[name]
    assert record["status"] == "failed"
    assert record["message"]
    assert f"failed: {library.music / name}: {record['message']}" in archived.ended.stderr


def test_there_are_archives_of_what_can_be_read_and_nothing_else(
    library: Library, archived: Archived
) -> None:
    names = [item.name for item in GOOD if (library.music / item.name).exists()]
    assert sorted(contents(archived.folder)) == sorted(f"{name}.earz" for name in names)
    assert library.left_behind() == []
    assert {archived.records[name]["status"] for name in SIDECARS} == {"skipped"}


def test_a_second_run_changes_nothing_and_names_the_same_failures(
    library: Library, archived: Archived
) -> None:
    ended = library.earzip("compress", library.music, "-o", archived.folder)
    assert ended.exit_code == 3
    records = by_source(ended, library.music)
    statuses = {name: record["status"] for name, record in archived.records.items()}
    again = {"written": "up_to_date"}
    assert {name: record["status"] for name, record in records.items()} == {
        name: again.get(status, status) for name, status in statuses.items()
    }
    assert all(records[name]["message"] == archived.records[name]["message"] for name in BAD)
    assert tree(archived.folder) == archived.before


def test_sidecars_are_copied_on_request(library: Library, archived: Archived) -> None:
    folder = library.root / "with sidecars"
    shutil.copytree(archived.folder, folder)
    before = contents(folder)
    ended = library.earzip("compress", library.music, "-o", folder, "--copy-other")
    assert ended.exit_code == 3
    assert contents(folder).keys() == before.keys() | SIDECARS.keys()
    assert {name: (folder / name).read_bytes() for name in SIDECARS} == SIDECARS


@pytest.mark.parametrize("options", [[], ["--decode"]], ids=["structure", "decoded"])
def test_archives_are_whole_and_only_read(
    library: Library, archived: Archived, options: list[str]
) -> None:
    ended = library.earzip("verify", archived.folder, *options)
    assert ended.exit_code == 0
    assert [record["status"] for record in ended.records] == ["intact"] * len(archived.before)
    assert tree(archived.folder) == archived.before


@each_item
def test_an_archive_says_what_its_source_was(
    library: Library, infos: dict[str, dict[str, Any]], item: Item
) -> None:
    path = library.source(item)
    found = infos[item.name]["source"]
    facts = sample_format(path) | {"name": path.name, "n_bytes": path.stat().st_size}
    assert {fact: found[fact] for fact in facts} == facts
    assert bool(found["truncated"]) == (item.fate == "truncated")
    assert len(infos[item.name]["picture_bytes"]) == len(read_tags(path).pictures)


@each_item
def test_an_archive_is_as_long_as_its_source(
    library: Library, infos: dict[str, dict[str, Any]], item: Item
) -> None:
    wanted = decoded_shape(library.source(item))
    info = infos[item.name]
    source = info["source"]
    shape = Shape(source["sample_rate"], source["channels"], source["n_frames"])
    assert (shape.sample_rate, shape.channels) == (wanted.sample_rate, wanted.channels)
    slack = 0
    if item.fate == "truncated" and not source["lossless"]:
        slack = _SLACK_FRAMES
    elif item.suffix == "m4a":
        slack = shape.sample_rate // 1000  # ffmpeg goes by the edit list, of milliseconds
    assert abs(shape.n_frames - wanted.n_frames) <= slack
    assert info["n_samples"] == shape.n_samples_44k()


@each_item
def test_a_source_is_read_as_ffmpeg_reads_it(library: Library, item: Item) -> None:
    path = library.source(item)
    if probe_stream(path)["channels"] > 2:
        pytest.skip("ffmpeg mixes them down at another level")
    with open_source(path) as source:
        read = np.concatenate(list(stereo_44k(source)), 1).T
    got, wanted = as_long(read, decode(path))
    snr = power(wanted) / max(power(got - wanted), 1e-20)
    assert 10 * np.log10(snr) >= _LEAST_READING_SNR_DB


@pytest.mark.parametrize(
    "options",
    [[], ["--threads", 1], ["--threads", 2], ["--batch-size", 1]],
    ids=["again", "1 thread", "2 threads", "batches of 1"],
)
def test_archives_have_the_same_bytes_each_time(
    library: Library, archived: Archived, tmp_path: Path, options: list[object]
) -> None:
    files = [library.music / name for name in _REPEATED]
    assert library.earzip("compress", *files, "-o", tmp_path, *options).exit_code == 0
    expected = {
        path.name: (archived.folder / f"{name}.earz").read_bytes()
        for name, path in zip(_REPEATED, files, strict=True)
    }
    assert {p.stem: p.read_bytes() for p in tmp_path.iterdir()} == expected


@pytest.mark.parametrize("name", _FLIPPED)
def test_every_changed_byte_is_found(archived: Archived, tmp_path: Path, name: str) -> None:
    archive = archived.folder / f"{name}.earz"
    content, copy = archive.read_bytes(), tmp_path / "a.earz"
    copy.write_bytes(content)
    chance = random.Random(name)
    missed = []
    with copy.open("r+b", buffering=0) as file:
        for flip in range(_FLIPS):
            # The parts before the sound are small: every second flip goes there.
            place = chance.randrange(len(content) if flip % 2 else min(len(content), 4096))
            value = content[place] ^ chance.randrange(1, 256)
            os.pwrite(file.fileno(), bytes([value]), place)
            if verify_archive(copy).is_whole:
                missed.append(f"byte {place} from {content[place]} to {value}")
            os.pwrite(file.fileno(), content[place : place + 1], place)
    assert missed == []
