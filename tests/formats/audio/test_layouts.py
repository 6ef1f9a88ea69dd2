"""Which channel is where: what each container says of it, and the downmix that follows."""

import numpy as np
import pytest

from earzip.errors import SourceError
from earzip.formats.audio.resample import stereo_44k
from earzip.formats.audio.source import open_source
from tests.formats.audio.audio_files import (
    RATE,
    encode,
    ffmpeg,
    music,
    needs_ffmpeg,
    read_source,
    write_wav,
)

TONES = {"FL": 300, "FR": 500, "FC": 700, "LFE": 60, "BL": 1_100, "BR": 1_300, "BC": 1_700}
TONES |= {"SL": 1_900, "SR": 2_300}
LAYOUTS = {
    "3.0": "FL FR FC",
    "4.0": "FL FR FC BC",
    "5.0": "FL FR FC BL BR",
    "5.1": "FL FR FC LFE BL BR",
    "6.1": "FL FR FC LFE BC SL SR",
    "7.1": "FL FR FC LFE BL BR SL SR",
}
VORBIS = ["-c:a", "libvorbis", "-q:a", "8"]
OPUS = ["-c:a", "libopus", "-mapping_family", "1", "-b:a", "600k"]


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "layout", "options"),
    [
        ("a.wav", "5.1", ["-c:a", "pcm_s24le"]),
        ("a.wav", "4.0", ["-c:a", "pcm_s24le"]),
        ("a.flac", "5.1", []),
        ("a.flac", "4.0", []),
        ("a.aiff", "5.1", []),
        ("a.ogg", "3.0", VORBIS),
        ("a.ogg", "5.0", VORBIS),
        ("a.ogg", "5.1", VORBIS),
        ("a.ogg", "6.1", VORBIS),
        ("a.ogg", "7.1", VORBIS),
        ("a.opus", "5.1", OPUS),
        ("a.opus", "7.1", OPUS),
        ("a.m4a", "5.1", ["-c:a", "aac", "-b:a", "600k"]),
        ("alac.m4a", "5.1", ["-c:a", "alac"]),
        ("a.m4a", "7.1", ["-c:a", "aac", "-b:a", "600k"]),
        ("a.wv", "7.1", ["-c:a", "wavpack"]),
    ],
)
def test_every_container_puts_the_channels_in_their_places(tmp_path, name, layout, options):
    if name.endswith(("m4a", "wv")):
        pytest.importorskip("av")
    positions = LAYOUTS[layout].split()
    time = np.arange(RATE * 2) / RATE
    sound = np.stack([0.1 * np.sin(2 * np.pi * TONES[position] * time) for position in positions])
    wav = write_wav(tmp_path / "in.wav", sound, subtype="PCM_24")
    path = encode(wav, tmp_path / name, "-af", f"channelmap=channel_layout={layout}", *options)
    with open_source(path) as source:
        stereo = np.concatenate(list(stereo_44k(source)), axis=1)
        name_of = {"4.0": "FL+FR+FC+BC"}  # four channels are usually FL FR BL BR
        assert source.downmix == "itu-r-bs775-" + name_of.get(layout, layout)
    middle = stereo[:, RATE // 2 : RATE // 2 + RATE] * np.hanning(RATE)
    level = np.abs(np.fft.rfft(middle)) * 4 / RATE / 0.1
    half = np.sqrt(0.5)
    expected = {"FL": (1, 0), "FR": (0, 1), "FC": (half, half), "LFE": (0, 0), "BC": (0.5, 0.5)}
    expected |= {"BL": (half, 0), "BR": (0, half), "SL": (half, 0), "SR": (0, half)}
    for position in positions:
        got = level[:, TONES[position]]
        np.testing.assert_allclose(got, expected[position], atol=0.03, err_msg=position)


@needs_ffmpeg
@pytest.mark.parametrize(("layout", "channels"), [("2.1", 3), ("4.0", 4), ("6.0", 6)])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.w64"])
def test_unusual_layouts_that_a_file_names_are_honoured(tmp_path, layout, channels, name):
    wav = write_wav(tmp_path / "in.wav", music(5_000, channels), subtype="PCM_24")
    path = tmp_path / name
    codec = [] if name == "a.flac" else ["-c:a", "pcm_s24le"]
    encode(wav, path, "-af", f"channelmap=channel_layout={layout}", *codec)
    names = {
        "2.1": "FL FR LFE",
        "4.0": "FL FR FC BC",
        "6.0": "FL FR FC BC SL SR",
    }
    with open_source(path) as source:
        assert source.layout == tuple(names[layout].split())
        assert source.downmix == "itu-r-bs775-" + names[layout].replace(" ", "+")


@needs_ffmpeg
@pytest.mark.parametrize("layout", ["5.1", "7.1"])
def test_multichannel_opus_from_ffmpeg_is_read_to_its_end(tmp_path, layout):
    channels = {"5.1": 6, "7.1": 8}[layout]
    wav = write_wav(tmp_path / "a.wav", music(96_000, channels, 48_000), 48_000)
    path = tmp_path / "a.opus"
    ffmpeg("-channel_layout", layout, "-i", wav, "-c:a", "libopus", "-mapping_family", "1", path)
    got, source = read_source(path)
    assert got.shape == (channels, 96_000)
    assert source.truncated is None


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.wav", "a.mka"])
def test_more_than_eight_channels_are_refused(tmp_path, name):
    wav = write_wav(tmp_path / "in.wav", music(1_000, 9))
    path = encode(wav, tmp_path / name, "-c:a", "pcm_s16le")
    with pytest.raises(SourceError, match="it has 9 channels; earzip reads up to 8"):
        open_source(path)
