"""The two passes over a source: the second has the same samples and findings as reading it again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earzip.formats.audio.source import open_source
from earzip.transcode import kept_sound
from earzip.transcode.compress import compress_file
from earzip.transcode.kept_sound import KeptSound
from tests.conftest import tones
from tests.earzip.tiny_archives import TINY

KINDS = [
    ("flac", "PCM_16", 44_100, 2), ("wav", "PCM_16", 44_100, 1), ("wav", "PCM_U8", 44_100, 2),
    ("wav", "PCM_16", 48_000, 2), ("flac", "PCM_24", 44_100, 2), ("wav", "FLOAT", 44_100, 2),
    ("wav", "PCM_16", 44_100, 4), ("mp3", "MPEG_LAYER_III", 44_100, 2), ("ogg", "VORBIS", 44_100, 1),
]  # fmt: skip


def _write(path: Path, subtype: str, rate: int, channels: int) -> Path:
    rng = np.random.default_rng(0)
    sound = rng.uniform(-1, 1, (3 * rate, channels))
    sound[:200] = 1.0  # full scale, and none at all
    sound[-rate:] = 0.0
    soundfile.write(path, sound, rate, subtype)
    return path


@pytest.mark.parametrize(("ending", "subtype", "rate", "channels"), KINDS)
def test_a_short_source_is_decoded_once_and_gives_the_same_floats(
    tmp_path, monkeypatch, ending, subtype, rate, channels
):
    path = _write(tmp_path / f"a.{ending}", subtype, rate, channels)
    with open_source(path) as first:
        kept = KeptSound(first)
        wanted = [block.copy() for block in kept.first_pass()]
        monkeypatch.setattr(kept_sound, "reopen_source", None)
        with kept.second_pass() as (reader, blocks):
            got = list(blocks)
            assert reader is first
    assert [block.dtype for block in got] == [np.float32] * len(wanted)
    assert [block.tobytes() for block in got] == [block.tobytes() for block in wanted]


@pytest.mark.parametrize(("subtype", "n_bytes"), [("PCM_16", 2), ("PCM_24", 4)])
def test_samples_of_16_bits_take_half_the_memory(tmp_path, subtype, n_bytes):
    with open_source(_write(tmp_path / "a.flac", subtype, 44_100, 2)) as first:
        kept = KeptSound(first)
        n_samples = sum(block.shape[1] for block in kept.first_pass())
        assert kept._n_bytes == 2 * n_bytes * n_samples


def test_a_long_source_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_sound, "MOST_BYTES", 1 << 18)
    with open_source(_write(tmp_path / "a.flac", "PCM_16", 44_100, 2)) as first:
        kept = KeptSound(first)
        wanted = np.concatenate(list(kept.first_pass()), 1)
        assert kept._kept is None
        with kept.second_pass() as (reader, blocks):
            np.testing.assert_array_equal(np.concatenate(list(blocks), 1), wanted)
            assert reader is not first
            assert (reader.facts, reader.checksums) == (first.facts, first.checksums)


@pytest.mark.parametrize(
    ("ending", "damage"),
    [("flac", "none"), ("flac", "wrong MD5"), ("ogg", "cut short"), ("mp3", "cut short")],
)
def test_archives_are_the_same_whether_sound_is_kept_or_read_again(
    tmp_path, monkeypatch, tiny_model, ending, damage
):
    assert tiny_model
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, tones(88_200).T, 44_100)
    data = bytearray(path.read_bytes())
    if damage == "cut short":
        data = data[: len(data) * 3 // 4]
    if damage == "wrong MD5":
        data[26] ^= 1
    path.write_bytes(data)
    kept = compress_file(path, tmp_path / "kept.earz", TINY)
    monkeypatch.setattr(kept_sound, "MOST_BYTES", 0)
    again = compress_file(path, tmp_path / "again.earz", TINY)
    assert kept.target.read_bytes() == again.target.read_bytes()
    assert (kept.warnings, kept.truncated, kept.source_checksums) == (
        again.warnings,
        again.truncated,
        again.source_checksums,
    )
