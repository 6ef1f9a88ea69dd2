"""DSD: its sound as PyAV decodes it, its length, its tags."""

from __future__ import annotations

import io
from pathlib import Path

import mutagen.id3
import numpy as np
import pytest

from earzip.formats.audio.resample import stereo_44k
from earzip.formats.audio.source import open_source
from earzip.formats.tags.read import read_tags
from tests.formats.audio.audio_files import cut
from tests.formats.audio.dsd_files import modulate, write_dff, write_dsf

pytest.importorskip("av")

WRITERS = {"a.dsf": write_dsf, "a.dff": write_dff}
N_SAMPLES = 8_820


TONES = ((1_000, 0.4), (700, 0.2))


def _tone(hz: float, peak: float, phase: float = 0.0) -> np.ndarray:
    return peak * np.sin(2 * np.pi * hz * np.arange(N_SAMPLES) / 44_100 + phase)


@pytest.fixture(scope="module")
def channels() -> list[np.ndarray]:
    return [modulate(_tone(*tone)) for tone in TONES]


def _id3() -> bytes:
    tag = mutagen.id3.ID3()
    tag.add(mutagen.id3.TIT2(encoding=3, text="a title"))
    file = io.BytesIO()
    tag.save(file, padding=lambda _info: 0)
    return file.getvalue()


@pytest.mark.parametrize("name", WRITERS)
def test_its_sound_is_that_of_the_tones_in_it(tmp_path: Path, name: str, channels) -> None:
    path = WRITERS[name](tmp_path / name, channels)
    with open_source(path) as source:
        facts = source.facts
        sound = np.concatenate(list(stereo_44k(source)), axis=1)
    assert (facts.container, facts.codec) == (Path(name).suffix[1:].upper(), "DSD")
    assert (facts.sample_rate, facts.channels) == (352_800, 2)
    assert (source.truncated, source.notes) == (None, ())
    assert source.facts.n_frames == 8 * N_SAMPLES
    assert sound.shape == (2, N_SAMPLES)
    for got, (hz, peak) in zip(sound, TONES, strict=True):
        waves = np.stack([_tone(hz, 1.0), _tone(hz, 1.0, np.pi / 2)])[
            :, 200:-200
        ]  # the filter lags
        parts = np.linalg.lstsq(waves.T, got[200:-200], rcond=None)[0]
        assert np.hypot(*parts) == pytest.approx(peak, rel=0.01)
        rest = got[200:-200] - parts @ waves
        assert 10 * np.log10(np.mean(rest**2) / np.mean(got**2)) < -45


@pytest.mark.parametrize("name", WRITERS)
def test_one_that_is_cut_is_flagged(tmp_path: Path, name: str, channels) -> None:
    long = [np.tile(bits, 5) for bits in channels]
    whole = WRITERS[name](tmp_path / f"whole {name}", long)
    path = cut(whole, tmp_path / name, whole.stat().st_size // 2)
    with open_source(path) as source:
        n_frames = sum(block.shape[1] for block in source.blocks())
    assert source.truncated is not None
    assert 0.4 < n_frames / (5 * 8 * N_SAMPLES) < 0.6


@pytest.mark.parametrize("name", WRITERS)
def test_its_tags_are_read(tmp_path: Path, name: str, channels) -> None:
    tags = read_tags(WRITERS[name](tmp_path / name, channels, _id3()))
    assert tags.fields == {"title": ["a title"]}
    assert tags.problems == []
    assert read_tags(WRITERS[name](tmp_path / name, channels)).fields == {}


def test_chunks_of_a_dff_that_are_not_read_are_named(tmp_path: Path, channels) -> None:
    path = write_dff(tmp_path / "a.dff", channels)
    path.write_bytes(path.read_bytes() + b"COMT" + (2).to_bytes(8, "big") + b"\0\0")
    assert read_tags(path).problems == ["these chunks were not archived: COMT"]
