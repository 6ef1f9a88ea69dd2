"""Which process computes which crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from earzip.errors import UsageError
from earzip.training.batches import Share, steps_of
from earzip.training.data import CropSource


@pytest.mark.parametrize("passes", [1, 2])
def test_processes_share_a_batch_and_no_two_have_the_same_crop(
    passes: int, crops: CropSource
) -> None:
    cut = {
        rank: list(
            steps_of(
                crops,
                Share(4, rank, 2, passes),
                range(5, 8),
                (3, 16),
                seed=7,
                workers=0,
                device=torch.device("cpu"),
            )
        )
        for rank in range(2)
    }
    seen = set()
    for n, step in enumerate(range(5, 8)):
        # Of each pass the crops of process 0, then those of process 1.
        audio = [cut[rank][n][k].audio.numpy() for k in range(passes) for rank in range(2)]
        assert {len(part) for part in audio} == {4 // passes // 2}
        np.testing.assert_array_equal(np.concatenate(audio), crops.batch(step))
        noise = [one.noise for rank in range(2) for one in cut[rank][n]]
        seen |= {item.numpy().tobytes() for part in noise for item in part}
    assert len(seen) == 3 * 4


@pytest.mark.parametrize(("world", "passes"), [(3, 1), (2, 3), (8, 1)])
def test_a_batch_that_cannot_be_split_evenly_is_refused(world: int, passes: int) -> None:
    with pytest.raises(UsageError, match=f"evenly: {world} processes, {passes} passes each"):
        Share(4, 0, world, passes)
