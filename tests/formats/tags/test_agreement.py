"""A second tag that says the same in another way, or as far as it could, is no disagreement."""

import time

import pytest

from earzip.formats.tags.agreement import Agreement
from earzip.formats.tags.model import Found
from earzip.formats.tags.read import tag_set
from tests.formats.tags.tag_bytes import info_chunk
from tests.formats.tags.test_disagreement import id3v1

LONG = "A title of more than thirty characters in all"


def agree(name, kept, values, kind):
    kept, values = ([each] if isinstance(each, str) else each for each in (kept, values))
    return Agreement().says_as_much(name, kept, values, kind)


def in_id3v1(text, encoding="latin-1", errors="replace"):
    """What a reader makes of the bytes: Latin-1."""
    return text.encode(encoding, errors)[:30].decode("latin-1").strip()


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "L’été à la plage – dix-huit mois"),
        ("cp1250", "Žluťoučký kůň úpěl ďábelské ódy"),
        ("cp1251", "Ночь на Лысой горе и другие песни"),
        ("cp1253", "Η νύχτα του καλοκαιριού"),
        ("cp1254", "Yağmur altında şarkı söylüyorum"),
        ("cp1255", "לילה טוב"),
        ("cp1256", "ليلة"),
        ("cp1257", "Ąžuolų šlamėjimas"),
        ("cp866", "Ночь"),
        ("cp874", "คืนนี้"),
        ("koi8-r", "Мусоргский"),
        ("iso8859-2", "Šest ženských písní"),
        ("mac-roman", "Größe"),
        ("utf-8", "Ночь на Лысой горе и другие песни"),
        ("cp932", "星空の下で歌うとても長い歌の題名"),
        ("euc-jp", "夜の歌"),
        ("gb18030", "夜曲星空下的歌很长很长的标题呀"),
        ("big5", "夜曲星空下的歌很長很長的標題呀"),
        ("cp949", "뷁앨범"),
    ],
)
def test_id3v1_may_have_any_usual_encoding(encoding, text):
    value = in_id3v1(text, encoding)
    assert agree("title", text, value, "id3v1")
    for other in (text[:2] + "x" + text[3:], text[1:], "День", "Another title"):
        assert not agree("title", other, value, "id3v1")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Ночь", "????"),
        ("Ночь", "____"),
        ("Ночь 2", "2"),
        ("Don’t Stop", "Don't Stop"),
        ("Don’t Stop", "Don?t Stop"),
        ("Don’t Stop", "Dont Stop"),
        ("Łódź – nocą", "Lodz - noca"),
        ("Łódź – nocą", "?ód? ? noc?"),
        ("“Heroes”", '"Heroes"'),
        ("Wait…", "Wait..."),
        ("Motörhead", "Motorhead"),
    ],
)
@pytest.mark.parametrize("kind", ["id3v1", "riff-info"])
def test_what_an_encoding_lacks_is_replaced(text, value, kind):
    assert agree("title", text, value, kind)
    assert not agree("title", text, value, "apev2")
    assert not agree("title", text, f"{value}x", kind)
    assert not agree("title", f"x{text}", value, kind)


@pytest.mark.parametrize(
    ("text", "value"),
    [("Don’t Stop", "Don't Start"), ("Ночь", "???"), ("Ночь", "Tag?"), ("Łódź", "Lodo")],
)
@pytest.mark.parametrize("kind", ["id3v1", "riff-info"])
def test_another_text_is_another_nevertheless(text, value, kind):
    assert not agree("title", text, value, kind)


@pytest.mark.parametrize("kind", ["apev2", "riff-info", "id3v1"])
def test_an_accent_may_be_a_character_of_its_own(kind):
    assert agree("title", "Cafe\u0301", "Caf\xe9", kind)
    assert agree("title", "Caf\xe9 ", "Cafe\u0301", kind)


def test_only_id3v1_is_cut():
    assert agree("title", LONG, LONG[:30], "id3v1")
    assert agree("comment", LONG, LONG[:28], "id3v1")
    assert not agree("title", LONG, LONG[:20], "id3v1")
    assert not agree("title", LONG, LONG[:30], "riff-info")
    spaced = "Twenty-seven characters and    more"
    assert agree("title", spaced, spaced[:30].strip(), "id3v1")


@pytest.mark.parametrize("joint", [" ", ", ", ";", "; ", "/", " // ", "|", " + ", " & ", " feat. "])
def test_values_are_joined_where_one_must_do(joint):
    names = ["Anna", "Bert", "Осип"]
    joined = joint.join(names)
    for kind in ("id3v2", "apev2", "riff-info", "id3v1"):
        assert agree("artist", names, joined, kind)
        assert agree("artist", joined, names, kind)
        assert not agree("artist", [*names, "Cora"], joined, kind)
        assert not agree("artist", names[:2], joined, kind)
        assert not agree("artist", joined, ["Anna", "Cora", "Осип"], kind)
    assert agree("artist", names, joint.join([*names[:2], "????"]), "riff-info")
    longer = [LONG, *names]
    assert agree("artist", longer, joint.join(longer)[:30], "id3v1")


@pytest.mark.parametrize(
    ("name", "kept", "value", "same"),
    [
        ("replaygain_track_gain", "-6.48 dB", "-6.480000 dB", True),
        ("replaygain_track_gain", "-6.480000 dB", "-6.48", True),
        ("replaygain_track_gain", "+3.20 dB", "3.2 dB", True),
        ("replaygain_track_gain", "-6.48046875 dB", "-6.48 dB", True),
        ("replaygain_track_gain", "-6.48 dB", "-6.47 dB", False),
        ("replaygain_track_gain", "-6.48 dB", "6.48 dB", False),
        ("replaygain_track_gain", "-6.48 dB", "loud", False),
        ("replaygain_track_peak", "0.988553", "0.98855299", True),
        ("replaygain_track_peak", "1", "1.000000", True),
        ("replaygain_track_peak", "0.988553", "0.988650", False),
        ("bpm", "6.48", "6.480", False),
        ("date", "2003-05-01", "2003-05-01T00:00:00", True),
        ("date", "2003-05-01", "2003-05-01 00:00:00", True),
        ("date", "2003-05-01", "2003-05-01T00:00:00Z", True),
        ("date", "2003-05-01T10:11:12", "2003-05-01 10:11:12", True),
        ("date", "2003-05-01T10:11:12", "2003-05-01", True),
        ("date", "2003-05-01", "2003/05/01", True),
        ("date", "2003", "2003-00-00", True),
        ("date", "2003-05-01", "0", True),
        ("originaldate", "2003-05-01", "2003", True),
        ("date", "2003", "2003-05-01", False),
        ("date", "2003-05-01", "2003-05-01T10:11:12", False),
        ("date", "2003-05-01", "2004", False),
        ("genre", "rock", "Rock", True),
        ("genre", "Hip Hop", "Hip-Hop", True),
        ("genre", "Jazz; Rock", "Rock", True),
        ("genre", "Jazz", "Rock", False),
        ("genre", "Jazz", "Other", False),
        ("title", "rock", "Rock", False),
    ],
)
def test_facts_are_compared_as_what_they_are(name, kept, value, same):
    assert agree(name, kept, value, "apev2") == same


def test_id3v1_has_a_year_and_the_first_line_of_a_comment():
    assert agree("date", "1 May 2003", "2003", "id3v1")
    assert not agree("date", "1 May 2003", "2004", "id3v1")
    assert agree("genre", "Jazz", "Other", "id3v1")
    comment = "The first line\r\nand the second"
    assert agree("comment", comment, "The first line", "id3v1")
    assert agree("comment", comment, "The first line and the second"[:28], "id3v1")
    assert not agree("comment", comment, "The second line", "id3v1")


def test_the_tags_of_a_file_are_compared_so():
    info = info_chunk((b"INAM", b"????"), (b"IART", b"Anna, Bert"), (b"IGNR", b"Rock, Jazz"))[8:]
    first = b"TITLE=%s\0ARTIST=Anna\0ARTIST=Bert\0GENRE=Rock\0GENRE=Jazz" % "Ночь".encode()
    comments = [len(each).to_bytes(4, "little") + each for each in first.split(b"\0")]
    block = bytes(4) + len(comments).to_bytes(4, "little") + b"".join(comments)
    v1 = id3v1("Ночь", "Anna;Bert", encoding="koi8-r", genre=17)
    found = [("ogg-comment", block), ("riff-info", info), ("id3v1", v1)]
    assert tag_set(Found(blocks=found)).problems == []
    for other in (info_chunk((b"INAM", b"???"))[8:], info_chunk((b"IART", b"Anna, Cora"))[8:]):
        assert "disagrees" in tag_set(Found(blocks=[*found, ("riff-info", other)])).problems[0]


def test_crafted_texts_are_not_compared_for_long():
    agreement = Agreement()
    kept = ["".join(chr(0x400 + 60 * i + k) for k in range(60)) for i in range(60)]
    started = time.process_time()
    for _ in range(300):
        assert not agreement.says_as_much("title", kept, ["/ ,;|&+ feat. and vs. "], "riff-info")
    many = list(map(str, range(20_000)))
    assert not agreement.says_as_much("title", ["x"] * 20_000, many, "id3v1")
    assert time.process_time() - started < 10
