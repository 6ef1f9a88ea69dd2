"""Samples in memory to latents and archives, and latents to samples."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

import earzip
from earzip.errors import (
    EarzipError,
    ModelNotFoundError,
    SourceError,
    TagError,
    TargetError,
    UsageError,
)
from earzip.formats.archive.reader import ArchiveReader
from earzip.options import CompressOptions
from earzip.transcode import kept_sound
from tests.conftest import strokes, tones
from tests.earzip.tiny_archives import TINY

pytestmark = pytest.mark.usefixtures("tiny_model")
LEVELS = "tiny-levels"


def _surround(n_samples: int) -> np.ndarray:
    return np.concatenate([tones(n_samples, seed) for seed in range(3)]) / 2


SOUNDS = {
    "stereo": (tones(70_001), 44_100),
    "mono at 48 kHz": (tones(60_000)[:1], 48_000),
    "5.1 at 22.05 kHz": (_surround(30_000), 22_050),
    "silence": (np.zeros((2, 30_000), np.float32), 44_100),
    "63 samples": (tones(63), 44_100),
    "nothing": (tones(0), 44_100),
}


@pytest.mark.parametrize("model", ["tiny", LEVELS])
@pytest.mark.parametrize("name", SOUNDS)
def test_an_archive_of_samples_is_that_of_a_file_of_them(tmp_path, name, model):
    samples, rate = SOUNDS[name]
    source, of_file = tmp_path / "a.wav", tmp_path / "a.earz"
    soundfile.write(source, samples.T, rate, subtype="FLOAT")
    earzip.compress_file(source, of_file, CompressOptions(model, "high"))
    encoded = earzip.encode(samples, rate, model=model, quality="high")
    sizes = encoded.write(tmp_path / "b.earz")
    with ArchiveReader(tmp_path / "b.earz") as one, ArchiveReader(of_file) as other:
        assert one.segment_checksums() == other.segment_checksums()
        assert one.header.gain_centibels == other.header.gain_centibels
        assert one.header.edges == other.header.edges
    mine, other = (earzip.read_info(tmp_path / f"{letter}.earz").header for letter in "ba")
    assert (mine.settings, mine.encoder) == (other.settings, other.encoder)
    facts = ("sound", "sample_rate", "channels", "n_frames", "downmix")
    assert [getattr(mine.source, f) for f in facts] == [getattr(other.source, f) for f in facts]
    assert earzip.verify_archive(tmp_path / "b.earz").is_whole
    assert sizes.total == (tmp_path / "b.earz").stat().st_size


def test_the_source_is_a_file_of_the_samples(tmp_path):
    samples = tones(3_000)
    source = earzip.encode(samples, 44_100, model="tiny").source
    raw = samples.T.astype("<f4").tobytes()
    assert (source.sha256, source.n_bytes) == (hashlib.sha256(raw).hexdigest(), len(raw))
    assert (source.name, source.mtime_ns) == ("", None)
    assert (source.container, source.codec, source.bit_depth) == ("RAW", "FLOAT", 32)


@pytest.mark.parametrize("dtype", [np.float64, ">f4"])
def test_other_floats_are_taken_as_float32(dtype):
    samples = tones(20_000)
    one, other = (earzip.encode(s, 44_100, model="tiny") for s in (samples, samples.astype(dtype)))
    np.testing.assert_array_equal(one.symbols, other.symbols)
    assert one.source == other.source


def test_strides_do_not_matter():
    samples = np.asfortranarray(tones(20_000))
    backward = samples[:, ::-1]
    one, other = (earzip.encode(s, 44_100, model="tiny") for s in (backward, backward.copy()))
    np.testing.assert_array_equal(one.symbols, other.symbols)


def test_long_sound_is_not_kept_twice(monkeypatch):
    samples, rate = SOUNDS["mono at 48 kHz"]
    wanted = earzip.encode(samples, rate, model="tiny")
    monkeypatch.setattr(kept_sound, "MOST_BYTES", 1 << 10)
    got = earzip.encode(samples, rate, model="tiny")
    np.testing.assert_array_equal(got.symbols, wanted.symbols)
    assert got.header == wanted.header


@pytest.mark.parametrize("model", ["tiny", LEVELS])
def test_decoding_gives_what_the_archive_gives(tmp_path, model):
    encoded = earzip.encode(tones(70_001) + strokes(70_001), 44_100, model=model)
    encoded.write(tmp_path / "a.earz")
    with earzip.open(tmp_path / "a.earz") as track:
        wanted = np.concatenate(list(track.samples()), axis=1)
        latents = np.concatenate(list(track.latents()), axis=1)
        facts = {"n_samples": track.n_samples, "gain_db": track.gain_db}
    np.testing.assert_array_equal(encoded.latents, latents)
    np.testing.assert_array_equal(encoded.decode(), wanted)
    got = earzip.decode(latents, model=model, **facts)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[:, 32:-32], wanted[:, 32:-32])
    assert not np.array_equal(got, wanted)


def test_all_that_the_frames_hold_is_decoded_without_a_length():
    encoded = earzip.encode(tones(30_000), 44_100, model="tiny")
    got = earzip.decode(encoded.latents, model="tiny", gain_db=encoded.gain_db)
    assert 30_000 <= got.shape[1] < 30_000 + encoded.hop
    wanted = earzip.decode(encoded.latents, model="tiny", gain_db=encoded.gain_db, n_samples=30_000)
    np.testing.assert_array_equal(got[:, :30_000], wanted)


def test_no_latents_are_no_samples():
    encoded = earzip.encode(tones(0), 44_100, model="tiny")
    assert encoded.latents.shape == (encoded.n_latents, 0)
    assert encoded.decode().shape == (2, 0)
    assert earzip.decode(encoded.latents, model="tiny").shape == (2, 0)


def test_quality_may_be_a_number():
    assert earzip.encode(tones(3_000), 44_100, model="tiny", quality=7.5).quality == "7.5"
    assert earzip.encode(tones(3_000), 44_100, model="tiny", quality=8).quality == "high"


def test_tags_come_back_in_a_restored_file(tmp_path):
    encoded = earzip.encode(tones(30_000), 44_100, model="tiny")
    cover = earzip.Picture(3, "image/png", "", b"\x89PNG" + bytes(50))
    encoded.write(tmp_path / "a.earz", tags={"title": "Song"}, pictures=[cover])
    earzip.restore_file(tmp_path / "a.earz", tmp_path / "a.flac")
    again = tmp_path / "b.earz"
    earzip.compress_file(tmp_path / "a.flac", again, TINY)
    with earzip.open(again) as track:
        assert track.tags["title"] == ["Song"]
        assert [picture.data for picture in track.pictures()] == [cover.data]


def test_a_file_in_the_way_stays_unless_forced(tmp_path):
    encoded = earzip.encode(tones(3_000), 44_100, model="tiny")
    path = tmp_path / "new" / "a.earz"
    encoded.write(path)
    before = path.read_bytes()
    with pytest.raises(TargetError, match="already exists"):
        encoded.write(path, tags={"title": "Song"})
    assert path.read_bytes() == before
    encoded.write(path, tags={"title": "Song"}, force=True)
    with earzip.open(path) as track:
        assert track.tags == {"title": ["Song"]}


def _with(value: float) -> np.ndarray:
    samples = tones(70_000)
    samples[1, 66_000] = value
    return samples


REFUSED: list[tuple[object, object, type[EarzipError], str]] = [
    (_with(np.nan), 44_100, SourceError, "sample 66000 is not a finite number"),
    (_with(-np.inf), 44_100, SourceError, "sample 66000 is not a finite number"),
    (_with(1.0).astype(np.float64) * 1e300, 44_100, SourceError, "is not a finite number"),
    (1e9 * tones(70_000), 44_100, SourceError, "its samples are too large"),
    (tones(100)[0], 44_100, UsageError, r"have the shape \(100,\), expected \[channels, samples\]"),
    (tones(100).T, 44_100, UsageError, r"shape \(100, 2\), .* with 1 to 8 channels"),
    (tones(100)[:0], 44_100, UsageError, r"shape \(0, 100\)"),
    (tones(100)[None], 44_100, UsageError, r"shape \(1, 2, 100\)"),
    (np.zeros((2, 100), np.int16), 44_100, UsageError, "samples are int16, expected float32"),
    (np.zeros((2, 100), complex), 44_100, UsageError, "samples are complex128, expected float32"),
    ([[0.0], [0.0]], 44_100, UsageError, "are of type list, expected a numpy array"),
    (tones(100), 44_100.0, UsageError, r"rate is 44100\.0, expected a whole number of Hz"),
    (tones(100), True, UsageError, "rate is True"),
    (tones(100), -1, UsageError, "rate is -1"),
    (tones(100), 999, SourceError, "its sample rate is 999 Hz; earzip reads 1000 to 768000"),
    (tones(100), 768_001, SourceError, "its sample rate is 768001 Hz"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("samples", "rate", "error", "message"), REFUSED)
def test_what_is_no_sound_is_refused(samples, rate, error, message):
    with pytest.raises(error, match=message) as caught:
        earzip.encode(samples, rate, model="tiny")
    assert caught.value.path is None


def test_other_arguments_are_checked(tmp_path):
    with pytest.raises(UsageError, match="quality is '11'"):
        earzip.encode(tones(100), 44_100, model="tiny", quality=11)
    with pytest.raises(UsageError, match="quality is 'None'"):
        earzip.encode(tones(100), 44_100, model="tiny", quality=None)
    with pytest.raises(ModelNotFoundError, match="no model 'none' is installed"):
        earzip.encode(tones(100), 44_100, model="none")
    encoded = earzip.encode(tones(100), 44_100, model="tiny")
    for value in (3, [3], None, b"Song"):
        with pytest.raises(UsageError, match=r"tag 'title' is .*, expected text"):
            encoded.write(tmp_path / "a.earz", tags={"title": value})
    with pytest.raises(TagError, match=r"a\.earz: "):
        encoded.write(tmp_path / "a.earz", tags={"title": 20_001 * ["Song"]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("error")
def test_latents_that_do_not_fit_are_refused():
    encoded = earzip.encode(tones(30_000), 44_100, model="tiny")
    latents, d, f = encoded.latents, encoded.n_latents, encoded.n_frames
    most = f * encoded.hop - 2 * encoded.header.geometry.lead
    for wrong, message in [
        (latents[:-1], f"latents have {d - 1} rows, expected the {d} of tiny"),
        (latents[0], rf"shape \({f},\), expected \[latents, frames\]"),
        (encoded.symbols, "latents are int32, expected float32"),
        (latents * np.nan, "latents have values that are not finite numbers"),
        (latents.astype(np.float64) + 1e300, "latents have values that are not finite numbers"),
    ]:
        with pytest.raises(UsageError, match=message):
            earzip.decode(wrong, model="tiny")
    for n_samples in (0, most + 1, most - encoded.hop):
        with pytest.raises(UsageError, match=f"{n_samples} samples do not take {f} frames"):
            earzip.decode(latents, model="tiny", n_samples=n_samples)
    for n_samples in (-1, 3e4, True):
        with pytest.raises(UsageError, match="expected a whole number of samples"):
            earzip.decode(latents, model="tiny", n_samples=n_samples)
    for gain_db in (-121, 1e5, np.nan):
        with pytest.raises(UsageError, match=r"gain_db is .*, expected 120 at the most"):
            earzip.decode(latents, model="tiny", gain_db=gain_db)
    with pytest.raises(UsageError, match="decode to infinite or far too large samples"):
        earzip.decode(np.full_like(latents, 3e38), model="tiny", gain_db=-120)
    with pytest.raises(ModelNotFoundError):
        earzip.decode(latents, model="none")


def test_one_pool_serves_all(tmp_path: Path):
    with earzip.CodecPool() as codecs:
        for seed in range(2):
            encoded = earzip.encode(tones(3_000, seed), 44_100, model="tiny", codecs=codecs)
            np.testing.assert_array_equal(encoded.decode(codecs=codecs), encoded.decode())
