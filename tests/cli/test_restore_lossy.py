"""``earzip restore --format opus|mp3|aac``: names, tags and pictures as mutagen reads them, reruns."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC, Picture
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4
from mutagen.oggopus import OggOpus

from earzip.formats.audio.source import open_source
from earzip.formats.tags.provenance import read_provenance
from tests.conftest import tones

pytest.importorskip("av")
pytestmark = pytest.mark.usefixtures("tiny_model")
FORMATS = {"opus": ".opus", "mp3": ".mp3", "aac": ".m4a"}
formats = pytest.mark.parametrize("name", FORMATS)
COVER = b"\x89PNG\r\n\x1a\n" + bytes(300_000)  # more than a page of Ogg holds
N = 66_150


@pytest.fixture
def archive(earzip, tmp_path: Path) -> Path:
    """A track with tags, two pictures and chapters."""
    song = tmp_path / "music" / "A" / "Ein Lied.flac"
    song.parent.mkdir(parents=True)
    soundfile.write(song, tones(N).T, 44_100, subtype="PCM_16")
    file = FLAC(song)
    file["title"] = ["Ein Lied", "A song"]
    file["artist"] = "Ich"
    file["tracknumber"], file["tracktotal"] = "3", "12"
    file["musicbrainz_albumid"] = "0-1"
    file["replaygain_track_gain"] = "-7.30 dB"
    file["chapter001"], file["chapter001name"] = "00:00:00.000", "Eins"
    file["chapter002"], file["chapter002name"] = "00:00:00.900", "Zwei"
    for type_, data in ((3, COVER), (4, b"\xff\xd8\xff\xe0back")):
        picture = Picture()
        picture.type, picture.data, picture.desc = type_, data, "d"
        picture.mime = "image/png" if type_ == 3 else "image/jpeg"
        file.add_picture(picture)
    file.save()
    earzip("compress", "--model", "tiny", tmp_path / "music", "-o", tmp_path / "archives")
    return tmp_path / "archives" / "A" / "Ein Lied.flac.earz"


def _restored(earzip, archive: Path, tmp_path: Path, name: str, *more: str) -> Path:
    outcome = earzip("restore", archive.parents[1], "-o", tmp_path / "out", "--format", name, *more)
    assert outcome.exit_code == 0, outcome.stderr
    (file,) = (path for path in (tmp_path / "out").rglob("*") if path.is_file())
    return file


def _pcm(path: Path):
    with open_source(path) as source:
        return np.concatenate(list(source.blocks()), axis=1), source.facts.sample_rate


@formats
def test_a_tree_becomes_a_tree_of_names_that_players_show(earzip, archive, tmp_path, name):
    file = _restored(earzip, archive, tmp_path, name)
    assert file == tmp_path / "out" / "A" / f"Ein Lied{FORMATS[name]}"
    sound, rate = _pcm(file)
    assert (sound.shape[1], rate) == ((72_000, 48_000) if name == "opus" else (N, 44_100))


def test_opus_has_comments_pictures_and_gains_of_its_own(earzip, archive, tmp_path):
    file = OggOpus(_restored(earzip, archive, tmp_path, "opus"))
    assert file["title"] == ["Ein Lied", "A song"]
    assert (file["tracknumber"], file["tracktotal"]) == (["3"], ["12"])
    assert file["r128_track_gain"] == ["-3149"]
    assert "replaygain_track_gain" not in file
    assert (file["chapter002"], file["chapter002name"]) == (["00:00:00.900"], ["Zwei"])
    pictures = [Picture(base64.b64decode(text)) for text in file["metadata_block_picture"]]
    assert [(p.type, p.mime, p.desc, p.data) for p in pictures] == [
        (3, "image/png", "d", COVER), (4, "image/jpeg", "d", b"\xff\xd8\xff\xe0back"),
    ]  # fmt: skip


def test_mp3_has_an_id3_tag(earzip, archive, tmp_path):
    tags = MP3(_restored(earzip, archive, tmp_path, "mp3")).tags
    assert tags is not None
    assert tags["TIT2"].text == ["Ein Lied", "A song"]
    assert tags["TRCK"].text == ["3/12"]
    assert tags["TXXX:MusicBrainz Album Id"].text == ["0-1"]
    assert tags["TXXX:REPLAYGAIN_TRACK_GAIN"].text == ["-7.30 dB"]
    assert ("image/png", COVER) in [(f.mime, f.data) for f in tags.getall("APIC") if f.type == 3]
    assert [f.start_time for f in tags.getall("CHAP")] == [0, 900]


def test_m4a_has_atoms_and_a_chapter_track(earzip, archive, tmp_path):
    file = MP4(_restored(earzip, archive, tmp_path, "aac"))
    assert file.tags is not None
    assert file["\xa9nam"] == ["Ein Lied", "A song"]
    assert file["trkn"] == [(3, 12)]
    assert bytes(file["----:com.apple.iTunes:MusicBrainz Album Id"][0]) == b"0-1"
    assert bytes(file["covr"][0]) == COVER
    assert "\xa9too" not in file
    from earzip.formats.tags.read import read_tags  # noqa: PLC0415

    chapters = read_tags(Path(str(file.filename))).chapters
    assert [(each.start_ms, each.title) for each in chapters] == [(0, "Eins"), (900, "Zwei")]


@formats
def test_a_second_run_finds_them_up_to_date_also_with_other_tags(earzip, archive, tmp_path, name):
    file = _restored(earzip, archive, tmp_path, name)
    before = file.read_bytes()
    tagged = mutagen.File(file)
    assert tagged is not None
    del tagged[{"mp3": "TIT2", "aac": "\xa9nam", "opus": "title"}[name]]
    tagged.save()
    arguments = ("restore", archive, "-o", tmp_path / "out" / "A", "--format", name)
    assert "1 up to date" in earzip(*arguments).stderr
    assert earzip(*arguments, "--force").exit_code == 0
    assert file.read_bytes() == before


@formats
def test_one_that_was_cut_or_another_range_is_not_up_to_date(earzip, archive, tmp_path, name):
    file = _restored(earzip, archive, tmp_path, name)
    assert read_provenance(file) is not None
    cut = tmp_path / "cut"
    cut.write_bytes(file.read_bytes()[:-2000])
    assert read_provenance(cut) is None
    again = earzip("restore", archive, "-o", file, "--start", "0.5")
    assert again.exit_code == 3
    assert "already exists with other content" in again.stderr


@formats
def test_the_name_of_the_output_chooses_the_format(earzip, archive, tmp_path, name):
    target = tmp_path / f"x{FORMATS[name].upper()}"
    assert earzip("restore", archive, "-o", target, "--start", "0.5", "--end", "1").exit_code == 0
    sound, rate = _pcm(target)
    assert sound.shape[1] == rate // 2
    whole, _ = _pcm(_restored(earzip, archive, tmp_path, name))
    part = whole[:, rate // 2 : rate]
    inner = slice(2000, -2000)  # the encoders begin anew at the edges
    error = (sound - part)[:, inner]
    assert 10 * np.log10((part[:, inner] ** 2).sum() / (error**2).sum()) > 15


def test_archives_that_would_share_a_name_are_called_after_themselves(earzip, archive, tmp_path):
    shutil.copy(archive, archive.with_name("Ein Lied.mp3.earz"))
    command = ("restore", archive.parents[1], "-o", tmp_path / "out", "--format", "opus")
    assert earzip(*command).exit_code == 0
    names = {path.name for path in (tmp_path / "out").rglob("*.opus")}
    assert names == {f"{archive.name}.opus", "Ein Lied.mp3.earz.opus"}
    assert "2 up to date" in earzip(*command).stderr


def test_a_source_beside_its_archive_is_not_replaced(earzip, tmp_path):
    song = tmp_path / "one.mp3"
    soundfile.write(song, tones(30_000).T, 44_100)
    before = song.read_bytes()
    earzip("compress", "--model", "tiny", song)
    outcome = earzip("restore", f"{song}.earz", "--format", "mp3", "--force")
    assert (outcome.exit_code, song.read_bytes()) == (3, before)
    assert "never overwritten" in outcome.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--format opus -o -", "standard output gets FLAC or WAV; name a file for opus"),
        ("--format mp3 --bits 16", "--bits is for FLAC and WAV, not for --format mp3"),
        ("--format aac --as-source", "--as-source is for FLAC and WAV, not for --format aac"),
        ("--format aac -o x.mp3", "--format aac contradicts the name of the output"),
    ],
)
def test_what_lossy_files_cannot_be_is_a_wrong_command_line(earzip, archive, options, message):
    outcome = earzip("restore", archive, *options.split())
    assert outcome.exit_code == 2
    assert message in outcome.stderr


def test_a_track_of_no_samples_is_refused(earzip, tmp_path):
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, np.zeros((0, 2)), 44_100)
    earzip("compress", "--model", "tiny", empty)
    outcome = earzip("restore", f"{empty}.earz", "--format", "opus")
    assert outcome.exit_code == 3
    assert "has no samples, which opus cannot hold; --format flac can" in outcome.stderr
