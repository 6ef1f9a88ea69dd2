from __future__ import annotations

import numpy as np
import pytest
import soxr

from earzip.training.filtering import (
    ClippingMeter,
    Limits,
    Measures,
    SilenceMeter,
    SpectrumMeter,
    StereoMeter,
    TrackMeter,
)

RATE = 44_100
GOOD = Measures(
    duration_s=60,
    bandwidth_hz=20_000,
    clipping=0,
    silence=0,
    side_mid_db=-10,
    balance_db=0.5,
    level_db=-18,
    peak_db=-1,
)


def db(gain: float) -> float:
    return 10 ** (gain / 20)


def music(seconds: float = 8, edge_hz: float | None = None) -> np.ndarray:
    """Noise like music: 6 dB an octave down, in bursts, cut off sharply at ``edge_hz``."""
    rng = np.random.default_rng(1)
    n = round(seconds * RATE)
    spectrum = np.fft.rfft(rng.normal(0, 1, (2, n)) * (0.1 + (np.arange(n) // 11_025 % 4 == 0)))
    f_hz = np.fft.rfftfreq(n, 1 / RATE)
    spectrum /= np.maximum(f_hz, 50)
    if edge_hz is not None:
        spectrum[:, f_hz > edge_hz] = 0
    audio = np.fft.irfft(spectrum, n)
    return (0.3 * audio / np.abs(audio).max()).astype(np.float32)


def noise(audio: np.ndarray, level_db: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    return rng.normal(0, db(level_db), audio.shape).astype(np.float32)


def sine(f_hz: float, amplitude: float = 1.0, seconds: float = 2) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.tile(amplitude * np.sin(2 * np.pi * f_hz * t), (2, 1)).astype(np.float32)


def bandwidth(audio: np.ndarray) -> float:
    meter = SpectrumMeter()
    meter.add(audio)
    return meter.bandwidth_hz()


def clipping(*blocks: np.ndarray) -> float:
    meter = ClippingMeter()
    for block in blocks:
        meter.add(block)
    return meter.share()


def silence(audio: np.ndarray) -> float:
    meter = SilenceMeter()
    meter.add(audio)
    return meter.share()


def stereo(left: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    meter = StereoMeter()
    meter.add(np.stack([left, right]))
    return meter.side_mid_db(), meter.balance_db()


@pytest.mark.parametrize("edge_hz", [5_000, 11_000, 16_000, 18_000, 20_000])
def test_a_low_pass_is_found(edge_hz):
    assert bandwidth(music(edge_hz=edge_hz)) == pytest.approx(edge_hz, abs=200)


@pytest.mark.parametrize("hiss_db", [-90, -75, -65])
def test_hiss_above_a_low_pass_is_not_music(hiss_db):
    audio = music(edge_hz=16_000)
    assert bandwidth(audio + noise(audio, hiss_db)) == pytest.approx(16_000, abs=300)


def test_a_pilot_tone_above_a_low_pass_is_not_music():
    audio = music(edge_hz=11_000)
    assert bandwidth(audio + sine(19_000, db(-70), 8)) == pytest.approx(11_000, abs=200)


def test_a_lower_sample_rate_is_found():
    low = soxr.resample(music().T, RATE, 32_000)
    assert bandwidth(soxr.resample(low, 32_000, RATE).T) == pytest.approx(15_700, abs=400)


def test_full_band_music_has_all_of_the_band_at_any_level():
    assert bandwidth(music()) > 21_900
    assert bandwidth(music() * db(-30)) > 21_900


def test_silence_around_music_and_short_audio_have_their_bandwidth():
    audio = music(edge_hz=16_000)
    assert bandwidth(np.pad(audio, ((0, 0), (RATE * 20, 0)))) == pytest.approx(16_000, abs=200)
    assert bandwidth(np.zeros((2, RATE), np.float32)) == 0
    assert bandwidth(audio[:, :100]) == 0


@pytest.mark.parametrize("turned_down_db", [0, -0.3, -6, -20])
def test_the_share_of_a_clipped_sine_is_known(turned_down_db):
    clipped = np.clip(sine(100, 2), -1, 1) * np.float32(db(turned_down_db))
    # |2 sin x| > 1 for two thirds of x.
    assert clipping(clipped) == pytest.approx(2 / 3, abs=0.01)


def test_one_clipped_channel_of_two_is_half_of_the_samples():
    audio = sine(100, 0.9)
    audio[1] = np.clip(audio[1] * 3, -1, 1)
    only = clipping(audio[1:])
    assert only > 0.7
    assert clipping(audio) == pytest.approx(only / 2, abs=0.002)


def test_what_a_lossy_decoder_gives_beyond_full_scale_is_clipped():
    clipped = np.clip(sine(100, 2), -1, 1)
    wavy = clipped * (1.02 + 0.01 * sine(7_000)) + noise(clipped, -60)
    assert clipping(wavy.astype(np.float32)) == pytest.approx(2 / 3, abs=0.03)


def test_the_ceiling_of_16_and_24_bit_is_full_scale():
    for bits in (16, 24):
        top = 2 ** (bits - 1)
        stored = np.clip(np.rint(sine(100, 2) * top), -top, top - 1) / top
        assert clipping(stored.astype(np.float32)) == pytest.approx(2 / 3, abs=0.01)


def test_clipping_does_not_depend_on_blocks():
    audio = np.clip(music() * 8, -0.7, 0.7)
    whole = clipping(audio)
    assert 0.01 < whole < 0.9
    for n_blocks in (3, 1000, 50_000):
        assert clipping(*np.array_split(audio, n_blocks, axis=1)) == whole


def test_runs_of_two_at_full_scale_do_not_count():
    audio = np.zeros((1, 1000), np.float32)
    audio[0, 100:102] = 1
    assert clipping(audio) == 0
    audio[0, 102] = 1
    assert clipping(audio) == 0.003


@pytest.mark.parametrize(
    "audio",
    [
        music() / np.abs(music()).max(),
        sine(1000),
        np.zeros((2, RATE), np.float32),
        np.rint(music() * 3) / 32_768,  # a few steps of 16 bit
    ],
    ids=["loud", "sine at full scale", "silence", "coarse steps"],
)
def test_what_is_loud_or_quiet_is_not_clipped(audio):
    assert clipping(audio.astype(np.float32)) < 1e-4


def test_silence_is_counted_in_blocks_of_400_ms():
    audio = sine(1000, 0.1, 4)
    audio[:, : RATE + RATE // 5] = 0  # three blocks of ten
    assert silence(audio) == pytest.approx(0.3)
    assert silence(audio[:, : RATE // 5]) == 0


def test_silence_is_below_60_dbfs_in_both_channels():
    assert silence(sine(1000, db(-57.5))) == 1  # its RMS is 3 dB below its peak
    assert silence(sine(1000, db(-56.5))) == 0
    one_sided = sine(1000, db(-52))
    one_sided[0] = 0
    assert silence(one_sided) == 0


def test_stereo_is_the_energy_of_side_over_mid():
    a, b = sine(400)[0], sine(700)[0]
    assert stereo(a + 0.1 * b, a - 0.1 * b) == pytest.approx((-20, 0), abs=0.01)
    assert stereo(a, a) == (-120, 0)
    assert stereo(a, -a) == (120, 0)
    assert stereo(a, 0 * a) == pytest.approx((0, 120))
    assert stereo(0.1 * a, a)[1] == pytest.approx(-20)
    assert stereo(0 * a, 0 * a) == (-120, 0)


def test_a_track_is_measured_the_same_in_any_blocks():
    audio = music()
    results = []
    for n_blocks in (1, 7, 1000):
        meter = TrackMeter()
        for block in np.array_split(audio, n_blocks, axis=1):
            meter.add_source(block)
            meter.add(block)
        results.append(meter.measures().to_json())
    assert results[0] == results[1] == results[2]
    assert results[0]["duration_s"] == 8
    assert results[0]["peak_db"] == pytest.approx(20 * np.log10(0.3), abs=0.01)


def test_level_is_the_gated_level_and_silence_has_a_number():
    meter = TrackMeter()
    meter.add(np.concatenate([sine(1000, 0.1), np.zeros((2, RATE), np.float32)], 1))
    assert meter.measures().level_db == pytest.approx(-23.01, abs=0.01)
    meter = TrackMeter()
    meter.add(np.zeros((2, RATE), np.float32))
    nothing = meter.measures()
    assert (nothing.level_db, nothing.peak_db, nothing.silence) == (-120, -120, 1)


def test_a_good_track_has_no_reason_against_it():
    assert Limits().reasons(GOOD) == []


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        ({"duration_s": 6.31}, "length", "6.3 s long; the minimum is 10 s"),
        (
            {"bandwidth_hz": 15_934.6},
            "bandwidth",
            "nothing above 15.9 kHz; the minimum is 18 kHz",
        ),
        (
            {"clipping": 0.00523},
            "clipping",
            "0.523 % of the samples are clipped; the maximum is 0.02 %",
        ),
        ({"silence": 0.314}, "silence", "31.4 % of it is silence; the maximum is 20 %"),
        (
            {"side_mid_db": -62.1},
            "stereo",
            "mono: side over mid is -62.1 dB; the minimum is -40 dB",
        ),
        (
            {"side_mid_db": 31.0},
            "stereo",
            "a channel is inverted: side over mid is 31.0 dB; the maximum is 10 dB",
        ),
        (
            {"balance_db": 44.0},
            "stereo",
            "the right channel is 44.0 dB below the other; the maximum is 20 dB",
        ),
        (
            {"balance_db": -44.0},
            "stereo",
            "the left channel is 44.0 dB below the other; the maximum is 20 dB",
        ),
        ({"level_db": -55.2}, "level", "its level is -55.2 dBFS; the minimum is -50 dBFS"),
        ({"level_db": -5.25}, "level", "its level is -5.2 dBFS; the maximum is -8 dBFS"),
    ],
)
def test_a_limit_gives_its_reason(change, kind, sentence):
    bad = Measures(**{**GOOD.__dict__, **change})
    assert Limits().reasons(bad) == [(kind, sentence)]


def test_every_limit_can_be_switched_off():
    awful = Measures(0, 0, 1, 1, -120, 120, -120, -120)
    assert {kind for kind, _ in Limits().reasons(awful)} == {
        "length", "bandwidth", "clipping", "silence", "stereo", "level",
    }  # fmt: skip
    assert Limits(*[None] * 9).reasons(awful) == []
