from __future__ import annotations

import re
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file

from earzip import read_info
from earzip.errors import (
    ArchiveError,
    DamagedArchiveError,
    ModelNotFoundError,
    TargetError,
    UsageError,
)
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.verify import verify_structure
from earzip.formats.archive.writer import ArchiveWriter
from earzip.models.pool import CodecPool
from earzip.options import CompressOptions, RestoreOptions
from earzip.runtime import Runtime
from earzip.transcode.compress import compress_file
from earzip.transcode.decode_check import decode_check
from earzip.transcode.latents import extract_latents
from earzip.transcode.restore import restore_file
from tests.conftest import tones
from tests.earzip.tiny_archives import TINY, damage_segment, snr_db, sound

pytestmark = pytest.mark.usefixtures("tiny_model")


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("options", "subtype"),
    [
        (RestoreOptions(), "PCM_24"),
        (RestoreOptions(bits=16), "PCM_16"),
        (RestoreOptions(container="wav"), "PCM_24"),
        (RestoreOptions(container="wav", bits="float"), "FLOAT"),
    ],
)
def test_sound_comes_back(
    archive: Path, tmp_path: Path, options: RestoreOptions, subtype: str
) -> None:
    target = tmp_path / f"out.{options.container}"
    result = restore_file(archive, target, options)
    info = soundfile.info(target)
    assert (info.frames, info.samplerate, info.channels, info.subtype) == (
        70_001,
        44_100,
        2,
        subtype,
    )
    assert (result.n_samples, result.n_overs) == (70_001, 0)
    assert snr_db(sound(target), tones(70_001)) > 15


def test_level_is_never_changed(tmp_path: Path) -> None:
    for gain in (0.001, 1.0, 5.0):
        source = tmp_path / f"{gain}.wav"
        audio = gain * tones(50_000)
        soundfile.write(source, audio.T, 44_100, subtype="FLOAT")
        archive = compress_file(source, tmp_path / f"{gain}.earz", TINY).target
        target = tmp_path / f"{gain}.out.wav"
        restore_file(archive, target, RestoreOptions(container="wav", bits="float"))
        assert snr_db(sound(target), audio) > 15


def test_overs_saturate_in_integers_and_are_counted(tmp_path: Path) -> None:
    source = tmp_path / "loud.wav"
    soundfile.write(source, 8 * tones(50_000).T, 44_100, subtype="FLOAT")
    archive = compress_file(source, tmp_path / "loud.earz", TINY).target
    result = restore_file(archive, tmp_path / "loud.flac")
    assert result.n_overs > 100
    got = sound(tmp_path / "loud.flac")
    peak = np.argmax(np.abs(8 * tones(50_000)[0]))
    assert abs(got[0, peak]) > 0.99
    assert np.sign(got[0, peak]) == np.sign(tones(50_000)[0, peak])


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (0.3, 1.2), (1.0, None), (1.5, 99.0)])
def test_a_range_equals_the_same_range_of_the_whole(
    archive: Path, tmp_path: Path, start: float, end: float | None
) -> None:
    wav = {"container": "wav", "bits": "float"}
    restore_file(archive, tmp_path / "whole.wav", RestoreOptions(**wav))  # type: ignore[arg-type]
    options = RestoreOptions(**wav, start_s=start, end_s=end)  # type: ignore[arg-type]
    restore_file(archive, tmp_path / "part.wav", options)
    last = 70_001 if end is None else min(70_001, round(end * 44_100))
    whole = sound(tmp_path / "whole.wav")[:, round(start * 44_100) : last]
    np.testing.assert_array_equal(sound(tmp_path / "part.wav"), whole)


def test_a_range_beyond_the_end_is_a_usage_error(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is 1\.587 s long"):
        restore_file(archive, tmp_path / "part.wav", RestoreOptions(start_s=9))
    with pytest.raises(UsageError, match="not a range"):
        RestoreOptions(start_s=2, end_s=1)


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 1), (96_000, 2), (8_000, 1), (22_050, 2)])
def test_as_source_gives_rate_length_and_mono(tmp_path: Path, rate: int, channels: int) -> None:
    t = np.arange(40_001) / rate
    audio = np.tile(0.2 * np.sin(2 * np.pi * 500 * t), (channels, 1)).astype(np.float32)
    source = tmp_path / "s.wav"
    soundfile.write(source, audio.T, rate, subtype="FLOAT")
    archive = compress_file(source, tmp_path / "s.earz", TINY).target
    restore_file(archive, tmp_path / "s.flac", RestoreOptions(as_source=True))
    info = soundfile.info(tmp_path / "s.flac")
    assert (info.frames, info.samplerate, info.channels) == (40_001, rate, channels)
    assert snr_db(sound(tmp_path / "s.flac")[:, 2000:-2000], audio[:, 2000:-2000]) > 15


def test_the_name_of_the_target_says_what_is_written(archive: Path, tmp_path: Path) -> None:
    for name, kind in (("a.wav", "WAV"), ("b.WAV", "WAV"), ("c.flac", "FLAC"), ("d", "FLAC")):
        restore_file(archive, tmp_path / name)
        assert soundfile.info(tmp_path / name).format == kind
    restore_file(archive, tmp_path / "e.wav", RestoreOptions(bits="float"))
    assert soundfile.info(tmp_path / "e.wav").subtype == "FLOAT"
    with pytest.raises(UsageError, match="FLAC holds integers"):
        restore_file(archive, tmp_path / "f.flac", RestoreOptions(bits="float"))


def test_damage_stays_in_its_segment(archive: Path, tmp_path: Path) -> None:
    wav = RestoreOptions(container="wav", bits="float", keep_going=True)
    restore_file(archive, tmp_path / "whole.wav", wav)
    damage_segment(archive, 2)
    name = read_info(archive).header.segment_name(2)
    message = f"{name}: bytes have changed; --keep-going restores the rest, with silence there"
    with pytest.raises(DamagedArchiveError, match=re.escape(message)):
        restore_file(archive, tmp_path / "broken.wav")
    assert not (tmp_path / "broken.wav").exists()
    assert decode_check(archive) == [f"{name}: bytes have changed"]
    result = restore_file(archive, tmp_path / "saved.wav", wav)
    assert (result.lost_segments, result.silences) == ((2,), (name,))
    whole, saved = sound(tmp_path / "whole.wav"), sound(tmp_path / "saved.wav")
    assert saved.shape == whole.shape
    span, lead, reach = 64 * 256, 128, 8 * 256
    start, end = 2 * span - lead, 3 * span - lead
    assert not saved[:, start:end].any()
    np.testing.assert_array_equal(saved[:, : start - reach], whole[:, : start - reach])
    np.testing.assert_array_equal(saved[:, end + reach :], whole[:, end + reach :])


def test_bytes_behind_an_archive_are_told_when_going_on(archive: Path, tmp_path: Path) -> None:
    n_bytes = archive.stat().st_size
    archive.write_bytes(archive.read_bytes() + b"more")
    with pytest.raises(DamagedArchiveError, match=r"was added to: .*; --keep-going restores"):
        restore_file(archive, tmp_path / "o.flac")
    result = restore_file(archive, tmp_path / "o.flac", RestoreOptions(keep_going=True))
    assert result.wrong_length == f"was added to: has {n_bytes + 4} bytes, should have {n_bytes}"
    assert result.is_incomplete
    assert not result.lost_segments


@pytest.mark.parametrize(("field", "value"), [("container", "ogg"), ("bits", 20)])
def test_formats_that_cannot_be_written_are_usage_errors(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{field} is {value!r}, expected"):
        RestoreOptions(**{field: value})  # type: ignore[arg-type]


def test_a_rate_that_flac_cannot_hold_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.wav", tones(9_000).T, 100_001)
    archive = compress_file(tmp_path / "s.wav", tmp_path / "s.earz", TINY).target
    with pytest.raises(UsageError, match="100001 Hz; --format wav can"):
        restore_file(archive, tmp_path / "o.flac", RestoreOptions(as_source=True))
    restore_file(archive, tmp_path / "o.wav", RestoreOptions("wav", as_source=True))
    assert soundfile.info(tmp_path / "o.wav").samplerate == 100_001


def test_numbers_that_are_no_sound_are_damage(archive: Path, tmp_path: Path) -> None:
    crafted = tmp_path / "crafted.earz"
    with ArchiveReader(archive) as reader, ArchiveWriter(crafted) as writer:
        header = reader.header
        steps = replace(header.quantizer, step_exponents=(1024,) * header.model.n_latents)
        for i in range(reader.n_segments):
            writer.add_segment(reader.segment(i))
        writer.write(replace(header, quantizer=steps, gain_centibels=-1200))
        writer.commit()
    wav = RestoreOptions(container="wav", bits="float")
    with pytest.raises(DamagedArchiveError, match="decodes to infinite"):
        restore_file(crafted, tmp_path / "o.wav", wav)
    result = restore_file(crafted, tmp_path / "o.wav", replace(wav, keep_going=True))
    assert result.lost_segments
    assert np.isfinite(sound(tmp_path / "o.wav")).all()
    assert "decodes to infinite" in decode_check(crafted)[0]


@pytest.mark.parametrize("time", [float("nan"), float("inf"), 1e300, -1.0])
def test_times_that_are_none_are_usage_errors(time: float) -> None:
    for options in ({"start_s": time}, {"end_s": time}):
        with pytest.raises(UsageError, match="not a range"):
            RestoreOptions(**options)  # type: ignore[arg-type]


def test_paths_may_be_text_and_a_bad_folder_is_a_target_error(
    archive: Path, tmp_path: Path
) -> None:
    assert restore_file(str(archive), str(tmp_path / "o.flac")).target == tmp_path / "o.flac"
    with pytest.raises(TargetError, match="its directory cannot be created"):
        restore_file(archive, archive / "below" / "o.flac")


def test_damage_beside_a_range_is_told_from_damage_in_it(archive: Path, tmp_path: Path) -> None:
    damage_segment(archive, 2)
    options = RestoreOptions(end_s=0.5)  # in segments 0 and 1
    with pytest.raises(
        DamagedArchiveError, match=r"0:00\.74–0:01\.11: .*needed as context for the range beside it"
    ):
        restore_file(archive, tmp_path / "o.flac", options)
    result = restore_file(archive, tmp_path / "o.flac", replace(options, keep_going=True))
    assert (result.lost_segments, result.is_incomplete) == ((), False)
    assert [w for w in result.warnings if "0:00.74–0:01.11 beside the range" in w]
    again = restore_file(archive, tmp_path / "o.flac", replace(options, keep_going=True))
    assert again.status == "written"  # what is not whole is never up to date


def test_a_full_disk_names_the_target(archive: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(TargetError) as caught:
            restore_file(archive, tmp_path / "o.wav", RestoreOptions(container="wav"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.path == str(tmp_path / "o.wav")
    assert not list(tmp_path.glob(".o.wav*"))


def test_a_missing_model_is_named(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EARZIP_MODELS")
    with pytest.raises(
        ModelNotFoundError, match=r"needs model 'tiny' with SHA-256 [0-9a-f]{64}"
    ) as caught:
        restore_file(archive, tmp_path / "o.flac")
    assert caught.value.path == str(archive)


def test_latents_are_what_the_decoder_gets(archive: Path, tmp_path: Path) -> None:
    result = extract_latents(archive, tmp_path / "l.safetensors")
    latents = load_file(tmp_path / "l.safetensors")["latents"]
    assert latents.shape == (result.n_latents, result.n_frames) == (52, 275)
    assert latents.dtype == np.float32
    assert np.abs(latents).max() > 0.5
    np.testing.assert_array_equal(latents, np.round(latents * 4) / 4)
    assert extract_latents(archive, tmp_path / "l.safetensors").status == "up_to_date"
    (tmp_path / "l.safetensors").write_bytes(b"mine")
    with pytest.raises(TargetError, match="exists"):
        extract_latents(archive, tmp_path / "l.safetensors")


@pytest.mark.parametrize("n_samples", [0, 1, 2, 1000])
def test_any_length_comes_back(tmp_path: Path, n_samples: int) -> None:
    source = tmp_path / "s.wav"
    soundfile.write(source, tones(n_samples).T, 44_100)
    archive = compress_file(source, tmp_path / "s.earz", TINY).target
    restore_file(archive, tmp_path / "o.wav", RestoreOptions(container="wav"))
    assert soundfile.info(tmp_path / "o.wav").frames == n_samples
    assert decode_check(archive) == []


def test_coefficients_of_a_transform_are_coded_by_context(song: Path, tmp_path: Path) -> None:
    options = CompressOptions(model="tiny-transform")
    archive = compress_file(song, tmp_path / "song.earz", options).target
    with ArchiveReader(archive) as reader:
        assert reader.header.symbols == "context-1"
    assert verify_structure(archive) == []
    assert decode_check(archive) == []
    restore_file(archive, tmp_path / "o.wav", RestoreOptions(container="wav"))
    assert snr_db(sound(tmp_path / "o.wav"), sound(song)) > 15
    damage_segment(archive, 1)
    assert [damage.segment for damage in verify_structure(archive)] == [1]


def test_sound_of_another_precision_is_near_and_up_to_date(archive: Path, tmp_path: Path) -> None:
    exact, near = tmp_path / "exact.wav", tmp_path / "near.wav"
    restore_file(archive, exact)
    with CodecPool(Runtime("cpu", precision="bfloat16")) as pool:
        assert restore_file(archive, exact, codecs=pool).status == "up_to_date"
        restore_file(archive, near, codecs=pool)
        assert decode_check(archive, codecs=pool) == []
    assert 40 < snr_db(sound(near), sound(exact)) < 90  # 24 bit alone: some 120


@pytest.mark.parametrize("keep_going", [False, True])
def test_what_overflows_in_float16_is_an_error_and_no_damage(
    wide_model: str, song: Path, tmp_path: Path, keep_going: bool
) -> None:
    archive, target = tmp_path / "a.earz", tmp_path / "o.flac"
    compress_file(song, archive, CompressOptions(model=wide_model))
    options = RestoreOptions(keep_going=keep_going)
    with CodecPool(Runtime("cpu", precision="float16")) as pool:
        for run in (
            lambda: restore_file(archive, target, options, codecs=pool),
            lambda: decode_check(archive, codecs=pool),
        ):
            with pytest.raises(ArchiveError, match="overflows in float16; --precision") as caught:
                run()
            assert caught.value.exit_code == 3
    assert not target.exists()
    assert restore_file(archive, target, options).status == "written"
