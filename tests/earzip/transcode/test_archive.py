"""Archives opened from Python: facts, samples, latents, tags and pictures on demand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import earzip
from earzip.coding.quantizer import step_sizes
from earzip.errors import (
    DamagedArchiveError,
    ModelNotFoundError,
    NotAnArchiveError,
    UsageError,
)
from earzip.formats.archive.reader import ArchiveReader
from earzip.transcode.latents import extract_latents
from tests.conftest import MODELS, tones
from tests.earzip.tiny_archives import TINY, damage_segment, exact

PICTURES = [
    earzip.Picture(3, "image/png", "front", b"\x89PNG" + bytes(100)),
    earzip.Picture(4, "image/jpeg", "back", b"\xff\xd8" + bytes(200)),
]
CHAPTERS = [earzip.Chapter(0, 500, "one"), earzip.Chapter(500, None, "two")]


@pytest.fixture
def tagged(tmp_path: Path, tiny_model: str) -> Path:
    """An archive with tags, two pictures, of which one is used twice, and chapters."""
    path = tmp_path / "tagged.earz"
    encoded = earzip.encode(tones(50_000), 44_100, model=tiny_model)
    tags = {"Title": "Song", "artist": ["A", "B"]}
    encoded.write(path, tags=tags, pictures=[*PICTURES, PICTURES[0]], chapters=CHAPTERS)
    return path


def test_facts_are_those_of_info(archive):
    info = earzip.read_info(archive)
    with earzip.open(archive) as track:
        assert (track.rate, track.n_samples, track.quality) == (44_100, 70_001, "medium")
        assert (track.model, track.n_latents) == (
            info.header.model.name,
            info.header.model.n_latents,
        )
        assert (track.duration_s, track.n_frames) == (info.header.duration_s, info.header.n_frames)
        assert (track.hop, track.n_segments) == (info.header.geometry.hop, info.header.n_segments)
        assert track.gain_db == info.header.gain_centibels / 10
        assert track.source.name == "song.flac"
        assert (track.path, track.info) == (archive, info)


def test_samples_are_those_that_open_sound_gives(archive):
    with earzip.open_sound(archive) as sound:
        wanted = np.concatenate(list(sound.blocks()), axis=1)
    with earzip.open(archive) as track:
        for _ in range(2):  # as often as one likes
            got = np.concatenate(list(track.samples()), axis=1)
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got, wanted)


def test_a_range_is_a_part_of_the_samples(archive):
    with earzip.open(archive) as track:
        whole = np.concatenate(list(track.samples()), axis=1)
        part = np.concatenate(list(track.samples(0.5, 1.25)), axis=1)
        rest = np.concatenate(list(track.samples(1.5)), axis=1)
    np.testing.assert_array_equal(part, whole[:, 22_050:55_125])
    np.testing.assert_array_equal(rest, whole[:, 66_150:])


def test_what_is_no_range_is_refused_at_once(archive):
    with earzip.open(archive) as track:
        with pytest.raises(UsageError, match=r"is 1\.587 s long, the range begins at 9"):
            track.samples(9)
        with pytest.raises(UsageError, match="are not a range"):
            track.samples(1, 0.5)


def test_samples_are_the_exact_copy_unless_the_coded_sound_is_requested(song, tmp_path, tiny_model):
    archive = exact(song, tmp_path / "song.earz")
    with earzip.open(archive) as track, earzip.open_sound(song) as original:
        wanted = np.concatenate(list(original.blocks()), axis=1)
        np.testing.assert_array_equal(np.concatenate(list(track.samples()), axis=1), wanted)
        coded = np.concatenate(list(track.samples(coded=True)), axis=1)
        assert coded.shape == wanted.shape
        assert not np.array_equal(coded, wanted)


def test_latents_are_those_of_the_command(archive, tmp_path):
    extract_latents(archive, tmp_path / "a.safetensors")
    wanted = load_file(tmp_path / "a.safetensors")["latents"]
    with earzip.open(archive) as track:
        joined = np.concatenate(list(track.latents()), axis=1)
        assert joined.shape == (track.n_latents, track.n_frames)
    np.testing.assert_array_equal(joined, wanted)


def test_segments_follow_each_other_to_the_end(archive):
    with earzip.open(archive) as track:
        segments = list(track.segments())
        steps = step_sizes(np.array(track.header.quantizer.step_exponents, np.int32))
        assert [segment.number for segment in segments] == list(range(track.n_segments))
        assert len(segments) > 1
        starts, ends = ([getattr(s, name) for s in segments] for name in ("start", "end"))
        assert [*starts, track.n_samples] == [0, *ends]
        for segment in segments:
            assert segment.symbols.dtype == np.int32
            np.testing.assert_array_equal(segment.latents, segment.symbols * steps[:, None])


def test_segments_are_read_as_they_are_asked_for(archive, monkeypatch):
    read: list[int] = []
    really = ArchiveReader.segment
    monkeypatch.setattr(
        ArchiveReader, "segment", lambda self, i: (read.append(i), really(self, i))[1]
    )
    with earzip.open(archive) as track:
        latents = track.latents()
        assert read == []
        next(latents)
        assert read == [0]
        next(latents)
        assert read == [0, 1]


def test_tags_pictures_and_chapters_come_back(tagged):
    with earzip.open(tagged) as track:
        assert track.tags == {"title": ["Song"], "artist": ["A", "B"]}
        assert list(track.pictures()) == [*PICTURES, PICTURES[0]]
        assert track.chapters == CHAPTERS
        track.tags["title"].append("changed")
        assert track.tags["title"] == ["Song"]


def test_pictures_are_read_one_by_one(tagged, monkeypatch):
    read: list[int] = []
    really = ArchiveReader.picture
    monkeypatch.setattr(
        ArchiveReader, "picture", lambda self, i: (read.append(i), really(self, i))[1]
    )
    with earzip.open(tagged) as track:
        pictures = track.pictures()
        assert read == []
        next(pictures)
        assert read == [0]


def test_an_archive_without_tags_has_none(archive):
    with earzip.open(archive) as track:
        assert (track.tags, track.chapters, list(track.pictures())) == ({}, [], [])


@pytest.mark.parametrize("what", ["samples", "latents", "segments", "pictures"])
def test_nothing_is_read_of_a_closed_archive(tagged, what):
    with earzip.open(tagged) as track:
        begun = getattr(track, what)()
        next(begun)
    with pytest.raises(UsageError, match=r"tagged\.earz: is closed"):
        next(begun)
    with pytest.raises(UsageError, match="is closed"):
        getattr(track, what)()
    with pytest.raises(UsageError, match="is closed"):
        _ = track.tags
    with pytest.raises(UsageError, match="is closed"):
        _ = track.info
    assert track.n_samples == 50_000
    track.close()


def test_damage_is_said_where_it_is_met(archive):
    damage_segment(archive, 1)
    with earzip.open(archive) as track:
        latents = track.latents()
        next(latents)
        with pytest.raises(DamagedArchiveError, match="bytes have changed"):
            next(latents)
        with pytest.raises(DamagedArchiveError, match="bytes have changed"):
            list(track.samples())


def test_what_is_no_archive_is_refused(song):
    with pytest.raises(NotAnArchiveError):
        earzip.open(song)


def test_a_missing_model_costs_the_samples_alone(archive, monkeypatch):
    monkeypatch.delenv("EARZIP_MODELS")
    with earzip.open(archive) as track:
        assert sum(latents.shape[1] for latents in track.latents()) == track.n_frames
        with pytest.raises(ModelNotFoundError):
            track.samples()


def test_a_given_pool_stays_open(archive, song, tmp_path):
    with earzip.CodecPool() as codecs:
        with earzip.open(archive, codecs=codecs) as track:
            list(track.samples())
        other = earzip.compress_file(song, tmp_path / "b.earz", TINY, codecs=codecs).target
        with earzip.open(other, codecs=codecs) as track:
            assert sum(block.shape[1] for block in track.samples()) == 70_001


def test_facts_and_latents_load_no_torch(tagged):
    code = (
        "import sys; import earzip; earzip.encode, earzip.decode\n"
        "with earzip.open(sys.argv[1]) as track:\n"
        "    list(track.latents()); list(track.pictures()); track.tags, track.info\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {"EARZIP_MODELS": str(MODELS)}
    subprocess.run([sys.executable, "-c", code, tagged], check=True, env=environment)
