from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earzip import read_info
from earzip.errors import SourceError, UsageError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.audio.source import open_source
from earzip.models.pool import CodecPool
from earzip.options import CompressOptions, RestoreOptions
from earzip.runtime import Runtime
from earzip.transcode.compress import compress_file
from earzip.transcode.latents import extract_latents
from earzip.transcode.restore import restore_file
from tests.conftest import tones
from tests.earzip.tiny_archives import TINY, change_behind_its_time

pytestmark = pytest.mark.usefixtures("tiny_model")


def test_an_archive_records_its_source_and_model(song: Path, tmp_path: Path) -> None:
    os.utime(song, ns=(1_600_000_000_123_456_789,) * 2)
    result = compress_file(song, tmp_path / "out" / "song.flac.earz", TINY)
    assert result.status == "written"
    assert result.target.stat().st_mtime_ns == 1_600_000_000_123_456_789
    info = read_info(result.target)
    header = info.header
    assert header.n_samples == header.source.n_frames == 70_001
    assert (header.source.name, header.source.container) == ("song.flac", "FLAC")
    assert (header.source.bit_depth, header.source.truncated) == (24, None)
    assert header.model.name == "tiny"
    assert header.encoder.device == "cpu"
    assert info.kbps == result.kbps > 0


def test_a_second_run_leaves_the_archive_alone(song: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.earz"
    first = compress_file(song, target, TINY)
    state = target.stat().st_ino, target.stat().st_mtime_ns
    second = compress_file(song, target, TINY)
    assert second.status == "up_to_date"
    assert (second.archive_bytes, second.duration_s) == (first.archive_bytes, first.duration_s)
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == state


@pytest.mark.parametrize("name", ["restored.flac", "restored.wav"])
def test_what_earzip_restored_is_warned_of(song: Path, tmp_path: Path, name: str) -> None:
    archive = compress_file(song, tmp_path / "song.earz", TINY)
    assert archive.warnings == ()
    restored = restore_file(archive.target, tmp_path / name).target
    again = compress_file(restored, tmp_path / "again.earz", TINY)
    assert again.warnings == ("was restored by earzip: archiving it again loses more",)


def test_a_source_that_grows_while_it_is_read_is_refused(song: Path, tmp_path: Path) -> None:
    def grow(_seconds: float) -> None:
        with song.open("ab") as file:
            file.write(b"\0")

    with pytest.raises(SourceError, match="changed while earzip read it"):
        compress_file(song, tmp_path / "a.earz", TINY, on_progress=grow)
    assert not (tmp_path / "a.earz").exists()


def test_a_source_that_changes_behind_its_time_at_the_last_block_is_refused(
    song: Path, tmp_path: Path
) -> None:
    """Its bytes in the middle, with its size and time of modification as before."""
    with open_source(song) as reader:
        n_samples = sum(block.shape[1] for block in reader.blocks())
    done_s = 0.0

    def change_at_the_end(seconds: float) -> None:
        nonlocal done_s
        done_s += seconds
        if done_s * 44_100 > n_samples - 1:
            change_behind_its_time(song)

    with pytest.raises(SourceError, match="changed while earzip read it"):
        compress_file(song, tmp_path / "a.earz", TINY, on_progress=change_at_the_end)
    assert list(tmp_path.iterdir()) == [song]


def test_a_source_that_another_file_takes_the_place_of_is_refused(
    song: Path, tmp_path: Path
) -> None:
    def replace(_seconds: float) -> None:
        other = tmp_path / "other"
        shutil.copy2(song, other)
        other.replace(song)

    with pytest.raises(SourceError, match="changed while earzip read it"):
        compress_file(song, tmp_path / "a.earz", TINY, on_progress=replace)
    assert list(tmp_path.iterdir()) == [song]


def test_an_archive_and_what_is_restored_are_as_private_as_the_source(
    song: Path, tmp_path: Path
) -> None:
    before = os.umask(0o022)
    try:
        for mode, expected in ((0o600, 0o600), (0o640, 0o640), (0o444, 0o644), (0o666, 0o644)):
            song.chmod(mode)
            archive = compress_file(song, tmp_path / f"{mode:o}.earz", TINY).target
            restored = restore_file(archive, tmp_path / f"{mode:o}.flac").target
            latents = extract_latents(archive, tmp_path / f"{mode:o}.safetensors").target
            for path in (archive, restored, latents):
                assert stat.S_IMODE(path.stat().st_mode) == expected, path
    finally:
        os.umask(before)


def test_a_time_that_no_archive_can_hold_is_told_and_left_out(song: Path, tmp_path: Path) -> None:
    after_2262 = 2**63 + 10**9
    os.utime(song, ns=(after_2262, after_2262))
    if song.stat().st_mtime_ns != after_2262:
        pytest.skip("the file system has no such times either")
    result = compress_file(song, tmp_path / "a.earz", TINY)
    assert result.warnings == (
        "its time of modification lies after the year 2262 or before 1678 and was not archived",
    )
    with ArchiveReader(result.target) as reader:
        assert reader.header.source.mtime_ns is None
    assert compress_file(song, result.target, TINY).status == "up_to_date"


def test_an_archive_that_another_run_has_made_meanwhile_is_up_to_date(
    song: Path, tmp_path: Path
) -> None:
    """One whose locks this one does not see, as on another machine."""
    target = tmp_path / "a.earz"
    made = []

    def make(_seconds: float) -> None:
        if not made:
            made.append(1)
            compress_file(song, target, TINY)

    assert compress_file(song, target, TINY, on_progress=make).status == "up_to_date"
    restored = tmp_path / "a.flac"
    made.clear()

    def restore(_seconds: float) -> None:
        if not made:
            made.append(1)
            restore_file(target, restored)

    assert restore_file(target, restored, on_progress=restore).status == "up_to_date"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.earz", "a.flac", "song.flac"]


@pytest.mark.parametrize(("content", "message"), [(b"", "empty"), (b"hello\n" * 99, "not sound")])
def test_what_is_not_audio_is_refused_and_leaves_nothing(
    tmp_path: Path, content: bytes, message: str
) -> None:
    source = tmp_path / "text.flac"
    source.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        compress_file(source, tmp_path / "out" / "a.earz", TINY)
    assert str(caught.value).startswith(f"{source}: ")
    assert not (tmp_path / "out").exists()


def test_quiet_and_loud_tracks_cost_the_same(tmp_path: Path) -> None:
    sizes = []
    for gain in (0.01, 0.1, 1.0):
        source = tmp_path / f"{gain}.wav"
        soundfile.write(source, gain * tones(60_000).T, 44_100, subtype="FLOAT")
        sizes.append(compress_file(source, tmp_path / f"{gain}.earz", TINY).archive_bytes)
    assert max(sizes) < 1.02 * min(sizes)


@pytest.mark.parametrize("quality", ["low", "medium", "high"])
def test_floats_scaled_like_integers_come_back_at_their_level(tmp_path: Path, quality: str) -> None:
    source, archive, target = (tmp_path / name for name in ("a.wav", "a.earz", "b.wav"))
    audio = tones(1_200_000)  # a whole segment of `mini`, and some of the next
    audio *= 8e6 / np.abs(audio).max()
    soundfile.write(source, audio.T, 44_100, subtype="FLOAT")
    compress_file(source, archive, CompressOptions(quality=quality))
    restore_file(archive, target, RestoreOptions(container="wav", bits="float"))
    restored = soundfile.read(target, dtype="float32")[0].T
    ratio = np.linalg.norm(restored) / np.linalg.norm(audio)
    assert 20 * np.log10(ratio) == pytest.approx(0, abs=1.5)


@pytest.mark.parametrize("quality", ["low", "medium", "high"])
def test_a_sound_at_the_end_of_next_to_nothing_comes_back(tmp_path: Path, quality: str) -> None:
    source, archive, target = (tmp_path / name for name in ("a.wav", "a.earz", "b.wav"))
    t_s = np.arange(15_000) / 44_100
    pluck = 0.9 * np.sin(2 * np.pi * 440 * t_s) * np.exp(-t_s / 0.2)
    dither = np.random.default_rng(0).normal(0, 1e-5, 17_640)
    audio = np.tile(np.concatenate([dither, pluck]), (2, 1))
    soundfile.write(source, audio.T, 44_100, subtype="PCM_16")
    compress_file(source, archive, CompressOptions(quality=quality))
    restore_file(archive, target, RestoreOptions(container="wav"))
    error = soundfile.read(target)[0].T - audio
    assert 20 * np.log10(np.linalg.norm(audio) / np.linalg.norm(error)) > 8


@pytest.mark.parametrize(
    ("model", "level", "message"),
    [
        ("mini", 1e8, r"a segment has \d+ bytes, the limit is 3366912"),
        ("mini", 1e13, r"its latents pass ±32767 steps, the limit of an archive"),
        ("mini-2", 1e13, r"its latents pass ±32767 steps, the limit of an archive"),
    ],
)
def test_what_an_archive_cannot_hold_is_refused(
    tmp_path: Path, model: str, level: float, message: str
) -> None:
    source = tmp_path / "a.wav"
    noise = np.random.default_rng(0).normal(0, level, (1_200_000, 2))
    soundfile.write(source, noise, 44_100, subtype="FLOAT")
    with pytest.raises(SourceError, match=f"a.wav: its samples are too large, .*: {message}"):
        compress_file(source, tmp_path / "a.earz", CompressOptions(model, quality="high"))
    assert not (tmp_path / "a.earz").exists()


def test_progress_adds_up_to_the_track(song: Path, tmp_path: Path) -> None:
    seconds: list[float] = []
    result = compress_file(song, tmp_path / "a.earz", TINY, on_progress=seconds.append)
    assert sum(seconds) == pytest.approx(result.duration_s)


def test_unknown_quality_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="low, medium, high"):
        CompressOptions(quality="best")


def test_same_bytes_from_any_process_threads_and_batch(song: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from earzip import *\n"
        "from earzip.runtime import Runtime\n"
        "runtime = Runtime('cpu', threads=int(sys.argv[3]), batch_size=int(sys.argv[4]))\n"
        "with CodecPool(runtime) as pool:\n"
        "    compress_file(Path(sys.argv[1]), Path(sys.argv[2]), CompressOptions('tiny'), codecs=pool)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, song, tmp_path / f"{i}.earz", threads, batch])
        for i, (threads, batch) in enumerate([("1", "1"), ("2", "1"), ("2", "8")])
    ]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    with CodecPool(Runtime("cpu", threads=3)) as pool:
        compress_file(song, tmp_path / "3.earz", TINY, codecs=pool)
    contents = {(tmp_path / f"{i}.earz").read_bytes() for i in range(4)}
    assert len(contents) == 1


@pytest.mark.smoke
def test_an_album_cut_into_tracks_joins_without_a_click(tmp_path: Path) -> None:
    """Where tracks join, the error jumps no more than it does elsewhere, or in an uncut encode."""
    album = tones(150_000)
    cuts = [50_003, 99_777]
    wav = RestoreOptions(container="wav", bits="float")

    def coded(name: str, audio: np.ndarray) -> np.ndarray:
        source, archive, target = (
            tmp_path / f"{name}{end}" for end in (".wav", ".earz", ".out.wav")
        )
        soundfile.write(source, audio.T, 44_100, subtype="FLOAT")
        compress_file(source, archive)
        restore_file(archive, target, wav)
        return soundfile.read(target, dtype="float32")[0].T

    joined = np.concatenate([coded(str(i), a) for i, a in enumerate(np.split(album, cuts, 1))], 1)
    assert joined.shape == album.shape
    jump = np.abs(np.diff(joined - album)).max(0)
    uncut_jump = np.abs(np.diff(coded("uncut", album) - album)).max(0)
    assert max(jump[cut - 1] for cut in cuts) < 1e-4  # the median elsewhere is thirty times that
    limit = max(np.percentile(jump, 99.9), uncut_jump.max())
    assert max(jump[cut - 33 : cut + 32].max() for cut in cuts) <= limit


def _symbols(archive: Path) -> list[bytes]:
    with ArchiveReader(archive) as reader:
        return [reader.segment(i) for i in range(reader.n_segments)]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_precision_is_recorded_and_leaves_archives_up_to_date(
    song: Path, tmp_path: Path, precision: str
) -> None:
    target, other = tmp_path / "a.earz", tmp_path / "b.earz"
    compress_file(song, target, TINY)
    with CodecPool(Runtime("cpu", precision=precision)) as pool:
        assert compress_file(song, target, TINY, codecs=pool).status == "up_to_date"
        compress_file(song, other, TINY, codecs=pool)
    assert read_info(target).header.encoder.dtype == "float32"
    assert read_info(other).header.encoder.dtype == precision
    assert _symbols(other) != _symbols(target)
    assert compress_file(song, other, TINY).status == "up_to_date"


def test_what_overflows_in_float16_is_no_archive(
    wide_model: str, song: Path, tmp_path: Path
) -> None:
    target, options = tmp_path / "a.earz", CompressOptions(model=wide_model)
    message = "overflows in float16; --precision float32 or bfloat16 has a greater range"
    with (
        CodecPool(Runtime("cpu", precision="float16")) as pool,
        pytest.raises(SourceError, match=message),
    ):
        compress_file(song, target, options, codecs=pool)
    assert not target.exists()
    with CodecPool(Runtime("cpu", precision="bfloat16")) as pool:
        assert compress_file(song, target, options, codecs=pool).status == "written"
