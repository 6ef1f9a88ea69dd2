from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earzip.errors import DamagedArchiveError, TargetError
from earzip.formats.archive.writer import ArchiveWriter
from earzip.formats.symbols.coding import pack
from earzip.formats.symbols.layout import CONTEXT, LEVELS, PACKED, Group, Layout, Told
from earzip.formats.symbols.work import WORK_HEAD_BYTES, most_work, segment_work
from tests.formats.archive.samples import sample_header

N_LATENTS = 24
LAYOUTS = {
    PACKED: Layout(),
    CONTEXT: Layout(20),
    LEVELS: Layout(20, (Group(Told.ALWAYS, 2), Group(Told.CALM, 2))),
}


def segment(coding: str, n_frames: int, n_channels: int) -> bytes:
    """Return a segment whose first channels are all 1."""
    symbols = np.zeros((N_LATENTS, n_frames), np.int32)
    symbols[:n_channels] = 1
    return b"".join(pack(symbols, LAYOUTS[coding]))


@pytest.mark.parametrize("coding", LAYOUTS)
@pytest.mark.parametrize("n_frames", [1, 31, 64, 1000])
def test_no_segment_asks_for_more_than_its_shape_can(coding: str, n_frames: int) -> None:
    works = [
        segment_work(segment(coding, n_frames, n), coding, N_LATENTS, n_frames)
        for n in (0, 1, 11, 20)
    ]
    assert works == sorted(works)
    assert works[0] < works[-1] or coding == PACKED
    assert works[-1] <= most_work(coding, N_LATENTS, n_frames)


@pytest.mark.parametrize("coding", LAYOUTS)
def test_the_first_bytes_say_what_a_segment_asks_for(coding: str) -> None:
    raw = segment(coding, 500, 20)
    head = raw[:WORK_HEAD_BYTES]
    assert segment_work(head, coding, N_LATENTS, 500) == segment_work(raw, coding, N_LATENTS, 500)


def test_units_are_those_of_the_specification() -> None:
    # By the table of SPEC.md, "Work", with 24 latents and 100 frames: 24 × 100 ÷ 16 is 150.
    assert segment_work(segment(PACKED, 100, 3), PACKED, N_LATENTS, 100) == 2048 + 150
    assert segment_work(segment(CONTEXT, 100, 0), CONTEXT, N_LATENTS, 100) == 2048 + 150
    of_context = segment_work(segment(CONTEXT, 100, 5), CONTEXT, N_LATENTS, 100)
    assert of_context == 2048 + 150 + 100 * (256 + 2)
    of_silence = segment_work(segment(LEVELS, 100, 0), LEVELS, N_LATENTS, 100)
    assert of_silence == 2048 + 150 + 16_384 + 4 * 1152
    # Three channels of mid sound: two even bins and an odd one. 300 integers in a lane.
    of_levels = segment_work(segment(LEVELS, 100, 3), LEVELS, N_LATENTS, 100)
    assert of_levels == of_silence + 100 * (192 + 1 + 192 + 1) + 32 * 600


@pytest.mark.parametrize("coding", [CONTEXT, LEVELS])
@pytest.mark.parametrize("place", [0, 5, 9])
def test_wrong_first_bytes_are_damage(coding: str, place: int) -> None:
    raw = bytearray(segment(coding, 64, 5))
    raw[place : place + 2] = b"\xff\xff"
    with pytest.raises(DamagedArchiveError):
        segment_work(bytes(raw), coding, N_LATENTS, 64)


def test_a_track_that_no_reader_would_decode_is_not_written(tmp_path: Path) -> None:
    n_frames = 1000
    symbols = np.zeros((9, n_frames), np.int32)
    symbols[0, 0] = 1  # of each frame a reader looks at the channel that sounds
    pieces = pack(symbols, Layout(9))
    header = sample_header(
        200 * n_frames * 1024 - 1024, n_latents=9, core=n_frames, symbols=CONTEXT
    )
    with ArchiveWriter(tmp_path / "a.earz") as writer:
        for _ in range(header.n_segments):
            writer.add_segment(*pieces)
        with pytest.raises(TargetError, match=r"a\.earz: its sound asks a reader for \d+ units"):
            writer.write(header)
