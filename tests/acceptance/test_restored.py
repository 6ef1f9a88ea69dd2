"""Archives of real music become sounds again, with their tags; other programs are the judges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile

from earzip.formats.tags.read import read_tags
from tests.acceptance.conftest import GOOD, Archived, Library, by_source, tree
from tests.acceptance.music_folder import Item
from tests.acceptance.sound import (
    SAMPLE_RATE,
    Shape,
    as_long,
    decode,
    power,
    probe_stream,
    written_shapes,
)
from tests.cli.batch_runs import Ended, contents
from tests.formats.tags.tag_files import id3_of

pytestmark = pytest.mark.acceptance

# Against mistakes, not to judge quality: a coder takes something from noise, and changes it.
_MAX_LEVEL_DB = 2.0
_LEAST_CORRELATION = 0.3  # of a wrong or shifted file it is about 0
_WAYS: dict[str, list[str]] = {
    "flac": [],
    "wav": ["--format", "wav"],
    "as the source": ["--format", "wav", "--as-source"],
}

each_item = pytest.mark.parametrize("item", GOOD, ids=lambda item: item.name)


@dataclass(frozen=True)
class Restored:
    """The archives restored in one way."""

    way: str
    folder: Path
    ended: Ended
    records: dict[str, dict[str, Any]]
    """By archive."""

    @property
    def container(self) -> str:
        """The extension of the files."""
        return "flac" if self.way == "flac" else "wav"

    def path(self, name: str) -> Path:
        """Return what the archive of the source ``name`` becomes."""
        same = name.endswith(f".{self.container}")
        return self.folder / (name if same else f"{name}.{self.container}")

    def record(self, item: Item) -> dict[str, Any]:
        """Return what the command said of the archive of ``item``."""
        return self.records[f"{item.name}.earz"]


@pytest.fixture(scope="module", params=_WAYS)
def restored(request: pytest.FixtureRequest, library: Library, archived: Archived) -> Restored:
    """Return everything, restored in each way."""
    way = request.param
    folder = library.root / way
    ended = library.earzip("restore", archived.folder, "-o", folder, *_WAYS[way])
    return Restored(way, folder, ended, by_source(ended, archived.folder))


def test_every_archive_is_restored_and_nothing_else_is_there(
    library: Library, archived: Archived, restored: Restored
) -> None:
    assert restored.ended.exit_code == 0
    assert {record["status"] for record in restored.records.values()} == {"written"}
    names = [name.removesuffix(".earz") for name in contents(archived.folder)]
    expected = [restored.path(name).relative_to(restored.folder).as_posix() for name in names]
    assert sorted(contents(restored.folder)) == sorted(expected)
    assert library.left_behind() == []


def test_a_second_run_changes_nothing(
    library: Library, archived: Archived, restored: Restored
) -> None:
    before = tree(restored.folder)
    options = _WAYS[restored.way]
    ended = library.earzip("restore", archived.folder, "-o", restored.folder, *options)
    assert ended.exit_code == 0
    assert {record["status"] for record in ended.records} == {"up_to_date"}
    assert tree(restored.folder) == before


def test_sources_and_archives_are_only_read(
    library: Library, archived: Archived, restored: Restored
) -> None:
    assert tree(library.music) == library.before
    assert tree(archived.folder) == archived.before


@each_item
def test_a_restored_file_has_its_exact_length_depth_and_time(
    library: Library, restored: Restored, infos: dict[str, dict[str, Any]], item: Item
) -> None:
    source, path = library.source(item), restored.path(item.name)
    said = infos[item.name]["source"]
    shape = Shape(said["sample_rate"], said["channels"], said["n_frames"])
    if restored.way == "as the source":
        expected = Shape(shape.sample_rate, min(shape.channels, 2), shape.n_frames)
    else:
        expected = Shape(SAMPLE_RATE, 2, shape.n_samples_44k())
    assert written_shapes(path) == (expected, expected)  # by libsndfile and by ffprobe
    assert soundfile.info(path).subtype == ("PCM_24" if said["lossless"] else "PCM_16")
    assert path.stat().st_mtime_ns == source.stat().st_mtime_ns


@each_item
def test_tags_are_there_or_told_to_be_lost(
    library: Library, restored: Restored, item: Item
) -> None:
    source, path = library.source(item), restored.path(item.name)
    before, after = read_tags(source), read_tags(path)
    losses = restored.record(item)["tag_losses"]
    for name, values in before.fields.items():
        assert after.fields.get(name) == values or any(repr(name) in loss for loss in losses), name
    assert [image.data for image in after.pictures] == [image.data for image in before.pictures]
    chapters = [(chapter.start_ms, chapter.title) for chapter in before.chapters]
    assert [(chapter.start_ms, chapter.title) for chapter in after.chapters] == chapters


@each_item
def test_tags_of_the_same_family_are_as_they_were(
    library: Library, restored: Restored, item: Item
) -> None:
    source, path = library.source(item), restored.path(item.name)
    if restored.container == "flac" and item.suffix in ("flac", "ogg", "oga", "opus"):
        before, after = mutagen.File(source), mutagen.File(path)
        comments = [pair for pair in before.tags if pair[0] != "METADATA_BLOCK_PICTURE"]
        assert list(after.tags) == comments
        told = any("cue" in loss for loss in restored.record(item)["tag_losses"])
        assert told or getattr(before, "cuesheet", None) == after.cuesheet
    elif restored.container == "wav" and item.suffix in ("mp3", "wav", "aiff"):
        if item.name != "Cut/cut.wav":  # whose tags stood at the end
            assert id3_of(path) == id3_of(source)
    else:
        pytest.skip("another family")


@pytest.mark.parametrize("restored", ["flac"], indirect=True)
@each_item
def test_the_sound_is_like_its_source_in_place_and_as_loud(
    library: Library, restored: Restored, item: Item
) -> None:
    source, path = library.source(item), restored.path(item.name)
    got, wanted = as_long(decode(path), decode(source))
    product = float(np.sum(got * wanted, dtype=np.float64))
    assert product / np.sqrt(power(got) * power(wanted)) >= _LEAST_CORRELATION
    if probe_stream(source)["channels"] <= 2:  # ffmpeg mixes more of them down at another level
        assert abs(10 * np.log10(power(got) / power(wanted))) <= _MAX_LEVEL_DB
