"""Headers that promise less sound than there is, and records that leave nothing of it."""

import struct

import mutagen.mp4
import numpy as np
import pytest

from tests.formats.audio.audio_files import (
    cut,
    encode,
    ffmpeg,
    music,
    needs_ffmpeg,
    needs_flac,
    read_source,
    run_encoder,
    write_wav,
)

N_FRAMES = 30_000
PROMISED = 7_000


def patched(path, *changes):
    """Write ``changes``, (offset, bytes), into the file."""
    data = bytearray(path.read_bytes())
    for at, new in changes:
        data[at : at + len(new)] = new
    path.write_bytes(data)
    return path


def chunk_at(path, name, after=12):
    """Where a chunk begins in an IFF, W64 or CAF file."""
    return path.read_bytes().index(name, after)


def promise_of_wav(path, n_bytes):
    return [(chunk_at(path, b"data") + 4, struct.pack("<I", n_bytes))]


def promise_of_wrapped_wav(path, n_bytes):
    """The size of the whole is as small, as that of a file of over 4 GiB is."""
    return [*promise_of_wav(path, n_bytes), (4, struct.pack("<I", n_bytes + 36))]


def promise_of_rf64(path, n_bytes):
    at = chunk_at(path, b"ds64") + 8
    return [(at + 8, struct.pack("<Q", n_bytes)), (at + 16, struct.pack("<Q", PROMISED))]


def promise_of_aiff(path, n_bytes):
    comm, ssnd = chunk_at(path, b"COMM"), chunk_at(path, b"SSND")
    return [(comm + 10, struct.pack(">I", PROMISED)), (ssnd + 4, struct.pack(">I", n_bytes + 8))]


def promise_of_au(_path, n_bytes):
    return [(8, struct.pack(">I", n_bytes))]


def promise_of_w64(path, n_bytes):
    return [(chunk_at(path, b"data", 40) + 16, struct.pack("<Q", n_bytes + 24))]


def promise_of_caf(path, n_bytes):
    return [(chunk_at(path, b"data") + 4, struct.pack(">Q", n_bytes + 4))]


PCM = [
    ("a.wav", "PCM_16", promise_of_wav),
    ("a.wav", "PCM_24", promise_of_wrapped_wav),
    ("a.wav", "FLOAT", promise_of_wav),
    ("a.wav", "PCM_U8", promise_of_wav),
    ("a.rf64", "PCM_16", promise_of_rf64),
    ("a.aiff", "PCM_16", promise_of_aiff),
    ("a.aiff", "PCM_24", promise_of_aiff),
    ("a.au", "PCM_16", promise_of_au),
    ("a.w64", "PCM_16", promise_of_w64),
    ("a.w64", "PCM_24", promise_of_w64),
    ("a.caf", "PCM_16", promise_of_caf),
]


@pytest.mark.parametrize(("name", "subtype", "promise"), PCM)
@pytest.mark.parametrize("channels", [1, 2])
def test_all_sound_is_read_where_a_header_promises_less(tmp_path, name, subtype, promise, channels):
    path = write_wav(tmp_path / name, music(N_FRAMES, channels), subtype=subtype)
    whole, source = read_source(path)
    assert source.notes == ()
    width = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4, "PCM_U8": 1}[subtype] * channels
    n_bytes = width * PROMISED
    got, source = read_source(patched(path, *promise(path, n_bytes)))
    np.testing.assert_array_equal(got, whole)
    assert source.truncated is None
    (note,) = source.notes
    assert note.startswith("its header promises ")
    assert note.endswith(" are there; all are archived")


@pytest.mark.parametrize(("name", "subtype", "promise"), PCM)
def test_a_header_that_promises_one_frame_less_is_told_of(tmp_path, name, subtype, promise):
    path = write_wav(tmp_path / name, music(N_FRAMES), subtype=subtype)
    width = {"PCM_16": 4, "PCM_24": 6, "FLOAT": 8, "PCM_U8": 2}[subtype]
    patched(path, *promise(path, width * (N_FRAMES - 1)))
    got, source = read_source(path)
    assert (got.shape[1], len(source.notes)) == (N_FRAMES, 1)


@pytest.mark.parametrize("tail", [b"TAG".ljust(128, b"x"), bytes(3_000), b"ID3\3" + bytes(600)])
@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.w64", "a.au"])
def test_what_follows_the_sound_and_is_none_is_not_read(tmp_path, name, tail):
    path = write_wav(tmp_path / name, music(N_FRAMES))
    path.write_bytes(path.read_bytes() + tail)
    got, source = read_source(path)
    assert (got.shape[1], source.truncated, source.notes) == (N_FRAMES, None, ())


@pytest.mark.parametrize("odd", [False, True])
def test_chunks_after_an_odd_number_of_bytes_are_no_sound(tmp_path, odd):
    """The byte that makes the size even is missing, or is there."""
    path = write_wav(tmp_path / "a.wav", music(5_001, 1), subtype="PCM_24")
    data = path.read_bytes()[: 44 + 3 * 5_001]
    info = b"LIST" + struct.pack("<I", 16) + b"INFOINAM" + struct.pack("<I", 4) + b"name"
    path.write_bytes(data + (b"" if odd else b"\0") + info)
    got, source = read_source(path)
    assert (got.shape[1], source.truncated, source.notes) == (5_001, None, ())


@pytest.mark.parametrize("promised", [PROMISED, N_FRAMES])
def test_a_bw64_is_read_as_an_rf64(tmp_path, promised):
    path = write_wav(tmp_path / "a.rf64", music(N_FRAMES))
    whole, _ = read_source(path)
    got, source = read_source(patched(path, (0, b"BW64"), *promise_of_rf64(path, 4 * promised)))
    np.testing.assert_array_equal(got, whole)
    assert len(source.notes) == (promised != N_FRAMES)


def flac_promise(path, n_samples):
    """The total of a FLAC's STREAMINFO, in its last 36 bits before the MD5."""
    first = path.read_bytes()[21] & 0xF0 | n_samples >> 32
    return [(21, bytes([first]) + struct.pack(">I", n_samples & 0xFFFF_FFFF))]


@needs_ffmpeg
@pytest.mark.parametrize("promised", [1, PROMISED, N_FRAMES - 1])
def test_all_of_a_flac_is_read_where_its_header_promises_less(tmp_path, promised):
    wav = write_wav(tmp_path / "a.wav", music(N_FRAMES))
    path = encode(wav, tmp_path / "a.flac")
    patched(path, *flac_promise(path, promised))
    got, source = read_source(path)
    np.testing.assert_array_equal(got, read_source(wav)[0])
    assert source.checksums == "right"
    assert source.notes == (
        f"its header declares {promised} frames, {N_FRAMES} are there; all are archived",
    )


@needs_flac
@pytest.mark.parametrize("options", [["-0", "-b", "192"], ["-8"], ["--no-md5-sum", "--no-padding"]])
def test_frames_of_any_length_are_counted(tmp_path, options):
    wav = write_wav(tmp_path / "a.wav", music(N_FRAMES))
    path = run_encoder("flac", "--silent", *options, wav, "-o", tmp_path / "a.flac", target=-1)
    patched(path, *flac_promise(path, PROMISED))
    got, source = read_source(path)
    np.testing.assert_array_equal(got, read_source(wav)[0])
    assert source.checksums == (None if "--no-md5-sum" in options else "right")


@needs_flac
def test_joined_flacs_are_read_to_their_end(tmp_path):
    first, second = (
        run_encoder(
            "flac", "--silent", write_wav(tmp_path / f"{n}.wav", music(N_FRAMES, seed=n)), "-o",
            tmp_path / f"{n}.flac", target=-1,
        )
        for n in (1, 2)
    )  # fmt: skip
    joined = tmp_path / "joined.flac"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    got, source = read_source(joined)
    parts = [read_source(path)[0] for path in (first, second)]
    np.testing.assert_array_equal(got, np.concatenate(parts, axis=1))
    assert source.notes == (
        f"its header declares {N_FRAMES} frames, {2 * N_FRAMES} are there; all are archived",
    )


def with_record(path, length, priming=1_024, padding=0):
    tags = mutagen.mp4.MP4(path)
    value = f" 00000000 {priming:08X} {padding:08X} {length:016X} 00000000 00000000"
    tags["----:com.apple.iTunes:iTunSMPB"] = [mutagen.mp4.MP4FreeForm(value.encode())]
    tags.save()
    return path


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["aac", "alac"])
@pytest.mark.parametrize("n_frames", [900, 3_000, N_FRAMES])
@pytest.mark.parametrize("record", [{"length": 0}, {"length": 0, "priming": 900_000}])
def test_a_gapless_record_that_leaves_nothing_is_not_believed(tmp_path, codec, n_frames, record):
    pytest.importorskip("av")
    wav = write_wav(tmp_path / "a.wav", music(n_frames))
    path = encode(wav, tmp_path / "a.m4a", "-c:a", codec, "-use_editlist", "0")
    got, source = read_source(with_record(path, **record))
    assert n_frames <= got.shape[1] <= n_frames + 3 * 1_024
    assert source.truncated is None


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["aac", "alac"])
def test_what_an_edit_list_leaves_out_is_named_and_not_all_of_the_sound(tmp_path, codec):
    pytest.importorskip("av")
    wav = write_wav(tmp_path / "a.wav", music(88_200))
    path = encode(wav, tmp_path / "a.m4a", "-c:a", codec)
    assert read_source(path)[1].notes == ()
    at = chunk_at(path, b"elst") + 12  # a duration in milliseconds, and where it begins
    got, source = read_source(patched(path, (at, struct.pack(">I", 500))))
    assert got.shape[1] == 22_050
    assert source.notes[0].startswith("its edit list leaves out 1.")
    got, source = read_source(patched(path, (at, struct.pack(">I", 0))))
    assert 88_200 <= got.shape[1] <= 88_200 + 2_048
    assert source.notes == ()


@needs_ffmpeg
@pytest.mark.parametrize("n_frames", [300, 3_000])
def test_an_mp3_whose_delay_and_padding_leave_nothing_is_read(tmp_path, n_frames):
    wav = write_wav(tmp_path / "a.wav", music(n_frames))
    path = encode(wav, tmp_path / "a.mp3", "-id3v2_version", "0")
    assert read_source(path)[0].shape[1] == n_frames
    at = path.read_bytes().index(b"Lavc") + 21
    patched(path, (at, b"\xff\xff\xff"))
    got, source = read_source(path)
    assert got.shape[1] >= n_frames
    assert source.truncated is None


@needs_ffmpeg
def test_a_wav_from_a_pipe_with_tags_behind_is_whole(tmp_path):
    """Its size is unknown, so what follows is not known to be none: only whole chunks may."""
    wav = write_wav(tmp_path / "a.wav", music(N_FRAMES))
    done = ffmpeg("-i", wav, "-f", "wav", "-c:a", "pcm_s16le", "-")
    path = tmp_path / "piped.wav"
    path.write_bytes(done.stdout)
    got, source = read_source(path)
    assert (got.shape[1], source.truncated, source.notes) == (N_FRAMES, None, ())


def test_a_cut_file_is_not_taken_for_one_that_holds_more(tmp_path):
    path = write_wav(tmp_path / "a.wav", music(N_FRAMES))
    _, source = read_source(cut(path, tmp_path / "b.wav", 50_000))
    assert source.notes == ()
    assert "promises 120000 bytes of sound, 49956 are there" in source.truncated
