"""Restoring to a stream: the same sound and tags as in a file, front to back."""

from __future__ import annotations

import io
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
from numpy.typing import NDArray

from earzip.errors import DamagedArchiveError, SourceError, TargetError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.audio import write as write_module
from earzip.formats.audio.source import open_source
from earzip.formats.tags.model import TagSet
from earzip.formats.tags.provenance import STREAMED, read_provenance
from earzip.formats.tags.read import read_tags
from earzip.options import RestoreOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.restore import restore_file
from earzip.transcode.restore_stream import restore_to_stream
from earzip.transcode.results import RestoreResult
from tests.earzip.tiny_archives import AS_SOURCE, TINY, damage_segment, exact, pcm, put_copy, sound
from tests.formats.audio.audio_files import music, needs_ffmpeg, needs_flac, write_wav
from tests.formats.tags.tag_files import (
    FRONT,
    blank,
    flac_with_cue_sheet,
    tagged_flac,
    tagged_id3,
)

pytestmark = pytest.mark.usefixtures("tiny_model")

WAV, FLAC = RestoreOptions(container="wav"), RestoreOptions(container="flac")
SOURCES = {
    "tagged.flac": tagged_flac,
    "cue.flac": lambda path: flac_with_cue_sheet(path, 48_000),
    "id3.wav": tagged_id3,
    "plain.wav": blank,
    "mono.wav": lambda path: blank(path, 22_050, 1, 0.30001),
    "empty.wav": lambda path: blank(path, seconds=0),
}
FORMATS = [
    WAV,
    replace(WAV, bits=16),
    replace(WAV, bits=24),
    replace(WAV, bits="float"),
    replace(WAV, as_source=True),
    FLAC,
    replace(FLAC, bits=16),
    replace(FLAC, bits=16, dither=False),
    replace(FLAC, as_source=True),
]


@dataclass
class Taken:
    """A stream that only goes forwards, and what it was given at a time."""

    pieces: list[bytes] = field(default_factory=list)

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


def sent(archive: Path, target: Path, options: RestoreOptions) -> RestoreResult:
    """Restore ``archive`` to a stream whose bytes ``target`` then has."""
    stream = Taken()
    try:
        return restore_to_stream(archive, stream, options)
    finally:
        target.write_bytes(stream.data)


def what_there_is(path: Path) -> NDArray[np.float32]:
    """Return the samples of a file that is cut short, ``[C, T]``."""
    blocks = []
    with open_source(path) as source, suppress(SourceError):
        for block in source.blocks():
            blocks.append(block)  # what came before the error too
    return np.concatenate(blocks, axis=1)


def tags_of(path: Path) -> tuple[TagSet, dict[str, Any]]:
    """Return the tags of a file as we and as mutagen read them.

    Before a cue sheet stands a STREAMINFO, which has an MD5 of the sound in a file and none in a stream.
    """
    tags = read_tags(path)
    raw = [
        replace(block, data=block.data[34:]) if block.kind == "flac-cuesheet" else block
        for block in tags.raw
    ]
    is_rf64 = path.read_bytes()[:4] == b"RF64"  # which mutagen does not read
    return replace(tags, raw=raw), {} if is_rf64 else dict(mutagen.File(path).tags or {})


@pytest.mark.parametrize("options", FORMATS, ids=str)
@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_stream_has_the_sound_and_the_tags_of_the_file(
    tmp_path: Path, name: str, options: RestoreOptions
) -> None:
    archive = compress_file(SOURCES[name](tmp_path / name), tmp_path / "x.earz", TINY).target
    target, file = (tmp_path / f"{kind}.{options.container}" for kind in ("stream", "file"))
    result, expected = sent(archive, target, options), restore_file(archive, file, options)
    assert replace(result, target=file) == expected
    with open_source(target) as one, open_source(file) as other:
        assert one.facts == other.facts
    if name == "empty.wav":  # libFLAC writes no comment block then
        assert read_tags(target).fields == read_tags(file).fields == {}
        return
    np.testing.assert_array_equal(pcm(target)[0], pcm(file)[0])
    assert tags_of(target) == tags_of(file)


@pytest.mark.parametrize("options", [WAV, FLAC], ids=str)
def test_a_range_and_its_tags_are_those_of_the_file(
    tmp_path: Path, options: RestoreOptions
) -> None:
    archive = compress_file(tagged_id3(tmp_path / "a.wav"), tmp_path / "x.earz", TINY).target
    options = replace(options, start_s=0.1, end_s=0.3)
    target, file = (tmp_path / f"{kind}.{options.container}" for kind in ("stream", "file"))
    result, expected = sent(archive, target, options), restore_file(archive, file, options)
    assert replace(result, target=file) == expected
    np.testing.assert_array_equal(pcm(target)[0], pcm(file)[0])
    assert tags_of(target) == tags_of(file)


@pytest.mark.parametrize("options", [WAV, FLAC], ids=str)
def test_tags_and_pictures_are_ahead_of_the_first_sample(
    tmp_path: Path, options: RestoreOptions
) -> None:
    archive = compress_file(tagged_flac(tmp_path / "a.flac"), tmp_path / "x.earz", TINY).target
    stream = Taken()
    restore_to_stream(archive, stream, options)
    begin = stream.data.index(b"data" if options.container == "wav" else b"\xff\xf8")
    assert 0 < stream.data.index(FRONT) < begin
    assert stream.data.count(FRONT) == 1


def test_sound_leaves_before_the_last_segment_is_decoded(archive: Path) -> None:
    damage_segment(archive, 4)
    for options in (WAV, FLAC):
        stream = Taken()
        message = (
            r"only 0:0\d\.\d\d of 0:01\.59 were sent; --keep-going restores the rest, with silence"
        )
        with pytest.raises(DamagedArchiveError, match=message):
            restore_to_stream(archive, stream, options)
        (archive.parent / "cut").write_bytes(stream.data)
        got = what_there_is(archive.parent / "cut")
        restore_file(
            archive, archive.parent / "whole.wav", replace(WAV, keep_going=True, force=True)
        )
        whole = sound(archive.parent / "whole.wav")
        assert 64 * 256 - 128 <= got.shape[1] < 4 * 64 * 256  # the first segment, and not the last
        np.testing.assert_array_equal(got, whole[:, : got.shape[1]])


@pytest.mark.parametrize("options", [WAV, FLAC], ids=str)
def test_damage_at_the_beginning_sends_nothing(archive: Path, options: RestoreOptions) -> None:
    damage_segment(archive, 0)
    stream = Taken()
    with pytest.raises(DamagedArchiveError, match="bytes have changed; --keep-going") as error:
        restore_to_stream(archive, stream, options)
    assert stream.data == b""
    assert "sent" not in error.value.message


def test_silence_stands_for_damage_by_request(archive: Path, tmp_path: Path) -> None:
    damage_segment(archive, 2)
    options = replace(WAV, keep_going=True)
    result = sent(archive, tmp_path / "stream.wav", options)
    assert (result.lost_segments, result.is_incomplete) == ((2,), True)
    restore_file(archive, tmp_path / "file.wav", options)
    np.testing.assert_array_equal(pcm(tmp_path / "stream.wav")[0], pcm(tmp_path / "file.wav")[0])


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("container", ["flac", "wav"])
def test_an_exact_copy_is_sent_to_the_bit(tmp_path: Path, channels: int, container: str) -> None:
    source = write_wav(tmp_path / "a.flac", music(30_011, channels), 48_000, "PCM_24")
    archive = exact(source, tmp_path / "x.earz")
    options = replace(AS_SOURCE, container=container)  # type: ignore[arg-type]
    target, file = tmp_path / f"stream.{container}", tmp_path / f"file.{container}"
    result, expected = sent(archive, target, options), restore_file(archive, file, options)
    assert replace(result, target=file) == expected
    assert result.exact
    np.testing.assert_array_equal(pcm(target)[0], pcm(file)[0])
    assert tags_of(target) == tags_of(file)
    if container == "flac":
        np.testing.assert_array_equal(pcm(target)[0], pcm(source)[0])


def test_an_exact_copy_that_ends_early_is_not_followed_by_other_sound(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.flac", music(300_000), subtype="PCM_24")
    archive = exact(source, tmp_path / "x.earz")
    with ArchiveReader(archive) as reader, reader.exact_copy() as copy:
        flac = copy.read()
    put_copy(archive, flac[: len(flac) // 2])  # all checksums are right
    for options in (WAV, replace(FLAC, as_source=True)):
        with pytest.raises(DamagedArchiveError, match=r"; only 0:0\d\.\d\d of 0:06\.80 were sent$"):
            sent(archive, tmp_path / "x", replace(options, keep_going=True))
        got = what_there_is(tmp_path / "x")
        assert 44_100 < got.shape[1] <= 150_000
        np.testing.assert_array_equal(got, pcm(source)[0][:, : got.shape[1]])


def test_an_exact_copy_of_wrong_bytes_is_found_before_anything_is_sent(
    song: Path, tmp_path: Path
) -> None:
    archive = exact(song, tmp_path / "x.earz")
    data = bytearray(archive.read_bytes())
    data[-100] ^= 1
    archive.write_bytes(data)
    with pytest.raises(DamagedArchiveError, match=r"; --keep-going restores the coded sound$"):
        sent(archive, tmp_path / "x.wav", WAV)
    assert (tmp_path / "x.wav").read_bytes() == b""
    assert sent(archive, tmp_path / "x.wav", replace(WAV, keep_going=True)).lost_exact


def test_a_source_file_is_sent_byte_for_byte(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.ogg", music(30_000), subtype="VORBIS")
    archive = exact(source, tmp_path / "x.earz")
    result = sent(archive, tmp_path / "out", AS_SOURCE)
    assert (result.exact, result.n_samples) == (True, 30_000)
    assert (tmp_path / "out").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("options", [WAV, FLAC], ids=str)
def test_a_stream_in_a_file_is_earzips_but_never_up_to_date(
    archive: Path, song: Path, tmp_path: Path, options: RestoreOptions
) -> None:
    target = tmp_path / f"x.{options.container}"
    sent(archive, target, options)
    assert read_provenance(target) == STREAMED
    with pytest.raises(TargetError, match="to replace it, restore this archive alone with --force"):
        restore_file(archive, target, options)
    assert restore_file(archive, target, replace(options, force=True)).status == "written"
    sent(archive, target, options)
    again = compress_file(target, tmp_path / "again.earz", TINY)
    assert again.warnings == ("was restored by earzip: archiving it again loses more",)


@needs_ffmpeg
@needs_flac
def test_other_programs_read_a_stream_without_complaint(tmp_path: Path) -> None:
    archive = compress_file(tagged_flac(tmp_path / "a.flac"), tmp_path / "x.earz", TINY).target
    for options in (WAV, FLAC):
        target = tmp_path / f"x.{options.container}"
        sent(archive, target, options)
        command = ["ffmpeg", "-v", "error", "-i", "pipe:", "-map", "0:a", "-f", "s32le", "-"]
        done = subprocess.run(command, input=target.read_bytes(), check=True, capture_output=True)
        got = np.frombuffer(done.stdout, "<i4").reshape(-1, 2).T
        np.testing.assert_array_equal(got, np.rint(pcm(target)[0] * 2.0**31))
        if options is FLAC:
            subprocess.run(["flac", "--silent", "--test", target], check=True)


def test_an_rf64_stream_has_its_tags_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_module, "RF64_LIMIT", -1)
    archive = compress_file(tagged_flac(tmp_path / "a.flac"), tmp_path / "x.earz", TINY).target
    sent(archive, tmp_path / "x.wav", WAV)
    data = (tmp_path / "x.wav").read_bytes()
    assert data.startswith(b"RF64")
    assert int.from_bytes(data[20:28], "little") == len(data) - 8
    restore_file(archive, tmp_path / "file.wav", WAV)
    np.testing.assert_array_equal(pcm(tmp_path / "x.wav")[0], pcm(tmp_path / "file.wav")[0])
    assert tags_of(tmp_path / "x.wav") == tags_of(tmp_path / "file.wav")


def test_a_stream_may_be_any_file(archive: Path) -> None:
    file = io.BytesIO()
    assert restore_to_stream(archive, file).n_samples == 70_001
    with Path("/dev/full").open("wb", 0) as full, pytest.raises(TargetError, match="No space"):
        restore_to_stream(archive, full)
