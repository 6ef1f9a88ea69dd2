from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earzip.errors import SourceError
from earzip.training.data import CropSource, Mixture, MusicPool


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (1, "TypeError"),
        ({"start": 0}, "KeyError"),
        ({"start": 0, "frames": "many", "rms_db": -20}, "many"),
        ({"start": 0.5, "frames": 10, "rms_db": -20}, "0.5"),
        ({"start": -1, "frames": 10, "rms_db": -20}, "a track at -1"),
        ({"start": 199_999, "frames": 200_002, "rms_db": -20}, "in 400000 frames"),
        ({"start": 0, "frames": 10, "rms_db": 1e6}, "1000000.0 dBFS"),
        ({"start": 0, "frames": 10, "rms_db": float("nan")}, "nan dBFS"),
    ],
)
def test_a_list_of_tracks_that_does_not_fit_is_refused(
    music: Path, entry: Any, message: str
) -> None:
    (music / "music.json").write_text(json.dumps([entry]))
    with pytest.raises(SourceError, match="not a music pool: ") as caught:
        MusicPool(music / "music.s16", 100)
    assert message in caught.value.message


def test_a_pool_of_short_tracks_is_refused(music: Path) -> None:
    with pytest.raises(SourceError, match="no track is long enough"):
        MusicPool(music / "music.s16", 200_000)


def test_crops_follow_from_seed_step_and_place(music: Path) -> None:
    pool = MusicPool(music / "music.s16", 20_000)
    first, second, other = (
        CropSource(Mixture([pool], [1.0]), size, 8192, seed)
        for size, seed in ((4, 1), (2, 1), (4, 2))
    )
    batch = first.batch(7)
    assert batch.shape == (4, 2, 8192)
    assert batch.dtype == np.float32
    assert (second.batch(7) == batch[:2]).all()
    assert (first.crop(7, 3) == batch[3]).all()
    assert not (first.batch(8) == batch).all()
    assert not (other.batch(7) == batch).all()
