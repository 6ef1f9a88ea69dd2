import os
import random
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from earzip.errors import (
    ArchiveError,
    DamagedArchiveError,
    NotAnArchiveError,
    TagError,
    TargetError,
)
from earzip.formats import tag_payload
from earzip.formats.archive.frames import compress_frame, decompress_frame
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.verify import verify_structure
from earzip.formats.archive.writer import ArchiveWriter
from tests.formats.archive.samples import (
    BLOCKS,
    BOOKLET,
    COVER,
    PICTURES,
    TAGS,
    Pieces,
    flip_bit,
    sample_header,
    segment_of,
    write_sample,
)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.flac.earz"
    write_sample(path)
    return path


def read_all(path: Path) -> None:
    with ArchiveReader(path) as reader:
        for i in range(reader.n_segments):
            reader.segment(i)
        reader.pictures()


@pytest.mark.smoke
def test_everything_comes_back(song: Path) -> None:
    header = sample_header()
    with ArchiveReader(song) as reader:
        assert reader.path == song
        assert reader.header == header
        assert reader.n_segments == 3
        segments = [reader.segment(i) for i in range(3)]
        assert segments == [segment_of(header, i) for i in range(3)]
        assert reader.tags is not None
        assert reader.tags.payload == TAGS
        assert list(reader.tags.payload) == list(TAGS)
        assert reader.tags.blocks == tuple(BLOCKS)
        assert reader.pictures() == PICTURES
        assert reader.picture_sizes() == [len(COVER), len(BOOKLET), len(COVER)]
    assert verify_structure(song) == []


def test_the_order_of_tag_fields_is_kept(tmp_path: Path) -> None:
    fields = {"title": ["x"], "album": ["y"], "artist": ["z"]}
    write_sample(tmp_path / "a", tags={"family": "none", "fields": fields})
    with ArchiveReader(tmp_path / "a") as reader:
        assert reader.tags is not None
        assert list(reader.tags.payload["fields"]) == ["title", "album", "artist"]  # type: ignore[arg-type]


def test_sizes_add_up_to_the_file_and_equal_pictures_are_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "a.earz"
    sizes = write_sample(path)
    assert sizes.total == path.stat().st_size
    assert sizes.pictures == len(COVER) + len(BOOKLET)
    with ArchiveReader(path) as reader:
        assert reader.sizes == sizes


def test_a_track_without_samples_and_tags_is_prefix_and_header_only(tmp_path: Path) -> None:
    path = tmp_path / "a.earz"
    sizes = write_sample(path, sample_header(0), tags=None)
    assert (sizes.sound, sizes.tags, sizes.pictures) == (0, 0, 0)
    with ArchiveReader(path) as reader:
        assert (reader.n_segments, reader.header.n_frames) == (0, 0)
        assert reader.tags is None
        assert reader.pictures() == []
    assert verify_structure(path) == []


@pytest.mark.parametrize("n_samples", [1, 1023, 1024, 3 * 1024, 3 * 1024 + 1, 4 * 1024 - 1024])
def test_segments_follow_from_the_sample_count(tmp_path: Path, n_samples: int) -> None:
    header = sample_header(n_samples)
    frames = -(-(n_samples + 1024) // 1024)
    assert header.n_frames == frames
    assert sum(header.segment_frames(i) for i in range(header.n_segments)) == frames
    write_sample(tmp_path / "a", header)
    assert verify_structure(tmp_path / "a") == []


def test_the_same_input_gives_the_same_bytes_in_any_process(song: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.formats.archive.samples import write_sample\n"
        "write_sample(Path(sys.argv[1]))"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", script, str(again)], check=True, cwd=root)
    assert again.read_bytes() == song.read_bytes()


def test_a_typical_track_spends_well_under_a_kilobyte_on_all_but_sound(tmp_path: Path) -> None:
    noise = random.Random(3)
    header = sample_header(240 * 44_100, n_latents=224, core=1024)
    assert len(set(header.quantizer.step_exponents)) > 40
    with ArchiveWriter(tmp_path / "a") as writer:
        for _ in range(header.n_segments):
            writer.add_segment(noise.randbytes(30_000))
        sizes = writer.write(header)
        writer.commit()
    assert sizes.overhead < 720
    write_sample(tmp_path / "clip", sample_header(20 * 44_100, n_latents=224, core=1024), tags=None)
    with ArchiveReader(tmp_path / "clip") as reader:
        assert reader.sizes.overhead < 600


def test_a_long_track_goes_through_the_disk_not_through_memory(tmp_path: Path) -> None:
    header = sample_header(44_100 * 3600, n_latents=224, core=1024)
    noise = random.Random(3)
    segments = [noise.randbytes(120_000) for _ in range(header.n_segments)]  # 18 MB together
    with ArchiveWriter(tmp_path / "a") as writer:
        for segment in segments:
            writer.add_segment(segment)
        assert not (tmp_path / "a").exists()
        writer.write(header)
        writer.commit()
    with ArchiveReader(tmp_path / "a") as reader:
        assert all(reader.segment(i) == s for i, s in enumerate(segments))


def test_nothing_is_written_before_commit_nor_after_an_error(tmp_path: Path) -> None:
    header = sample_header()
    with pytest.raises(AssertionError), ArchiveWriter(tmp_path / "a") as writer:
        writer.write(header)
    with ArchiveWriter(tmp_path / "a") as writer:
        writer.add_segment(segment_of(header, 0))
    with ArchiveWriter(tmp_path / "a") as writer:
        writer.write(sample_header(0))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_archive_can_be_protected(song: Path) -> None:
    before = song.read_bytes()
    header = sample_header(0)
    with (
        pytest.raises(TargetError, match="already exists"),
        ArchiveWriter(song, replace=False) as writer,
    ):
        writer.write(header)
    assert song.read_bytes() == before


def test_a_missing_folder_is_a_target_error(tmp_path: Path) -> None:
    with (
        pytest.raises(TargetError, match="No such file"),
        ArchiveWriter(tmp_path / "no" / "a.earz"),
    ):
        pytest.fail("it is refused before any work")


def test_an_archive_gets_the_time_it_is_given(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a") as writer:
        writer.write(sample_header(0))
        writer.commit(mtime_ns=10**18 + 7)
    assert (tmp_path / "a").stat().st_mtime_ns == 10**18 + 7


def test_wrong_segments_are_our_own_mistake(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a") as writer, pytest.raises(AssertionError):
        writer.write(sample_header())
    with ArchiveWriter(tmp_path / "a") as writer, pytest.raises(AssertionError):
        writer.write(sample_header(0), blocks=[b"x"])


def test_tags_beyond_the_limits_are_refused_and_can_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tag_payload, "MAX_PICTURE_BYTES", 1000)
    monkeypatch.setattr(tag_payload, "MAX_BLOCK_BYTES", 2000)
    a_block, a_picture = {"kind": "id3v2"}, {"type": 3, "mime": "image/png"}
    with ArchiveWriter(tmp_path / "a") as writer:
        header = sample_header(0)
        for content, message in (
            ({"tags": {"raw": [a_block] * 2001}, "blocks": [b""] * 2001}, "at most 2000 entries"),
            ({"tags": {"x": "y" * (4 << 20)}}, "4194304"),
            ({"tags": {"x": "\udcff"}}, "not Unicode"),
            (
                {"tags": {"pictures": [a_picture] * 2}, "pictures": [bytes(501)] * 2},
                "pictures have 1002 bytes, the limit is 1000",
            ),
            ({"tags": {"raw": [a_block]}, "blocks": [bytes(2001)]}, "blocks take 2001 bytes"),
            ({"tags": {}, "blocks": [b"x"]}, "describe 0 raw blocks, 1 are stored"),
        ):
            tags = {"family": "none", **content["tags"]}
            with pytest.raises(TagError, match=message):
                writer.write(header, **{**content, "tags": tags})
        writer.write(header)
        writer.commit()
    assert verify_structure(tmp_path / "a") == []


def test_threads_may_share_a_reader(song: Path) -> None:
    header = sample_header()
    wrong: list[int] = []
    with ArchiveReader(song) as reader:

        def read(i: int) -> None:
            wrong.extend(i for _ in range(200) if reader.segment(i) != segment_of(header, i))

        threads = [threading.Thread(target=read, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_frames_do_not_depend_on_what_was_compressed_before() -> None:
    data = [random.Random(i).randbytes(20_000) + bytes(20_000) for i in range(4)]
    once = [compress_frame(d, dictionary=i % 2 == 0) for i, d in enumerate(data)]
    again = [compress_frame(data[i], dictionary=i % 2 == 0) for i in (3, 0, 2, 1)]
    assert again == [once[i] for i in (3, 0, 2, 1)]


@pytest.mark.parametrize("n_bytes", [1, 255, 256, 65_791, 65_792, 9 << 20])
@pytest.mark.parametrize("dictionary", [False, True])
def test_frames_of_every_size_come_back(n_bytes: int, dictionary: bool) -> None:
    raw = bytes(n_bytes)
    stored = compress_frame(raw, dictionary=dictionary)
    assert decompress_frame(stored, max_bytes=n_bytes, dictionary=dictionary) == raw
    with pytest.raises(DamagedArchiveError, match=f"{n_bytes} bytes, expected 1 to {n_bytes - 1}"):
        decompress_frame(stored, max_bytes=n_bytes - 1, dictionary=dictionary)


def test_a_segment_that_does_not_exist_is_our_own_mistake(song: Path) -> None:
    with ArchiveReader(song) as reader:
        for i in (-1, 3):
            with pytest.raises(IndexError):
                reader.segment(i)


# Damage


def test_every_single_bit_flip_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_sample(path, sample_header(8192, n_latents=2))
    n_bytes = path.stat().st_size
    assert n_bytes < 1200
    for byte in range(n_bytes):
        for bit in range(8):
            flip_bit(path, byte, bit)
            assert verify_structure(path), (byte, bit)
            with pytest.raises(ArchiveError, match=r"/a: "):
                read_all(path)
            flip_bit(path, byte, bit)
    assert verify_structure(path) == []


def test_random_damage_to_a_larger_archive_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_sample(path, sample_header(44_100 * 60, n_latents=64, core=128))
    whole = path.read_bytes()
    noise = random.Random(5)
    for _ in range(300):
        damaged = bytearray(whole)
        at = noise.randrange(len(whole))
        match noise.randrange(4):
            case 0:
                damaged[at] ^= noise.randrange(1, 256)
            case 1:
                del damaged[at:]
            case 2:
                damaged[at : at + 512] = bytes(len(damaged[at : at + 512]))
            case 3:
                damaged[at:at] = noise.randbytes(noise.randrange(1, 40))
        path.write_bytes(damaged)
        assert (verify_structure(path) == []) == (damaged == whole)


def test_an_archive_cut_anywhere_is_refused(song: Path) -> None:
    data = song.read_bytes()
    for n_bytes in range(len(data)):
        song.write_bytes(data[:n_bytes])
        assert verify_structure(song), n_bytes
        if n_bytes % 10 == 0:
            with pytest.raises(ArchiveError):
                ArchiveReader(song)


def test_appended_bytes_are_refused(song: Path) -> None:
    n_bytes = song.stat().st_size
    with song.open("ab") as file:
        file.write(b"\0")
    message = f"was added to: has {n_bytes + 1} bytes, should have {n_bytes}"
    assert [(d.part, d.message) for d in verify_structure(song)] == [("file", message)]
    with pytest.raises(DamagedArchiveError, match=message):
        ArchiveReader(song)


def test_swapped_segments_are_found(song: Path) -> None:
    pieces = Pieces.of(song)
    whole = pieces.to_bytes()
    assert whole == song.read_bytes()
    (_, first), (_, second) = pieces.parts[:2]
    at = whole.index(first)
    song.write_bytes(whole.replace(first + second, second + first))
    assert song.read_bytes()[at : at + len(second)] == second
    assert [d.segment for d in verify_structure(song)] == [0, 1]


def test_damage_stays_in_its_segment(song: Path) -> None:
    data = bytearray(song.read_bytes())
    data[data.index(Pieces.of(song).parts[1][1]) + 5] ^= 1
    song.write_bytes(data)
    damages = verify_structure(song)
    assert [(d.segment, d.message) for d in damages] == [(1, "bytes have changed")]
    name = sample_header().segment_name(1)
    assert damages[0].part == name
    with ArchiveReader(song) as reader:
        assert reader.segment(0)
        assert reader.segment(2)
        assert reader.pictures() == PICTURES
        message = re.escape(f"flac.earz: {name}: bytes have changed")
        with pytest.raises(DamagedArchiveError, match=message):
            reader.segment(1)


def test_all_damage_is_listed(song: Path) -> None:
    data = bytearray(song.read_bytes())
    parts = Pieces.of(song).parts
    for part in (0, 2, 3, 5):
        data[data.index(parts[part][1])] ^= 1
    song.write_bytes(data[:-1])
    found = [d.part for d in verify_structure(song)]
    assert found == ["file", *map(sample_header().segment_name, (0, 2)), "tags", "picture 2"]


def test_a_damaged_header_does_not_hide_damaged_segments(song: Path) -> None:
    data = bytearray(song.read_bytes())
    data[60] ^= 1
    data[data.index(Pieces.of(song).parts[1][1])] ^= 1
    song.write_bytes(data)
    assert [d.part for d in verify_structure(song)] == ["header", "segment 2"]


def test_whole_segments_can_be_salvaged_from_a_file_cut_short(song: Path) -> None:
    header = sample_header()
    data = song.read_bytes()
    song.write_bytes(data[: data.index(Pieces.of(song).parts[2][1]) + 3])
    with pytest.raises(DamagedArchiveError):
        ArchiveReader(song)
    with ArchiveReader(song, salvage=True) as reader:
        assert reader.segment(1) == segment_of(header, 1)
        with pytest.raises(DamagedArchiveError, match=r"0:00\.17–0:00\.19: file ends at"):
            reader.segment(2)
        with pytest.raises(DamagedArchiveError, match="tags: file ends at"):
            _ = reader.tags


def test_a_damaged_magic_is_told_from_another_kind_of_file(song: Path, tmp_path: Path) -> None:
    flip_bit(song, 0, 7)
    with pytest.raises(DamagedArchiveError, match="magic is 094541525a0d0a1a, expected 8945"):
        ArchiveReader(song)
    for content in (b"", b"a text", b"fLaC" + bytes(100)):
        path = tmp_path / "other"
        path.write_bytes(content)
        with pytest.raises(NotAnArchiveError):
            ArchiveReader(path)
        assert [d.part for d in verify_structure(path)] == ["prefix"]


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    for path, reason in ((tmp_path, "not a regular"), (fifo, "not a regular")):
        with pytest.raises(ArchiveError, match=reason):
            ArchiveReader(path)
    for read in (ArchiveReader, verify_structure):
        with pytest.raises(ArchiveError, match=r"absent: cannot be read: No such file"):
            read(tmp_path / "absent")
