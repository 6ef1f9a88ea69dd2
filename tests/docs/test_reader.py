"""docs/reader decodes what earzip restores, without earzip: the reader of docs/reading-in-2050.md."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earzip.options import CompressOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.inspect import read_info
from tests.conftest import MODELS, strokes, tones
from tests.docs.pages import ROOT
from tests.docs.reader_runs import (
    GOLDEN,
    LEAST_SNR_DB,
    READER,
    SPECIFICATION,
    WEIGHTS,
    read,
    snr_db,
)
from tests.formats.archive.samples import Pieces

pytestmark = pytest.mark.skipif(not READER.exists(), reason="not in a checkout")


def goldens() -> dict[Path, str]:
    """Return the golden archives whose model has an architecture of the reader's, and its name."""
    names = {path: read_info(path).header.model.name for path in sorted(GOLDEN.glob("*.earz"))}
    return {path: name for path, name in names.items() if name != "tiny"}


@pytest.mark.parametrize("path", goldens(), ids=lambda path: path.stem)
def test_golden_archives_sound_as_earzip_restores_them(path, tiny_model, tmp_path):
    wav = tmp_path / "o.wav"
    done = read(path, MODELS / f"{goldens()[path]}.json", wav)
    assert done.returncode == 0, done.stderr
    assert snr_db(path, wav) >= LEAST_SNR_DB


def test_there_are_golden_archives_to_read():
    assert {path.stem for path in goldens()} >= {"v1.1", "v1.2", "v1.3"}
    assert set(goldens().values()) == {"tiny-transform", "tiny-levels"}


@pytest.fixture
def model(tmp_path, tiny_model):
    """The model that `models export` would give, in a folder of its own."""
    for suffix in (".json", ".safetensors"):
        shutil.copy(MODELS / f"tiny-transform{suffix}", tmp_path / f"model{suffix}")
    return tmp_path / "model.json"


def test_an_archive_of_mini_sounds_as_earzip_restores_it(tmp_path):
    source, archive, wav = (tmp_path / name for name in ("s.flac", "s.earz", "o.wav"))
    quiet = 0.3 * (tones(90_000) + strokes(90_000))
    soundfile.write(source, np.roll(quiet, 7000, 1).T, 44_100, subtype="PCM_16")
    compress_file(source, archive, CompressOptions("mini"))
    header = read_info(archive).header
    assert any(header.edges)
    assert header.gain_centibels
    done = read(archive, WEIGHTS / "mini.json", wav)
    assert done.returncode == 0, done.stderr
    assert snr_db(archive, wav) >= LEAST_SNR_DB


@pytest.mark.parametrize("n_samples", [0, 1, 70_001])
@pytest.mark.parametrize("name", ["tiny-transform", "tiny-levels"])
def test_tracks_of_any_length_are_read(n_samples, name, tiny_model, tmp_path):
    source, archive, wav = (tmp_path / name for name in ("s.wav", "s.earz", "o.wav"))
    soundfile.write(source, tones(n_samples).T, 44_100, subtype="PCM_16")
    compress_file(source, archive, CompressOptions(name))
    done = read(archive, MODELS / f"{name}.json", wav)
    assert done.returncode == 0, done.stderr
    assert soundfile.info(wav).frames == n_samples
    assert n_samples < 64 or snr_db(archive, wav) >= LEAST_SNR_DB


def test_the_exact_copy_comes_out_beside_it(model, tmp_path):
    done = read(GOLDEN / "v1.2.earz", model, tmp_path / "o.wav")
    assert done.returncode == 0, done.stderr
    copy, source = (
        soundfile.read(path, dtype="int16")[0]
        for path in (tmp_path / "o.wav.flac", GOLDEN / "v1.2.flac")
    )
    np.testing.assert_array_equal(copy, source)


def test_pictures_come_out_too_and_one_that_is_missing_is_named(model, tmp_path):
    for suffix in (".json", ".safetensors"):
        shutil.copy(MODELS / f"tiny-levels{suffix}", model.with_suffix(suffix))
    image = b"\x89PNG\r\n\x1a\n golden"
    for version in ("v1.4", "v1.5"):
        done = read(GOLDEN / f"{version}.earz", model, tmp_path / f"{version}.wav")
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / f"{version}.wav.picture-1").read_bytes() == image
    lone = Path(shutil.copy(GOLDEN / "v1.5.earz", tmp_path / "lone.earz"))
    (shared,) = read_info(GOLDEN / "v1.5.earz").picture_files
    for content in (None, b"another"):
        if content:
            (tmp_path / shared).write_bytes(content)
        done = read(lone, model, tmp_path / "lone.wav")
        expected = f"picture 1: {shared} is missing or damaged\n"
        assert (done.returncode, done.stderr) == (0, expected)
        assert soundfile.info(tmp_path / "lone.wav").frames == 40_000


def test_a_field_that_is_critical_and_unknown_is_named(model, tmp_path):
    pieces = Pieces.of(GOLDEN / "v1.1.earz")
    pieces.change_header("critical", ["shared", "dither"])
    (tmp_path / "a.earz").write_bytes(pieces.to_bytes())
    done = read(tmp_path / "a.earz", model, tmp_path / "o.wav")
    assert (done.returncode, done.stderr) == (1, "critical and unknown: dither\n")


@pytest.mark.parametrize("at", [20, 45, 60, 700, -1])
def test_damage_is_refused_in_a_sentence(at, model, tmp_path):
    data = bytearray((GOLDEN / "v1.1.earz").read_bytes())
    data[at] ^= 1
    (tmp_path / "a.earz").write_bytes(data)
    done = read(tmp_path / "a.earz", model, tmp_path / "o.wav")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o.wav").exists()


@pytest.mark.parametrize("n_left", [0, 1])
def test_an_archive_that_lacks_segments_is_refused(n_left, model, tmp_path):
    """Under right checksums: it would be a short track."""
    pieces = Pieces.of(GOLDEN / "v1.1.earz")
    segments = [part for part in pieces.parts if part[0] == 1]
    assert len(segments) > 1
    pieces.parts = segments[:n_left]
    (tmp_path / "a.earz").write_bytes(pieces.to_bytes())
    done = read(tmp_path / "a.earz", model, tmp_path / "o.wav")
    expected = f"segments in the archive: {n_left}, expected {len(segments)}\n"
    assert (done.returncode, done.stderr) == (1, expected)
    assert not (tmp_path / "o.wav").exists()


def test_weights_of_another_model_are_refused(model, tmp_path):
    shutil.copy(MODELS / "tiny.json", model)
    shutil.copy(MODELS / "tiny.safetensors", model.with_suffix(".safetensors"))
    done = read(GOLDEN / "v1.1.earz", model, tmp_path / "o.wav")
    assert (done.returncode, done.stderr) == (
        1,
        "another model: the archive is of tiny-transform\n",
    )
    weights = bytearray(model.with_suffix(".safetensors").read_bytes())
    weights[-1] ^= 1
    model.with_suffix(".safetensors").write_bytes(weights)
    done = read(GOLDEN / "v1.1.earz", model, tmp_path / "o.wav")
    assert (done.returncode, done.stderr) == (1, "damaged weights\n")


def test_the_page_names_the_files_of_the_reader():
    page = (ROOT / "docs" / "reading-in-2050.md").read_text()
    files = ("archive", "decode", "levels", "mini", "mini_2", "network")
    assert {path.stem for path in READER.glob("*.py")} == set(files)
    assert all(f"(reader/{path.name})" in page for path in READER.glob("*.py"))
    headings = set(SPECIFICATION.read_text().split("\n"))
    decoders = ("The decoder of `mini`", "The decoder of `mini-2`")
    for place in ("Model", *decoders, "From latents to sound", "Exact copy"):
        assert f"## {place}" in headings


def test_a_network_that_the_reader_has_not_is_named(tmp_path):
    done = read(GOLDEN / "v1.0.earz", MODELS / "tiny.json", tmp_path / "o.wav")
    assert (done.returncode, done.stderr) == (1, "the network spectral needs earzip\n")
