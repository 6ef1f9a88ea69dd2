"""The batches of a run: which process computes which crops, cut ahead of time."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from earzip.errors import UsageError
from earzip.training.data import CropSource

_Pass = TypeVar("_Pass")
_PREFETCHED = 4  # passes a worker keeps ready


class Crops(NamedTuple):
    """Crops of one pass, and all that is random about it."""

    audio: Tensor
    """float32 ``[B, 2, T]``."""
    draws: Tensor
    """float32 ``[B]``, uniform in 0 to 1."""
    noise: Tensor
    """float32 ``[B, D, F]``, uniform in −½ to ½."""


@dataclass(frozen=True)
class Share:
    """What one of ``world`` processes computes of each step, in ``passes`` passes.

    Crops and their noise follow from seed, step and place in the batch alone, so that any split of
    a batch is the same batch.
    """

    batch_size: int
    rank: int = 0
    world: int = 1
    passes: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % (self.world * self.passes):
            raise UsageError(
                f"batch_size {self.batch_size} cannot be split evenly: "
                f"{self.world} processes, {self.passes} passes each"
            )

    def places(self, number: int) -> range:
        """Return the places in the batch that pass ``number`` computes."""
        size = self.batch_size // (self.world * self.passes)
        first = (number * self.world + self.rank) * size
        return range(first, first + size)


class _NumberedCrops(Dataset[Crops]):
    """Crop ``step · batch_size + place`` with its noise."""

    def __init__(self, source: CropSource, latents_shape: tuple[int, int], seed: int) -> None:
        self._source = source
        self._shape = latents_shape
        self._seed = seed

    def __getitem__(self, index: int) -> Crops:
        step, place = divmod(index, self._source.batch_size)
        rng = np.random.default_rng((self._seed, step, place, 1))  # apart from the crop's own
        draw = rng.random(dtype=np.float32)
        noise = rng.random(self._shape, dtype=np.float32) - np.float32(0.5)
        audio = self._source.crop(step, place)
        return Crops(torch.from_numpy(audio), torch.tensor(draw), torch.from_numpy(noise))


class _Passes(Sampler[list[int]]):
    """The crops of each pass, by number: a long run has millions."""

    def __init__(self, share: Share, steps: range) -> None:
        self._share = share
        self._steps = steps

    def __len__(self) -> int:
        return len(self._steps) * self._share.passes

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            for number in range(self._share.passes):
                first = step * self._share.batch_size
                yield [first + place for place in self._share.places(number)]


def steps_of(
    source: CropSource,
    share: Share,
    steps: range,
    latents_shape: tuple[int, int],
    *,
    seed: int,
    workers: int,
    device: torch.device,
) -> Iterator[list[Crops]]:
    """Yield the passes of each of ``steps``, on ``device``, cut ahead by ``workers`` processes."""
    loader = DataLoader(
        _NumberedCrops(source, latents_shape, seed),
        batch_sampler=_Passes(share, steps),
        num_workers=workers,
        # Forked: the pools of music are mapped files, and would be copied to spawned workers.
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=_PREFETCHED if workers else None,
        worker_init_fn=_leave_signals_to_the_run,
        pin_memory=device.type == "cuda",
    )
    coming = iter(loader)
    for _ in steps:
        cut = [next(coming) for _ in range(share.passes)]
        yield [Crops(*(t.to(device, non_blocking=True) for t in crops)) for crops in cut]


def _leave_signals_to_the_run(_worker: int) -> None:
    """Let a signal to the whole group stop the run, which has a state to save, and not its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def in_passes(
    accelerator: Accelerator, model: nn.Module, passes: Sequence[_Pass]
) -> Iterator[_Pass]:
    """Yield each of ``passes`` for a backward pass; processes share gradients at the last alone."""
    for one in passes[:-1]:
        with accelerator.no_sync(model):
            yield one
    yield passes[-1]
