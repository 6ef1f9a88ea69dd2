from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from earzip.errors import DamagedArchiveError, SourceError
from earzip.formats.audio.source import open_source
from earzip.models.pool import CodecPool
from earzip.options import Floor
from earzip.page.originals import open_exact_copy
from earzip.page.pictures import COARSE
from earzip.page.track_view import EXCERPT_S, analyse, encode_flac, excerpt_range
from earzip.runtime import Runtime
from earzip.transcode.compress import compress_file
from tests.conftest import tones
from tests.earzip.tiny_archives import TINY, damage_segment

pytest.importorskip("PIL")


@pytest.fixture
def codecs():
    with CodecPool(Runtime("cpu", threads=1)) as pool:
        yield pool


def look(archive, original, codecs, *, audio=False, on_progress=lambda seconds: None):
    opens = original if original is None or callable(original) else lambda _: open_source(original)
    return analyse(archive, opens, codecs, COARSE, with_audio=audio, on_progress=on_progress)


def test_beside_its_original_a_track_has_both_sides_and_measures(archive, song, codecs):
    view = look(archive, song, codecs)
    assert list(view.sides) == ["original", "restored"]
    assert view.difference
    assert view.measures.icpc > 0
    assert view.lost_segments == ()


def test_without_an_original_there_is_the_restored_side_alone(archive, codecs):
    view = look(archive, None, codecs)
    assert list(view.sides) == ["restored"]
    assert view.difference is view.measures is None


@pytest.fixture
def exact_archive(song, tmp_path, tiny_model):
    """Return an archive that holds an exact copy of `song`."""
    options = replace(TINY, floor=Floor(min_si_sdr_db=90.0, below="lossless"))
    return compress_file(song, tmp_path / "exact.earz", options).target


def test_the_exact_copy_of_an_archive_stands_in_for_the_original(exact_archive, codecs):
    view = look(exact_archive, open_exact_copy, codecs)
    assert list(view.sides) == ["original", "restored"]
    assert view.measures is not None


def test_a_damaged_exact_copy_is_damage_of_the_archive(exact_archive, codecs):
    data = bytearray(exact_archive.read_bytes())
    data[-1] ^= 1
    exact_archive.write_bytes(data)
    with pytest.raises(DamagedArchiveError, match="exact copy"):
        look(exact_archive, open_exact_copy, codecs)


def test_excerpts_of_both_sides_are_of_the_same_samples(archive, song, codecs):
    sides = look(archive, song, codecs, audio=True).sides
    sound = {name: soundfile.read(io.BytesIO(side.excerpt)) for name, side in sides.items()}
    assert [rate for _, rate in sound.values()] == [44_100, 44_100]
    assert [len(samples) for samples, _ in sound.values()] == [70_001, 70_001]
    np.testing.assert_allclose(sound["original"][0].T, tones(70_001), atol=2**-15)


def test_the_loudness_of_an_excerpt_is_that_of_its_samples(archive, song, codecs):
    import pyloudnorm  # noqa: PLC0415  # of the extra eval

    for side in look(archive, song, codecs, audio=True).sides.values():
        samples, rate = soundfile.read(io.BytesIO(side.excerpt))
        expected = pyloudnorm.Meter(rate).integrated_loudness(samples)
        assert side.lufs == pytest.approx(expected, abs=0.01)


def test_no_excerpt_is_made_unasked(archive, codecs):
    restored = look(archive, None, codecs).restored
    assert (restored.excerpt, restored.lufs) == (None, None)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(60, (20, 40)), (20, (0, 20)), (7, (0, 7)), (21, (0.5, 20.5))]
)
def test_the_excerpt_is_the_middle(seconds, expected):
    assert excerpt_range(seconds * 44_100) == tuple(44_100 * s for s in expected)
    assert EXCERPT_S == 20


def test_samples_beyond_full_scale_are_saturated():
    samples, _ = soundfile.read(
        io.BytesIO(encode_flac(np.array([[1.5, -1.5, 0]] * 2, np.float32))), dtype="int16"
    )
    assert samples[:, 0].tolist() == [32767, -32768, 0]


def test_progress_adds_up_to_the_track(archive, song, codecs):
    seconds = []
    look(archive, song, codecs, on_progress=seconds.append)
    assert sum(seconds) == pytest.approx(70_001 / 44_100)


def test_a_damaged_segment_is_named_and_the_rest_is_shown(archive, song, codecs):
    damage_segment(archive, 0)
    view = look(archive, song, codecs)
    assert view.lost_segments == (0,)
    assert len(view.sides) == 2


def test_an_original_of_another_length_is_refused(archive, tmp_path, codecs):
    for n in (70_000, 70_002, 400_000):
        other = tmp_path / "other.wav"
        soundfile.write(other, tones(n).T, 44_100)
        with pytest.raises(SourceError, match=f"decodes to {n} samples here, 70001 were archived"):
            look(archive, other, codecs)


@pytest.mark.parametrize("n_samples", [0, 1, 100])
def test_tracks_of_few_samples_have_what_there_is(tmp_path, tiny_model, codecs, n_samples):
    song = tmp_path / "song.wav"
    soundfile.write(song, tones(max(1, n_samples)).T[:n_samples], 44_100)
    archive = compress_file(song, tmp_path / "song.wav.earz", TINY).target
    view = look(archive, song, codecs, audio=True)
    if not n_samples:
        assert view is None
    else:
        assert view.measures is None
        assert len(view.sides) == 2


@pytest.mark.parametrize("channels", [1, 2])
def test_silence_and_mono_are_shown(tmp_path, tiny_model, codecs, channels):
    song = tmp_path / "song.wav"
    soundfile.write(song, np.zeros((50_000, channels)), 44_100)
    archive = compress_file(song, tmp_path / "song.wav.earz", TINY).target
    view = look(archive, song, codecs)
    assert not any(view.original.peaks)
    assert view.measures is None
