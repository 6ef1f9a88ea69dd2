"""What is no sound, or none that earzip reads: refused with a reason."""

import os
import sys

import numpy as np
import pytest

from earzip.errors import SourceError
from earzip.formats.audio.source import open_source
from tests.formats.audio.audio_files import music, read_source, write_wav
from tests.formats.faulty_files import FailingFile


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"This is a text, not a FLAC.\n" * 100, "not sound that libsndfile"),
        (b"\x89PNG\r\n\x1a\n" + bytes(5_000), "not sound that libsndfile"),
        (b"\xff" * 50_000, "not sound that libsndfile"),
        (bytes(50_000), "not sound that libsndfile"),
    ],
)
@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.m4a"])
def test_what_is_no_sound_is_refused_with_a_reason(tmp_path, content, reason, name):
    pytest.importorskip("av")
    path = tmp_path / name
    path.write_bytes(content)
    if content and name == "a.mp3":
        reason = f"is not sound: it has no MPEG audio within its first {len(content)} bytes, "
    with pytest.raises(SourceError, match=reason) as caught:
        open_source(path)
    assert caught.value.path == str(path)


def test_without_pyav_the_extra_is_named_where_it_may_help(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "earzip.formats.audio.pyav", raising=False)
    path = tmp_path / "a.m4a"
    path.write_bytes(bytes.fromhex("00000020667479704d344120") + bytes(1_000))
    with pytest.raises(SourceError, match=r"needs PyAV.*pip install '.\[av\]'"):
        open_source(path)
    # What libsndfile reads under its own name is no matter of PyAV.
    reasons = {
        "a.flac": r": is not sound that libsndfile can read \([^)]*\)$",
        "cover.jpg": ": is not a sound file$",
        "notes.txt": ": is not a sound file$",
        "piped": "libsndfile can read .* or needs PyAV",
    }
    for name, reason in reasons.items():
        (tmp_path / name).write_text("hello, world")
        with pytest.raises(SourceError, match=reason):
            open_source(tmp_path / name)


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nclip.wav\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile clip.wav\n",
    ],
)
def test_a_playlist_may_not_open_other_files(tmp_path, clip, playlist, monkeypatch):
    pytest.importorskip("av")
    path = tmp_path / "a.m4a"
    path.write_text(playlist)
    monkeypatch.chdir(clip.parent)  # where FFmpeg would find it
    with pytest.raises(SourceError, match="not sound"):
        open_source(path)


def test_a_read_error_of_the_disk_is_no_end_of_file(tmp_path, monkeypatch):
    path = write_wav(tmp_path / "a.wav", music(500_000))
    with open_source(path) as source:
        blocks = source.blocks()
        next(blocks)
        monkeypatch.setattr(source._inputs[0], "_file", FailingFile())
        with pytest.raises(SourceError, match="cannot be read: Input/output error"):
            list(blocks)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(SourceError, match="No such file or directory"):
        open_source(tmp_path / "none.wav")
    with pytest.raises(SourceError, match="Is a directory"):
        open_source(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(SourceError, match="not a regular file"):
        open_source(tmp_path / "pipe.wav")


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path, subtype, value):
    sound = music(100_000).astype(np.float64)
    sound[1, 70_001] = value
    path = write_wav(tmp_path / "a.wav", sound, subtype=subtype)
    with pytest.raises(SourceError, match="sample 70001 is not a finite number"):
        read_source(path)


@pytest.mark.parametrize("rate", [999, 768_001, 2**31 - 1])
def test_absurd_sample_rates_are_refused(tmp_path, rate):
    path = write_wav(tmp_path / "a.wav", music(10), rate)
    with pytest.raises(SourceError, match=f"its sample rate is {rate} Hz"):
        open_source(path)
