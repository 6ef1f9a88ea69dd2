"""FLAC files that were cut or damaged: refused, or on request read as far as they go."""

from __future__ import annotations

import random
import subprocess

import numpy as np
import pytest

from earzip.errors import SourceError
from earzip.formats.audio.source import open_source, reopen_source
from tests.formats.audio.audio_files import (
    cut,
    encode,
    music,
    needs_ffmpeg,
    needs_flac,
    read_source,
    write_wav,
)
from tests.formats.audio.truncated_files import N_FRAMES, places


@needs_flac
@pytest.mark.parametrize("options", [[], ["--no-padding", "-0"]])
def test_a_cut_flac_is_refused(tmp_path, folder, long_clip, options):
    whole = folder / "a.flac"
    subprocess.run(["flac", "--silent", "--force", *options, long_clip, "-o", whole], check=True)
    for n_bytes in [100, 5_000, *places(whole)]:
        with pytest.raises(SourceError):
            read_source(cut(whole, tmp_path / "cut.flac", n_bytes))


@needs_ffmpeg
def test_a_flac_cut_between_two_frames_is_refused(tmp_path, folder, long_clip):
    whole = encode(long_clip, folder / "frames.flac")
    probe = ["ffprobe", "-v", "error", "-show_entries", "packet=pos", "-of", "csv=p=0"]
    done = subprocess.run([*probe, whole], check=True, capture_output=True, text=True)
    starts = [int(line.strip(",")) for line in done.stdout.split()]
    data = whole.read_bytes()
    assert len(starts) > 20
    assert all(data[start] == 0xFF for start in starts)
    for start in (starts[1], starts[10], starts[-1]):
        with pytest.raises(SourceError, match=f"is cut short: it declares {N_FRAMES} frames, "):
            read_source(cut(whole, tmp_path / "cut.flac", start))
    with pytest.raises(SourceError):
        read_source(cut(whole, tmp_path / "cut.flac", starts[0]))


def test_a_flipped_bit_in_a_flac_is_found(tmp_path):
    whole = write_wav(tmp_path / "a.flac", music(40_000))
    data = whole.read_bytes()
    rng = random.Random(0)
    for _ in range(40):
        flipped = bytearray(data)
        flipped[rng.randrange(200, len(data))] ^= 1 << rng.randrange(8)
        (tmp_path / "flipped.flac").write_bytes(flipped)
        with pytest.raises(SourceError, match=r"^[^:]+: is damaged after"):
            read_source(tmp_path / "flipped.flac")


def _flac_and_its_sound(path):
    write_wav(path, music(200_000))
    return path.read_bytes(), read_source(path)[0]


@pytest.mark.parametrize("harm", ["cut", "short by a byte", "flipped", "a hole"])
def test_a_damaged_flac_is_read_as_far_as_it_goes_on_request(tmp_path, harm):
    whole, reference = _flac_and_its_sound(tmp_path / "a.flac")
    middle = len(whole) // 2
    path = tmp_path / "harmed.flac"
    path.write_bytes(
        {
            "cut": whole[:middle],
            "short by a byte": whole[:-1],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "a hole": whole[:middle] + whole[middle + 999 :],
        }[harm]
    )
    for on_truncated in (None, "fail"):
        with open_source(path, on_truncated) as source, pytest.raises(SourceError):
            list(source.blocks())
    with open_source(path, "keep") as source:
        source.keep_digest()
        got = np.concatenate(list(source.blocks()), axis=1)
    expected = 200_000 if harm == "short by a byte" else 100_000
    assert expected - 2 * 4096 < got.shape[1] < expected + 2 * 4096  # of frames of 4096
    np.testing.assert_array_equal(got, reference[:, : got.shape[1]])
    assert source.truncated.startswith(f"decoding stops after {got.shape[1]} frames: ")
    assert (source.facts.n_frames, source.notes) == (got.shape[1], ())
    with reopen_source(source) as again:
        np.testing.assert_array_equal(np.concatenate(list(again.blocks()), axis=1), got)
    assert (again.truncated, again.digest) == (source.truncated, source.digest)


@needs_ffmpeg
def test_a_flac_cut_between_two_frames_is_read_to_there_on_request(tmp_path):
    whole, reference = _flac_and_its_sound(tmp_path / "a.flac")
    probe = ["ffprobe", "-v", "error", "-show_entries", "packet=pos", "-of", "csv=p=0"]
    done = subprocess.run([*probe, tmp_path / "a.flac"], check=True, capture_output=True, text=True)
    starts = [int(line.strip(",")) for line in done.stdout.split()]
    (tmp_path / "cut.flac").write_bytes(whole[: starts[10]])
    with open_source(tmp_path / "cut.flac", "keep") as source:
        got = np.concatenate(list(source.blocks()), axis=1)
    np.testing.assert_array_equal(got, reference[:, : 10 * 4096])
    assert source.truncated == "it declares 200000 frames, 40960 can be decoded"


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.ogg"])
def test_what_is_cut_short_is_refused_on_request(tmp_path, name):
    subtype = {"a.wav": "PCM_16", "a.mp3": "MPEG_LAYER_III", "a.ogg": "VORBIS"}[name]
    write_wav(tmp_path / name, music(100_000), subtype=subtype)
    path = cut(tmp_path / name, tmp_path / f"cut{name}", (tmp_path / name).stat().st_size // 2)
    with open_source(path, "fail") as source, pytest.raises(SourceError, match="is cut short: "):
        list(source.blocks())
    with open_source(tmp_path / name, "fail") as source:
        assert sum(block.shape[1] for block in source.blocks()) == 100_000
    with open_source(path, "keep") as kept, open_source(path) as usual:
        np.testing.assert_array_equal(
            *(np.concatenate(list(source.blocks()), axis=1) for source in (kept, usual))
        )


def test_a_flac_of_which_nothing_is_left_is_refused_in_any_case(tmp_path):
    whole, _sound = _flac_and_its_sound(tmp_path / "a.flac")
    (tmp_path / "cut.flac").write_bytes(whole[:300])
    with open_source(tmp_path / "cut.flac", "keep") as source, pytest.raises(SourceError):
        list(source.blocks())
