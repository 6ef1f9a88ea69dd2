"""The origin noted in restored files: found again, and in the way of nobody."""

import os
import subprocess

import mutagen
import numpy as np
import pytest
import soundfile

from earzip.formats.audio import write as write_module
from earzip.formats.tags.model import Picture, TagSet
from earzip.formats.tags.provenance import read_provenance, write_provenance
from earzip.formats.tags.read import read_tags
from earzip.formats.tags.write import write_tags
from tests.formats.audio.audio_files import music, needs_ffmpeg, needs_flac
from tests.formats.audio.test_write import write

DIGEST = bytes(range(16))
TAGS = TagSet(
    family="vorbis",
    fields={"title": ["Größe"]},
    pictures=[Picture(3, "image/jpeg", "", b"\xff\xd8\xff" * 5_000)],
)


@needs_flac
@needs_ffmpeg
@pytest.mark.parametrize("container", ["flac", "wav", "rf64"])
@pytest.mark.parametrize("n_samples", [0, 1, 5_001])
@pytest.mark.parametrize("is_tagged", [False, True])
def test_a_noted_origin_is_found_and_disturbs_nobody(
    tmp_path, monkeypatch, container, n_samples, is_tagged
):
    if container == "rf64":
        monkeypatch.setattr(write_module, "RF64_LIMIT", -1)
    kind = "flac" if container == "flac" else "wav"
    path, plain = tmp_path / f"noted.{kind}", tmp_path / f"plain.{kind}"
    for each in (path, plain):
        write(each, music(n_samples), container=kind, bits=24, channels=1)
    write_provenance(path, DIGEST)
    if is_tagged:
        assert write_tags(path, TAGS) == write_tags(plain, TAGS) == []

    assert (read_provenance(path), read_provenance(plain)) == (DIGEST, None)
    assert read_tags(path) == read_tags(plain)
    if container != "rf64":  # which mutagen cannot read
        noted_tags, plain_tags = mutagen.File(path).tags, mutagen.File(plain).tags
        assert (noted_tags or {}) == (plain_tags or {})
    if n_samples:
        np.testing.assert_array_equal(soundfile.read(path)[0], soundfile.read(plain)[0])
    if n_samples and not is_tagged:  # the picture is none, and ffprobe says so
        probe = ["ffprobe", "-v", "error", path]
        assert subprocess.run(probe, check=True, capture_output=True).stderr == b""
    if container == "flac":
        subprocess.run(["flac", "--silent", "--test", path], check=True)
    else:
        data = path.read_bytes()
        size = data[20:28] if container == "rf64" else data[4:8]
        assert int.from_bytes(size, "little") == len(data) - 8


@pytest.mark.parametrize("container", ["flac", "wav"])
def test_foreign_and_broken_files_have_no_noted_origin(tmp_path, container):
    path = tmp_path / "x"
    write(path, music(50), container=container)
    write_provenance(path, DIGEST)
    data = path.read_bytes()
    at = data.index(DIGEST)
    for n_bytes in (0, 3, 4, 11, 12, 30, at, at + 15):
        path.write_bytes(data[:n_bytes])
        assert read_provenance(path) is None
    for i in range(at):
        path.write_bytes(data[:i] + bytes([data[i] ^ 0xFF]) + data[i + 1 :])
        assert read_provenance(path) in (None, DIGEST)


def test_what_is_no_file_has_no_noted_origin(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("none", "pipe", "."):
        assert read_provenance(tmp_path / name) is None
