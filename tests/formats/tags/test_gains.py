"""ReplayGain becomes the gains of Opus, and back."""

from __future__ import annotations

import pytest

from earzip.formats.tags.gains import with_r128_gains, with_replaygain
from earzip.formats.tags.model import TagSet
from earzip.formats.tags.raw import RawBlock
from earzip.formats.tags.vorbis import join_comments, parse_comments


@pytest.mark.parametrize(
    ("replaygain", "r128"),
    [
        ("-7.30 dB", "-3149"),  # (-7.3 - 5) * 256
        ("+5.00 dB", "0"),
        ("0", "-1280"),
        ("-.5dB", "-1408"),
        ("+999 dB", "32767"),
    ],
)
def test_replaygain_is_five_db_over_r128(replaygain, r128):
    tags, losses = with_r128_gains(TagSet({"replaygain_track_gain": [replaygain]}))
    assert (tags.fields, losses) == ({"r128_track_gain": [r128]}, [])


def test_opus_has_no_field_of_replaygain_left_and_says_what_is_gone():
    comments = [b"TITLE=x", b"REPLAYGAIN_TRACK_GAIN=-1 dB", b"ReplayGain_Track_Peak=0.9"]
    raw = RawBlock("flac-comment", join_comments(b"v", comments))
    fields = parse_comments(raw.data).fields
    tags, losses = with_r128_gains(TagSet(fields, raw=[raw]))
    assert tags.fields == {"title": ["x"], "r128_track_gain": ["-1536"]}
    assert tags.raw[0].data == join_comments(b"v", comments[:1])
    assert losses == ["ReplayGain's peaks and reference are left out: Opus has gains alone"]


def test_a_gain_of_opus_itself_stays_and_one_that_is_none_is_named():
    tags, losses = with_r128_gains(
        TagSet({"r128_track_gain": ["7"], "replaygain_track_gain": ["1"],
                "replaygain_album_gain": ["loud"]})
    )  # fmt: skip
    assert tags.fields == {"r128_track_gain": ["7"]}
    assert losses == ["field 'replaygain_album_gain' is left out: 'loud' is no gain"]


def test_other_formats_get_replaygain_of_opus_unless_they_have_it():
    tags = with_replaygain(TagSet({"r128_track_gain": ["-3149"], "r128_album_gain": ["x"]}))
    assert tags.fields == {"replaygain_track_gain": ["-7.30 dB"], "r128_album_gain": ["x"]}
    both = TagSet({"r128_track_gain": ["0"], "replaygain_track_gain": ["-1 dB"]})
    assert with_replaygain(both).fields == {"replaygain_track_gain": ["-1 dB"]}
