"""FLAC that goes to a stream: metadata once and right, then the frames of the file."""

import io

import numpy as np
import pytest
import soundfile

from earzip.formats.audio.flac import find_flac_stream, parse_streaminfo
from earzip.formats.audio.flac_stream import FlacStream, flac_vendor
from earzip.formats.audio.write import AudioWriter
from tests.formats.audio.test_write import noise, write

PADDING = b"\x81\x00\x00\x04abcd"  # marked as the last block


class Forwards:
    """A stream that cannot seek."""

    def __init__(self):
        self.pieces = []

    def write(self, data):
        self.pieces.append(data)

    @property
    def data(self):
        return b"".join(self.pieces)


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("n_samples", [0, 1, 4_096, 50_000])
def test_a_stream_has_the_frames_of_the_file(tmp_path, bits, channels, n_samples):
    sound = noise(n_samples)
    write(tmp_path / "file.flac", sound, container="flac", bits=bits, channels=channels)
    stream = Forwards()
    facts = {"sample_rate": 44_100, "channels": channels, "bits": bits, "dither": False}
    with AudioWriter(
        stream, container="flac", n_samples=n_samples, ahead=PADDING, **facts
    ) as writer:
        for start in range(0, n_samples, 20_000):
            writer.write(sound[:, start : start + 20_000])
    file, data = (tmp_path / "file.flac").read_bytes(), stream.data
    info, of_file = parse_streaminfo(data[8:42]), parse_streaminfo(file[8:42])
    assert (info.format, info.n_samples) == (of_file.format, of_file.n_samples)
    assert data[42:50] == PADDING
    if n_samples:
        assert info.md5 is None
        frames = find_flac_stream(io.BytesIO(file), len(file)).header_end
        assert data[50:] == file[frames:]


def test_a_block_leaves_at_once_and_nothing_before_the_first():
    stream = Forwards()
    facts = {"sample_rate": 44_100, "channels": 2, "bits": 16, "dither": False}
    with AudioWriter(stream, container="flac", n_samples=40_000, ahead=PADDING, **facts) as writer:
        assert stream.data == b""
        writer.write(noise(20_000))
        cut = stream.data
        assert len(cut) > 50_000
        writer.write(noise(20_000))
    assert stream.data.startswith(cut)


def test_more_samples_than_flac_counts_are_an_unknown_number():
    head = b"fLaC\x80\x00\x00\x22" + bytes(34)
    for n_samples, told in ((2**36 - 1, 2**36 - 1), (2**36, None)):
        stream = Forwards()
        flac = FlacStream(stream, n_samples, PADDING)
        for part in (head[:7], head[7:], b"frame"):
            flac.write(part)
            flac.flush()
        assert flac.seek(0) == 0
        flac.write(head)
        flac.flush()
        assert parse_streaminfo(stream.data[8:42]).n_samples == told
        assert stream.data.endswith(PADDING + b"frame")


def test_the_vendor_is_that_of_files(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(9), 8_000)
    assert len(flac_vendor()) > 8
    assert flac_vendor() in path.read_bytes()
