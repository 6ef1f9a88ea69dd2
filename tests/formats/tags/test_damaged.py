"""Tags damaged at random are read, stored and written, and their blocks come back as they were."""

import random
import shutil

import pytest

from earzip.formats.tags.model import Found, TagSet
from earzip.formats.tags.read import read_tags, tag_set
from earzip.formats.tags.write import write_tags
from tests.formats.tags.tag_bytes import append_chunks, info_chunk
from tests.formats.tags.tag_files import MAKERS, blank, tagged_flac, tagged_id3
from tests.formats.tags.unread_files import PIPED_MAKERS, UNREAD_MAKERS


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    if shutil.which("ffmpeg") is None:
        makers = {"flac": tagged_flac, "wav": tagged_id3, "aiff": tagged_id3}
    else:
        makers = MAKERS | UNREAD_MAKERS | PIPED_MAKERS
    paths = [maker(folder / f"song.{name}") for name, maker in makers.items()]
    info = info_chunk((b"INAM", b"x\0"), (b"ISBJ", b"Thema\0"))
    paths.append(append_chunks(tagged_id3(folder / "both.wav", 3), info))
    return [path.read_bytes() for path in paths]


def damaged(data, rng):
    data = bytearray(data)
    base = rng.choice([0, 0, max(0, len(data) - 8000)])
    for _ in range(rng.choice([1, 2, 8])):
        if not data:
            break
        at = min(len(data) - 1, base + int(rng.random() ** 3 * 8000))
        match rng.randrange(5):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + 4] = rng.choice(
                    [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"]
                )
            case 2:
                del data[at : at + rng.randrange(1, 40)]
            case 3:
                data[at:at] = rng.randbytes(rng.randrange(1, 20))
            case 4:
                data[at] = rng.choice([0, 1, 127, 128, 255])
    if rng.random() < 0.1:
        del data[rng.randrange(len(data)) :]
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_tags_damaged_at_random_are_read_stored_and_written(samples, tmp_path, seed):
    rng = random.Random(seed)
    blanks = {name: blank(tmp_path / name).read_bytes() for name in ("out.flac", "out.wav")}
    n_problems = 0
    for i in range(100):
        path = tmp_path / "damaged"
        path.write_bytes(damaged(samples[i % len(samples)], rng))
        tags = read_tags(path)
        n_problems += bool(tags.problems)
        pictures = [picture.data for picture in tags.pictures]
        again = TagSet.from_payload(*tags.to_payload(), pictures)
        assert again == tags
        for name, data in blanks.items():
            target = tmp_path / name
            target.write_bytes(data)
            write_tags(target, again)
            # An ID3 tag and an INFO chunk of the source, which disagree, are both written to WAV.
            assert [each for each in read_tags(target).problems if "disagrees" not in each] == []
    assert n_problems > 0


def test_damaged_blocks_come_back_byte_for_byte(samples, tmp_path):
    rng = random.Random(0)
    path = tmp_path / "x"
    for data in samples:
        path.write_bytes(data)
        tags = read_tags(path)
        for block in tags.raw:
            whole = block.join([picture.data for picture in tags.pictures])
            for _ in range(40):
                broken = damaged(whole, rng)
                found = tag_set(Found(blocks=[(block.kind, broken)]))
                assert found.raw_bytes(block.kind) == [broken]
