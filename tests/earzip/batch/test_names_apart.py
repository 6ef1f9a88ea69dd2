"""Archives that would be restored to one name."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from earzip.batch.filters import Choice, Filters
from earzip.batch.jobs import Plan
from earzip.batch.plan import plan_batch
from earzip.options import Container
from earzip.tasks import archives_to_restore


def _archives(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    for path in paths:
        path.write_bytes(b"archive")
    return paths


def _names(plan: Plan) -> dict[str, str]:
    assert plan.refused == []
    return {job.source.name: job.target.name for job in plan.jobs if job.target}


CASES: list[tuple[Container, dict[str, str]]] = [
    ("flac", {"a.mp3.earz": "a.mp3.earz.flac", "a.mp3.flac.earz": "a.mp3.flac"}),
    ("wav", {"a.mp3.earz": "a.mp3.earz.wav", "a.mp3.wav.earz": "a.mp3.wav"}),
    ("wav", {"a.mp3.earz": "a.mp3.wav", "a.mp3.flac.earz": "a.mp3.flac.wav"}),
    (
        "mp3",
        {
            "a.flac.earz": "a.flac.earz.mp3",
            "a.mp3.earz": "a.mp3",
            "a.wav.earz": "a.wav.earz.mp3",
            "b.wav.earz": "b.mp3",
        },
    ),
    ("opus", {"a.flac.earz": "a.flac.earz.opus", "a.wav.earz": "a.wav.earz.opus"}),
    ("flac", {"A.MP3.EARZ": "A.MP3.EARZ.flac", "A.MP3.flac.earz": "A.MP3.flac"}),
    # Someone has archived what was restored.
    (
        "flac",
        {
            "a.mp3.earz": "a.mp3.earz.2.flac",
            "a.mp3.earz.flac.earz": "a.mp3.earz.flac",
            "a.mp3.flac.earz": "a.mp3.flac",
        },
    ),
]


@pytest.mark.parametrize(("container", "names"), CASES)
def test_each_archive_has_a_name_of_its_own_whatever_the_order(tmp_path, container, names):
    paths = _archives(tmp_path / "in", *names)
    selection = archives_to_restore(container)
    assert _names(plan_batch([tmp_path / "in"], selection, tmp_path / "out")) == names
    for order in permutations(paths):
        assert _names(plan_batch(order, selection, tmp_path / "out")) == names


@pytest.mark.parametrize("container", ["flac", "mp3"])
def test_one_alone_leaves_a_name_to_the_archive_beside_it(tmp_path, container):
    ours, _ = _archives(
        tmp_path, "a.wav.earz", f"a{'.wav' * (container == 'flac')}.{container}.earz"
    )
    selection, expected = archives_to_restore(container), {ours.name: f"a.wav.earz.{container}"}
    assert _names(plan_batch([ours], selection)) == expected
    chosen = Choice(Filters.of((), ("*.wav",)))
    assert _names(plan_batch([tmp_path], selection, choice=chosen)) == expected


def test_archives_of_several_folders_in_one_are_told_apart_too(tmp_path):
    _archives(tmp_path / "1", "a.mp3.earz")
    _archives(tmp_path / "2", "a.mp3.flac.earz")
    plan = plan_batch([tmp_path / "1", tmp_path / "2"], archives_to_restore(), tmp_path / "out")
    assert _names(plan) == {"a.mp3.earz": "a.mp3.earz.flac", "a.mp3.flac.earz": "a.mp3.flac"}


@pytest.mark.parametrize("name", ["a.flac.earz", "a.mp3.earz"])
def test_archives_of_one_name_in_one_folder_are_refused(tmp_path, name):
    _archives(tmp_path / "1", name)
    _archives(tmp_path / "2", name)
    plan = plan_batch([tmp_path / "1", tmp_path / "2"], archives_to_restore(), tmp_path / "out")
    assert plan.jobs == []
    assert ["has the same target as" in str(record.message) for record in plan.refused] == [
        True
    ] * 2


def test_an_archive_that_is_named_twice_keeps_both_of_its_places(tmp_path):
    _archives(tmp_path / "in" / "sub", "a.mp3.earz", "a.mp3.flac.earz")
    paths = [tmp_path / "in", tmp_path / "in" / "sub"]
    plan = plan_batch(paths, archives_to_restore(), tmp_path / "out")
    below = {str(job.target.relative_to(tmp_path / "out")) for job in plan.jobs if job.target}
    names = {"a.mp3.earz.flac", "a.mp3.flac"}
    assert below == names | {f"sub/{name}" for name in names}
