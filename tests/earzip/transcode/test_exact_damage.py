"""Exact copies that are damaged, or are not what the header says."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earzip.errors import ArchiveError, DamagedArchiveError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.verify import verify_structure
from earzip.options import RestoreOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.decode_check import decode_check
from earzip.transcode.restore import restore_file
from tests.earzip.tiny_archives import (
    AS_SOURCE,
    TINY,
    damage_segment,
    exact,
    pcm,
    put_copy,
    with_floor,
)
from tests.formats.archive.samples import Pieces
from tests.formats.audio.audio_files import music, write_wav

pytestmark = pytest.mark.usefixtures("tiny_model")


def damage_copy(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[-100] ^= 1  # the exact copy comes last
    archive.write_bytes(data)


def test_damage_to_the_exact_copy_costs_no_more_than_that(song: Path, tmp_path: Path) -> None:
    archive = exact(song, tmp_path / "x.earz")
    damage_copy(archive)
    with pytest.raises(DamagedArchiveError, match=r"x\.earz: exact copy, piece 1: bytes"):
        restore_file(archive, tmp_path / "x.flac")
    assert decode_check(archive)
    result = restore_file(archive, tmp_path / "x.flac", RestoreOptions(keep_going=True))
    assert (result.exact, result.lost_exact, result.is_incomplete) == (False, True, True)
    assert result.lost_segments == ()
    compress_file(song, tmp_path / "coded.earz", TINY)
    restore_file(tmp_path / "coded.earz", tmp_path / "coded.flac")
    assert np.array_equal(pcm(tmp_path / "coded.flac")[0], pcm(tmp_path / "x.flac")[0])
    # The next run tries again, and a mended archive replaces what was incomplete.
    compress_file(song, archive, replace(with_floor("lossless"), verify_sources=True))
    result = restore_file(archive, tmp_path / "x.flac")
    assert (result.status, result.exact) == ("written", True)


def test_half_a_source_file_is_never_given_back(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.ogg", music(30_000), subtype="VORBIS")
    archive = exact(source, tmp_path / "a.ogg.earz")
    damage_copy(archive)
    going_on = replace(AS_SOURCE, keep_going=True)
    with pytest.raises(DamagedArchiveError, match="--keep-going without --as-source restores"):
        restore_file(archive, tmp_path / "out" / "a.ogg", going_on)
    assert not list((tmp_path / "out").glob("*"))


def test_damage_to_the_coded_sound_does_not_matter_to_the_copy(song: Path, tmp_path: Path) -> None:
    archive = exact(song, tmp_path / "x.earz")
    damage_segment(archive, 0)
    restore_file(archive, tmp_path / "x.flac", AS_SOURCE)
    assert np.array_equal(pcm(tmp_path / "x.flac")[0], pcm(song)[0])
    assert [damage.segment for damage in verify_structure(archive)] == [0]


@pytest.mark.parametrize(
    ("frames", "rate", "channels", "message"),
    [
        (70_001, 48_000, 2, "has 2 channels of 70001 samples of 16 bits at 48000 Hz, the header"),
        (70_001, 44_100, 1, "has 1 channel of 70001 samples of 16 bits at 44100 Hz, the header"),
        (70_001, 44_100, 2, "of 16 bits at 44100 Hz, the header says 2 of 70001 of 24 at 44100 Hz"),
        (70_000, 44_100, 2, "has 2 channels of 70000 samples"),
        (400_000, 44_100, 2, "has 2 channels of 400000 samples"),
        (None, 44_100, 2, "does not begin as a FLAC file does"),
    ],
)
@pytest.mark.parametrize("options", [AS_SOURCE, RestoreOptions()])
def test_a_copy_that_is_not_the_headers_sound_is_damage(
    song: Path,
    tmp_path: Path,
    options: RestoreOptions,
    frames: int | None,
    rate: int,
    channels: int,
    message: str,
) -> None:
    archive = exact(song, tmp_path / "x.earz")
    other = b"#!/bin/sh\n" * 100
    if frames is not None:
        other = write_wav(tmp_path / "o.flac", music(frames, channels), rate).read_bytes()
    put_copy(archive, other)
    (damage,) = verify_structure(archive)
    assert (damage.part, message in damage.message) == ("exact copy", True)
    assert message in decode_check(archive)[0]
    with pytest.raises(DamagedArchiveError, match=message) as caught:
        restore_file(archive, tmp_path / "out.flac", options)
    assert caught.value.message.endswith("; --keep-going restores the coded sound")
    assert not (tmp_path / "out.flac").exists()
    going_on = replace(options, keep_going=True)
    result = restore_file(archive, tmp_path / "out.flac", going_on)
    assert (result.exact, result.lost_exact, result.n_samples) == (False, True, 70_001)


@pytest.mark.parametrize("n_bytes", [100, 50_000, -1])
def test_a_copy_of_fewer_samples_than_it_says_is_found_by_decoding(
    song: Path, tmp_path: Path, n_bytes: int
) -> None:
    archive = exact(song, tmp_path / "x.earz")
    with ArchiveReader(archive) as reader, reader.exact_copy() as copy:
        flac = copy.read()
    put_copy(archive, flac[:n_bytes])
    assert verify_structure(archive) == []
    assert decode_check(archive)[0].startswith("exact copy: ")
    with pytest.raises(DamagedArchiveError, match="; --keep-going restores the coded sound"):
        restore_file(archive, tmp_path / "x.flac", AS_SOURCE)


def test_what_stands_behind_a_flac_is_not_given_back(song: Path, tmp_path: Path) -> None:
    archive = exact(song, tmp_path / "x.earz")
    with ArchiveReader(archive) as reader, reader.exact_copy() as copy:
        flac = copy.read()
    put_copy(archive, flac + b"#!/bin/sh\nrm")
    with pytest.raises(DamagedArchiveError, match="exact copy: is damaged"):
        restore_file(archive, tmp_path / "x.flac", AS_SOURCE)
    assert not (tmp_path / "x.flac").exists()


def test_a_source_file_that_nothing_here_decodes_is_no_damage(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.ogg", music(30_000), subtype="VORBIS")
    archive = exact(source, tmp_path / "a.ogg.earz")
    unknown = b"a format of the future" * 50
    digest = hashlib.sha256(unknown).hexdigest()
    put_copy(archive, unknown, source__sha256=digest, source__bytes=len(unknown))
    assert decode_check(archive) == []
    with pytest.raises(ArchiveError, match="the source file, cannot be decoded here") as caught:
        restore_file(archive, tmp_path / "x.flac")
    assert not isinstance(caught.value, DamagedArchiveError)
    restore_file(archive, tmp_path / "x.ogg", AS_SOURCE)
    assert (tmp_path / "x.ogg").read_bytes() == unknown
    going_on = RestoreOptions(keep_going=True)
    assert restore_file(archive, tmp_path / "x.flac", going_on).lost_exact


def test_another_decoders_count_of_a_lossy_source_is_made_the_archives(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.ogg", music(30_000), subtype="VORBIS")
    for n_frames in (29_900, 30_100):
        archive = exact(source, tmp_path / f"{n_frames}.earz")
        with ArchiveReader(archive) as reader:
            copy = reader.exact_copy().read()
        put_copy(archive, copy, source__frames=n_frames, samples=n_frames)
        result = restore_file(archive, tmp_path / f"{n_frames}.flac")
        assert (result.exact, result.n_samples) == (True, n_frames)
        assert soundfile.info(tmp_path / f"{n_frames}.flac").frames == n_frames


def test_a_copy_of_another_length_than_a_decoder_could_make_it_is_damage(tmp_path: Path) -> None:
    """Nor does a header that promises hours make a reader fill them with silence."""
    source = write_wav(tmp_path / "a.ogg", music(30_000), subtype="VORBIS")
    for n_frames in (18_000, 2**33):
        archive = exact(source, tmp_path / f"{n_frames}.earz")
        with ArchiveReader(archive) as reader:
            copy = reader.exact_copy().read()
        changes = {"source__frames": n_frames, "samples": n_frames}
        if n_frames > 30_000:
            changes |= {"geometry__hop": 65_536, "geometry__core": 65_536, "geometry__lead": 0}
            changes |= {"model__latents": 1, "quantizer__steps": "00", "symbols": "packed-1"}
            pieces = Pieces.of(archive)
            n_segments = -(-n_frames // (65_536 * 65_536))
            segments = [part for part in pieces.parts if part[0] == 1][:1] * n_segments
            pieces.parts = segments + [part for part in pieces.parts if part[0] != 1]
            pieces.minor = 2
            pieces.write(archive)
        put_copy(archive, copy, **changes)
        with pytest.raises(DamagedArchiveError, match="samples decode, the header says"):
            restore_file(archive, tmp_path / "x.flac")
