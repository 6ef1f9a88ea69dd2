"""Tags in and out, format by format, with mutagen as the judge."""

import resource
import shutil
import struct
import subprocess

import pytest
import soundfile
from mutagen.apev2 import APEv2
from mutagen.flac import FLAC, CueSheet
from mutagen.id3 import ID3, TALB, TIT2
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from earzip.errors import SourceError, TagError, TargetError
from earzip.formats.tag_payload import Chapter
from earzip.formats.tags.model import Picture, TagSet
from earzip.formats.tags.read import PARSERS, read_tags
from earzip.formats.tags.write import write_tags
from tests.cli.batch_runs import write_silence
from tests.formats.tags.tag_files import (
    BACK,
    FRONT,
    LYRICS,
    MAKERS,
    MUSICBRAINZ_ID,
    VORBIS,
    aiff_with,
    append_chunks,
    bext_chunk,
    blank,
    box,
    chunk_of,
    encoded,
    flac_pictures,
    id3_of,
    id3_v2_2,
    info_chunk,
    restored,
    tagged_flac,
    tagged_id3,
)

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One tagged file of each format."""
    folder = tmp_path_factory.mktemp("tagged")
    return {name: maker(folder / f"song.{name}") for name, maker in MAKERS.items()}


# Same family: Vorbis comments to FLAC.


def test_flac_to_flac_keeps_comments_in_order_with_case_and_duplicates(files, tmp_path):
    target = tmp_path / "out.flac"
    assert restored(files["flac"], target) == []
    assert list(FLAC(target).tags) == VORBIS
    assert [p.write() for p in FLAC(target).pictures] == [p.write() for p in flac_pictures()]


def test_flac_to_flac_leaves_the_sound_alone(files, tmp_path):
    target = tmp_path / "out.flac"
    restored(files["flac"], target)
    assert soundfile.read(target)[0].tobytes() == soundfile.read(files["flac"])[0].tobytes()


@pytest.mark.parametrize(("name", "class_"), [("ogg", OggVorbis), ("opus", OggOpus)])
def test_ogg_to_flac_turns_picture_comments_into_picture_blocks(files, tmp_path, name, class_):
    target = tmp_path / "out.flac"
    assert restored(files[name], target) == []
    source = [pair for pair in class_(files[name]).tags if pair[0] != "METADATA_BLOCK_PICTURE"]
    assert list(FLAC(target).tags) == source
    assert [p.write() for p in FLAC(target).pictures] == [p.write() for p in flac_pictures()]


def test_ogg_flac_to_flac_keeps_comments(files, tmp_path):
    target = tmp_path / "out.flac"
    assert restored(files["oga"], target) == []
    assert list(FLAC(target).tags) == list(OggFLAC(files["oga"]).tags)


def test_comments_that_are_not_utf8_or_have_no_key_stay_byte_for_byte(tmp_path):
    source = blank(tmp_path / "in.flac")
    comments = [b"TITLE=caf\xe9", b"no equals sign", b"=no key", b"K\xc3\xa4se=x", b"EMPTY="]
    body = struct.pack("<I", 1) + b"v" + struct.pack("<I", len(comments))
    body += b"".join(struct.pack("<I", len(comment)) + comment for comment in comments)
    data = source.read_bytes()
    source.write_bytes(data[:42] + b"\x04" + struct.pack(">I", len(body))[1:] + body + data[42:])
    target = tmp_path / "out.flac"
    restored(source, target)
    assert list(FLAC(target).tags) == list(FLAC(source).tags)
    for comment in comments:
        assert struct.pack("<I", len(comment)) + comment in target.read_bytes()


def cue_sheet(total):
    sheet = struct.pack(">128sQB258xB", b"1234567890123", 88200, 0x80, 3)
    for offset, number in ((0, 1), (588 * 20, 2)):
        sheet += struct.pack(">QB12sB13xB", offset, number, b"ABCDE1234567", 0, 1)
        sheet += struct.pack(">QB3x", 0, 1)
    return sheet + struct.pack(">QB12sB13xB", total, 170, b"", 0, 0)


def flac_with_cue_sheet(path, rate=44_100):
    file = FLAC(blank(path, rate))
    file.cuesheet = CueSheet(cue_sheet(file.info.total_samples))
    file.tags["TITLE"] = "Album"
    file.save()
    return path


def test_flac_cue_sheet_block_stays_as_it_is(tmp_path):
    source = flac_with_cue_sheet(tmp_path / "in.flac")
    target = tmp_path / "out.flac"
    assert restored(source, target) == []
    assert FLAC(target).cuesheet == FLAC(source).cuesheet
    assert "cuesheet" not in FLAC(target).tags


def test_flac_cue_sheet_block_moves_to_another_sample_rate(tmp_path):
    source = flac_with_cue_sheet(tmp_path / "in.flac", rate=48_000)
    tags = read_tags(source)
    target = tmp_path / "out.flac"
    total = round(FLAC(source).info.total_samples * 44_100 / 48_000)
    soundfile.write(target, soundfile.read(source)[0][:total], 44_100)
    assert write_tags(target, tags) == []
    sheet = FLAC(target).cuesheet
    assert [track.start_offset for track in sheet.tracks] == [0, 10805, total]


def test_flac_cue_sheet_of_another_length_becomes_a_comment(tmp_path):
    source = flac_with_cue_sheet(tmp_path / "in.flac")
    target = tmp_path / "out.flac"
    losses = restored(source, target, seconds=0.2)
    assert any("cue sheet block" in loss for loss in losses)
    assert FLAC(target).cuesheet is None
    assert "TRACK 02 AUDIO" in FLAC(target).tags["cuesheet"][0]


def test_cue_sheet_block_reaches_wav_as_text(tmp_path):
    source = flac_with_cue_sheet(tmp_path / "in.flac")
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    text = str(WAVE(target).tags["TXXX:CUESHEET"])
    assert "CATALOG 1234567890123" in text
    assert "ISRC ABCDE1234567\r\n    INDEX 01 00:00:20" in text


def test_channel_mask_of_another_number_of_channels_is_left_out(tmp_path):
    source = blank(tmp_path / "in.flac")
    file = FLAC(source)
    file.tags["WAVEFORMATEXTENSIBLE_CHANNEL_MASK"] = "0x003F"
    file.save()
    target = tmp_path / "out.flac"
    assert any("channel_mask" in loss for loss in restored(source, target))
    assert "waveformatextensible_channel_mask" not in FLAC(target).tags


def test_flac_picture_with_a_trailing_byte_is_restored_with_it(tmp_path):
    source = blank(tmp_path / "in.flac")
    body = flac_pictures()[0].write() + b"!"
    data = source.read_bytes()
    source.write_bytes(data[:42] + b"\x06" + struct.pack(">I", len(body))[1:] + body + data[42:])
    restored(source, tmp_path / "out.flac")
    assert body in (tmp_path / "out.flac").read_bytes()


# Same family: ID3 and INFO to WAV.


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("suffix", [".mp3", ".aiff", ".wav"])
def test_id3_reaches_wav_byte_for_byte(tmp_path, suffix, version):
    source = tagged_id3(tmp_path / f"in{suffix}", version)
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    assert id3_of(target) == id3_of(source)
    assert len(id3_of(target)) >= 20
    (block,) = read_tags(source).raw_bytes("id3v2")
    assert chunk_of(target, b"id3 ") == block


def test_id3_v2_2_reaches_wav_byte_for_byte(tmp_path):
    picture = b"\0PNG\x03cover\0" + FRONT
    tag = id3_v2_2([(b"TT2", b"\0Title"), (b"TP1", b"\0Anna\0Bert"), (b"PIC", picture)])
    source = encoded(tmp_path / "in.mp3", "-id3v2_version", "0")
    source.write_bytes(tag + source.read_bytes())
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    assert chunk_of(target, b"id3 ") == tag
    assert id3_of(target) == id3_of(source)
    assert read_tags(source).pictures == [
        Picture(3, "image/png", "cover", FRONT, width=40, height=30, depth=24)
    ]


@pytest.mark.parametrize("version", [3, 4])
def test_unsynchronised_id3_reaches_wav_and_its_pictures_are_cut_out(tmp_path, version):
    plain = tagged_id3(tmp_path / "plain.mp3", version).read_bytes()
    size = sum(byte << shift for byte, shift in zip(plain[6:10], (21, 14, 7, 0), strict=True))
    frames = plain[10 : 10 + size]
    frames = (unsynchronised if version == 3 else each_frame_unsynchronised)(frames)
    sizes = bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0))
    source = tmp_path / "in.mp3"
    source.write_bytes(plain[:5] + b"\x80" + sizes + frames + plain[10 + size :])
    assert id3_of(source) == id3_of(tmp_path / "plain.mp3")
    tags = read_tags(source)
    (block,) = tags.raw
    assert [cut.coding for cut in block.cuts] == ["unsync", "unsync"]
    assert len(block.data) < 4000
    assert tags.raw_bytes("id3v2") == [source.read_bytes()[: 10 + len(frames)]]
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    assert id3_of(target) == id3_of(source)


def unsynchronised(data):
    out = bytearray()
    for i, byte in enumerate(data):
        out.append(byte)
        follower = data[i + 1] if i + 1 < len(data) else 0
        if byte == 0xFF and (follower == 0 or follower >= 0xE0):
            out.append(0)
    return bytes(out)


def each_frame_unsynchronised(data):
    out = b""
    position = 0
    while data[position : position + 4].strip(b"\0"):
        size = sum(
            byte << shift
            for byte, shift in zip(data[position + 4 : position + 8], (21, 14, 7, 0), strict=True)
        )
        body = unsynchronised(data[position + 10 : position + 10 + size])
        sizes = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
        out += data[position : position + 4] + sizes + b"\0\x02" + body
        position += 10 + size
    return out


def id3v1(title=b"Old title", comment=b"bought in 1998", genre=17):
    fields = (b"TAG", title, b"Anna", b"Samples", b"1998", comment[:28], 0, 3, genre)
    return struct.pack("<3s30s30s30s4s28sBBB", *fields)


def test_id3v1_alone_reaches_wav(tmp_path):
    source = encoded(tmp_path / "in.mp3", "-id3v2_version", "0")
    source.write_bytes(source.read_bytes() + id3v1())
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    assert id3_of(target) == id3_of(source)
    tags = read_tags(source)
    assert tags.fields["title"] == ["Old title"]
    assert tags.fields["genre"] == ["Rock"]
    assert tags.raw_bytes("id3v1") == [id3v1()]


@pytest.mark.parametrize("version", [3, 4])
def test_id3v1_adds_what_id3v2_lacks(tmp_path, version):
    source = encoded(tmp_path / "in.mp3")
    tags = ID3()
    tags.add(TIT2(encoding=3, text="New title"))
    tags.save(source, v1=0, v2_version=version)
    source.write_bytes(source.read_bytes() + id3v1())
    target = tmp_path / "out.wav"
    (loss,) = restored(source, target)
    assert loss.startswith("ID3v1 tag: other 'title' ('Old title') is not written")
    assert id3_of(target) == id3_of(source)
    assert read_tags(source).fields["title"] == ["New title"]
    assert read_tags(source).fields["comment"] == ["bought in 1998"]


def test_id3v1_that_says_nothing_new_leaves_the_id3v2_bytes_alone(tmp_path):
    source = encoded(tmp_path / "in.mp3")
    tags = ID3(tagged_id3(tmp_path / "full.mp3"))
    tags.save(source, v1=0)
    source.write_bytes(source.read_bytes() + id3v1("Ein Stück ?".encode("latin-1"), b""))
    target = tmp_path / "out.wav"
    (loss,) = restored(source, target)
    assert loss.startswith("ID3v1 tag: other 'date' ('1998') is not written")
    assert [chunk_of(target, b"id3 ")] == read_tags(source).raw_bytes("id3v2")


def test_wav_info_chunk_stays_as_it_is(tmp_path):
    info = info_chunk(
        (b"INAM", b"Ein St\xfcck\0"), (b"IART", b"Anna\0"), (b"ITRK", b"3/12\0"), (b"IXYZ", b"?\0")
    )
    source = append_chunks(blank(tmp_path / "in.wav"), info)
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    assert chunk_of(target, b"LIST") == chunk_of(source, b"LIST")
    assert chunk_of(target, b"id3 ") is None
    assert read_tags(source).fields == {
        "title": ["Ein Stück"],
        "artist": ["Anna"],
        "tracknumber": ["3"],
        "tracktotal": ["12"],
        "riff_ixyz": ["?"],
    }
    assert soundfile.read(target)[0].tobytes() == soundfile.read(source)[0].tobytes()


def test_wav_with_id3_and_info_keeps_both(tmp_path):
    source = append_chunks(tagged_id3(tmp_path / "in.wav"), info_chunk((b"ISBJ", b"Thema\0")))
    target = tmp_path / "out.wav"
    assert restored(source, target) == []
    assert id3_of(target) == id3_of(source)
    assert chunk_of(target, b"LIST") == chunk_of(source, b"LIST")
    assert read_tags(source).fields["subject"] == ["Thema"]


def test_rf64_is_read_and_written(tmp_path):
    tags = read_tags(tagged_id3(tmp_path / "in.wav"))
    target = tmp_path / "out.wav"
    soundfile.write(target, soundfile.read(blank(tmp_path / "x.wav"))[0], 44_100, format="RF64")
    assert target.read_bytes()[:4] == b"RF64"
    assert write_tags(target, tags) == []
    assert struct.unpack_from("<Q", target.read_bytes(), 20)[0] == target.stat().st_size - 8
    again = read_tags(target)
    assert again.raw_bytes("id3v2") == tags.raw_bytes("id3v2")
    assert soundfile.info(target).frames == 22_050


def test_wav_of_an_odd_length_gets_its_pad_byte(tmp_path):
    target = tmp_path / "out.wav"
    soundfile.write(target, soundfile.read(blank(tmp_path / "x.wav"))[0][:99, :1], 44_100, "PCM_U8")
    assert write_tags(target, TagSet(fields={"title": ["x"]})) == []
    assert WAVE(target).tags["TIT2"] == "x"
    assert soundfile.info(target).frames == 99


# Across families.


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


def test_mp4_is_read_as_mutagen_reads_it(files):
    tags = read_tags(files["m4a"])
    assert tags.family == "mp4"
    assert tags.fields == {
        "title": ["Ein Stück ☃"],
        "artist": ["Anna", "Bert"],
        "tracknumber": ["3"],
        "tracktotal": ["12"],
        "discnumber": ["1"],
        "disctotal": ["2"],
        "date": ["1999-05-01"],
        "bpm": ["120"],
        "compilation": ["1"],
        "lyrics": [LYRICS],
        "musicbrainz_trackid": [MUSICBRAINZ_ID],
        "replaygain_track_gain": ["-3.21 dB"],
        "eigenes": ["a", "b"],
    }
    assert [(p.type, p.mime, p.data) for p in tags.pictures] == [
        (3, "image/png", FRONT),
        (3, "image/jpeg", BACK),
    ]
    assert (tags.pictures[1].width, tags.pictures[1].height) == (48, 32)
    assert tags.raw_only == {"mp4-ilst": ["atom 'stik'"]}


@pytest.mark.parametrize("place", ["in udta", "in moov"])
def test_mp4_keys_give_items_their_names(files, tmp_path, place):
    source = tmp_path / "in.m4a"
    data = files["keys.m4a"].read_bytes()
    if place == "in moov":  # as phones have it: udta's header is moved to an atom of its own
        at = data.index(b"udta") - 4
        data = data[:at] + b"\0\0\0\x08free" + data[at + 8 :]
    source.write_bytes(data)
    tags = read_tags(source)
    assert tags.family == "mp4"
    assert tags.fields == {"title": ["Ein Stück ☃"], "artist": ["Anna"], "make": ["Telefon"]}
    (block,) = tags.raw_bytes("mp4-keys")
    assert b"mdtacom.apple.quicktime.make" in block
    assert b"Telefon" in block
    assert restored(source, tmp_path / "out.flac") == []


def test_values_of_mp4_keys_have_types():
    def item(number, type_, value):
        return box(struct.pack(">I", number), box(b"data", struct.pack(">II", type_, 0), value))

    names = [b"com.apple.quicktime.artwork", b"count", b"ratio", b"binary"]
    keys = b"".join(struct.pack(">I4s", 8 + len(name), b"mdta") + name for name in names)
    items = [
        item(1, 14, FRONT),
        item(2, 21, b"\xff\xfe"),
        item(3, 23, struct.pack(">f", 0.5)),
        item(4, 0xFF, b"\1\2"),
        item(5, 1, b"no key"),
    ]
    block = box(b"keys", bytes(4), struct.pack(">I", 4), keys) + box(b"ilst", *items)
    view = PARSERS["mp4-keys"](block)
    assert view.fields == {"count": ["-2"], "ratio": ["0.5"]}
    assert [picture.data for picture in view.pictures] == [FRONT]
    assert view.raw_only == ["key 'binary'", "item 5, which has no key,"]


def test_texts_in_quicktime_user_data_are_read(files):
    tags = read_tags(files["quicktime.m4a"])
    assert tags.fields == {"title": ["Ein Stück ☃"], "artist": ["Anna"], "date": ["1999-05-01"]}
    old = struct.pack(">HH", 4, 0) + b"caf\x8e" + struct.pack(">HH", 2, 0) + b"ok"
    view = PARSERS["mp4-udta"](box(b"\xa9nam", old) + box(b"SelO", b"\0") + bytes(4))
    assert view.fields == {"title": ["café", "ok"]}  # Mac Roman, where it is not UTF-8
    assert view.raw_only == ["atom 'SelO'"]


def test_texts_of_3gpp_are_read(tmp_path):
    source = tmp_path / "in.3gp"
    options = ["-c:a", "aac", "-metadata", "title=Ünï", "-metadata", "date=2001"]
    encoded(source, *options, "-metadata", "album=Samples", "-metadata", "track=3")
    assert read_tags(source).fields == {
        "title": ["Ünï"],
        "date": ["2001"],
        "album": ["Samples"],
        "tracknumber": ["3"],
    }


@pytest.mark.parametrize("options", [[], ["-movflags", "+faststart"]])
def test_mp4_chapters(tmp_path, options):
    metadata = tmp_path / "chapters.txt"
    metadata.write_text(
        ";FFMETADATA1\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=Eins\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=500\ntitle=Zwei ☃\n"
    )
    plain = encoded(tmp_path / "plain.m4a")
    source = tmp_path / "in.m4b"
    run = ["ffmpeg", "-v", "error", "-i", plain, "-i", metadata, "-map_metadata", "1"]
    run += ["-map_chapters", "1", "-c", "copy", "-f", "mp4", *options, source]
    subprocess.run(run, check=True)
    tags = read_tags(source)
    assert [(c.start_ms, c.title) for c in tags.chapters] == [(0, "Eins"), (200, "Zwei ☃")]
    target = tmp_path / "out.flac"
    restored(source, target)
    assert FLAC(target).tags["chapter002"] == ["00:00:00.200"]
    assert FLAC(target).tags["chapter002name"] == ["Zwei ☃"]


def test_quicktime_chapter_track_is_read_without_the_nero_list(tmp_path):
    test_mp4_chapters(tmp_path, [])
    source = tmp_path / "in.m4b"
    source.write_bytes(source.read_bytes().replace(b"chpl", b"free"))
    assert read_tags(source).chapters == [
        Chapter(0, 200, "Eins"),
        Chapter(200, 500, "Zwei ☃"),
    ]


def test_apev2_is_read(files):
    tags = read_tags(files["ape.mp3"])
    assert tags.family == "apev2"
    assert tags.fields == {
        "title": ["Ein Stück ☃"],
        "artist": ["Anna", "Bert"],
        "tracknumber": ["3"],
        "tracktotal": ["12"],
        "date": ["1999"],
        "cuesheet": ["FILE x"],
        "replaygain_track_gain": ["-3.21 dB"],
    }
    assert [(p.type, p.mime, p.description, p.data) for p in tags.pictures] == [
        (3, "image/png", "front.png", FRONT)
    ]
    assert tags.raw_only == {"apev2": ["binary item 'Binary thing'"]}


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


def test_wma_is_read(files):
    tags = read_tags(files["wma"])
    assert tags.family == "asf"
    assert tags.fields == {
        "title": ["Ein Stück ☃"],
        "artist": ["Anna", "Bert"],
        "album": ["Samples"],
        "tracknumber": ["3"],
        "discnumber": ["1"],
        "disctotal": ["2"],
        "musicbrainz_trackid": [MUSICBRAINZ_ID],
        "compilation": ["1"],
    }
    assert [(p.type, p.mime, p.description, p.data) for p in tags.pictures] == [
        (3, "image/png", "vorn", FRONT)
    ]


def test_aiff_text_chunks_are_read(tmp_path):
    chunks = ((b"NAME", b"Titel"), (b"AUTH", b"Anna"), (b"ANNO", b"eins"))
    source = aiff_with(tmp_path / "in.aiff", *chunks)
    tags = read_tags(source)
    assert tags.family == "aiff"
    assert tags.fields == {"title": ["Titel"], "artist": ["Anna"], "comment": ["eins"]}
    assert restored(source, tmp_path / "out.flac") == []


def test_aiff_comments_are_read(tmp_path):
    texts = [(0, 0, b"eins"), (3_000_000_000, 7, "zwölf".encode("cp1252")), (0, 0, b"")]
    body = struct.pack(">H", len(texts))
    for time, marker, text in texts:
        body += struct.pack(">IHH", time, marker, len(text)) + text + bytes(len(text) % 2)
    source = aiff_with(tmp_path / "in.aiff", (b"COMT", body), (b"NAME", b"Titel"))
    tags = read_tags(source)
    assert tags.problems == []
    assert tags.fields == {"comment": ["eins", "zwölf"], "title": ["Titel"]}
    assert tags.raw_only == {"aiff-text": ["place of a comment (time 3000000000, marker 7)"]}
    assert body in tags.raw_bytes("aiff-text")[0]
    (loss,) = restored(source, tmp_path / "out.flac")
    assert "place of a comment (time 3000000000, marker 7) is not written" in loss


@pytest.mark.parametrize("body", [b"\xff\xff", b"\0\1" + bytes(6) + b"\xff\xff", b"\0\1ab"])
def test_aiff_comments_that_end_early_cost_no_title(tmp_path, body):
    tags = read_tags(aiff_with(tmp_path / "in.aiff", (b"COMT", body), (b"NAME", b"Titel")))
    assert tags.fields == {"title": ["Titel"]}
    assert tags.raw_only == {"aiff-text": ["rest of the comments, which end early,"]}


def test_no_aiff_text_is_cut_or_left_out(tmp_path):
    chunks = [(b"ANNO", b"a" * 100_000), *[(b"ANNO", b"%d" % i) for i in range(1_500)]]
    tags = read_tags(aiff_with(tmp_path / "in.aiff", *chunks))
    assert tags.problems == []
    assert tags.fields["comment"] == [text.decode() for _, text in chunks]


def test_aiff_text_past_the_end_is_named(tmp_path):
    source = aiff_with(tmp_path / "in.aiff", (b"NAME", b"Titel"))
    source.write_bytes(source.read_bytes()[:-3])
    tags = read_tags(source)
    assert tags.problems == ["the NAME chunk says 5 bytes, has 3"]
    assert tags.fields == {"title": ["Tit"]}


def test_id3_leads_whatever_the_order_of_chunks(tmp_path):
    tag = chunk_of(tagged_id3(tmp_path / "other.wav"), b"id3 ")
    info = info_chunk((b"INAM", b"not this\0"), (b"ISBJ", b"Thema\0"))
    id3 = b"id3 " + struct.pack("<I", len(tag)) + tag
    wav = append_chunks(blank(tmp_path / "in.wav"), info, id3)
    aiff = aiff_with(tmp_path / "in.aiff", (b"NAME", b"not this"), (b"ID3 ", tag))
    for source, kind in ((wav, "riff-info"), (aiff, "aiff-text")):
        tags = read_tags(source)
        assert tags.family == "id3"
        assert [block.kind for block in tags.raw] == ["id3v2", kind]
        assert tags.fields["title"] == ["Ein Stück ☃"]


def test_further_info_and_id3_chunks_are_read_behind_the_first(tmp_path):
    infos = [info_chunk((b"INAM", b"one\0")), info_chunk((b"INAM", b"two\0"), (b"IART", b"A\0"))]
    source = append_chunks(blank(tmp_path / "in.wav"), *infos)
    tags = read_tags(source)
    assert tags.fields == {"title": ["one"], "artist": ["A"]}
    assert len(tags.raw_bytes("riff-info")) == 2
    assert tags.problems == [
        "the RIFF INFO chunk disagrees with other tags about 'title': "
        "what it says is archived and not restored"
    ]
    losses = restored(source, tmp_path / "out.wav")
    assert losses == ["1 more RIFF INFO chunk of the source; it stays in the archive"]
    assert read_tags(tmp_path / "out.wav").fields == tags.fields

    tag = chunk_of(tagged_id3(tmp_path / "other.wav"), b"id3 ")
    source = aiff_with(tmp_path / "in.aiff", (b"ID3 ", tag), (b"ID3 ", tag))
    assert len(read_tags(source).raw_bytes("id3v2")) == 2


def test_broadcast_wav_chunk_is_read(files, tmp_path):
    tags = read_tags(files["bext.wav"])
    assert tags.family == "riff-bext"
    assert tags.fields == {
        "description": ["Glocken, außen"],
        "originator": ["Anna"],
        "originator_reference": ["DEABC0001"],
        "date": ["1999-05-01"],
        "origination_time": ["12:34:56"],
        "coding_history": ["A=PCM,F=44100,W=16,M=stereo"],
    }
    names = ["time reference 158760000", "UMID", "loudness"]
    assert tags.raw_only == {"riff-bext": names}
    assert tags.raw_bytes("riff-bext") == [chunk_of(files["bext.wav"], b"bext")]
    target = tmp_path / "out.wav"
    losses = restored(files["bext.wav"], target)
    assert [any(name in loss for loss in losses) for name in names] == [True] * 3
    assert chunk_of(target, b"bext") is None  # its time reference would count other samples
    assert read_tags(target).fields["date"] == ["1999-05-01"]


def test_broadcast_wav_chunk_before_id3_and_info_comes_last(tmp_path):
    info = info_chunk((b"ICRD", b"1970\0"))
    source = append_chunks(blank(tmp_path / "in.wav"), bext_chunk(), info)
    id3 = chunk_of(tagged_id3(tmp_path / "other.wav"), b"id3 ")
    append_chunks(source, b"id3 " + struct.pack("<I", len(id3)) + id3)
    tags = read_tags(source)
    assert tags.family == "id3"
    assert [block.kind for block in tags.raw] == ["id3v2", "riff-info", "riff-bext"]
    assert tags.fields["date"] == ["1999-05-01"]
    assert tags.fields["title"] == ["Ein Stück ☃"]
    assert tags.fields["description"] == ["Glocken, außen"]


def test_flac_behind_an_id3_tag_keeps_both(tmp_path):
    source = tagged_flac(tmp_path / "in.flac")
    other = ID3()
    other.add(TALB(encoding=3, text="not this"))
    other.add(TIT2(encoding=3, text="nor this"))
    other.save(tmp_path / "only.id3")
    tag = (tmp_path / "only.id3").read_bytes()
    source.write_bytes(tag + source.read_bytes())
    tags = read_tags(source)
    assert tags.family == "vorbis"
    assert tags.fields["album"] == ["Samples"]
    assert tags.raw_bytes("id3v2") == [tag]


def test_odd_values_are_changed_as_little_as_possible_and_named(tmp_path):
    tags = TagSet(
        family="vorbis",
        fields={
            "date": ["circa 1970"],
            "tracknumber": ["3/12"],
            "totaldiscs": ["2"],
            "discnumber": ["1"],
            "empty": [""],
            "two": ["a\0b"],
            "unsyncedlyrics": ["la"],
        },
        pictures=[Picture(99, "image/png", "x", FRONT)],
    )
    losses = write_tags(blank(tmp_path / "out.wav"), tags)
    frames = WAVE(tmp_path / "out.wav").tags
    assert frames["TRCK"] == "3/12"
    assert frames["TPOS"] == "1/2"
    assert frames["TXXX:DATE"] == "circa 1970"
    assert frames["USLT::eng"] == "la"
    assert len(losses) == 3
    for what in (
        "cannot store the empty field 'empty'; it stays",
        "'two' is changed",
        "picture 1 (image/png, ",
    ):
        assert any(what in loss for loss in losses)


def test_field_names_that_vorbis_cannot_have_are_named(tmp_path):
    tags = TagSet(family="id3", fields={"größe": ["1"], "a=b": ["2"], "ok": ["3"]})
    losses = write_tags(blank(tmp_path / "out.flac"), tags)
    assert FLAC(tmp_path / "out.flac").tags.as_dict() == {"ok": ["3"]}
    assert len(losses) == 2


def test_picture_past_a_flac_blocks_size_is_named(tmp_path):
    large = Picture(3, "image/png", "", bytes(1 << 24))
    tags = TagSet(family="id3", pictures=[large, Picture(4, "image/png", "", FRONT)])
    (loss,) = write_tags(blank(tmp_path / "out.flac"), tags)
    assert "picture 1" in loss
    assert [p.data for p in FLAC(tmp_path / "out.flac").pictures] == [FRONT]


def test_comments_past_a_flac_blocks_size_are_named(tmp_path):
    tags = TagSet(family="id3", fields={"long": ["x" * (1 << 24)], "title": ["t"]})
    (loss,) = write_tags(blank(tmp_path / "out.flac"), tags)
    assert "'long'" in loss
    assert FLAC(tmp_path / "out.flac").tags.as_dict() == {"title": ["t"]}


# The rest of the contract.


@pytest.mark.parametrize("name", MAKERS)
def test_raw_blocks_come_back_byte_for_byte_without_pictures_in_them(files, name):
    tags = read_tags(files[name])
    content = files[name].read_bytes()
    for block in tags.raw:
        (joined,) = tags.raw_bytes(block.kind)
        assert FRONT not in block.data
        assert BACK not in block.data
        if name not in ("ogg", "opus", "wma"):  # split over pages, gathered from several objects
            assert joined in content
    if name not in ("oga", "flac"):  # whose pictures are blocks of their own
        assert sum(len(block.cuts) for block in tags.raw) == len(tags.pictures)
    assert sum(len(block.data) for block in tags.raw) < 5000


def test_untagged_files_have_no_tags_and_get_none(tmp_path):
    for suffix in (".wav", ".flac", ".aiff"):
        tags = read_tags(blank(tmp_path / f"in{suffix}"))
        assert tags.fields == {}
        assert tags.pictures == tags.chapters == tags.problems == []
    target = blank(tmp_path / "out.wav")
    before = target.read_bytes()
    assert write_tags(target, TagSet()) == []
    assert target.read_bytes() == before


def test_recording_chunks_that_are_not_archived_are_named(tmp_path):
    source = append_chunks(blank(tmp_path / "in.wav"), b"iXML" + struct.pack("<I", 4) + b"abcd")
    assert read_tags(source).problems == ["these chunks were not archived: iXML"]


def test_missing_files_and_other_formats_are_refused(tmp_path):
    with pytest.raises(SourceError, match=r"none\.mp3: its tags cannot be read"):
        read_tags(tmp_path / "none.mp3")
    with pytest.raises(TargetError, match=r"none\.wav: tags cannot be written"):
        write_tags(tmp_path / "none.wav", TagSet())
    text = tmp_path / "text.wav"
    text.write_text("not sound")
    with pytest.raises(TagError, match="not a WAV file"):
        write_tags(text, TagSet(fields={"title": ["x"]}))
    tagged = tagged_id3(tmp_path / "tagged.wav")
    with pytest.raises(TagError, match="tags already"):
        write_tags(tagged, TagSet(fields={"title": ["x"]}))


@pytest.mark.parametrize("name", ["out.wav", "out.flac"])
def test_a_full_disk_is_a_target_error(tmp_path, name):
    target = blank(tmp_path / name)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (target.stat().st_size + 100, limits[1]))
    try:
        with pytest.raises(TargetError, match=rf"{name}: tags cannot be written"):
            write_tags(target, TagSet(fields={"title": ["x" * 10_000]}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_wav_file_without_room_below_4_gib_is_left_alone(tmp_path):
    target = write_silence(tmp_path / "out.wav", (2**30 - 20) / 44_100)  # a hole
    with target.open("rb") as file:
        before = file.read(100)
    size = target.stat().st_size
    (loss,) = write_tags(target, TagSet(fields={"title": ["x" * 100]}))
    assert "with tags it would pass 4 GiB" in loss
    assert target.stat().st_size == size > 2**32 - 100
    with target.open("rb") as file:
        assert file.read(100) == before


def test_mp3_to_mp4_names_are_the_same_neutral_names(files):
    """Fields that formats share have one name, whatever the source."""
    shared = {"title", "artist", "tracknumber", "tracktotal", "musicbrainz_trackid"}
    for name in ("flac", "mp3", "m4a"):
        assert shared <= read_tags(files[name]).fields.keys()
