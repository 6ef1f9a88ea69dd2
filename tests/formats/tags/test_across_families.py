"""From one family into another: every field is carried, or its loss is named."""

import shutil

import pytest
from mutagen.apev2 import APEv2
from mutagen.flac import FLAC
from mutagen.wave import WAVE

from earzip.formats.tags.read import read_tags
from tests.formats.tags.tag_files import (
    BACK,
    FRONT,
    LYRICS,
    MAKERS,
    MUSICBRAINZ_ID,
    id3_of,
    restored,
    tagged_id3,
)

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


@pytest.mark.parametrize("target_name", ["out.flac", "out.wav"])
@pytest.mark.parametrize("name", MAKERS)
def test_every_field_is_carried_or_named(files, tmp_path, name, target_name):
    target = tmp_path / target_name
    tags = read_tags(files[name])
    assert tags.problems == []
    losses = restored(files[name], target)
    got = read_tags(target)
    for field, values in tags.fields.items():
        assert got.fields.get(field) == values or any(repr(field) in loss for loss in losses)
    assert [p.data for p in got.pictures] == [p.data for p in tags.pictures]
    assert [(c.start_ms, c.title) for c in got.chapters] == [
        (c.start_ms, c.title) for c in tags.chapters
    ]
    for kind, names in tags.raw_only.items():
        kept = kind == "id3v2" and target.suffix == ".wav"
        assert kept or all(any(name in loss for loss in losses) for name in names)


def test_mp3_to_flac_gives_picards_names_and_names_each_loss(files, tmp_path):
    target = tmp_path / "out.flac"
    losses = restored(files["mp3"], target)
    tags = FLAC(target).tags.as_dict()
    assert tags["title"] == ["Ein Stück ☃"]
    assert tags["artist"] == ["Anna", "Bert"]
    assert (tags["tracknumber"], tags["tracktotal"]) == (["3"], ["12"])
    assert tags["date"] == ["1999-05-01"]
    assert tags["genre"] == ["Jazz", "Rock"]
    assert tags["lyrics"] == [LYRICS]
    assert tags["syncedlyrics"] == ["[00:00.100]eins\n[00:00.400]zwei"]
    assert tags["replaygain_track_gain"] == ["-3.21 dB"]
    assert tags["musicbrainz_trackid"] == [MUSICBRAINZ_ID]
    assert tags["musicbrainz_albumid"] == [MUSICBRAINZ_ID]
    assert tags["performer"] == ["Carla (bass guitar)"]
    assert tags["producer"] == ["Dora"]
    assert tags["website"] == ["https://example.org/anna"]
    assert tags["comment"] == ["one"]
    assert tags["comment:notiz"] == ["zwei"]
    assert tags["chapter002name"] == ["Rest"]
    assert [(p.type, p.mime, p.data) for p in FLAC(target).pictures] == [
        (3, "image/png", FRONT),
        (4, "image/jpeg", BACK),
    ]
    assert (FLAC(target).pictures[0].width, FLAC(target).pictures[0].height) == (40, 30)
    assert len(losses) == 4
    for name in ("PRIV:WM/MediaClass", "POPM:me@example.org", "GEOB:d", "language 'deu'"):
        assert any(name in loss for loss in losses)


def test_replaygain_in_apev2_beside_id3_reaches_wav(tmp_path):
    """mp3gain writes APEv2 beside the tagger's ID3."""
    source = tagged_id3(tmp_path / "in.mp3")
    tags = APEv2()
    tags["REPLAYGAIN_ALBUM_GAIN"] = "-5.00 dB"
    tags["MP3GAIN_MINMAX"] = "100,200"
    tags.save(source)
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    before, after = id3_of(source), id3_of(target)
    assert {key: after[key] for key in before} == before
    assert WAVE(target).tags["TXXX:REPLAYGAIN_ALBUM_GAIN"] == "-5.00 dB"
    assert len(after) == len(before) + 2


def test_mp3_to_mp4_names_are_the_same_neutral_names(files):
    """Fields that formats share have one name, whatever the source."""
    shared = {"title", "artist", "tracknumber", "tracktotal", "musicbrainz_trackid"}
    for name in ("flac", "mp3", "m4a"):
        assert shared <= read_tags(files[name]).fields.keys()
