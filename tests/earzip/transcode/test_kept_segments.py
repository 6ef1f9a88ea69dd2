"""Archives of sources whose tags alone have changed, and of sources that were moved."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import mutagen.flac
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earzip.errors import TargetError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.verify import verify_structure
from earzip.formats.archive.writer import ArchiveWriter
from earzip.options import CompressOptions
from earzip.transcode.archive_settings import ArchiveSettings
from earzip.transcode.compress import compress_file
from earzip.transcode.inspect import read_info
from earzip.transcode.kept_segments import is_same_sound
from earzip.transcode.restore import restore_file
from earzip.transcode.segments import SegmentEncoder
from earzip.transcode.state import standing_of
from earzip.transcode.up_to_date import compressed_already
from tests.earzip.tiny_archives import TINY, damage_segment, exact
from tests.formats.audio.audio_files import music, write_wav

pytestmark = pytest.mark.usefixtures("tiny_model")

PICTURE = b"\x89PNG\r\n\x1a\n another"
REFUSED = "made from an earlier version of this source; to replace it: earzip compress --force"


@pytest.fixture
def no_encoding(monkeypatch: pytest.MonkeyPatch, archive: Path) -> None:
    """Let nothing be encoded once ``archive`` is there."""

    def encode(*_: object) -> None:
        pytest.fail("the sound was encoded")

    monkeypatch.setattr(SegmentEncoder, "encode", encode)


def retag(song: Path, **tags: str) -> None:
    """Set ``tags`` of a FLAC, and give it a picture."""
    file = mutagen.flac.FLAC(song)
    file.update(tags)
    picture = mutagen.flac.Picture()
    picture.type, picture.mime, picture.data = 3, "image/png", PICTURE
    file.add_picture(picture)
    file.save()


def segments_of(archive: Path) -> list[bytes]:
    with ArchiveReader(archive) as reader:
        return [reader.stored_segment(i)[0] for i in range(reader.n_segments)]


def without_digest(archive: Path) -> None:
    """Make an archive as earzip wrote it before format 1.4."""
    with ArchiveReader(archive) as old, ArchiveWriter(archive) as writer:
        for i in range(old.n_segments):
            writer.add_stored_segment(*old.stored_segment(i))
        header = replace(old.header, source=replace(old.header.source, sound=None))
        tags = old.tags
        assert tags is not None
        writer.write(header, tags=tags.payload, blocks=tags.blocks, pictures=old.pictures())
        writer.commit(header.source.mtime_ns)
    assert read_info(archive).format_version < "1.4"


@pytest.mark.usefixtures("no_encoding")
def test_new_tags_come_into_the_archive_and_the_sound_stays(
    song: Path, archive: Path, tmp_path: Path
) -> None:
    sound, before = segments_of(archive), read_info(archive).header
    retag(song, title="Another title")
    result = compress_file(song, archive, TINY)
    assert result.status == "retagged"
    assert segments_of(archive) == sound
    assert verify_structure(archive) == []
    after = read_info(archive).header
    assert after.source.sha256 != before.source.sha256
    assert replace(after, source=before.source) == before
    assert archive.stat().st_mtime_ns == song.stat().st_mtime_ns
    assert compressed_already(song, archive, TINY) is not None
    restored = restore_file(archive, tmp_path / "o.flac").target
    file = mutagen.flac.FLAC(restored)
    assert file["title"] == ["Another title"]
    assert file.pictures[-1].data == PICTURE


def test_an_archive_with_new_tags_is_the_one_that_encoding_makes(
    song: Path, archive: Path, tmp_path: Path
) -> None:
    retag(song, title="Another title")
    compress_file(song, archive, TINY)
    other = compress_file(song, tmp_path / "anew.earz", TINY).target
    assert archive.read_bytes() == other.read_bytes()


@pytest.mark.usefixtures("no_encoding")
def test_other_sound_is_refused(song: Path, archive: Path) -> None:
    before = archive.read_bytes()
    samples, rate = soundfile.read(song, dtype="int16")
    samples[1000] ^= 1
    soundfile.write(song, samples, rate)
    with pytest.raises(TargetError, match=REFUSED):
        compress_file(song, archive, TINY)
    assert archive.read_bytes() == before


def test_the_same_samples_at_another_rate_are_other_sound(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.wav", music(20_000), subtype="PCM_16")
    archive = compress_file(source, tmp_path / "a.earz", TINY).target
    samples, rate = soundfile.read(source, dtype="int16")
    soundfile.write(source, samples, rate + 1)
    with pytest.raises(TargetError, match=REFUSED):
        compress_file(source, archive, TINY)


def test_tags_that_are_gone_do_not_take_the_archive_s_with_them(song: Path, tmp_path: Path) -> None:
    retag(song, title="A title")
    archive = compress_file(song, tmp_path / "song.earz", TINY).target
    file = mutagen.flac.FLAC(song)
    file.delete()
    file.clear_pictures()
    file.save()
    before = archive.read_bytes()
    with pytest.raises(TargetError, match="has tags and pictures that its source has lost"):
        compress_file(song, archive, TINY)
    assert archive.read_bytes() == before


@pytest.mark.usefixtures("no_encoding")
@pytest.mark.parametrize("settings", [TINY, CompressOptions("tiny", "low")])
def test_a_damaged_archive_or_one_of_other_settings_keeps_no_sound(
    song: Path, archive: Path, settings: CompressOptions
) -> None:
    if settings == TINY:
        damage_segment(archive, 0)
    retag(song, title="Another title")
    with pytest.raises(
        TargetError, match=f"{REFUSED}|is damaged, and made from an earlier version"
    ):
        compress_file(song, archive, settings)


def test_an_archive_of_an_earlier_format_gets_new_tags_too(song: Path, archive: Path) -> None:
    """It does not know the digest of its sound, but encoding gives the same segments."""
    without_digest(archive)
    sound = segments_of(archive)
    retag(song, title="Another title")
    assert compress_file(song, archive, TINY).status == "retagged"
    assert segments_of(archive) == sound
    assert read_info(archive).header.source.sound


def test_an_archive_of_an_earlier_format_keeps_other_sound_out(song: Path, archive: Path) -> None:
    without_digest(archive)
    before = archive.read_bytes()
    samples, rate = soundfile.read(song, dtype="int16")
    soundfile.write(song, samples // 2, rate)
    with pytest.raises(TargetError, match=REFUSED):
        compress_file(song, archive, TINY)
    assert archive.read_bytes() == before
    assert sorted(path.name for path in archive.parent.iterdir()) == sorted(
        {song.name, archive.name}
    )


def test_force_encodes_again(song: Path, archive: Path) -> None:
    retag(song, title="Another title")
    result = compress_file(song, archive, replace(TINY, force=True))
    assert result.status == "written"
    assert result.warnings == (
        "replaced the archive of an earlier version of this source, of quality medium",
    )


def test_an_exact_copy_of_the_old_bytes_stays(song: Path, tmp_path: Path) -> None:
    pytest.importorskip("auraloss")
    archive = exact(song, tmp_path / "x.earz")
    before = archive.read_bytes()
    retag(song, title="Another title")
    with pytest.raises(
        TargetError, match="has the exact copy of an earlier version of this source"
    ):
        compress_file(song, archive, TINY)
    assert archive.read_bytes() == before


@pytest.mark.usefixtures("no_encoding")
@pytest.mark.parametrize("name", ["song.flac", "01 - renamed.flac"])
def test_a_moved_source_takes_its_archive_with_it(
    song: Path, archive: Path, tmp_path: Path, name: str
) -> None:
    sound = segments_of(archive)
    (tmp_path / "moved").mkdir()
    moved = song.rename(tmp_path / "moved" / name)
    target = tmp_path / "moved" / f"{name}.earz"
    result = compress_file(moved, target, TINY, found=[archive])
    assert result.status == "moved"
    assert segments_of(target) == sound
    assert read_info(target).header.source.name == name
    assert compressed_already(moved, target, TINY) is not None
    if name == song.name:
        assert target.read_bytes() == archive.read_bytes()


def test_an_exact_copy_moves_too(song: Path, tmp_path: Path) -> None:
    pytest.importorskip("auraloss")
    archive = exact(song, tmp_path / "x.earz")
    moved = song.rename(tmp_path / "moved.flac")
    result = compress_file(moved, tmp_path / "moved.earz", TINY, found=[archive])
    assert result.status == "moved"
    copies = []
    for path in (archive, result.target):
        with ArchiveReader(path) as reader, reader.exact_copy() as copy:
            copies.append(copy.read())
    assert copies[0] == copies[1]


@pytest.mark.parametrize("what", ["damaged", "of other bytes", "of a lower quality", "none"])
def test_what_is_no_archive_of_a_moved_source_is_not_taken(
    song: Path, archive: Path, tmp_path: Path, what: str
) -> None:
    options = CompressOptions("tiny", "high") if what == "of a lower quality" else TINY
    if what == "damaged":
        damage_segment(archive, 0)
    elif what == "of other bytes":
        retag(song, title="Another title")
    elif what == "none":
        archive.write_bytes(b"no archive")
    before = archive.read_bytes()
    result = compress_file(song, tmp_path / "moved.earz", options, found=[archive])
    assert result.status == "written"
    assert verify_structure(result.target) == []
    assert archive.read_bytes() == before


def test_the_right_one_of_several_archives_is_taken(
    song: Path, archive: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.earz"
    soundfile.write(tmp_path / "other.flac", soundfile.read(song)[0][::-1], 44_100)
    compress_file(tmp_path / "other.flac", other, TINY)
    result = compress_file(song, tmp_path / "moved.earz", TINY, found=[other, archive])
    assert result.status == "moved"
    assert segments_of(result.target) == segments_of(archive)


def test_a_moved_source_keeps_the_quality_that_it_has(
    song: Path, archive: Path, tmp_path: Path
) -> None:
    target = tmp_path / "moved.earz"
    with pytest.raises(TargetError, match="is of quality medium, low is lower"):
        compress_file(song, target, CompressOptions("tiny", "low"), found=[archive])
    assert not target.exists()


def test_a_moved_source_keeps_its_exact_copy_in_an_archive_of_other_settings(
    song: Path, tmp_path: Path
) -> None:
    pytest.importorskip("auraloss")
    archive = exact(song, tmp_path / "x.earz")
    options = CompressOptions("tiny", "high")
    result = compress_file(song, tmp_path / "moved.earz", options, found=[archive])
    assert result.status == "written"
    assert result.exact_bytes


@pytest.mark.usefixtures("no_encoding")
def test_bytes_that_changed_though_nobody_wrote_are_not_taken_for_new_tags(
    song: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a disk rots: the cover in the archive may be the last good one."""
    before, times = archive.read_bytes(), song.stat()
    size = times.st_size
    retag(song, title="Another title")
    with song.open("r+b") as file:
        file.truncate(max(size, file.seek(0, 2)))
    monkeypatch.setattr("earzip.transcode.up_to_date._changed_since", lambda *_: False)
    monkeypatch.setattr("earzip.transcode.up_to_date._is_of", lambda *_: True)
    monkeypatch.setattr("earzip.transcode.compress.compressed_already", lambda *_, **__: None)
    with pytest.raises(TargetError, match="which nobody has written to since"):
        compress_file(song, archive, TINY)
    assert archive.read_bytes() == before


def test_a_cover_that_is_gone_or_a_tag_that_is_damaged_needs_force(
    song: Path, tmp_path: Path
) -> None:
    retag(song, title="A title", artist="Somebody")
    archive = compress_file(song, tmp_path / "song.earz", TINY).target
    before = archive.read_bytes()
    file = mutagen.flac.FLAC(song)
    file.clear_pictures()
    file["title"] = "Another"
    file.save()
    with pytest.raises(
        TargetError,
        match="has pictures that its source has lost; to replace it: earzip compress --force",
    ):
        compress_file(song, archive, TINY)
    retag(song, title="A title")
    data = bytearray(song.read_bytes())
    at = data.index(b"title=A title")
    data[at - 4 : at] = (1 << 20).to_bytes(4, "little")
    song.write_bytes(data)
    with pytest.raises(TargetError, match="stays, because the tags of its source are damaged"):
        compress_file(song, archive, TINY)
    assert archive.read_bytes() == before
    standing = standing_of(song, archive, TINY, ArchiveSettings.of(TINY))
    assert standing.state == "refused"


def test_the_same_samples_for_other_loudspeakers_are_other_sound(archive: Path) -> None:
    record = read_info(archive).header.source
    assert is_same_sound(record, replace(record, sha256="0" * 64, n_bytes=1))
    for change in ({"downmix": "itu"}, {"channels": 1}, {"sample_rate": 1}, {"sound": None}):
        assert not is_same_sound(replace(record, **change), record)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.m4a", "a.flac", "a.wav"])
def test_a_source_that_is_read_twice_has_a_digest(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As tracks that are too long to be kept in memory are, by the decoder of FFmpeg too."""
    pytest.importorskip("av")
    ffmpeg = shutil.which("ffmpeg") or pytest.skip("needs ffmpeg")
    monkeypatch.setattr("earzip.transcode.kept_sound.MOST_BYTES", 1000)
    subprocess.run([ffmpeg, "-v", "error", "-i", song, tmp_path / name], check=True)
    archive = compress_file(tmp_path / name, tmp_path / f"{name}.earz", TINY).target
    assert read_info(archive).header.source.sound


def test_the_digest_depends_on_the_samples_alone(tmp_path: Path) -> None:
    sound = (music(20_000) * 30_000).astype(np.int16)

    def digest_of(name: str, sound: NDArray[np.int16]) -> str | None:
        soundfile.write(tmp_path / name, sound.T, 44_100, subtype="PCM_16")
        archive = compress_file(tmp_path / name, tmp_path / f"{name}.{len(sound.T)}", TINY).target
        return read_info(archive).header.source.sound

    flac = digest_of("a.flac", sound)
    assert flac == md5_in_header(tmp_path / "a.flac")
    assert (
        digest_of("a.wav", sound) == digest_of("b.aiff", sound) != digest_of("c.wav", sound[::-1])
    )


def md5_in_header(flac: Path) -> str:
    """Return the MD5 in the header of a FLAC, 32 hexadecimal digits."""
    return f"{mutagen.flac.FLAC(flac).info.md5_signature:032x}"
