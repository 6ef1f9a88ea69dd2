"""``earzip restore --split``: albums in one file to tracks, by cue sheets and chapters."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC, Picture

from tests.cli.conftest import write_sound
from tests.conftest import tones
from tests.formats.tags.test_cue_sheet import TWO_SIDES

pytestmark = pytest.mark.usefixtures("tiny_model")
FRAME = 588
SHEET = """\
PERFORMER "Die Band"
TITLE "Das Album"
REM DATE 1973
CATALOG 1234567890123
FILE "CDImage.wav" WAVE
  TRACK 01 AUDIO
    TITLE "Eins / 1"
    INDEX 00 00:00:00
    INDEX 01 {first}
  TRACK 02 AUDIO
    TITLE "Größe"
    PERFORMER "Gast"
    ISRC DEA000000001
    INDEX 00 00:06:10
    INDEX 01 00:06:33
  TRACK 03 AUDIO
    INDEX 01 00:07:74
"""
N = 400_000  # 9 s


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """An album in one file, with a picture; its sheet stands beside it."""
    path = tmp_path / "music" / "Band" / "Album.flac"
    path.parent.mkdir(parents=True)
    soundfile.write(path, tones(N).T, 44_100, subtype="PCM_16")
    file = FLAC(path)
    file["title"], file["artist"], file["genre"] = "Das Album", "Ich", "Rock"
    file["replaygain_track_gain"] = "-7.30 dB"
    picture = Picture()
    picture.type, picture.mime, picture.data = 3, "image/png", b"\x89PNG\r\n\x1a\n cover"
    file.add_picture(picture)
    file.save()
    return path


def _archived(earzip, album: Path, tmp_path: Path, *more: str) -> Path:
    outcome = earzip(
        "compress", "--model", "tiny", tmp_path / "music", "-o", tmp_path / "archives", *more
    )
    assert outcome.exit_code == 0, outcome.stderr
    return tmp_path / "archives" / "Band" / f"{album.name}.earz"


def _split(earzip, tmp_path: Path, *more: str) -> list[Path]:
    outcome = earzip("restore", tmp_path / "archives", "-o", tmp_path / "out", "--split", *more)
    assert outcome.exit_code == 0, outcome.stderr
    return sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())


def _pcm(path: Path):
    return soundfile.read(path, dtype="int32")[0]


@pytest.mark.parametrize(
    ("first", "names", "frames"),
    [
        # A long pregap is a hidden track; a short one, as most CDs have, belongs to the first.
        ("00:05:01", ["00 Hidden track", "01 Eins _ 1", "02 Größe", "03"], [376, 107, 116]),
        ("00:00:33", ["01 Eins _ 1", "02 Größe", "03"], [483, 116]),
    ],
)
@pytest.mark.parametrize("bits", ["16", "24"])
def test_tracks_are_cut_at_the_frame_and_join_to_the_whole(
    earzip, album, tmp_path, first, names, frames, bits
):
    album.with_suffix(".cue").write_text(SHEET.format(first=first), encoding="utf-8")
    archive = _archived(earzip, album, tmp_path)
    tracks = _split(earzip, tmp_path, "--bits", bits)
    folder = tmp_path / "out" / "Band" / "Album"
    assert tracks == [folder / f"{name}.flac" for name in names]
    earzip("restore", archive, "-o", tmp_path / "whole.wav", "--bits", bits)
    sounds = [_pcm(path) for path in tracks]
    assert [len(sound) for sound in sounds[:-1]] == [FRAME * n for n in frames]
    assert (np.concatenate(sounds) == _pcm(tmp_path / "whole.wav")).all()


def test_tags_are_those_of_the_track_and_pictures_stay(earzip, album, tmp_path):
    album.with_suffix(".cue").write_bytes(SHEET.format(first="00:00:00").encode("cp1252"))
    _archived(earzip, album, tmp_path)
    first, second, third = map(FLAC, _split(earzip, tmp_path))
    assert dict(second) == {
        "title": ["Größe"], "artist": ["Gast"], "album": ["Das Album"],
        "albumartist": ["Die Band"], "tracknumber": ["2"], "tracktotal": ["3"],
        "isrc": ["DEA000000001"], "genre": ["Rock"], "date": ["1973"],
        "barcode": ["1234567890123"], "replaygain_album_gain": ["-7.30 dB"],
    }  # fmt: skip
    assert (first["title"], first["artist"], "isrc" in first) == (["Eins / 1"], ["Die Band"], False)
    assert "title" not in third
    assert [p.data for p in third.pictures] == [b"\x89PNG\r\n\x1a\n cover"]


def test_a_sheet_in_the_tags_stands_before_one_beside_the_archive(earzip, album, tmp_path):
    file = FLAC(album)
    file["cuesheet"] = SHEET.format(first="00:00:00").replace("Größe", "Innen")
    file.save()
    archive = _archived(earzip, album, tmp_path)
    archive.with_name("Album.cue").write_text(SHEET.format(first="00:00:00"), encoding="utf-8")
    assert _split(earzip, tmp_path)[1].name == "02 Innen.flac"


def test_a_sheet_beside_the_archive_is_found_and_another_title_makes_another_file(
    earzip, album, tmp_path
):
    archive = _archived(earzip, album, tmp_path)
    cue = archive.with_name("Album.cue")
    cue.write_text(SHEET.format(first="00:00:00"), encoding="utf-16")
    tracks = _split(earzip, tmp_path)
    cue.write_text(SHEET.format(first="00:00:00").replace("Gast", "Guest"), encoding="utf-8")
    outcome = earzip("restore", archive, "-o", tmp_path / "out" / "Band", "--split")
    assert outcome.exit_code == 3
    assert f"{tracks[1]}: already exists with other content" in outcome.stderr.replace("\n", " ")


def test_a_rerun_restores_only_what_is_missing(earzip, album, tmp_path):
    album.with_suffix(".cue").write_text(SHEET.format(first="00:00:00"), encoding="utf-8")
    archive = _archived(earzip, album, tmp_path)
    dry = earzip("restore", tmp_path / "archives", "-o", tmp_path / "out", "--split", "--dry-run")
    assert f"planned     {tmp_path / 'out/Band/Album'} (a directory of 3 tracks)\n" in dry.stdout
    tracks = _split(earzip, tmp_path)
    tracks[1].unlink()
    times = [track.stat().st_ctime_ns for track in (tracks[0], tracks[2])]
    arguments = ("restore", tmp_path / "archives", "-o", tmp_path / "out", "--split", "--json")
    (record, _) = earzip(*arguments).records
    assert (record["status"], record["target"]) == ("written", str(tracks[0].parent))
    assert record["tracks"] == list(map(str, tracks))
    assert times == [track.stat().st_ctime_ns for track in (tracks[0], tracks[2])]
    (record, _) = earzip(*arguments).records
    assert (record["status"], record["n_samples"]) == ("up_to_date", N)
    assert "planned" not in earzip(*arguments[:-1], "--dry-run").stdout
    assert archive.exists()


def test_an_archive_of_one_track_is_restored_whole_beside_others(earzip, album, tmp_path):
    album.with_suffix(".cue").write_text(SHEET.format(first="00:00:00"), encoding="utf-8")
    write_sound(album.with_name("single.mp3"))
    _archived(earzip, album, tmp_path)
    names = [str(path.relative_to(tmp_path / "out")) for path in _split(earzip, tmp_path)]
    assert names[-1] == "Band/single.mp3.flac"
    assert len(names) == 4


def test_each_file_of_a_sheet_of_several_gets_its_tracks(earzip, album, tmp_path):
    for side in "AB":
        write_sound(album.with_name(f"Side {side}.wav"), 190 if side == "B" else 130, 8000)
    album.unlink()
    album.with_suffix(".cue").write_text(TWO_SIDES)
    _archived(earzip, album, tmp_path)
    names = [str(path.relative_to(tmp_path / "out" / "Band")) for path in _split(earzip, tmp_path)]
    assert names == [
        "Side A/01.flac", "Side A/02.flac", "Side B/03 Drei.flac", "Side B/04.flac",
    ]  # fmt: skip
    last = mutagen.File(tmp_path / "out" / "Band" / names[-1])
    assert last is not None
    assert (last["tracknumber"], last["tracktotal"]) == (["4"], ["4"])


def _chaptered(album: Path, starts: list[str]) -> None:
    file = FLAC(album)
    for number, start in enumerate(starts, 1):
        file[f"chapter{number:03}"] = f"00:00:0{start}"
        file[f"chapter{number:03}name"] = f"Kapitel {number}"
    file.save()


def test_chapters_become_tracks_whatever_their_order(earzip, album, tmp_path):
    _chaptered(album, ["0.000", "5.321", "2.500", "2.500"])
    archive = _archived(earzip, album, tmp_path)
    tracks = _split(earzip, tmp_path, "--bits", "16")
    assert [path.name for path in tracks] == [
        "01 Kapitel 1.flac", "02 Kapitel 3.flac", "03 Kapitel 2.flac",
    ]  # fmt: skip
    earzip("restore", archive, "-o", tmp_path / "whole.wav", "--bits", "16")
    sounds = [_pcm(path) for path in tracks]
    assert [len(sound) for sound in sounds[:2]] == [110_250, 234_656 - 110_250]
    assert (np.concatenate(sounds) == _pcm(tmp_path / "whole.wav")).all()
    tags = FLAC(tracks[1])
    assert (tags["album"], tags["artist"], tags["tracknumber"]) == (["Das Album"], ["Ich"], ["2"])
    assert not [name for name in tags if name.startswith("chapter")]


@pytest.mark.parametrize("suffix", ["mp3", "m4b"])
def test_chapters_of_containers_become_tracks(earzip, tmp_path, suffix):
    pytest.importorskip("av")
    meta = tmp_path / "chapters.txt"
    meta.write_text(
        ";FFMETADATA1\ntitle=Buch\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1500\ntitle=Eins\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=1500\nEND=3000\ntitle=Zwei\n"
    )
    book = tmp_path / "music" / "Band" / f"Buch.{suffix}"
    wav = write_sound(tmp_path / "music" / "Band" / "x.wav", 3.0)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", wav, "-i", meta, "-map_metadata", "1", book],
        check=True,
    )
    wav.unlink()
    _archived(earzip, book, tmp_path)
    assert [path.name for path in _split(earzip, tmp_path)] == ["01 Eins.flac", "02 Zwei.flac"]


def test_tracks_for_a_phone_join_to_the_length_of_the_whole(earzip, album, tmp_path):
    pytest.importorskip("av")
    from earzip.formats.audio.source import open_source  # noqa: PLC0415

    album.with_suffix(".cue").write_text(SHEET.format(first="00:00:33"), encoding="utf-8")
    _archived(earzip, album, tmp_path)
    lengths = []
    for track in _split(earzip, tmp_path, "--format", "opus"):
        with open_source(track) as source:
            lengths.append(sum(block.shape[1] for block in source.blocks()))
    assert track.suffix == ".opus"
    assert sum(lengths) == round(N * 480 / 441)


def test_a_rate_of_the_source_loses_no_sample_either(earzip, tmp_path):
    path = write_sound(tmp_path / "music" / "Band" / "Album.wav", 9.07, 32_000)
    path.with_suffix(".cue").write_text(SHEET.format(first="00:00:00"), encoding="utf-8")
    archive = _archived(earzip, path, tmp_path)
    tracks = _split(earzip, tmp_path, "--as-source", "--bits", "24")
    earzip("restore", archive, "-o", tmp_path / "whole.wav", "--as-source", "--bits", "24")
    joined = np.concatenate([_pcm(track) for track in tracks]) >> 8
    whole = _pcm(tmp_path / "whole.wav") >> 8
    assert joined.shape == whole.shape
    assert np.abs(joined - whole).max() <= 1  # of 24 bits: the resampler began elsewhere


def test_damage_costs_only_the_tracks_that_it_is_in(earzip, album, tmp_path):
    album.with_suffix(".cue").write_text(SHEET.format(first="00:00:00"), encoding="utf-8")
    archive = _archived(earzip, album, tmp_path)
    from tests.earzip.tiny_archives import damage_segment  # noqa: PLC0415

    damage_segment(archive, 0)
    arguments = ("restore", archive, "-o", tmp_path / "out", "--split", "--json")
    outcome = earzip(*arguments)
    assert outcome.exit_code in (3, 4)
    outcome = earzip(*arguments, "--keep-going")
    assert outcome.records[0]["status"] == "incomplete"
    assert outcome.records[0]["lost_segments"] == [0]


def test_a_sheet_that_cannot_be_used_is_an_error_that_says_so(earzip, album, tmp_path):
    file = FLAC(album)
    file["cuesheet"] = "TRACK 01 AUDIO\nINDEX 01 00:05:00\nTRACK 02 AUDIO\nINDEX 01 00:02:00\n"
    file.save()
    archive = _archived(earzip, album, tmp_path)
    outcome = earzip("restore", archive, "-o", tmp_path / "out", "--split")
    assert outcome.exit_code == 3
    assert (
        "its cue sheet cannot be used: track 2 does not begin behind track 1; without --split it "
        "is restored whole" in outcome.stderr.replace("\n", " ")
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-o x.flac", "--split makes several files"),
        ("-o -", "--split makes several files"),
        ("--start 1", "--split and --start or --end exclude each other"),
    ],
)
def test_what_contradicts_split_is_a_wrong_command_line(earzip, album, tmp_path, options, message):
    archive = _archived(earzip, album, tmp_path)
    outcome = earzip("restore", archive, "--split", *options.split())
    assert outcome.exit_code == 2
    assert message in outcome.stderr


def test_a_sheet_that_goes_beyond_the_sound_is_of_another_file(earzip, album, tmp_path):
    sheet = SHEET.format(first="00:00:00").replace("00:07:74", "10:00:00")
    album.with_suffix(".cue").write_text(sheet, encoding="utf-8")
    archive = _archived(earzip, album, tmp_path)
    outcome = earzip("restore", archive, "-o", tmp_path / "out", "--split")
    assert outcome.exit_code == 3
    assert "track 3 begins at 10:00, the sound ends at 0:09" in outcome.stderr.replace("\n", " ")


def test_titles_of_a_sheet_beside_are_kept_where_the_flac_block_has_none(earzip, album, tmp_path):
    cue = album.with_suffix(".cue")
    cue.write_text(SHEET.format(first="00:00:33"), encoding="utf-8")
    wav = album.with_suffix(".wav")
    soundfile.write(wav, tones(N).T, 44_100, subtype="PCM_16")
    command = ["flac", "--silent", "--force", f"--cuesheet={cue}", "-o", album, wav]
    if not shutil.which("flac"):
        pytest.skip("needs flac")
    # flac wants the end on a frame of a CD.
    soundfile.write(wav, tones(FRAME * 680).T, 44_100, subtype="PCM_16")
    subprocess.run(command, check=True, capture_output=True)
    wav.unlink()
    archive = _archived(earzip, album, tmp_path)
    cue.unlink()
    assert [path.name for path in _split(earzip, tmp_path)] == [
        "01 Eins _ 1.flac", "02 Größe.flac", "03.flac",
    ]  # fmt: skip
    assert archive.exists()


def test_tracks_of_an_exact_copy_join_to_the_source_to_the_bit(earzip, tmp_path):
    pytest.importorskip("librosa")
    path = tmp_path / "music" / "Band" / "Album.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, tones(9 * 48_000).T, 48_000, subtype="PCM_24")
    path.with_suffix(".cue").write_text(SHEET.format(first="00:00:00"), encoding="utf-8")
    _archived(earzip, path, tmp_path, "--min-si-sdr", "200", "--below-floor", "lossless")
    tracks = _split(earzip, tmp_path, "--as-source")
    sounds = [_pcm(track) for track in tracks]
    assert [len(sound) for sound in sounds[:2]] == [483 * 640, 116 * 640]
    assert (np.concatenate(sounds) == _pcm(path)).all()


def test_titles_cannot_lead_out_of_the_directory(earzip, album, tmp_path):
    file = FLAC(album)
    file["cuesheet"] = (
        'TRACK 01 AUDIO\nTITLE "../../x"\nINDEX 01 00:00:00\n'
        f'TRACK 02 AUDIO\nTITLE "{"ä" * 300}..."\nINDEX 01 00:02:00\n'
    )
    file.save()
    _archived(earzip, album, tmp_path)
    first, second = _split(earzip, tmp_path)
    assert first == tmp_path / "out" / "Band" / "Album" / "01 .._.._x.flac"
    assert second.name == f"02 {'ä' * 90}.flac"


def test_albums_of_one_name_become_directories_called_after_their_archives(earzip, album, tmp_path):
    album.with_suffix(".cue").write_text(SHEET.format(first="00:02:50"))
    archive = _archived(earzip, album, tmp_path)
    shutil.copy(archive, archive.with_name("Album.wav.earz"))
    folders = {path.parent.name for path in _split(earzip, tmp_path)}
    assert folders == {"Album.flac.earz.tracks", "Album.wav.earz.tracks"}
    again = earzip("restore", tmp_path / "archives", "-o", tmp_path / "out", "--split")
    assert "2 up to date" in again.stderr
