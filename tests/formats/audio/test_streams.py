"""Files of several streams: one after the other, or side by side."""

import shutil
import struct

import numpy as np
import pytest

from earzip.errors import NoSoundError, SourceError
from earzip.formats.audio.source import open_source
from tests.formats.audio.audio_files import (
    RATE,
    delay,
    encode,
    ffmpeg,
    music,
    needs_ffmpeg,
    packet_starts,
    read_source,
    run_encoder,
    write_wav,
)
from tests.formats.audio.mpeg_files import layer_1

N_FRAMES = 50_001
LONGER = 3 * RATE


@pytest.fixture(scope="module")
def stereo(folder):
    return write_wav(folder / "stereo.wav", music(N_FRAMES))


@pytest.fixture(scope="module")
def mono(folder):
    return write_wav(folder / "mono.wav", music(N_FRAMES, 1, seed=1))


@pytest.fixture(scope="module")
def longer(folder):
    return write_wav(folder / "longer.wav", music(LONGER, seed=2))


@needs_ffmpeg
@pytest.mark.parametrize("xing", ["0", "1"])
@pytest.mark.parametrize("order", ["stereo first", "mono first"])
def test_joined_mp3s_of_one_and_two_channels_are_read(tmp_path, stereo, mono, xing, order):
    wavs = [stereo, mono] if order == "stereo first" else [mono, stereo]
    parts = [
        encode(wav, tmp_path / f"{n}.mp3", "-write_xing", xing, "-id3v2_version", "0")
        for n, wav in enumerate(wavs)
    ]
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    alone = [read_source(part)[0] for part in parts]
    got, source = read_source(joined)
    expected = [sound if len(sound) == 2 else sound.repeat(2, axis=0) for sound in alone]
    np.testing.assert_array_equal(got, np.concatenate(expected, axis=1))
    assert (source.facts.channels, source.downmix, source.truncated) == (2, "stereo", None)
    if xing == "1":
        assert source.notes[0].startswith("its Xing header promises ")
        assert source.notes[0].endswith(" are there; all are archived")
    else:
        assert source.notes == ()


@needs_ffmpeg
def test_three_joined_mp3s_cut_in_the_last_are_flagged(tmp_path, stereo, mono):
    one = encode(stereo, tmp_path / "1.mp3", "-id3v2_version", "0").read_bytes()
    two = encode(mono, tmp_path / "2.mp3", "-id3v2_version", "0").read_bytes()
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(one + two + one[: len(one) // 2])
    got, source = read_source(joined)
    assert 2.3 * N_FRAMES < got.shape[1] < 2.6 * N_FRAMES
    assert "its Xing header promises" in source.truncated


@needs_ffmpeg
def test_joined_layers_2_of_one_and_two_channels_are_read(tmp_path, stereo, mono):
    parts = [encode(wav, tmp_path / f"{wav.stem}.mp2") for wav in (stereo, mono)]
    joined = tmp_path / "joined.mp2"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    got, source = read_source(joined)
    assert got.shape[1] == sum(read_source(part)[0].shape[1] for part in parts)
    assert (source.truncated, source.notes) == (None, ())


@pytest.mark.parametrize("rates", [[384], [192], [448, 160], [160, 448], [32 * 7, 32, 448]])
@pytest.mark.parametrize("rate", [32_000, 44_100, 48_000])
def test_layer_1_is_read_to_its_end(tmp_path, rates, rate):
    path = tmp_path / "a.mp1"
    path.write_bytes(b"".join(layer_1(300, kbps, rate) for kbps in rates if kbps > 32))
    n_parts = sum(kbps > 32 for kbps in rates)
    got, source = read_source(path)
    assert (source.facts.codec, source.facts.sample_rate) == ("MPEG_LAYER_I", rate)
    assert got.shape[1] == source.facts.n_frames == n_parts * 300 * 384
    assert (source.truncated, source.notes) == (None, ())
    assert np.abs(got[:, -2_000:-600]).max() > 0.01  # and not silence


@needs_ffmpeg
@pytest.mark.parametrize("order", ["loud first", "quiet first"])
def test_layer_2_of_a_variable_rate_is_read_to_its_end(tmp_path, order):
    loud = 0.4 * np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32)
    parts = [loud, np.zeros((2, 4 * RATE), np.float32)]
    sound = np.concatenate(parts if order == "loud first" else parts[::-1], axis=1)
    wav = write_wav(tmp_path / "a.wav", np.clip(sound, -1, 1))
    path = run_encoder("twolame", "-V", "5", wav, tmp_path / "a.mp2", target=-1)
    assert len(set(np.diff(packet_starts(path)))) > 1  # the rate varies
    got, source = read_source(path)
    assert got.shape[1] == 1_152 * len(packet_starts(path))
    assert (source.truncated, source.notes) == (None, ())


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mka", "libopus"),
        ("a.mka", "aac"),
        ("a.m4a", "aac"),
        ("a.m4a", "alac"),
        ("a.wma", "wmav2"),
        ("a.ogg", "libvorbis"),
        ("a.opus", "libopus"),
        ("a.webm", "libvorbis"),
    ],
)
@pytest.mark.parametrize("order", ["longer last", "longer first"])
def test_a_second_stream_is_named_and_no_reason_to_take_the_first_for_cut(
    tmp_path, stereo, longer, name, codec, order
):
    pytest.importorskip("av")
    first, second = (stereo, longer) if order == "longer last" else (longer, stereo)
    path, alone = tmp_path / name, encode(first, tmp_path / f"alone-{name}", "-c:a", codec)
    ffmpeg("-i", first, "-i", second, "-map", "0", "-map", "1", "-c:a", codec, path)
    got, source = read_source(path)
    np.testing.assert_array_equal(got, read_source(alone)[0])
    assert source.truncated is None
    assert source.notes == ("it has 2 sound streams; only the first one is archived",)
    assert read_source(alone)[1].notes == ()


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("a.mp4", ["-c:v", "mpeg4", "-c:a", "aac"]),
        ("a.mka", ["-c:v", "mpeg4", "-c:a", "flac"]),
        ("a.asf", ["-c:v", "mpeg4", "-c:a", "wmav2"]),
        ("a.ogx", ["-c:v", "libtheora", "-c:a", "libvorbis", "-f", "ogg"]),
        ("a.webm", ["-c:v", "libvpx", "-c:a", "libopus"]),
    ],
)
def test_of_a_film_the_sound_is_read_and_the_pictures_are_named(tmp_path, stereo, name, codecs):
    pytest.importorskip("av")
    pictures = ["-f", "lavfi", "-i", "testsrc=d=3:s=32x32:r=5"]
    path = tmp_path / name
    ffmpeg(*pictures, "-i", stereo, "-map", "0", "-map", "1", *codecs, path)
    got, source = read_source(path)
    seconds = got.shape[1] / source.facts.sample_rate
    assert N_FRAMES / RATE - 0.1 < seconds < N_FRAMES / RATE + 0.1  # wmav2 drops its last block
    assert source.truncated is None
    assert source.notes == ("it is a film; only its sound is archived",)
    silent = tmp_path / f"silent-{name}"
    ffmpeg(*pictures, "-map", "0", *codecs[:2], *codecs[4:], silent)
    with pytest.raises(NoSoundError, match="holds no sound"):
        open_source(silent)


@needs_ffmpeg
def test_a_cover_is_no_film(tmp_path, stereo):
    pytest.importorskip("av")
    cover = tmp_path / "cover.png"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=32x32", "-frames:v", "1", cover)
    path = tmp_path / "a.m4a"
    maps = ["-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic"]
    ffmpeg("-i", stereo, "-i", cover, *maps, "-c:a", "aac", path)
    assert read_source(path)[1].notes == ()


@needs_ffmpeg
@pytest.mark.parametrize("change", [["-ar", "48000"], ["-ac", "1"]])
@pytest.mark.parametrize(
    ("name", "codec"), [("a.aac", "aac"), ("a.ogg", "libvorbis"), ("a.flac", "flac")]
)
def test_a_stream_that_changes_is_refused(tmp_path, stereo, name, codec, change):
    pytest.importorskip("av")
    first = encode(stereo, tmp_path / f"1{name}", "-c:a", codec)
    second = encode(stereo, tmp_path / f"2{name}", "-c:a", codec, *change)
    joined = tmp_path / name
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(
        SourceError, match=r"after \d+ frames it changes from 44100 Hz, 2 channels"
    ) as told:
        read_source(joined)
    assert ("1 channel" in str(told.value)) == (change == ["-ac", "1"])
    assert "1 channels" not in str(told.value)


DELAYS = {
    "speexenc": ("a.spx", ["speexenc", "IN", "OUT"], [8_000, 16_000, 32_000]),
    "narrow": ("a.spx", ["speexenc", "-n", "IN", "OUT"], [16_000]),
    "vbr": ("a.spx", ["speexenc", "--vbr", "--quality", "10", "IN", "OUT"], [16_000]),
    "mpcenc": ("a.mpc", ["mpcenc", "--silent", "--overwrite", "IN", "OUT"], [44_100, 48_000]),
}


def bursts(n_frames, rate):
    """Noise and a rising tone, which come and go: speech enough to find a delay in."""
    time = np.arange(n_frames) / rate
    noise = np.random.default_rng(0).standard_normal(n_frames)
    noise = np.convolve(noise, np.ones(6) / 6, "same") * (np.sin(2 * np.pi * 1.7 * time) > 0.2)
    tone = np.sin(2 * np.pi * (200 + 100 * time) * time) * (np.sin(2 * np.pi * 1.1 * time) > 0)
    return (0.2 * (noise + tone))[np.newaxis].astype(np.float32)


@pytest.mark.parametrize("kind", DELAYS)
@pytest.mark.parametrize("n_more", [0, 1, 77, 150])
def test_what_a_decoder_adds_is_left_out(tmp_path, kind, n_more):
    pytest.importorskip("av")
    name, command, rates = DELAYS[kind]
    for rate in rates:
        n_frames = 2 * rate + n_more
        wav = write_wav(tmp_path / "a.wav", bursts(n_frames, rate), rate)
        names = {"IN": wav, "OUT": tmp_path / name}
        path = run_encoder(*(names.get(word, word) for word in command), target=-1)
        got, source = read_source(path)
        assert got.shape[1] == n_frames
        # Within what the four kHz of a narrow band leave uncertain.
        assert abs(delay(read_source(wav)[0][0], got[0])) <= (5 if kind == "narrow" else 2)
        assert (source.truncated, source.notes) == (None, ())


def musepack_7_of_silence(n_frames, n_last, *, is_gapless=True):
    """A Musepack file of version 7, for which there is no encoder: frames of 1152 silent samples."""
    head = b"MP+\x07" + struct.pack("<I", n_frames)
    bands_and_gains = bytes(12)
    head += bands_and_gains + struct.pack("<I", is_gapless << 31 | n_last << 20)
    frame = f"{8:020b}{0:08b}"  # its length in bits, and a silent band of each channel
    bits = f"{0:08b}" + n_frames * frame
    bits = bits.ljust(-(-len(bits) // 32) * 32 + 64, "0")
    words = (int(bits[at : at + 32], 2) for at in range(0, len(bits), 32))
    return head + b"".join(struct.pack("<I", word) for word in words)


@pytest.mark.parametrize("n_last", [1, 576, 1_151])
def test_musepack_7_has_the_length_of_its_header(tmp_path, n_last):
    pytest.importorskip("av")
    path = tmp_path / "a.mpc"
    path.write_bytes(musepack_7_of_silence(60, n_last))
    got, source = read_source(path)
    assert got.shape == (2, 59 * 1_152 + n_last)
    assert (source.facts.codec, source.truncated, source.notes) == ("MPC7", None, ())
    path.write_bytes(musepack_7_of_silence(60, n_last, is_gapless=False))
    assert read_source(path)[0].shape == (2, 60 * 1_152 - 481)  # less the decoder's delay


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_an_mp3_in_an_mp4_has_the_length_and_place_of_its_edit_list(tmp_path, stereo, name):
    pytest.importorskip("av")
    path = encode(stereo, tmp_path / name, "-c:a", "libmp3lame")
    got, source = read_source(path)
    assert (source.facts.container, source.facts.codec) == ("MP4", "MP3")
    assert 0 <= N_FRAMES - got.shape[1] <= RATE / 1000 + 1  # it counts milliseconds
    assert delay(read_source(stereo)[0][0], got[0]) == 0


@pytest.mark.parametrize("options", [["-b256"], ["-b4", "-c"], ["-b600", "-cc"]])
def test_a_hybrid_wavpack_is_lossy_and_its_correction_file_is_named(tmp_path, stereo, options):
    pytest.importorskip("av")
    path = tmp_path / "a.wv"
    run_encoder("wavpack", "-q", *options, stereo, "-o", path, target=-1)
    _, source = read_source(path)
    assert (source.facts.lossless, source.facts.bit_depth) == (False, None)
    assert source.truncated is None
    correction = "it is the lossy part of a hybrid; a.wvc, which has the rest, is not archived"
    assert source.notes == ((correction,) if len(options) > 1 else ())
    whole = tmp_path / "whole.wv"
    run_encoder("wavpack", "-q", stereo, "-o", whole, target=-1)
    assert read_source(whole)[1].facts.lossless
    if shutil.which("ffmpeg"):
        for wavpack, lossless in ((path, False), (whole, True)):
            copy = encode(wavpack, tmp_path / f"{wavpack.stem}.mka", "-c:a", "copy")
            assert read_source(copy)[1].facts.lossless is lossless


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
    # Of tags their reader says what there is to say: those of every stream are archived.
    assert source.notes == ("3 chained streams are archived as one track",)
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
