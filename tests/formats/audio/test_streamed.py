"""Sizes of programs that wrote to a pipe or were stopped: they are none, and all sound is read."""

import struct

import numpy as np
import pytest

from earzip.errors import EarzipError
from earzip.formats.audio.source import open_source
from earzip.formats.tags.read import read_tags
from tests.formats.audio.audio_files import (
    cut,
    encode,
    ffmpeg,
    music,
    needs_ffmpeg,
    read_source,
    write_wav,
)
from tests.formats.audio.test_promises import chunk_at, patched

N_FRAMES = 30_000
N_BYTES = 4 * N_FRAMES
UNFINISHED = "its header was never finished (data size 0), read to the end of the file"
HUGE = [2**62, 2**63 - 25, 2**63 - 1, 2**63, 2**64 - 1]


def wav_sizes(path, size, riff_size=None):
    riff = [] if riff_size is None else [(4, struct.pack("<I", riff_size))]
    return [(chunk_at(path, b"data") + 4, struct.pack("<I", size)), *riff]


def rf64_sizes(path, size, riff_size=None):
    riff = size if riff_size is None else riff_size
    return [(chunk_at(path, b"ds64") + 8, struct.pack("<3Q", riff, size, 0))]


def aiff_sizes(path, size, form_size=None):
    comm, ssnd = chunk_at(path, b"COMM"), chunk_at(path, b"SSND")
    form = [] if form_size is None else [(4, struct.pack(">I", form_size))]
    return [*form, (comm + 10, bytes(4)), (ssnd + 4, struct.pack(">I", size))]


def au_size(_path, size):
    return [(8, struct.pack(">I", size))]


def w64_size(path, size):
    return [(chunk_at(path, b"data", 40) + 16, struct.pack("<Q", size))]


def caf_size(path, size):
    return [(chunk_at(path, b"data") + 4, struct.pack(">Q", size))]


def read_whole(path, whole):
    """Assert that all sound is read and that tags say nothing; return the source."""
    got, source = read_source(path)
    np.testing.assert_array_equal(got, whole)
    assert source.facts.n_frames == N_FRAMES
    assert source.notes == ()
    assert read_tags(path).problems == []
    return source


STREAMED = [
    *[("a.wav", wav_sizes, (size,)) for size in (0xFFFF_FFFF, 0xFFFF_FFDB, 0x8000_0000)],
    *[("a.wav", wav_sizes, (size,)) for size in (0x7FFF_FFFF, 0x7FFF_FFDB, 0x7FFF_FF00)],
    *[("a.wav", wav_sizes, (size,)) for size in (0x7FFF_F000, 0x7F00_0000)],
    ("a.wav", wav_sizes, (0x7FFF_FFFF, 0x8000_0023)),  # lame
    ("a.wav", wav_sizes, (0x8000_0000, 0x8000_0024)),  # arecord
    ("a.rf64", rf64_sizes, (0,)),  # ffmpeg
    ("a.rf64", rf64_sizes, (0, N_BYTES + 72)),
    *[("a.rf64", rf64_sizes, (size,)) for size in HUGE],
    ("a.aiff", aiff_sizes, (0, 0)),  # ffmpeg
    ("a.aiff", aiff_sizes, (0,)),
    ("a.aiff", aiff_sizes, (0x7F00_0008, 0x7F00_002E)),  # sox
    ("a.au", au_size, (0xFFFF_FFFF,)),
    ("a.au", au_size, (0x7FFF_FFFF,)),
    ("a.w64", w64_size, (2**63 - 1,)),  # ffmpeg
    ("a.w64", w64_size, (2**63 - 25,)),
    ("a.w64", w64_size, (2**64 - 1,)),
    ("a.caf", caf_size, (2**64 - 1,)),
    ("a.caf", caf_size, (2**63 - 1,)),
]


@pytest.mark.parametrize(("name", "sizes", "values"), STREAMED)
def test_a_size_that_a_pipe_left_is_none(tmp_path, name, sizes, values):
    path = write_wav(tmp_path / name, music(N_FRAMES))
    whole, _ = read_source(path)
    assert read_whole(patched(path, *sizes(path, *values)), whole).truncated is None


@pytest.mark.parametrize(
    ("name", "sizes", "values"),
    [
        ("a.wav", wav_sizes, (0, 0)),
        ("a.wav", wav_sizes, (0,)),  # the size of the whole was corrected
        ("a.au", au_size, (0,)),
        ("a.w64", w64_size, (24,)),
        ("a.caf", caf_size, (0,)),
    ],
)
def test_a_header_that_was_never_finished_loses_nothing(tmp_path, name, sizes, values):
    path = write_wav(tmp_path / name, music(N_FRAMES))
    whole, _ = read_source(path)
    assert read_whole(patched(path, *sizes(path, *values)), whole).truncated == UNFINISHED


@pytest.mark.parametrize("size", [0x7FFF_E000, 0x7FFF_FE00, 0x8000_1000, 0x7EFF_F000, 2**32 - 999])
def test_a_true_size_of_gigabytes_is_a_promise(tmp_path, size):
    path = write_wav(tmp_path / "a.wav", music(N_FRAMES))
    _, source = read_source(patched(path, *wav_sizes(path, size)))
    assert source.truncated == f"its header promises {size} bytes of sound, {N_BYTES} are there"


@pytest.mark.parametrize("name", ["a.wav", "a.rf64", "a.aiff", "a.au", "a.w64", "a.caf"])
def test_a_file_without_sound_is_one_nevertheless(tmp_path, name):
    path = write_wav(tmp_path / name, music(0))
    with open_source(path) as source:
        assert source.truncated is None
    assert read_tags(path).problems == []


@needs_ffmpeg
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("wav", ["-rf64", "always"]),
        ("aiff", []),
        ("w64", []),
        ("asf", ["-c:a", "wmav2"]),
        ("au", []),
    ],
)
def test_the_sound_of_a_pipe_is_not_what_is_behind_the_end(tmp_path, form, options):
    if form == "asf":
        pytest.importorskip("av")
    wav = write_wav(tmp_path / "a.wav", music(N_FRAMES))
    path = tmp_path / f"piped.{form}"
    path.write_bytes(ffmpeg("-i", wav, "-f", form, *options, "-").stdout)
    got, source = read_source(path)
    assert got.shape[1] == N_FRAMES or (form == "asf" and got.shape[1] > N_FRAMES - 2_048)
    assert (source.truncated, source.notes) == (None, ())
    assert read_tags(path).problems == []


@needs_ffmpeg
@pytest.mark.parametrize(("name", "options"), [("a.wma", ["-c:a", "wmav2"]), ("a.caf", [])])
def test_the_sound_of_a_cut_file_is_not_what_is_behind_the_end(tmp_path, name, options):
    pytest.importorskip("av")
    wav = write_wav(tmp_path / "a.wav", music(3 * N_FRAMES))
    whole = encode(wav, tmp_path / name, "-map_metadata", "-1", "-bitexact", *options)
    path = cut(whole, tmp_path / f"cut-{name}", whole.stat().st_size // 2)
    assert read_source(path)[1].truncated is not None
    assert read_tags(path).problems == []


def test_no_size_is_beyond_what_seeks_can_say(tmp_path, capfd):
    """No number of eight bytes gives anything but an error of ours, and nothing is printed."""
    n_files = 0
    for name in ("a.wav", "a.rf64", "a.w64", "a.caf", "a.aiff"):
        path = write_wav(tmp_path / name, music(20))
        data = path.read_bytes()
        for at in range(0, min(len(data) - 8, 150), 1 if name == "a.w64" else 2):
            for size in HUGE:
                order = ">Q" if name in ("a.caf", "a.aiff") else "<Q"
                path.write_bytes(data)
                patched(path, (at, struct.pack(order, size)))
                for read in (read_tags, open_source):
                    try:
                        opened = read(path)
                    except EarzipError:
                        continue
                    if read is open_source:
                        opened.close()
                n_files += 1
    assert n_files > 1_000
    assert capfd.readouterr().err == ""
