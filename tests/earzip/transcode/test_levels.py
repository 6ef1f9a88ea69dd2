"""Archives of a network with levels, of format 1.3 and later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earzip.coding.quantizer import dequantize
from earzip.evaluate.files import evaluate_pair
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.verify import verify_structure
from earzip.formats.symbols.layout import Told
from earzip.models.store import find_model
from earzip.options import CompressOptions, RestoreOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.decode_check import decode_check
from earzip.transcode.inspect import read_info
from earzip.transcode.latents import extract_latents
from earzip.transcode.restore import restore_file
from tests.conftest import strokes, tones
from tests.earzip.tiny_archives import damage_segment

LEVELS = CompressOptions("tiny-levels")
pytestmark = pytest.mark.usefixtures("tiny_model")


def write(path: Path, audio: NDArray[np.float32]) -> Path:
    soundfile.write(path, audio.T, 44_100, subtype="PCM_16")
    return path


@pytest.fixture
def struck(tmp_path: Path) -> Path:
    """Three seconds: chords with strokes, silence, and a click in it."""
    audio = tones(132_300) + strokes(132_300)
    audio[:, 60_000:90_000] = 0
    audio[:, 75_000] = 0.5
    return write(tmp_path / "struck.flac", audio)


def symbols_of(archive: Path) -> NDArray[np.int32]:
    with ArchiveReader(archive) as reader:
        unpack = reader.header.unpack_segment
        return np.concatenate(
            [unpack(reader.segment(i), i) for i in range(reader.n_segments)], axis=1
        )


def restored(archive: Path) -> NDArray[np.float32]:
    target = archive.with_suffix(".wav")
    restore_file(archive, target, RestoreOptions(container="wav", bits="float"))
    return soundfile.read(target, dtype="float32", always_2d=True)[0].T


def test_a_track_with_levels_comes_back(struck: Path, tmp_path: Path) -> None:
    sizes = {}
    for quality in ("low", "medium", "high"):
        archive = tmp_path / f"{quality}.earz"
        compress_file(struck, archive, CompressOptions("tiny-levels", quality))
        info = read_info(archive)
        assert (info.header.symbols, info.format_version) == ("levels-1", "1.4")
        sizes[quality] = info.sizes.sound
        assert verify_structure(archive) == []
        sound, source = restored(archive), soundfile.read(struck, dtype="float32")[0].T
        assert sound.shape == source.shape
        assert np.corrcoef(sound.ravel(), source.ravel())[0, 1] > 0.8
        assert np.abs(sound[:, 65_000:74_000]).max() < 1e-3
    assert sizes["low"] < sizes["medium"] < sizes["high"]


def test_each_kind_of_latents_has_integers_where_it_should(struck: Path, tmp_path: Path) -> None:
    archive = compress_file(struck, tmp_path / "a.earz", LEVELS).target
    symbols = symbols_of(archive)
    layout = find_model("tiny-levels").layout
    ends = np.cumsum([layout.n_sparse, *(group.n_channels for group in layout.groups)])
    parts = np.split(symbols, ends[:-1])
    told = [group.told for group in layout.groups]
    courses = [part for part, each in zip(parts[1:], told, strict=True) if each == Told.ATTACK]
    calm = [part for part, each in zip(parts[1:], told, strict=True) if each == Told.CALM]
    is_attack = np.concatenate(courses).any(0)
    assert 5 < is_attack.sum() < 40
    assert not np.concatenate(calm)[:, is_attack].any()
    assert all(part.any() for part in parts)
    silent = slice(62_000 // 512, 74_000 // 512)
    assert not parts[0][:, silent].any()
    result = extract_latents(archive, tmp_path / "latents.safetensors")
    assert (result.n_latents, result.n_frames) == symbols.shape


def test_a_lost_segment_costs_only_itself(struck: Path, tmp_path: Path) -> None:
    archive = compress_file(struck, tmp_path / "a.earz", LEVELS).target
    damage_segment(archive, 1)
    (damage,) = verify_structure(archive)
    assert damage.part == "0:00.74–0:01.48"


@pytest.mark.parametrize("n_samples", [0, 1, 2, 63, 64, 511, 512, 513, 3000])
def test_any_length_comes_back(tmp_path: Path, n_samples: int) -> None:
    source = write(tmp_path / "s.wav", tones(n_samples) + strokes(n_samples))
    archive = compress_file(source, tmp_path / "s.earz", LEVELS).target
    restore_file(archive, tmp_path / "o.wav", RestoreOptions(container="wav"))
    assert soundfile.info(tmp_path / "o.wav").frames == n_samples
    assert verify_structure(archive) == []
    assert decode_check(archive) == []


def test_silence_comes_back_as_next_to_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "s.flac", np.zeros((2, 100_000), np.float32))
    archive = compress_file(source, tmp_path / "s.earz", LEVELS).target
    assert np.abs(restored(archive)).max() < 1e-5  # a third of a step of 16 bits
    assert not symbols_of(archive)[: find_model("tiny-levels").layout.n_sparse].any()


def test_a_mono_source_comes_back_as_mono(tmp_path: Path) -> None:
    source = write(tmp_path / "s.flac", (tones(70_001) + strokes(70_001))[:1])
    archive = compress_file(source, tmp_path / "s.earz", LEVELS).target
    left, right = restored(archive)
    assert np.abs(left - right).max() < 0.1 * np.abs(left).max()
    restore_file(archive, tmp_path / "mono.flac", RestoreOptions(as_source=True))
    assert soundfile.info(tmp_path / "mono.flac").channels == 1


def test_bytes_are_the_same_from_one_and_two_threads(struck: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from earzip.models.pool import CodecPool; from earzip.runtime import Runtime\n"
        "from earzip.options import CompressOptions\n"
        "from earzip.transcode.compress import compress_file\n"
        "runtime = Runtime('cpu', threads=int(sys.argv[3]), batch_size=int(sys.argv[3]))\n"
        "with CodecPool(runtime) as pool: compress_file(\n"
        "    Path(sys.argv[1]), Path(sys.argv[2]), CompressOptions('tiny-levels'), codecs=pool)\n"
    )
    for threads in ("1", "2"):
        archive = tmp_path / f"{threads}.earz"
        subprocess.run([sys.executable, "-c", code, struck, archive, threads], check=True)
    assert (tmp_path / "1.earz").read_bytes() == (tmp_path / "2.earz").read_bytes()


def test_an_archive_is_evaluated_and_up_to_date(struck: Path, tmp_path: Path) -> None:
    archive = compress_file(struck, tmp_path / "a.earz", LEVELS).target
    assert compress_file(struck, archive, LEVELS).status == "up_to_date"
    found = evaluate_pair(struck, archive)
    assert found.measures is not None
    assert found.measures.ccpc > 0.5


def test_presets_of_levels_move_coefficients_and_levels_apart() -> None:
    spec = find_model("tiny-levels")
    for preset in spec.presets.values():
        n, exponents = spec.layout.n_sparse, spec.exponents_at(preset)
        added = exponents - np.array(spec.step_exponents)
        n_exact = spec.layout.n_exact
        others = [preset.others] * (spec.layout.n_levels - n_exact)
        assert added.tolist() == [preset.exponent] * n + others + [0] * n_exact
    rng = np.random.default_rng(0)
    latents = rng.normal(0, 3, (spec.n_latents, 40)).astype(np.float32)
    thrifty = spec.quantize(latents, spec.presets["low"])
    assert thrifty.dtype == np.int32
    assert np.isfinite(dequantize(thrifty, spec.exponents_at(spec.presets["low"]))).all()
