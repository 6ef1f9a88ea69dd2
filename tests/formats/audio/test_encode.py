"""Opus, MP3 and AAC files: their length to the sample, their sound, and what cannot be written."""

from __future__ import annotations

import builtins
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from earzip.errors import TargetError, UsageError
from earzip.formats.audio.encode import EncodedWriter, Mark, lossy_rate, require_encoder
from earzip.formats.audio.source import open_source
from tests.conftest import tones

pytest.importorskip("av")
FORMATS = {"opus": "opus", "mp3": "mp3", "aac": "m4a"}
formats = pytest.mark.parametrize("name", FORMATS)


def _write(path: Path, name, audio, block: int = 5000, **more) -> EncodedWriter:
    n = audio.shape[1]
    rate = lossy_rate(name, 44_100)
    with EncodedWriter(path, container=name, sample_rate=rate, n_samples=n, **more) as writer:
        for start in range(0, n, block):
            writer.write(audio[:, start : start + block])
    return writer


def _read(path: Path):
    with open_source(path) as source:
        return np.concatenate(list(source.blocks()), axis=1), source.facts


# One more frame or less, and where LAME needs a frame more for its own delay.
@pytest.mark.parametrize("n", [100, 576, 1105, 1152, 44_100, 47_999, 143_617, 144_017])
@formats
def test_the_length_is_exact_and_the_sound_in_place(tmp_path, name, n):
    audio = tones(n)
    _write(tmp_path / "x", name, audio)
    got, facts = _read(tmp_path / "x")
    assert got.shape == audio.shape
    assert facts.sample_rate == (48_000 if name == "opus" else 44_100)
    if n > 10_000:
        error = got - audio
        assert 10 * np.log10((audio**2).sum() / (error**2).sum()) > 15


@formats
def test_writing_twice_in_other_blocks_gives_the_same_bytes(tmp_path, name):
    audio = tones(100_000)
    _write(tmp_path / "a", name, audio, 5000)
    _write(tmp_path / "b", name, audio, 777)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("n", [46, 44_100, 144_017])
def test_the_first_frame_of_an_mp3_says_how_long_it_is_as_lame_does(tmp_path, n):
    _write(tmp_path / "x.mp3", "mp3", tones(n))
    data = (tmp_path / "x.mp3").read_bytes()
    at = data.index(b"Xing")
    n_frames, n_bytes = struct.unpack_from(">2I", data, at + 8)
    lengths = int.from_bytes(data[at + 141 : at + 144], "big")
    assert n_frames * 1152 - (lengths >> 12) - (lengths & 0xFFF) == n
    assert n_bytes == len(data) == int.from_bytes(data[at + 148 : at + 152], "big")
    probe = ["ffmpeg", "-v", "error", "-i", tmp_path / "x.mp3", "-f", "s16le", "-"]
    done = subprocess.run(probe, capture_output=True, check=False)
    assert (len(done.stdout), done.stderr) == (4 * n, b"")


@formats
def test_samples_beyond_full_scale_are_counted_and_saturated(tmp_path, name):
    audio = tones(20_000)
    audio[0, 100] = 3
    audio[1, 7] = -2
    assert _write(tmp_path / "x", name, audio).n_overs == 2


def test_chapters_of_an_aac_file_are_in_a_track_of_their_own(tmp_path):
    marks = [Mark(0, 500, "Eins"), Mark(500, 1000, "Zwei")]
    _write(tmp_path / "x.m4a", "aac", tones(44_100), marks=marks)
    from earzip.formats.tags.read import read_tags  # noqa: PLC0415

    chapters = read_tags(tmp_path / "x.m4a").chapters
    assert [(each.start_ms, each.title) for each in chapters] == [(0, "Eins"), (500, "Zwei")]


@formats
def test_a_full_disk_is_an_error_of_the_target(name):
    with pytest.raises(TargetError, match="No space left on device"):
        _write(Path("/dev/full"), name, tones(200_000))


@formats
def test_an_error_while_writing_is_not_hidden_by_another(tmp_path, name):
    def write_some():
        with EncodedWriter(tmp_path / "x", container=name, sample_rate=48_000, n_samples=9) as out:
            out.write(tones(4))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_some()


def test_without_pyav_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without_av(name, *rest, **more):
        if name == "av":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_av)
    advice = r"--format opus needs PyAV, .* in the clone of earzip: pip install '.\[av\]'"
    with pytest.raises(UsageError, match=advice):
        require_encoder("opus")
