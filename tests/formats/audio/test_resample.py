"""Downmix and resampling: levels, exact lengths, no delay."""

import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from math import floor

import numpy as np
import pytest
import soxr

from earzip.formats.audio.downmix import (
    DEFAULT_LAYOUTS,
    VORBIS_LAYOUTS,
    can_downmix,
    downmix,
    downmix_name,
    layout_from_mask,
)
from earzip.formats.audio.resample import resample_to, stereo_44k
from earzip.formats.audio.source import open_source
from earzip.formats.geometry import n_samples_at
from tests.formats.audio.audio_files import music, write_wav

RATES = [1_000, 8_000, 11_025, 22_050, 32_000, 44_099, 44_100, 48_000, 96_000, 192_000, 768_000]


def to_stereo(path):
    with open_source(path) as source:
        blocks = list(stereo_44k(source))
    assert all(block.dtype == np.float32 and block.shape[0] == 2 for block in blocks)
    return np.concatenate([np.zeros((2, 0), np.float32), *blocks], axis=1)


def resample(sound, rate_in, rate_out, n_out, step=4_096):
    blocks = (sound[:, start : start + step] for start in range(0, sound.shape[1], step))
    pieces = list(resample_to(blocks, rate_in, rate_out, n_out))
    return np.concatenate([np.zeros((2, 0), np.float32), *pieces], axis=1)


@pytest.mark.parametrize("rate", RATES)
def test_length_is_rounded_half_up(rate):
    for n_frames in (*range(50), 999_983, 10**9, 10**12 + 1):
        exact = Fraction(n_frames * 44_100, rate)
        assert n_samples_at(n_frames, rate) == floor(exact + Fraction(1, 2))
    assert n_samples_at(1, 88_200) == 1  # exactly half
    assert n_samples_at(3, 44_100, 22_050) == 2


@pytest.mark.parametrize("rate", RATES)
def test_stereo_has_the_exact_length(tmp_path, rate):
    for n_frames in (0, 1, 2, 3, 17, 65_535, 65_536, 65_537):
        path = write_wav(tmp_path / "a.wav", music(n_frames, 2, rate), rate)
        assert to_stereo(path).shape[1] == n_samples_at(n_frames, rate)


@pytest.mark.parametrize("rate", RATES)
def test_going_back_gives_the_sources_length(rate):
    for n_frames in (0, 1, 2, 3, 4, 5, 1_000, 12_345):
        n_samples = n_samples_at(n_frames, rate)
        sound = music(n_samples)
        assert resample(sound, 44_100, rate, n_frames).shape == (2, n_frames)


def test_the_same_rate_changes_no_sample(tmp_path):
    sound = music(150_000)
    path = write_wav(tmp_path / "a.wav", sound, subtype="FLOAT")
    np.testing.assert_array_equal(to_stereo(path), sound)
    np.testing.assert_array_equal(resample(sound, 48_000, 48_000, 150_000), sound)


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000, 96_000])
def test_a_tone_comes_out_at_its_time_and_level(tmp_path, rate):
    def tone(at_rate, n_frames):
        time = np.arange(n_frames) / at_rate
        return 0.5 * np.stack([np.sin(2 * np.pi * 997 * time), np.cos(2 * np.pi * 1_501 * time)])

    path = write_wav(tmp_path / "a.wav", tone(rate, rate), rate, "DOUBLE")
    got = to_stereo(path)
    inside = slice(4_410, -4_410)
    error = got[:, inside] - tone(44_100, 44_100)[:, inside]
    assert np.abs(error).max() < 10 ** (-120 / 20)


@pytest.mark.parametrize("rate", [8_000, 48_000, 96_000])
def test_there_and_back_keeps_what_both_rates_can_hold(rate):
    n_frames = rate
    time = np.arange(n_frames) / rate
    sound = np.stack([np.sin(2 * np.pi * 440 * time)] * 2).astype(np.float32) * 0.5
    there = resample(sound, rate, 44_100, n_samples_at(n_frames, rate))
    back = resample(there, 44_100, rate, n_frames)
    inside = slice(rate // 10, -rate // 10)
    assert np.abs(back - sound)[:, inside].max() < 1e-6


def test_block_sizes_do_not_matter():
    sound = music(30_000)
    first = resample(sound, 44_100, 48_000, n_samples_at(30_000, 44_100, 48_000), step=30_000)
    for step in (1, 1_000, 7_777):
        other = resample(sound, 44_100, 48_000, first.shape[1], step=step)
        np.testing.assert_array_equal(other, first)


def test_one_sample_more_or_less_is_padded_or_cut():
    sound = music(1_000)
    np.testing.assert_array_equal(resample(sound, 44_100, 44_100, 999), sound[:, :999])
    longer = resample(sound, 44_100, 44_100, 1_001)
    np.testing.assert_array_equal(longer[:, :1_000], sound)
    np.testing.assert_array_equal(longer[:, 1_000:], 0)
    with pytest.raises(AssertionError):
        resample(sound, 44_100, 44_100, 1_010)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_overs_are_kept(tmp_path, rate):
    sound = np.full((2, 20_000), 3.0, np.float32)
    path = write_wav(tmp_path / "a.wav", sound, rate, "FLOAT")
    middle = to_stereo(path)[:, 5_000:10_000]
    np.testing.assert_allclose(middle, 3.0, rtol=1e-5)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_mono_goes_to_both_sides_at_its_level(tmp_path, rate):
    sound = music(rate, 1, rate)
    got = to_stereo(write_wav(tmp_path / "a.wav", sound, rate, "FLOAT"))
    np.testing.assert_array_equal(got[0], got[1])
    if rate == 44_100:
        np.testing.assert_array_equal(got[0], sound[0])


HALF = 0.5**0.5
WEIGHTS = {
    "FL": (1, 0),
    "FR": (0, 1),
    "FC": (HALF, HALF),
    "LFE": (0, 0),
    "BL": (HALF, 0),
    "BR": (0, HALF),
    "SL": (HALF, 0),
    "SR": (0, HALF),
    "BC": (0.5, 0.5),
}


@pytest.mark.parametrize("layouts", [DEFAULT_LAYOUTS, VORBIS_LAYOUTS])
@pytest.mark.parametrize("channels", range(3, 9))
def test_each_channel_has_the_weight_of_bs_775(layouts, channels):
    layout = layouts[channels]
    for index, position in enumerate(layout):
        block = np.zeros((channels, 5), np.float32)
        block[index] = 0.25
        expected = np.outer(WEIGHTS[position], np.full(5, 0.25))
        np.testing.assert_allclose(downmix(block, layout), expected, rtol=1e-6)


def test_a_full_downmix_is_neither_scaled_nor_clipped():
    block = np.ones((6, 4), np.float32)
    np.testing.assert_allclose(downmix(block, DEFAULT_LAYOUTS[6]), 1 + 2 * HALF, rtol=1e-6)


def test_downmix_names():
    names = {1: "mono-duplicated", 2: "stereo", 3: "itu-r-bs775-3.0", 4: "itu-r-bs775-4.0"}
    names |= {5: "itu-r-bs775-5.0", 6: "itu-r-bs775-5.1", 7: "itu-r-bs775-6.1"}
    names |= {8: "itu-r-bs775-7.1"}
    for channels, name in names.items():
        assert downmix_name(DEFAULT_LAYOUTS[channels]) == name
        assert downmix_name(VORBIS_LAYOUTS[channels]) == name
    assert downmix_name(("FL", "FR", "LFE")) == "itu-r-bs775-FL+FR+LFE"


def test_masks_name_positions_in_the_order_of_their_bits():
    assert layout_from_mask(0x3F, 6) == DEFAULT_LAYOUTS[6]
    assert layout_from_mask(0x63F, 8) == DEFAULT_LAYOUTS[8]
    assert layout_from_mask(0x107, 4) == ("FL", "FR", "FC", "BC")
    assert layout_from_mask(0x3F, 5) is None
    assert layout_from_mask(0x1003, 3) is None  # a height


def test_heights_have_no_place():
    assert can_downmix(("FL", "FR", "FC"))
    assert can_downmix(("DL", "DR"))
    assert not can_downmix(("FL", "FR", "TFL", "TFR"))


def test_no_stream_begins_while_another_runs(monkeypatch):
    """They share tables, which a new one may move."""
    n_begun = n_running = 0
    met = []

    class Stream(soxr.ResampleStream):
        def __init__(self, *args, **options):
            nonlocal n_begun
            n_begun += 1
            threading.Event().wait(0.001)
            super().__init__(*args, **options)
            met.append((n_begun, n_running))
            n_begun -= 1

        def resample_chunk(self, *args, **options):
            nonlocal n_running
            n_running += 1
            threading.Event().wait(0.001)
            met.append((n_begun, 0))
            n_running -= 1
            return super().resample_chunk(*args, **options)

    monkeypatch.setattr(soxr, "ResampleStream", Stream)
    sound = music(4_410)
    with ThreadPoolExecutor(6) as threads:
        done = [threads.submit(resample, sound, 44_100, 48_000, 4_800, 1_000) for _ in range(60)]
        for each in done:
            each.result(60)
    assert set(met) == {(1, 0), (0, 0)}
