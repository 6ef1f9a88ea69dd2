from __future__ import annotations

import numpy as np
import pytest

from earzip.page.spectrum import FLOOR_DB, TOP_HZ, Spectrogram, Waveform, mel_of_hz
from tests.conftest import tones


def sine(hz: float, n_samples: int):
    wave = np.sin(2 * np.pi * hz * np.arange(n_samples) / 44_100).astype(np.float32)
    return np.stack([wave, wave])


def spectrogram(audio, block: int = 50_000, columns: int = 100, rows: int = 64):
    picture = Spectrogram(audio.shape[1], columns, rows)
    for start in range(0, audio.shape[1], block):
        picture.add(audio[:, start : start + block])
    return picture.decibels()


@pytest.mark.parametrize("hz", [110, 1000, 9000])
def test_a_sine_stands_in_the_row_of_its_frequency(hz):
    levels = spectrogram(sine(hz, 88_200))
    row = int(64 * mel_of_hz(np.array(hz)) / mel_of_hz(np.array(TOP_HZ)))
    assert set(levels[:, 5:-5].argmax(0)) <= {row - 1, row, row + 1}


def test_a_sine_of_full_scale_has_about_0_db_where_a_row_is_a_bin_wide():
    assert spectrogram(sine(100 * 44_100 / 2048, 88_200), rows=400).max() == pytest.approx(0, abs=3)


def test_the_picture_does_not_depend_on_how_the_track_is_cut():
    audio = tones(70_001)
    whole = spectrogram(audio, block=70_001)
    for block in (1, 1000, 30_011):
        shown = audio if block > 1 else audio[:, :5000]
        reference = whole if block > 1 else spectrogram(shown)
        np.testing.assert_allclose(spectrogram(shown, block), reference, atol=1e-3)


def test_a_click_stands_in_the_column_of_its_time():
    audio = np.zeros((2, 44_100), np.float32)
    audio[:, 30_000] = 1
    loudness = spectrogram(audio).max(0)
    assert abs(int(loudness.argmax()) - 100 * 30_000 // 44_100) <= 1


def test_columns_of_a_long_track_average_all_of_its_time():
    audio = np.concatenate(
        [sine(1000, 44_100 * 20), np.zeros((2, 44_100 * 20), np.float32)], axis=1
    )
    levels = spectrogram(audio, columns=4).max(0)
    assert levels[0] == pytest.approx(levels[1], abs=0.5)
    assert levels[3] < levels[0] - 60


def test_silence_is_the_floor_and_a_few_samples_make_a_few_columns():
    assert (spectrogram(np.zeros((2, 44_100), np.float32)) == FLOOR_DB).all()
    assert spectrogram(tones(3)).shape == (64, 1)


def test_a_waveform_has_the_largest_magnitude_of_each_part():
    audio = np.zeros((2, 1000), np.float32)
    audio[1, 250], audio[0, 999] = -0.5, 3.0
    wave = Waveform(1000, 10)
    for start in range(0, 1000, 333):
        wave.add(audio[:, start : start + 333])
    assert list(wave.peaks()) == [0, 0, 128, 0, 0, 0, 0, 0, 0, 255]


def test_a_waveform_of_fewer_samples_than_parts_has_one_each():
    wave = Waveform(3, 10)
    wave.add(np.array([[1, 0, 0.2], [0, 0, 0.2]], np.float32))
    assert list(wave.peaks()) == [255, 0, 51]
