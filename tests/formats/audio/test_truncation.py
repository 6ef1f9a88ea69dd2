"""Files that were cut or damaged: refused or flagged, never passed off as whole."""

from __future__ import annotations

import random
import re
import subprocess

import mutagen.id3
import numpy as np
import pytest

from earzip.errors import SourceError
from earzip.formats.audio.source import open_source
from tests.formats.audio.audio_files import (
    RATE,
    cut,
    encode,
    music,
    needs_ffmpeg,
    needs_opusenc,
    packet_starts,
    read_source,
    write_wav,
)
from tests.formats.audio.truncated_files import N_FRAMES, places

MP3 = {
    "constant": ["-b:a", "128k"],
    "variable": ["-q:a", "4"],
    "mono": ["-ac", "1", "-b:a", "64k"],
    "low rate": ["-ar", "22050", "-b:a", "64k"],
}


@needs_ffmpeg
@pytest.mark.parametrize("kind", MP3)
def test_a_cut_mp3_with_a_xing_header_is_flagged(tmp_path, folder, long_clip, kind, capfd):
    whole = encode(long_clip, folder / f"{kind}.mp3", *MP3[kind])
    reference, source = read_source(whole)
    assert source.truncated is None
    for n_bytes in places(whole):
        got, source = read_source(cut(whole, tmp_path / "cut.mp3", n_bytes))
        assert source.truncated is not None, n_bytes
        assert source.truncated.startswith("its Xing header promises ")
        assert source.facts.n_frames == got.shape[1] == source.n_frames_read
        # All whole frames are there, less the delay of encoder (576) and decoder (529).
        n_whole = int(re.search(r"(\d+) whole frames", source.truncated)[1])
        assert got.shape[1] == n_whole * (576 if kind == "low rate" else 1_152) - 576 - 529
        same = got.shape[1] - 2 * 1_152
        np.testing.assert_allclose(got[:, :same], reference[:, :same], atol=1e-6)
    starts = packet_starts(whole)
    for n_frames in (2, 3, 10):  # of one missing frame the Xing header may be wrong
        path = cut(whole, tmp_path / "cut.mp3", starts[-n_frames])
        assert read_source(path)[1].truncated is not None
    assert capfd.readouterr().err == ""


@needs_ffmpeg
def test_a_cut_mp3_without_a_xing_header_is_flagged(tmp_path, folder, long_clip):
    whole = encode(long_clip, folder / "plain.mp3", "-write_xing", "0", "-id3v2_version", "0")
    reference, source = read_source(whole)
    assert source.truncated is None
    starts = packet_starts(whole)
    assert len(starts) > 100
    for n_bytes in {*places(whole), *range(starts[-2] + 1, starts[-1], 40)} - set(starts):
        got, source = read_source(cut(whole, tmp_path / "cut.mp3", n_bytes))
        assert source.truncated is not None, n_bytes
        assert source.truncated.startswith("it ends inside a frame, after ")
        np.testing.assert_allclose(got, reference[:, : got.shape[1]], atol=1e-6)


@needs_ffmpeg
def test_a_cut_mp3_is_flagged_with_a_tag_at_its_end_too(tmp_path, folder, long_clip):
    whole = encode(long_clip, folder / "tagged.mp3")
    half = cut(whole, tmp_path / "cut.mp3", whole.stat().st_size // 2)
    mutagen.id3.ID3().save(half, v1=2)
    assert "its Xing header promises" in read_source(half)[1].truncated


@needs_ffmpeg
def test_an_mp3_that_lost_bytes_in_its_middle_is_flagged(tmp_path, folder, long_clip):
    for xing in ("1", "0"):
        data = encode(long_clip, folder / f"x{xing}.mp3", "-write_xing", xing).read_bytes()
        middle = len(data) // 2
        damaged = tmp_path / "damaged.mp3"
        damaged.write_bytes(data[:middle] + bytes(3_000) + data[middle + 3_000 :])
        got, source = read_source(damaged)
        assert source.truncated is not None
        assert got.shape[1] > 0.85 * N_FRAMES  # what follows is read


@needs_ffmpeg
def test_an_mp3_of_a_header_alone_is_refused(tmp_path, folder, long_clip):
    data = encode(long_clip, folder / "head.mp3", "-id3v2_version", "0").read_bytes()
    path = tmp_path / "cut.mp3"
    for n_bytes in (417, 600):
        path.write_bytes(data[:n_bytes])
        with pytest.raises(SourceError):
            read_source(path)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "codec"), [("a.ogg", "libvorbis"), ("a.opus", "libopus"), ("a.oga", "flac")]
)
def test_a_cut_ogg_is_flagged(tmp_path, folder, long_clip, name, codec):
    if codec == "flac":
        pytest.importorskip("av")
    whole = encode(long_clip, folder / name, "-c:a", codec, "-page_duration", "200000")
    reference, source = read_source(whole)
    assert source.truncated is None
    data = whole.read_bytes()
    pages = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    assert len(pages) > 8
    for n_bytes in [*places(whole, start=0.3), *pages[4:]]:
        got, source = read_source(cut(whole, tmp_path / name, n_bytes))
        expected = "its end-of-stream page is missing"
        if n_bytes not in pages:
            expected = f"its last page is cut at byte {n_bytes}"
        assert source.truncated == expected
        assert 0 < got.shape[1] < reference.shape[1]
        assert source.facts.n_frames == got.shape[1]


@needs_opusenc
def test_a_cut_opus_from_opusenc_is_flagged(tmp_path, folder, long_clip):
    whole = folder / "opusenc.opus"
    subprocess.run(["opusenc", "--quiet", long_clip, whole], check=True)
    assert read_source(whole)[1].truncated is None
    for n_bytes in places(whole, start=0.5, count=4):
        assert read_source(cut(whole, tmp_path / "cut.opus", n_bytes))[1].truncated is not None


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["libvorbis", "libopus"])
def test_a_damaged_or_lost_ogg_page_is_flagged(tmp_path, folder, long_clip, codec):
    whole = encode(long_clip, folder / f"{codec}.ogg", "-c:a", codec, "-page_duration", "200000")
    data = whole.read_bytes()
    pages = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    path = tmp_path / "damaged.ogg"
    for first, second in zip(pages[3:], [*pages[4:], len(data)], strict=True):
        flipped = bytearray(data)
        flipped[(first + second) // 2] ^= 16
        path.write_bytes(flipped)
        assert read_source(path)[1].truncated == f"the page at byte {first} is damaged"
    path.write_bytes(data[: pages[5]] + data[pages[6] :])
    assert "is missing, page" in read_source(path)[1].truncated
    path.write_bytes(data[: pages[5]] + bytes(999) + data[pages[5] :])
    assert read_source(path)[1].truncated == f"999 bytes at byte {pages[5]} are not Ogg pages"


@needs_ffmpeg
def test_what_follows_a_whole_ogg_stream_is_no_damage(tmp_path, folder, long_clip):
    data = encode(long_clip, folder / "b.ogg", "-c:a", "libvorbis").read_bytes()
    path = tmp_path / "padded.ogg"
    for padding in (bytes(5_000), b"TAG".ljust(128)):
        path.write_bytes(data + padding)
        got, source = read_source(path)
        assert (source.truncated, got.shape[1]) == (None, N_FRAMES)


@needs_ffmpeg
def test_a_chain_cut_in_its_second_link_is_flagged(tmp_path, folder, long_clip):
    data = encode(long_clip, folder / "c.ogg", "-c:a", "libvorbis").read_bytes()
    second = encode(long_clip, folder / "d.ogg", "-c:a", "libvorbis", "-q:a", "2").read_bytes()
    path = tmp_path / "cut.ogg"
    path.write_bytes(data + second[: len(second) * 3 // 4])
    got, source = read_source(path)
    assert source.truncated is not None
    assert N_FRAMES < got.shape[1] < 2 * N_FRAMES
    path.write_bytes(data[:-1_000] + second)
    assert read_source(path)[1].truncated is not None


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.rf64", "a.w64", "a.au"])
@pytest.mark.parametrize(("subtype", "channels"), [("PCM_16", 2), ("PCM_24", 6), ("FLOAT", 1)])
def test_a_cut_uncompressed_file_is_flagged(tmp_path, name, subtype, channels):
    whole = write_wav(
        tmp_path / name,
        music(20_000, channels),
        subtype=subtype,
    )
    reference, source = read_source(whole)
    assert source.truncated is None
    for n_bytes in places(whole):
        got, source = read_source(cut(whole, tmp_path / "cut", n_bytes))
        assert source.truncated is not None, n_bytes
        assert "bytes of sound" in source.truncated
        np.testing.assert_array_equal(got, reference[:, : got.shape[1]])
        width = whole.stat().st_size / reference.shape[1]
        assert got.shape[1] >= (n_bytes - 4_200) / width


def test_a_wav_of_a_header_alone_is_refused(tmp_path):
    whole = write_wav(tmp_path / "a.wav", music(5_000))
    with pytest.raises(
        SourceError, match="nothing in it can be decoded: its header promises 20000"
    ):
        read_source(cut(whole, tmp_path / "cut.wav", 44))
    with pytest.raises(SourceError):
        read_source(cut(whole, tmp_path / "cut.wav", 30))


def test_chunks_around_the_sound_are_no_damage(tmp_path):
    path = write_wav(tmp_path / "a.wav", music(5_001, 1), subtype="PCM_U8")  # odd: one pad byte
    data = path.read_bytes()
    more = b"LIST" + (20).to_bytes(4, "little") + bytes(20)
    junk = b"JUNK" + (7).to_bytes(4, "little") + bytes(8)
    body = junk + data[12:] + more
    path.write_bytes(b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WAVE" + body)
    got, source = read_source(path)
    assert (source.truncated, got.shape[1]) == (None, 5_001)
    got, source = read_source(cut(path, tmp_path / "cut.wav", 3_000))
    assert "promises 5001 bytes" in source.truncated
    assert 2_900 < got.shape[1] < 3_000


def test_a_recording_whose_header_was_never_finished_is_read_to_its_end(tmp_path):
    path = write_wav(tmp_path / "a.wav", music(5_000))
    reference, _ = read_source(path)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = bytes(4)
    path.write_bytes(data)
    got, source = read_source(path)
    np.testing.assert_array_equal(got, reference)
    assert source.truncated.startswith("its header was never finished")


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.m4a", ["-c:a", "aac", "-movflags", "faststart"]),
        ("alac.m4a", ["-c:a", "alac", "-movflags", "faststart"]),
        ("a.aac", ["-c:a", "aac"]),
        ("a.wma", ["-c:a", "wmav2"]),
        ("a.wv", ["-c:a", "wavpack"]),
        ("a.tta", ["-c:a", "tta"]),
        ("a.mka", ["-c:a", "aac"]),
        ("a.caf", ["-c:a", "pcm_s16be"]),  # libsndfile reads it whole and refuses it cut
    ],
)
def test_a_cut_file_that_pyav_reads_is_flagged(
    tmp_path, folder, long_clip, *, name, options, capfd
):
    pytest.importorskip("av")
    whole = encode(long_clip, folder / f"av-{name}", *options)
    reference, source = read_source(whole)
    assert source.truncated is None
    for share in (0.5, 0.7, 0.9):
        path = cut(whole, tmp_path / name, int(share * whole.stat().st_size))
        got, source = read_source(path)
        assert source.truncated is not None
        assert 0 < got.shape[1] < reference.shape[1]
        np.testing.assert_array_equal(got, reference[:, : got.shape[1]])
    assert capfd.readouterr().err == ""


@needs_ffmpeg
def test_an_m4a_cut_before_its_index_is_refused(tmp_path, folder, long_clip):
    pytest.importorskip("av")
    whole = encode(long_clip, folder / "index-last.m4a", "-c:a", "aac")
    with pytest.raises(SourceError, match="not sound that"):
        open_source(cut(whole, tmp_path / "cut.m4a", whole.stat().st_size // 2))


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["wavpack", "tta"])
def test_a_damaged_lossless_file_that_pyav_reads_is_flagged(tmp_path, folder, long_clip, codec):
    pytest.importorskip("av")
    name = {"wavpack": "d.wv", "tta": "d.tta"}[codec]
    data = bytearray(encode(long_clip, folder / name, "-c:a", codec).read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / name
    path.write_bytes(data)
    got, source = read_source(path)
    assert source.truncated.startswith("decoding stops after ")
    assert 0 < got.shape[1] < N_FRAMES


@needs_ffmpeg
def test_an_unknown_codec_is_refused(tmp_path, folder, long_clip):
    pytest.importorskip("av")
    data = encode(long_clip, folder / "codec.wma", "-c:a", "wmav2").read_bytes()
    tag = bytes.fromhex("6101") + (2).to_bytes(2, "little") + RATE.to_bytes(4, "little")
    assert data.count(tag) == 1
    path = tmp_path / "a.wma"
    path.write_bytes(data.replace(tag, b"\x77\x77" + tag[2:]))
    with pytest.raises(SourceError, match="no decoder for its codec"):
        open_source(path)


@needs_ffmpeg
def test_mutated_files_never_crash_or_hang(tmp_path, folder, long_clip):
    """A few of each format here; thousands were run by hand."""
    names = ["m.flac", "m.mp3", "m.ogg", "m.opus", "m.aiff", "m.m4a", "m.wma", "m.wv", "m.caf"]
    rng = random.Random(1)
    for name in names:
        data = encode(long_clip, folder / name, "-t", "1").read_bytes()
        for _ in range(12):
            mutated = bytearray(data)
            reach = rng.choice([64, 1_024, len(data)])
            for _ in range(rng.choice([1, 4, 30])):
                mutated[rng.randrange(min(reach, len(data)))] = rng.randrange(256)
            path = tmp_path / name
            path.write_bytes(mutated)
            try:
                with open_source(path) as source:
                    n_frames = sum(block.shape[1] for block in source.blocks())
            except SourceError:
                continue
            assert n_frames == source.facts.n_frames
