"""Shards are parts of a library: each file is in one, whoever asks and wherever the library lies."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from earzip.batch.plan import Selection, plan_batch
from earzip.batch.shard import Shard, Subset, only_shard, only_subset
from earzip.errors import UsageError

SOUND = Selection(
    takes=lambda name: name.endswith(".flac"),
    otherwise="not sound",
    target_name=lambda path: f"{path.name}.earz",
)


def _library(root: Path) -> Path:
    for album in ("one", "two", "ü \udcff"):
        for i in range(20):
            path = root / album / f"{i}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        (root / album / "cover.jpg").write_bytes(b"")
    (root / "one" / "gone.flac").symlink_to("nowhere")
    return root


def _of(shard: Shard, *paths: Path, below: Path) -> list[str]:
    plan = only_shard(plan_batch(paths, SOUND, below / "out"), shard, paths)
    files = [entry.source for each in (plan.jobs, plan.other_files, plan.refused) for entry in each]
    return sorted(str(file.relative_to(below)) for file in files)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shards_are_the_library_and_share_no_file(tmp_path, count):
    library = _library(tmp_path / "music")
    parts = [_of(Shard(i + 1, count), library, below=tmp_path) for i in range(count)]
    whole = _of(Shard(1, 1), library, below=tmp_path)
    assert len(whole) == 64
    assert sorted(chain.from_iterable(parts)) == whole
    assert all(parts)


def test_a_shard_is_the_same_wherever_the_library_lies_and_however_it_is_named(
    tmp_path, monkeypatch
):
    here, there = _library(tmp_path / "a" / "music"), _library(tmp_path / "b")
    shard = Shard(2, 3)
    expected = _of(shard, here, below=here)
    assert _of(shard, there, below=there) == expected
    monkeypatch.chdir(here)
    assert _of(shard, Path(), below=Path()) == expected
    assert _of(shard, Path("../music/"), below=Path("../music")) == expected


def test_files_that_are_named_go_by_their_names(tmp_path):
    library = _library(tmp_path / "music")
    named = sorted((library / "one").glob("[0-9]*.flac"))
    parts = [_of(Shard(i + 1, 4), *named, below=library / "one") for i in range(4)]
    assert sorted(chain.from_iterable(parts)) == sorted(path.name for path in named)
    assert parts[0] == _of(Shard(1, 4), library / "one", below=library / "one")[: len(parts[0])]


@pytest.mark.parametrize(
    "text",
    ["0/8", "9/8", "1/0", "3", "1/8/9", "-1/8", "a/b", "", "1/8 ", "auto/", "Auto"],
)
def test_what_is_no_shard_is_a_usage_error(text):
    with pytest.raises(UsageError, match="shard is "):
        Shard.parse(text)


def test_auto_is_the_task_of_an_array():
    array = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "0"}
    assert Shard.parse("auto", array) == Shard(8, 8)
    assert Shard.parse("auto/8", array) == Shard(8, 8)
    assert Shard.parse("auto/8", {"JOB_COMPLETION_INDEX": "2"}) == Shard(3, 8)


def _of_subset(subset: Subset, *paths: Path) -> set[Path]:
    plan = plan_batch(paths, SOUND)
    only_subset(plan, subset, paths)
    assert plan.refused  # what cannot be read is for every day
    return {job.source for job in plan.jobs}


def test_subsets_are_the_library_and_a_file_stays_in_its_own_as_others_come(tmp_path):
    library = _library(tmp_path / "music")
    parts = [_of_subset(Subset(i + 1, 5), library) for i in range(5)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 60
    for i in range(30):
        (library / "one" / f"new {i}.flac").write_bytes(b"")
    grown = [_of_subset(Subset(i + 1, 5), library) for i in range(5)]
    assert all(before <= after for before, after in zip(parts, grown, strict=True))


def test_a_shard_of_a_subset_is_a_part_of_it(tmp_path):
    library = _library(tmp_path / "music")
    plan = plan_batch([library], SOUND)
    only_subset(plan, Subset(1, 2), [library])
    shards = [only_shard(plan, Shard(i + 1, 2), [library]).jobs for i in range(2)]
    assert all(shards)
    assert sum(map(len, shards)) == len(plan.jobs)


def test_auto_is_another_subset_each_day_and_all_of_them_in_turn():
    days = [Subset.parse("auto/30", now_s=86_400 * day + 10) for day in range(20_000, 20_030)]
    assert {subset.number for subset in days} == set(range(1, 31))
    assert days[1].number == days[0].number % 30 + 1
    assert Subset.parse("auto/30", now_s=86_400 * 20_001 - 1) == days[0]  # the day of UTC ends
    assert Subset.parse("2/30") == Subset(2, 30)


@pytest.mark.parametrize("text", ["auto", "auto/0", "auto/", "0/30", "31/30", "3", "", "5%", "1/0"])
def test_what_is_no_subset_is_a_usage_error(text):
    with pytest.raises(UsageError, match="subset is "):
        Subset.parse(text)
