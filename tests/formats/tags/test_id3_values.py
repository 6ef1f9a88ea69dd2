"""ID3 frames whose text is not what their kind of frame should have: kept as they are, or named."""

import struct

import pytest
from mutagen.id3 import ID3, RVA2, TCON, TDOR, TDRC, TXXX

from earzip.formats.tags.id3 import load_id3, save_id3
from earzip.formats.tags.model import Found
from earzip.formats.tags.names import split_pair
from earzip.formats.tags.read import PARSERS, tag_set
from earzip.formats.tags.write import write_tags
from tests.formats.tags.tag_bytes import id3_v2_2
from tests.formats.tags.tag_files import blank


def synchsafe(number):
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def tag(version, *frames):
    """An ID3v2.3 or 2.4 tag of frames (name, text or body)."""
    data = b""
    for name, content in frames:
        body = b"\0" + content.encode("latin-1") if isinstance(content, str) else content
        size = synchsafe(len(body)) if version == 4 else struct.pack(">I", len(body))
        data += name + size + bytes(2) + body
    return b"ID3" + bytes([version, 0, 0]) + synchsafe(len(data)) + data


def fields(version, *frames):
    return PARSERS["id3v2"](tag(version, *frames)).fields


DATES = [
    "2013 2013",
    "1969 (remastered 1999)",
    "circa 1970",
    "1999-5-1",
    "1999/05/01",
    "0",
    "1999 ",
]


@pytest.mark.parametrize("text", [*DATES, "1999", "1999-05-01", "1999-05-01T12:34:56"])
@pytest.mark.parametrize("name", ["TDRC", "TDOR", "TDRL", "TDEN", "TDTG"])
def test_a_date_is_the_text_of_its_frame(text, name):
    (values,) = fields(4, (name.encode(), text)).values()
    assert values == [text]


@pytest.mark.parametrize("text", DATES)
def test_a_date_that_is_none_is_restored_as_it_is(tmp_path, text):
    block = tag(4, (b"TDRC", text))
    tags = tag_set(Found(blocks=[("id3v2", block), ("apev2", ape_with_mood())]))
    for target in ("out.flac", "out.wav"):
        assert write_tags(blank(tmp_path / target), tags) == []
    frame = load_id3(save_id3(load_id3(block)))["TDRC"]
    assert frame.text == [text]


def ape_with_mood():
    item = struct.pack("<2I", 4, 0) + b"Mood\0calm"
    return item + b"APETAGEX" + struct.pack("<4I8x", 2000, len(item) + 32, 1, 0)


@pytest.mark.parametrize(
    ("frames", "date", "named"),
    [
        ({"TYER": "2001", "TDAT": "3112", "TIME": "2359"}, "2001-12-31T23:59:00", []),
        ({"TYER": "2001", "TDAT": "3112"}, "2001-12-31", []),
        ({"TYER": "2001"}, "2001", []),
        ({"TYER": "2001", "TDAT": "2001-12-31", "TIME": "23:59"}, "2001", ["TDAT", "TIME"]),
        ({"TYER": "2001", "TIME": "2359"}, "2001", ["TIME"]),
        ({"TYER": "c. 1970", "TDAT": "0101"}, "c. 1970", ["TDAT"]),
        ({"TDAT": "3112"}, None, ["TDAT"]),
        ({"TYER": "2001", "TDRC": "2001-12-31"}, "2001-12-31", []),
        ({"TYER": "1999", "TDRC": "2001"}, "2001", ["TYER"]),
        ({"TYER": "2001/2002"}, "2001/2002", []),
    ],
)
def test_year_day_and_time_become_a_date_or_are_named(frames, date, named):
    view = PARSERS["id3v2"](tag(3, *((name.encode(), text) for name, text in frames.items())))
    assert view.fields == ({"date": [date]} if date else {})
    assert [each[:4] for each in view.raw_only] == named
    for each in view.raw_only:
        assert repr(frames[each[:4]]) in each


def test_dates_of_2_2_are_joined_too():
    frames = [(b"TYE", b"\x002001"), (b"TDA", b"\x003112"), (b"TOR", b"\0c. 1969")]
    view = PARSERS["id3v2"](id3_v2_2(frames))
    assert view.fields == {"date": ["2001-12-31"], "originaldate": ["c. 1969"]}
    assert view.raw_only == []


def test_an_original_year_that_loses_is_named():
    view = PARSERS["id3v2"](tag(4, (b"TORY", "1969"), (b"TDOR", "1970-01-01")))
    assert view.fields == {"originaldate": ["1970-01-01"]}
    assert view.raw_only == ["TORY frame ('1969')"]


@pytest.mark.parametrize(
    ("text", "genres"),
    [
        ("17", ["Rock"]),
        ("(17)", ["Rock"]),
        ("(17)(8)", ["Rock", "Jazz"]),
        ("(17)Rock", ["Rock"]),
        ("(17)Hard rock", ["Rock", "Hard rock"]),
        ("(RX)", ["Remix"]),
        ("CR", ["Cover"]),
        ("((Live) jazz", ["(Live) jazz"]),
        ("(Live) jazz", ["(Live) jazz"]),
        ("Rock (17)", ["Rock (17)"]),
        ("192", ["192"]),
        ("255", ["255"]),
        ("1984", ["1984"]),
        ("²", ["²"]),
        ("(255)", ["(255)"]),
        ("(200)Vaporwave", ["(200)Vaporwave"]),
        ("(17)(200)Vaporwave", ["(17)(200)Vaporwave"]),
        ("Rock\0Rock", ["Rock", "Rock"]),
    ],
)
def test_a_genre_whose_number_has_no_name_stays_a_text(text, genres):
    assert fields(3, (b"TCON", text)) == {"genre": genres}


def test_a_genre_without_a_name_is_not_written_as_unknown(tmp_path):
    tags = tag_set(
        Found(blocks=[("id3v2", tag(3, (b"TCON", "(200)Vaporwave"))), ("apev2", ape_with_mood())])
    )
    assert write_tags(blank(tmp_path / "out.wav"), tags) == []
    assert b"Unknown" not in (tmp_path / "out.wav").read_bytes()


@pytest.mark.parametrize("text", ["3/", "3 / 12", " 3/12", "3/12/1", "3", "/12", "3/12", "A/B"])
def test_a_pair_says_what_its_text_says(text):
    number, total = split_pair(text)
    joined = f"{number}/{total}" if total else number
    assert joined == text
    values = fields(4, (b"TRCK", text))
    assert values.get("tracknumber", []) == ([number] if number else [])
    assert values.get("tracktotal", []) == ([total] if total else [])


def volume(desc, channel, gain, peak=b"\x10\x40\x00"):
    return b"RVA2", desc + b"\0" + bytes([channel]) + struct.pack(">h", gain) + peak


@pytest.mark.parametrize("gain", [-1644, -1643, 1, 0, 511, -32768])
def test_a_gain_has_as_many_decimals_as_its_frame_needs(gain):
    values = fields(4, volume(b"track", 1, gain))
    assert round(float(values["replaygain_track_gain"][0].removesuffix(" dB")) * 512) == gain
    assert values["replaygain_track_peak"] == ["0.500000"]


def test_a_gain_of_two_decimals_keeps_two():
    tags = ID3()
    tags.add(RVA2(desc="album", channel=1, gain=-3.21, peak=0))
    assert PARSERS["id3v2"](save_id3(tags)).fields == {"replaygain_album_gain": ["-3.21 dB"]}


def test_the_gain_of_one_channel_is_not_that_of_the_track():
    view = PARSERS["id3v2"](tag(4, volume(b"track", 2, 512)))
    assert view.fields == {}
    assert view.raw_only == ["RVA2:track frame"]


def test_a_peak_of_24_bits_is_not_rounded_to_16():
    (peak,) = fields(4, volume(b"track", 1, 512, b"\x18\x7f\xff\xff"))["replaygain_track_peak"]
    assert round(float(peak) * (2**31 - 1)) == 0x7FFFFF00


def test_frames_that_mutagen_leaves_out_are_named():
    frames = [(b"TIT2", "a"), (b"APIC", b"\0"), (b"TPE1", b"\x09x")]
    view = PARSERS["id3v2"](tag(3, *frames))
    assert view.fields == {"title": ["a"]}
    assert view.raw_only == [f"{name} frame, which cannot be read," for name in ("APIC", "TPE1")]


def test_an_honest_tag_has_nothing_to_name():
    tags = ID3()
    for frame in (
        TDRC(text="1999"),
        TDOR(text="1998"),
        TCON(text="Rock"),
        TXXX(desc="a", text="b"),
    ):
        frame.encoding = 3
        tags.add(frame)
    assert PARSERS["id3v2"](save_id3(tags)).raw_only == []


def test_an_oversized_field_costs_no_other():
    values = "X\0" + "\0".join(["a"] * 20_001)
    block = tag(4, (b"TIT2", "full"), (b"TPE1", "the artist"), (b"TXXX", values))
    tags = tag_set(Found(blocks=[("id3v2", block)]))
    assert tags.fields == {"title": ["full"], "artist": ["the artist"]}
    assert tags.raw_only == {"id3v2": ["field 'x' of 20001 values"]}
    assert tags.problems == []
    assert tags.raw_bytes("id3v2") == [block]
