"""Archives chosen by their tags: --where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from earzip.cli.where import Query
from earzip.errors import UsageError
from earzip.tasks import Track
from tests.formats.archive.samples import sample_header, write_sample

SINNERMAN = Track(
    duration_s=622.4,
    source_bytes=0,
    archive_bytes=0,
    picture_bytes=0,
    shared_pictures={},
    kbps=5.46,
    quality="medium",
    model="mini-2",
    format=("OGG", "VORBIS"),
    name="x.ogg",
    fields={
        "artist": ["Nina Simone", "Rudy Stevenson"],
        "albumartist": ["Nina Simone"],
        "title": ['Sinnerman (12" mix)'],
        "date": ["1965-10-01"],
        "tracknumber": ["09"],
        "disc": ["2/3"],
        "replaygain_track_gain": ["-7.30 dB"],
        "comment": ["a=b"],
    },
)


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("albumartist=Nina Simone", True),
        ("ALBUMARTIST=nina simone", True),
        ("albumartist=Nina", False),
        ("albumartist = Nina Simone year >= 1960", True),
        ("albumartist=Nina Simone year>=1990", False),
        ("year>=1965 year<=1965 year=1965 year!=1964", True),
        ("year<1965", False),
        ("year>1965", False),
        ("artist=rudy stevenson", True),
        ("artist!=Rudy Stevenson", False),
        ("artist!=Miles Davis", True),
        ("artist:simone", True),
        ("artist:miles", False),
        ('title:12" mix', True),
        ('title="Sinnerman" year=1965', False),
        ('comment="a=b" year=1965', True),
        ("comment=a=b", True),
        ("tracknumber=9", True),
        ("tracknumber<10", True),
        ("tracknumber==10", False),
        ("disc>1", True),
        ("replaygain_track_gain<-7", True),
        ("title>3", False),
        ("composer=", True),
        ("artist=", False),
        ("artist!=", True),
        ("composer!=Bach", True),
        ("quality=medium quality=5 quality>low quality<8", True),
        ("quality!=medium", False),
        ("model=mini-2 model:mini", True),
        ("model=mini", False),
        ("format=ogg format=Vorbis", True),
        ("format!=ogg", False),
        ("duration>10:00 duration<623", True),
        ("duration>1:00:00", False),
        ("duration=622", True),
        ("kbps<6 kbps=5.5 kbps=5.46", True),
        ("kbps=5.4", False),
    ],
)
def test_what_matches(query, matches):
    assert all(term.matches(SINNERMAN) for term in Query.parse(query).terms) == matches


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "has no condition"),
        ("  ", "has no condition"),
        ("Nina Simone", "'Nina Simone' is no condition; expected one as artist=Nina Simone"),
        ("=Nina", "'=Nina' is no condition"),
        ("artist: Nina", "'artist: Nina' is no condition"),
        ('artist="Nina" Simone', "'Simone' is no condition"),
        ("artist=Nina or artist=Ella", "'or' stands between two conditions, where no word does"),
        ("artist=Nina or artist=Ella", "must be met; for either run once for each; a value"),
        ("artist=Nina AND year>1990", "'AND' stands between two conditions"),
        ("year>=", "year>= has no value"),
        ("year>=abc", "year>=abc: 'abc' is not a number"),
        ("duration<1:75", "duration<1:75: '1:75' is not a number"),
        ("kbps=fast", "'fast' is not a number"),
        ("quality=best", "quality is 'best', expected low, medium, high or a number"),
        ("duration:3", "duration is a number; compare it with ="),
        ("format>ogg", "format is a word; compare it with ="),
    ],
)
def test_what_makes_no_sense_is_told(query, message):
    with pytest.raises(UsageError) as raised:
        Query.parse(query)
    assert raised.value.message.startswith("--where")
    assert message in raised.value.message


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two archives, of FLAC and MP3 files, and one that is damaged."""
    monkeypatch.chdir(tmp_path)
    header = sample_header()
    (tmp_path / "A").mkdir()
    write_sample(tmp_path / "A/1.flac.earz", header)
    source = replace(header.source, container="MP3", codec="MPEG_LAYER_III")
    write_sample(tmp_path / "A/2.mp3.earz", replace(header, source=source))
    return tmp_path / "A"


def test_commands_take_what_matches(earzip, library):
    for command in (["verify"], ["info"], ["restore", "-o", "out", "--dry-run"]):
        outcome = earzip(*command, "A", "--where", "format=mp3 artist:b", "--json")
        assert outcome.exit_code == 0
        assert list(outcome.statuses()) == ["2.mp3.earz"]


def test_no_match_is_a_failure(earzip, library):
    outcome = earzip("verify", "A", "--where", "artist=Nina")
    assert outcome.exit_code == 3
    assert "failed: A: nothing found: no archive there matches artist=Nina" in outcome.stderr


def test_a_usual_field_that_none_has_is_no_mistake(earzip, library):
    outcome = earzip("list", "A", "--where", "genre=Jazz")
    assert outcome.exit_code == 3
    assert "failed: A: nothing found: no archive there matches genre=Jazz" in outcome.stderr
    untagged = earzip("list", "A", "--where", "genre=", "--json")
    assert untagged.exit_code == 0
    assert list(untagged.statuses()) == ["1.flac.earz", "2.mp3.earz"]


def test_a_field_that_none_has_is_told(earzip, library):
    outcome = earzip("info", "A", "--where", "artists=Nina")
    assert outcome.exit_code == 2
    assert "no archive here has the field 'artists'; did you mean artist?" in outcome.stderr


def test_what_cannot_be_read_is_taken_along(earzip, library):
    (library / "1.flac.earz").write_bytes(b"")
    outcome = earzip("verify", "A", "--where", "format=mp3", "--json")
    assert outcome.exit_code == 4
    assert outcome.statuses() == {"1.flac.earz": "damaged", "2.mp3.earz": "intact"}


def test_standard_input_cannot_be_asked(earzip, library):
    outcome = earzip("restore", "-", "-o", "x.wav", "--where", "artist=B")
    assert outcome.exit_code == 2
    assert "--where needs archives in files" in outcome.stderr
