"""Exact copies of sources in archives: made, proven, and given back to the bit."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import mutagen.flac
import numpy as np
import pytest
import soundfile

from earzip.errors import SourceError, TargetError
from earzip.formats.audio.source import open_source
from earzip.options import RestoreOptions
from earzip.transcode import exact as exact_room
from earzip.transcode.compress import compress_file
from earzip.transcode.decode_check import decode_check
from earzip.transcode.inspect import read_info
from earzip.transcode.restore import restore_file
from earzip.transcode.source_file import source_file_name
from tests.earzip.tiny_archives import AS_SOURCE, TINY, exact, pcm, put_copy, with_floor
from tests.formats.audio.audio_files import encode, music, needs_ffmpeg, write_wav

pytestmark = pytest.mark.usefixtures("tiny_model")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "subtype", "rate", "channels"),
    [
        ("a.wav", "PCM_16", 44_100, 2),
        ("a.wav", "PCM_24", 48_000, 1),
        ("a.wav", "PCM_U8", 22_050, 2),
        ("a.aiff", "PCM_16", 8_000, 1),
        ("a.flac", "PCM_24", 96_000, 2),
        ("a.flac", "PCM_16", 44_100, 6),
    ],
)
def test_integers_come_back_to_the_bit(
    tmp_path: Path, name: str, subtype: str, rate: int, channels: int
) -> None:
    source = write_wav(tmp_path / name, music(30_011, channels), rate, subtype)
    archive = exact(source, tmp_path / "x.earz")
    header = read_info(archive).header
    assert header.exact == "flac"
    result = restore_file(archive, tmp_path / "out.flac", AS_SOURCE)
    assert (result.exact, result.n_overs, result.warnings) == (True, 0, ())
    for got, expected in zip(pcm(tmp_path / "out.flac"), pcm(source), strict=True):
        assert np.array_equal(got, expected)
    depth = soundfile.info(tmp_path / "out.flac").subtype
    assert depth == {"PCM_U8": "PCM_S8"}.get(subtype, subtype)
    if channels <= 2:
        restore_file(archive, tmp_path / "out.wav", AS_SOURCE)
        for got, expected in zip(pcm(tmp_path / "out.wav"), pcm(source), strict=True):
            assert np.array_equal(got, expected)
    assert decode_check(archive) == []


@needs_ffmpeg
@pytest.mark.parametrize(
    "name", ["a.mp3", "a.ogg", "a.opus", "a.m4a", "a.wav", "a.w64", "int32.wav"]
)
def test_lossy_and_float_sources_come_back_byte_for_byte(tmp_path: Path, name: str) -> None:
    wav = write_wav(tmp_path / "made.wav", music(50_000), subtype="FLOAT")
    source = tmp_path / name
    if name == "int32.wav":  # more bits than FLAC takes
        source = write_wav(source, music(50_000), subtype="PCM_32")
    elif name.endswith((".wav", ".w64")):
        source = write_wav(source, 3 * music(50_000), subtype="FLOAT")
    else:
        encode(wav, source)
    os.utime(source, ns=(10**18, 10**18 + 7))
    archive = exact(source, tmp_path / f"{name}.earz")
    assert source_file_name(archive, name) == name
    result = restore_file(archive, tmp_path / "out" / name, AS_SOURCE)
    assert (result.status, result.exact) == ("written", True)
    assert sha256(tmp_path / "out" / name) == sha256(source)
    assert (tmp_path / "out" / name).stat().st_mtime_ns == 10**18 + 7
    assert restore_file(archive, tmp_path / "out" / name, AS_SOURCE).status == "up_to_date"
    assert decode_check(archive) == []
    # In a container that is asked for, its samples.
    restore_file(archive, tmp_path / "x.wav", replace(AS_SOURCE, container="wav", bits="float"))
    assert np.array_equal(pcm(tmp_path / "x.wav")[0], pcm(source)[0])


def test_tags_go_into_a_flac_that_is_restored_to_the_bit(song: Path, tmp_path: Path) -> None:
    tags = mutagen.flac.FLAC(song)
    tags["title"] = ["Exact"]
    tags.save()
    archive = exact(song, tmp_path / "x.earz")
    restore_file(archive, tmp_path / "x.flac", AS_SOURCE)
    assert mutagen.flac.FLAC(tmp_path / "x.flac")["title"] == ["Exact"]
    assert restore_file(archive, tmp_path / "x.flac", AS_SOURCE).status == "up_to_date"


def test_without_as_source_the_exact_copy_gives_44_khz_stereo(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.wav", music(48_000, 1), 48_000)
    archive = exact(source, tmp_path / "a.earz")
    result = restore_file(archive, tmp_path / "a.flac")
    info = soundfile.info(tmp_path / "a.flac")
    assert (info.frames, info.samplerate, info.channels) == (44_100, 44_100, 2)
    assert result.exact
    compress_file(source, tmp_path / "coded.earz", TINY)
    restore_file(tmp_path / "coded.earz", tmp_path / "coded.flac")
    assert not np.array_equal(pcm(tmp_path / "coded.flac")[0], pcm(tmp_path / "a.flac")[0])


def test_a_range_of_the_exact_copy(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.wav", music(96_000), 48_000)
    archive = exact(source, tmp_path / "a.earz")
    whole = pcm(source)[0]
    ranged = replace(AS_SOURCE, start_s=0.5, end_s=1.25)
    assert restore_file(archive, tmp_path / "r.flac", ranged).n_samples == 36_000
    assert np.array_equal(pcm(tmp_path / "r.flac")[0], whole[:, 24_000:60_000])
    restore_file(archive, tmp_path / "all.wav", RestoreOptions(bits="float"))
    part = replace(RestoreOptions(bits="float"), start_s=0.5, end_s=1.25)
    restore_file(archive, tmp_path / "part.wav", part)
    expected = pcm(tmp_path / "all.wav")[0][:, 22_050:55_125]
    assert np.array_equal(pcm(tmp_path / "part.wav")[0], expected)


def test_the_model_is_not_needed_where_there_is_an_exact_copy(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = exact(song, tmp_path / "x.earz")
    monkeypatch.setenv("EARZIP_MODELS", str(tmp_path))
    assert restore_file(archive, tmp_path / "x.flac", AS_SOURCE).exact


def test_the_source_file_replaces_nothing_without_force(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.ogg", music(30_000), subtype="VORBIS")
    archive = exact(source, tmp_path / "a.ogg.earz")
    other = tmp_path / "out" / "a.ogg"
    other.parent.mkdir()
    other.write_bytes(b"something else")
    with pytest.raises(
        Exception, match="already exists and is not the source; to replace it, restore"
    ):
        restore_file(archive, other, AS_SOURCE)
    assert other.read_bytes() == b"something else"
    restore_file(archive, other, replace(AS_SOURCE, force=True))
    assert sha256(other) == sha256(source)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["x.wav", "noise.WAV", "x.rf64"])
def test_a_target_of_the_sources_own_kind_is_the_source_file(tmp_path: Path, name: str) -> None:
    source = tmp_path / "a.wav"
    soundfile.write(source, music(30_000).T.astype(np.float64) / 3, 44_100, subtype="DOUBLE")
    archive = exact(source, tmp_path / "a.earz")
    result = restore_file(archive, tmp_path / name, AS_SOURCE)
    assert (result.warnings, sha256(tmp_path / name)) == ((), sha256(source))


def test_samples_that_a_format_rounds_are_told_of(tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    soundfile.write(source, music(30_000).T.astype(np.float64) / 3, 44_100, subtype="DOUBLE")
    archive = exact(source, tmp_path / "a.earz")
    for container in ("wav", "flac"):
        options = replace(AS_SOURCE, container=container)
        (warning,) = restore_file(archive, tmp_path / f"x.{container}", options).warnings
        assert warning.startswith("samples of 64 bits do not fit and are rounded")
    asked_for = replace(AS_SOURCE, container="wav", bits=16)
    assert restore_file(archive, tmp_path / "16.wav", asked_for).warnings == ()


@pytest.mark.parametrize(
    ("name", "restored"),
    [
        ("a.mp3", "x.mp3"),
        ("", "x.ogg"),  # came through a pipe
        ("no extension", "x.ogg"),
        ("evil.exe", "x.ogg"),
        ("a.\x1b[31m", "x.ogg"),
        ("a.OGG", "x.ogg"),
        ("a.earz", "x.ogg"),
    ],
)
def test_a_source_file_gets_only_extensions_of_sound(
    tmp_path: Path, name: str, restored: str
) -> None:
    source = write_wav(tmp_path / "a.ogg", music(30_000), subtype="VORBIS")
    archive = tmp_path / "x.earz"
    compress_file(source, archive, with_floor("lossless"), source_name=name)
    assert source_file_name(archive, "x") == restored
    assert source_file_name(archive, f"x{restored[1:].upper()}") == f"x{restored[1:].upper()}"


def test_other_kinds_of_files_are_never_flac_inside(song: Path, tmp_path: Path) -> None:
    for archive in (
        exact(song, tmp_path / "x.earz"),
        compress_file(song, tmp_path / "c", TINY).target,
    ):
        with pytest.raises(TargetError, match=r"x\.mp3: would be FLAC"):
            restore_file(archive, tmp_path / "x.mp3", AS_SOURCE)


def test_force_replaces_what_earzip_wrote_but_never_a_source(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.wav", 2 * music(30_000), subtype="FLOAT")
    archive = exact(source, tmp_path / "a.wav.earz")
    target = tmp_path / "out.wav"
    restore_file(archive, target, replace(AS_SOURCE, container="wav"))
    restore_file(archive, target, replace(AS_SOURCE, force=True))
    assert sha256(target) == sha256(source)
    edited = tmp_path / "edited.wav"
    edited.write_bytes(source.read_bytes() + b"LIST\x0c\0\0\0INFOISFT\0\0\0\0")
    for options in (AS_SOURCE, replace(AS_SOURCE, force=True)):
        with pytest.raises(TargetError, match="may be the source of this archive with other tags"):
            restore_file(archive, edited, options)


def test_a_source_that_changes_behind_its_time_and_size_makes_no_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_wav(tmp_path / "a.wav", music(30_000))
    before = source.stat()
    real = exact_room.write_exact_flac

    def change_then_write(*arguments: object) -> None:
        write_wav(source, music(30_000, seed=1))
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(exact_room, "write_exact_flac", change_then_write)
    with pytest.raises(SourceError, match=r"a\.wav: changed while earzip read it"):
        compress_file(source, tmp_path / "a.earz", with_floor("lossless"))
    assert not (tmp_path / "a.earz").exists()


@pytest.mark.parametrize(
    ("n_frames", "rate", "channels"),
    [(30_001, 44_100, 2), (30_000, 48_000, 2), (30_000, 44_100, 1)],
)
def test_only_all_of_a_sources_samples_are_an_exact_copy(
    tmp_path: Path, n_frames: int, rate: int, channels: int
) -> None:
    silence = np.zeros((2, 30_001), np.float32)  # whose beginning and channels are alike
    source = write_wav(tmp_path / "a.wav", silence[:, :30_000])
    archive = exact(source, tmp_path / "a.earz")
    assert exact_room.is_exact(archive, source, lambda _seconds: None)
    other = write_wav(tmp_path / "b.flac", silence[:channels, :n_frames], rate)
    put_copy(archive, other.read_bytes())
    assert not exact_room.is_exact(archive, source, lambda _seconds: None)


def test_speakers_in_another_order_are_kept_as_the_file(tmp_path: Path) -> None:
    """FLAC implies front, centre, LFE and back for six channels; side speakers it does not."""
    source = tmp_path / "a.wav"
    encode(
        write_wav(tmp_path / "made.wav", music(20_000, 4)),
        source,
        "-af",
        "channelmap=channel_layout=4.0",
        "-channel_layout",
        "4.0",
    )
    archive = exact(source, tmp_path / "a.earz")
    with open_source(source) as reader:
        assert reader.layout == ("FL", "FR", "FC", "BC")
    assert read_info(archive).header.exact == "file"


def test_force_over_the_archive_of_a_changed_source_keeps_an_exact_copy(
    song: Path, tmp_path: Path
) -> None:
    archive = exact(song, tmp_path / "x.earz")
    tags = mutagen.flac.FLAC(song)
    tags["title"] = ["Changed"]
    tags.save()
    result = compress_file(song, archive, replace(TINY, force=True))
    assert (result.status, bool(result.exact_bytes)) == ("written", True)
    restore_file(archive, tmp_path / "x.flac", AS_SOURCE)
    assert np.array_equal(pcm(tmp_path / "x.flac")[0], pcm(song)[0])


def test_a_source_file_is_not_given_the_name_of_another_kind(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.ogg", music(30_000), subtype="VORBIS")
    archive = exact(source, tmp_path / "a.ogg.earz")
    with pytest.raises(TargetError, match=r"x\.mp3: would be FLAC"):
        restore_file(archive, tmp_path / "x.mp3", AS_SOURCE)


def test_a_flac_that_is_cut_short_has_an_exact_copy_of_what_is_left(
    song: Path, tmp_path: Path
) -> None:
    song.write_bytes(song.read_bytes()[: song.stat().st_size // 2])
    options = replace(with_floor("lossless", 200), truncated="keep")
    archive = compress_file(song, tmp_path / "a.earz", options).target
    target = tmp_path / "back.flac"
    assert restore_file(archive, target, replace(AS_SOURCE, container="flac")).exact
    with open_source(song, "keep") as left:
        expected = np.concatenate(list(left.blocks()), axis=1)
    np.testing.assert_array_equal(soundfile.read(target, dtype="float32")[0].T, expected)
