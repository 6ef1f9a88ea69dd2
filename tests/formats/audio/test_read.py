"""Reading every format: the samples, the facts, the layout, and what is refused."""

import errno
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import mutagen.apev2
import mutagen.id3
import mutagen.mp4
import numpy as np
import pytest
import soundfile

from earzip.errors import SourceError
from earzip.formats.audio.mpeg import find_mpeg_streams
from earzip.formats.audio.resample import stereo_44k
from earzip.formats.audio.sndfile import SndfileSource
from earzip.formats.audio.source import open_source
from earzip.formats.containers.spans import DecoderFile, SpanFile
from earzip.formats.containers.walk import flac_blocks
from earzip.formats.names import AUDIO_EXTENSIONS
from tests.formats.audio.audio_files import (
    RATE,
    delay,
    encode,
    ffmpeg,
    music,
    needs_ffmpeg,
    needs_flac,
    needs_opusenc,
    read_source,
    write_wav,
)

PCM = {
    "PCM_U8": (8, 2.0**-8),
    "PCM_16": (16, 2.0**-16),
    "PCM_24": (24, 2.0**-24),
    "PCM_32": (32, 2.0**-25),
    "FLOAT": (32, 0.0),
    "DOUBLE": (64, 0.0),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A WAV of 1.5 s and a bit, a length that no codec's frame divides, and its samples."""
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    return write_wav(path, music(66_667))


@pytest.mark.parametrize("subtype", PCM)
@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (48_000, 2), (96_000, 6)])
def test_wav_samples_and_facts(tmp_path, subtype, rate, channels):
    sound = music(70_001, channels, rate)
    path = write_wav(tmp_path / "a.wav", sound, rate, subtype)
    got, source = read_source(path)
    bits, tolerance = PCM[subtype]
    np.testing.assert_allclose(got, sound, atol=tolerance * 1.01)
    facts = source.facts
    assert (facts.container, facts.codec) == ("WAV", subtype)
    assert (facts.sample_rate, facts.channels, facts.n_frames) == (rate, channels, 70_001)
    assert (facts.bit_depth, facts.is_float) == (bits, subtype in ("FLOAT", "DOUBLE"))
    assert facts.lossless
    assert source.truncated is None
    assert source.n_frames_read == 70_001


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["a.flac", "a.aiff", "a.caf", "a.w64", "a.rf64", "a.au"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_lossless_containers_give_the_same_samples(tmp_path, name, subtype):
    sound = music(66_000)
    path = write_wav(tmp_path / name, sound, subtype=subtype)
    got, source = read_source(path)
    np.testing.assert_allclose(got, sound, atol=PCM[subtype][1] * 1.01)
    container = {"a.rf64": "RF64"}.get(name, name[2:].upper())
    assert source.facts.container == container
    assert source.facts.codec == ("FLAC" if name == "a.flac" else subtype)
    assert source.facts.bit_depth == PCM[subtype][0]
    assert source.facts.lossless
    assert source.truncated is None


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options", "container", "codec"),
    [
        ("a.mp3", ["-b:a", "192k"], "MP3", "MPEG_LAYER_III"),
        ("v.mp3", ["-q:a", "2"], "MP3", "MPEG_LAYER_III"),
        ("a.ogg", ["-c:a", "libvorbis", "-q:a", "7"], "OGG", "VORBIS"),
        ("a.m4a", ["-c:a", "aac", "-b:a", "192k"], "MP4", "AAC"),
        ("fast.m4a", ["-c:a", "aac", "-b:a", "192k", "-movflags", "faststart"], "MP4", "AAC"),
    ],
)
def test_lossy_files_are_gapless(tmp_path, clip, *, name, options, container, codec):
    reference, _ = read_source(clip)
    got, source = read_source(encode(clip, tmp_path / name, *options))
    assert got.shape == reference.shape
    for channel in (0, 1):
        assert delay(reference[channel], got[channel]) == 0
    error = np.square(got - reference).sum() / np.square(reference).sum()
    assert error < 0.05
    facts = source.facts
    assert (facts.container, facts.codec, facts.lossless) == (container, codec, False)
    assert (facts.bit_depth, facts.is_float, facts.n_frames) == (None, False, 66_667)
    assert source.truncated is None


@needs_opusenc
@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_opus_is_gapless(tmp_path, rate):
    n_frames = rate + 77
    path = write_wav(tmp_path / "a.wav", music(n_frames, 1, rate), rate)
    command = ["opusenc", "--quiet", "--bitrate", "96", path, tmp_path / "a.opus"]
    subprocess.run(command, check=True)
    got, source = read_source(tmp_path / "a.opus")
    own_rate = source.facts.sample_rate
    assert got.shape == (1, round(n_frames * own_rate / rate))
    assert (source.facts.container, source.facts.codec) == ("OGG", "OPUS")
    reference, _ = soundfile.read(path)
    if own_rate == rate:
        assert abs(delay(reference, got[0])) <= 1
    assert source.truncated is None


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options", "container", "codec", "lossless"),
    [
        ("a.aac", ["-c:a", "aac"], "ADTS", "AAC", False),
        ("a.wma", ["-c:a", "wmav2"], "ASF", "WMAV2", False),
        ("alac.m4a", ["-c:a", "alac"], "MP4", "ALAC", True),
        ("a.wv", ["-c:a", "wavpack"], "WAVPACK", "WAVPACK", True),
        ("a.tta", ["-c:a", "tta"], "TTA", "TTA", True),
        ("a.oga", ["-c:a", "flac"], "OGG", "FLAC", True),
        ("a.mka", ["-c:a", "flac"], "MATROSKA", "FLAC", True),
    ],
)
def test_what_libsndfile_cannot_read_pyav_does(
    tmp_path, clip, *, name, options, container, codec, lossless
):
    pytest.importorskip("av")
    reference, _ = read_source(clip)
    got, source = read_source(encode(clip, tmp_path / name, *options))
    facts = source.facts
    assert (facts.container, facts.codec, facts.lossless) == (container, codec, lossless)
    assert (facts.sample_rate, facts.channels) == (RATE, 2)
    assert source.truncated is None
    if lossless:
        np.testing.assert_array_equal(got, reference)
        assert facts.bit_depth == 16
    else:  # no length in these containers: the encoder's padding at both ends stays
        assert 0 <= got.shape[1] - reference.shape[1] + 1_500 < 5_000
    assert facts.n_frames == got.shape[1]


def ape_of_silence(n_frames, per_frame=73_728):
    """Return a Monkey's Audio 3.99 file of stereo silence (there is no free encoder for more)."""
    n_blocks = -(-n_frames // per_frame)
    both_channels_silent = 3
    crc = zlib.crc32(bytes(4 * per_frame)) >> 1 | 1 << 31  # the top bit says that flags follow
    body = struct.pack("<2I", crc, both_channels_silent) + bytes(24)
    fixed = struct.pack("<4s2H7I16s", b"MAC ", 3990, 0, 52, 24, 4 * n_blocks, 0, 0, 0, 0, b"")
    last = n_frames - (n_blocks - 1) * per_frame
    header = struct.pack("<2H3I2HI", 2000, 32, per_frame, last, n_blocks, 16, 2, RATE)
    start = len(fixed) + len(header) + 4 * n_blocks
    table = struct.pack(f"<{n_blocks}I", *(start + i * len(body) for i in range(n_blocks)))
    return fixed + header + table + body * n_blocks


def test_ape_is_read_by_pyav(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "a.ape"
    path.write_bytes(ape_of_silence(73_728))
    got, source = read_source(path)
    assert (source.facts.container, source.facts.codec) == ("APE", "APE")
    assert (source.facts.bit_depth, source.facts.lossless) == (16, True)
    np.testing.assert_array_equal(got, np.zeros((2, 73_728), np.float32))
    assert source.truncated is None


@needs_ffmpeg
def test_24_bit_alac_and_32_bit_float_wavpack_keep_their_depth(tmp_path):
    pytest.importorskip("av")
    sound = music(30_000)
    wav = write_wav(tmp_path / "a.wav", sound, subtype="PCM_24")
    got, source = read_source(encode(wav, tmp_path / "a.m4a", "-c:a", "alac"))
    assert (source.facts.bit_depth, source.facts.is_float) == (24, False)
    np.testing.assert_allclose(got, sound, atol=2.0**-23)
    wav = write_wav(tmp_path / "f.wav", sound * 4, subtype="FLOAT")
    got, source = read_source(encode(wav, tmp_path / "f.wv", "-sample_fmt", "fltp"))
    assert (source.facts.bit_depth, source.facts.is_float) == (32, True)
    np.testing.assert_array_equal(got, sound * 4)


@needs_ffmpeg
def test_itunes_length_is_honoured_where_there_is_no_edit_list(tmp_path, clip):
    pytest.importorskip("av")
    path = encode(clip, tmp_path / "a.m4a", "-c:a", "aac", "-b:a", "192k", "-use_editlist", "0")
    tags = mutagen.mp4.MP4(path)
    padding = -(66_667 + 1_024) % 1_024
    value = f" 00000000 {1024:08X} {padding:08X} {66_667:016X} 00000000 00000000"
    tags["----:com.apple.iTunes:iTunSMPB"] = [mutagen.mp4.MP4FreeForm(value.encode())]
    tags.save()
    reference, _ = read_source(clip)
    got, source = read_source(path)
    assert got.shape == reference.shape
    assert delay(reference[0], got[0]) == 0
    assert source.truncated is None


@needs_ffmpeg
@pytest.mark.parametrize("order", ["loud first", "quiet first"])
def test_mp3_without_xing_header_is_read_to_its_end(tmp_path, order):
    loud = 0.5 * np.random.default_rng(0).standard_normal((2, 2 * RATE)).astype(np.float32)
    quiet = np.zeros((2, 20 * RATE), np.float32)
    parts = [loud, quiet] if order == "loud first" else [quiet, loud]
    wav = write_wav(tmp_path / "a.wav", np.clip(np.concatenate(parts, axis=1), -1, 1))
    path = encode(wav, tmp_path / "a.mp3", "-q:a", "5", "-write_xing", "0")
    got, source = read_source(path)
    assert source.truncated is None
    assert 22 * RATE <= got.shape[1] < 22 * RATE + 4 * 1_152
    level = np.sqrt(np.square(got).mean(axis=0))
    where_loud = slice(RATE // 2, RATE) if order == "loud first" else slice(-RATE, -RATE // 2)
    assert level[where_loud].mean() > 0.1


@needs_ffmpeg
def test_an_mp3_in_a_wav_is_read_to_its_end(tmp_path, clip):
    got, source = read_source(encode(clip, tmp_path / "a.wav", "-c:a", "libmp3lame", "-q:a", "4"))
    assert source.facts.codec == "MPEG_LAYER_III"
    assert source.truncated is None
    assert 66_667 <= got.shape[1] < 66_667 + 4 * 1_152


@needs_ffmpeg
def test_alac_in_caf_is_whole(tmp_path, clip):
    pytest.importorskip("av")
    got, source = read_source(encode(clip, tmp_path / "a.caf", "-c:a", "alac"))
    np.testing.assert_array_equal(got, read_source(clip)[0])
    assert source.truncated is None
    assert (source.facts.codec, source.facts.bit_depth) == ("ALAC", 16)


@needs_ffmpeg
@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_frames_behind_other_bytes_are_no_chance_if_they_are_many(tmp_path, clip, n_frames):
    """Sound of another format has bytes that look like a frame or two: a Musepack file was read so."""
    plain = ("-write_xing", "0", "-id3v2_version", "0")
    mp3 = encode(clip, tmp_path / "a.mp3", "-ar", "48000", "-b:a", "128k", *plain)
    frames = mp3.read_bytes()[: n_frames * 384]
    behind = io.BytesIO(bytes(1) + b"\x01" * 5_000 + frames)
    assert bool(find_mpeg_streams(behind, 5_001 + len(frames))) == (n_frames == 3)
    assert find_mpeg_streams(io.BytesIO(frames), len(frames))


@needs_ffmpeg
@pytest.mark.parametrize(
    "head",
    [
        b"MPCK",
        b"wvpk",
        b"TTA1",
        b"MAC ",
        b"tBaK",
        b"\x0b\x77\0\0",
        b"\xff\xf1\x50\x80",
        b"\xff\xf9\x50\x80",
    ],
    ids=repr,
)
def test_sound_of_another_format_is_never_read_as_an_mp3(tmp_path, clip, head):
    path = tmp_path / "a.mpc"
    path.write_bytes(head + bytes(500) + encode(clip, tmp_path / "a.mp3").read_bytes())
    try:
        with open_source(path) as source:
            codec = source.facts.codec
    except SourceError:
        return
    assert not codec.startswith("MPEG")


@needs_ffmpeg
def test_joined_mp3s_are_read_to_their_end(tmp_path, clip):
    first = encode(clip, tmp_path / "a.mp3")
    second = encode(clip, tmp_path / "b.mp3", "-q:a", "3")
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    got, source = read_source(joined)
    assert source.truncated is None
    assert 2 * 66_667 <= got.shape[1] < 2 * 66_667 + 5 * 1_152
    reference, _ = read_source(clip)
    # The second begins within the padding of both and sounds as it did alone.
    tail = got[0, 66_667:]
    assert 0 < delay(reference[0], tail, reach=5 * 1_152) < 5 * 1_152


@needs_ffmpeg
def test_joined_mp3s_of_two_rates_are_refused(tmp_path, clip):
    first = encode(clip, tmp_path / "a.mp3")
    second = encode(clip, tmp_path / "b.mp3", "-ar", "48000")
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(SourceError, match="changes from 44100 Hz to 48000 Hz at byte"):
        read_source(joined)


@needs_ffmpeg
@pytest.mark.parametrize("xing", ["1", "0"])
def test_tags_around_an_mp3_change_nothing(tmp_path, clip, xing, capfd):
    plain = encode(clip, tmp_path / "a.mp3", "-write_xing", xing, "-id3v2_version", "0")
    reference, _ = read_source(plain)
    tagged = tmp_path / "tagged.mp3"
    tagged.write_bytes(bytes(3_000) + plain.read_bytes())  # zeros after the tag, as some leave
    tags = mutagen.id3.ID3()
    picture = 40 * encode(clip, tmp_path / "b.mp3", "-id3v2_version", "0").read_bytes()
    tags.add(mutagen.id3.APIC(mime="image/jpeg", type=3, data=picture))
    tags.save(tagged, v1=2)
    ape = mutagen.apev2.APEv2()
    ape["Cover Art (Front)"] = mutagen.apev2.APEValue(picture, mutagen.apev2.BINARY)
    ape.save(tagged)
    got, source = read_source(tagged)
    np.testing.assert_array_equal(got, reference)
    assert source.truncated is None
    assert capfd.readouterr().err == ""  # mpg123 would complain there


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.flac", "a.wav", "a.aiff", "a.wv", "a.tta", "a.aac", "a.mp2"])
def test_tags_around_any_file_change_nothing(tmp_path, clip, name):
    if name in ("a.wv", "a.tta", "a.aac"):
        pytest.importorskip("av")
    plain = encode(clip, tmp_path / name)
    reference, _ = read_source(plain)
    before = b"ID3\3\0\0\0\0" + bytes([20_000 >> 7 & 0x7F, 20_000 & 0x7F])
    before += bytes(20_000 & 0x3FFF)
    tagged = tmp_path / "tagged"
    tagged.write_bytes(before + plain.read_bytes())
    ape = mutagen.apev2.APEv2()
    ape["Title"] = "x" * 3_000
    ape.save(tagged)
    tagged.write_bytes(tagged.read_bytes() + b"TAG".ljust(128, b"x"))
    got, source = read_source(tagged)
    np.testing.assert_array_equal(got, reference)
    assert source.truncated is None


def test_a_file_of_tags_alone_is_refused(tmp_path):
    path = tmp_path / "a.mp3"
    mutagen.id3.ID3().save(path, v1=2)
    with pytest.raises(SourceError, match="not sound"):
        open_source(path)


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
def test_flac_that_does_not_know_its_length(tmp_path, clip):
    done = ffmpeg("-i", clip, "-f", "flac", "-")
    path = tmp_path / "stream.flac"
    path.write_bytes(done.stdout)
    with open_source(path) as source:
        assert source.facts.n_frames == 0
    got, source = read_source(path)
    np.testing.assert_array_equal(got, read_source(clip)[0])
    assert source.facts.n_frames == 66_667
    assert source.truncated is None


@needs_flac
def test_32_bit_flac_is_read_by_pyav(tmp_path):
    pytest.importorskip("av")
    stored = np.random.default_rng(0).integers(-(2**31), 2**31, 30_000).astype("<i4")
    command = "flac --silent --force-raw-format --endian=little --sign=signed --channels=1 --bps=32"
    command += " --sample-rate=44100 - -o"
    subprocess.run([*command.split(), tmp_path / "a.flac"], check=True, input=stored.tobytes())
    got, source = read_source(tmp_path / "a.flac")
    np.testing.assert_allclose(got[0], stored / 2**31, atol=2.0**-24)
    assert (source.facts.container, source.facts.bit_depth) == ("FLAC", 32)


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["libvorbis", "libopus"])
def test_all_links_of_a_chained_ogg_are_read(tmp_path, codec):
    lengths = (48_000, 30_000, 5_000)
    parts, expected = b"", []
    for number, n_frames in enumerate(lengths):
        wav = write_wav(
            tmp_path / f"{number}.wav", music(n_frames, seed=number, rate=48_000), 48_000
        )
        ogg = encode(wav, tmp_path / f"{number}.ogg", "-c:a", codec)
        parts += ogg.read_bytes()
        expected.append(read_source(ogg)[0])
    chained = tmp_path / "chained.ogg"
    chained.write_bytes(parts)
    got, source = read_source(chained)
    assert "only the first one's tags are archived" in source.notes[0]
    np.testing.assert_array_equal(got, np.concatenate(expected, axis=1))
    assert source.facts.n_frames == sum(lengths)
    assert source.truncated is None


@needs_ffmpeg
def test_a_chain_of_two_rates_is_refused(tmp_path, clip):
    first = encode(clip, tmp_path / "a.ogg", "-c:a", "libvorbis")
    second = encode(clip, tmp_path / "b.ogg", "-c:a", "libvorbis", "-ar", "48000")
    chained = tmp_path / "chained.ogg"
    chained.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(SourceError, match="after 66667 frames it changes from 44100 Hz"):
        read_source(chained)


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


def test_a_span_file_is_its_spans_joined(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)))
    spans = [b"head", (10, 5), b"", (100, 0), (3, 2), b"x", (250, 6)]
    joined = b"head" + bytes(range(10, 15)) + bytes([3, 4]) + b"x" + bytes(range(250, 256))
    with path.open("rb") as file:
        span_file = SpanFile(file, spans)
        assert span_file.read() == joined
        for start in range(len(joined) + 2):
            for length in range(len(joined) + 2):
                span_file.seek(start)
                assert span_file.read(length) == joined[start : start + length]
        assert span_file.seek(-3, os.SEEK_END) == len(joined) - 3
        assert span_file.seek(1, os.SEEK_CUR) == len(joined) - 2 == span_file.tell()
    with pytest.raises(OSError, match="Input/output error"):
        SpanFile(FailingFile(), spans).read(100)
    decoder_file = DecoderFile(FailingFile(), spans)
    assert decoder_file.read(100) == b""
    assert decoder_file.error.errno == errno.EIO


class FailingFile:
    def seek(self, offset):
        raise OSError(errno.EIO, "Input/output error")


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


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.wav", "a.mka"])
def test_more_than_eight_channels_are_refused(tmp_path, name):
    wav = write_wav(tmp_path / "in.wav", music(1_000, 9))
    path = encode(wav, tmp_path / name, "-c:a", "pcm_s16le")
    with pytest.raises(SourceError, match="it has 9 channels; earzip reads up to 8"):
        open_source(path)


@pytest.mark.parametrize("rate", [999, 768_001, 2**31 - 1])
def test_absurd_sample_rates_are_refused(tmp_path, rate):
    path = write_wav(tmp_path / "a.wav", music(10), rate)
    with pytest.raises(SourceError, match=f"its sample rate is {rate} Hz"):
        open_source(path)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.flac", "a.w64", "a.rf64", "a.caf"])
def test_one_sample(tmp_path, name):
    path = write_wav(tmp_path / name, np.full((2, 1), 0.5, np.float32))
    got, source = read_source(path)
    np.testing.assert_array_equal(got, np.full((2, 1), 0.5))
    assert source.truncated is None


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.w64", "a.rf64"])
def test_no_samples(tmp_path, name):
    path = write_wav(tmp_path / name, np.zeros((2, 0), np.float32))
    got, source = read_source(path)
    assert got.shape == (2, 0)
    assert source.facts.n_frames == 0
    assert source.truncated is None


@needs_opusenc
@needs_ffmpeg
def test_no_samples_in_opus_and_flac(tmp_path):
    wav = write_wav(tmp_path / "a.wav", np.zeros((2, 0), np.float32))
    subprocess.run(["opusenc", "--quiet", wav, tmp_path / "a.opus"], check=True)
    encode(wav, tmp_path / "a.flac")
    for name in ("a.opus", "a.flac"):
        got, source = read_source(tmp_path / name)
        assert got.shape == (2, 0)
        assert source.truncated is None


@needs_ffmpeg
def test_a_wav_from_a_pipe_is_whole(tmp_path, clip):
    for muxer in ("wav", "aiff", "au"):
        done = ffmpeg(
            "-i", clip, "-f", muxer, "-c:a", "pcm_s16le" if muxer[0] == "w" else "pcm_s16be", "-"
        )
        path = tmp_path / muxer
        path.write_bytes(done.stdout)
        got, source = read_source(path)
        np.testing.assert_array_equal(got, read_source(clip)[0])
        assert source.truncated is None, muxer


def test_the_name_does_not_matter(tmp_path):
    for name in ("a.mp3", "b.raw", "c.m4a", "d"):
        wav = write_wav(tmp_path / name, music(1_000), format="WAV")
        assert read_source(wav)[1].facts.container == "WAV"


@pytest.mark.smoke
def test_any_file_name_can_be_read(tmp_path):
    plain = write_wav(tmp_path / "a.wav", music(1_000))
    for name in ("ünïcödé ☃.wav", "new\nline.wav", "-dash.wav", "odd\udcff\udce4.wav", "a\\b.wav"):
        path = tmp_path / name
        path.write_bytes(plain.read_bytes())
        assert read_source(path)[1].facts.n_frames == 1_000
        assert read_source(str(path))[1].facts.n_frames == 1_000


def test_a_source_is_read_once(tmp_path):
    with open_source(write_wav(tmp_path / "a.wav", music(100))) as source:
        list(source.blocks())
        with pytest.raises(AssertionError):
            list(source.blocks())


def test_no_file_stays_open(tmp_path, clip):
    (tmp_path / "text.flac").write_text("text")
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        read_source(clip)
        with pytest.raises(SourceError):
            open_source(tmp_path / "text.flac")
    assert len(list(descriptors.iterdir())) == before


def test_extensions_are_lower_case_with_a_dot():
    assert {".flac", ".mp3", ".m4a", ".ape", ".wma", ".opus"} <= AUDIO_EXTENSIONS
    assert all(ext == ext.lower() and ext.startswith(".") for ext in AUDIO_EXTENSIONS)


def test_a_flac_of_a_million_comments_is_read_as_fast_as_any(tmp_path):
    """libFLAC refuses it, and FFmpeg takes the square of their number."""
    sound = music(RATE)
    plain = write_wav(tmp_path / "plain.flac", sound)
    data = plain.read_bytes()
    frames = data[max(start + n for _, start, n in flac_blocks(io.BytesIO(data), 4)) :]
    comment = struct.pack("<I", 3) + b"A=1"
    comments = struct.pack("<II", 0, 1_000_000) + comment * 1_000_000
    full = tmp_path / "full.flac"
    block = b"\x84" + len(comments).to_bytes(3, "big") + comments
    full.write_bytes(data[:4] + b"\0" + data[5:42] + block + frames)
    with open_source(full) as source:
        assert isinstance(source, SndfileSource)
        got = np.concatenate(list(source.blocks()), 1)
    np.testing.assert_array_equal(got, read_source(plain)[0])
    assert source.checksums == "right"
