"""One track to latents and back, in windows of fixed geometry and bounded memory.

    frames   ...  |  context  |        core of window i        |  context  |  ...
    window i      [-----------|--------------------------------|-----------]
                                       kept ^                       cut ^

A model's context is at least as wide as what its networks can see, so a kept frame or sample does not
depend on where windows begin: there is nothing to cross-fade. On a CPU every window is one forward
pass on one thread, whatever the batch size and the number of threads, so the same audio gives the same
bytes; threads work on different windows. In bfloat16 and float16 autocast runs what the network leaves
to it in that type; windows, latents and sound are float32 all the same.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earzip.errors import UsageError
from earzip.model.vae import Posterior, Vae
from earzip.options import PRECISIONS

Audio = NDArray[np.float32]
Latents = NDArray[np.float32]
_In = TypeVar("_In")
_Out = TypeVar("_Out")

_CUDA_BATCH = 16
_MAX_DEFAULT_THREADS = 16  # each takes some 300 MB for a window of `mini`


@dataclass(frozen=True)
class Geometry:
    """How a track is cut into windows; part of the model and of the archive format."""

    hop: int
    """Samples a frame."""
    lead: int
    """Samples set before and behind a track, so that its first and last frames cover it twice."""
    core: int
    """Frames of a window that are kept; also the frames of an archive's segment."""
    encoder_context: int
    """Frames on each side of the core that the encoder sees."""
    decoder_context: int

    def n_frames(self, n_samples: int) -> int:
        """Return the frames of a track of ``n_samples``; none for an empty track."""
        return -(-(n_samples + 2 * self.lead) // self.hop) if n_samples else 0

    def n_segments(self, n_samples: int) -> int:
        """Return the windows, and so the segments, of a track of ``n_samples``."""
        return -(-self.n_frames(n_samples) // self.core)

    def segments_of(self, first_sample: int, last_sample: int) -> range:
        """Return the windows whose cores hold samples ``[first_sample, last_sample)``."""
        span = self.core * self.hop
        return range(
            (first_sample + self.lead) // span,
            (last_sample - 1 + self.lead) // span + 1 if last_sample > first_sample else 0,
        )


class Codec:
    """A network with its geometry, on one device, in one of `earzip.options.PRECISIONS`.

    ``threads`` is the number of windows computed side by side on a CPU (default: the cores this
    process may use, at most 16); ``batch_size`` the windows of one pass on a GPU, where the last
    batch is padded to full size because results may depend on it. What a device cannot do
    `earzip.device.choose_device` tells.
    """

    def __init__(
        self,
        vae: Vae,
        geometry: Geometry,
        n_latents: int,
        *,
        device: str = "cpu",
        precision: str = "float32",
        threads: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise UsageError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
        self.precision = precision
        self.vae = vae
        self.geometry = geometry
        self.n_latents = n_latents
        self.device = torch.device(device)
        self.threads = threads or _usable_cores()
        on_cpu = self.device.type == "cpu"
        self._batch = 1 if on_cpu else (batch_size or _CUDA_BATCH)
        self._in_flight = self.threads + 2 if on_cpu else 2
        self._pool = ThreadPoolExecutor(self.threads if on_cpu else 1, initializer=_one_thread)

    def close(self) -> None:
        """End the worker threads."""
        self._pool.shutdown(cancel_futures=True)

    def encode(self, blocks: Iterable[Audio]) -> Iterator[Latents]:
        """Yield the posterior mean of each window's core, ``[D, F]``, F = core but for the last.

        ``blocks``: float32 ``[2, T]`` pieces of one track, ±1, 44.1 kHz, in order, of any lengths.
        """
        return self._posteriors(blocks, lambda posterior: posterior.mean)

    def encode_posterior(self, blocks: Iterable[Audio]) -> Iterator[Latents]:
        """Yield mean and scale of each window's core, ``[2, D, F]``; otherwise as `encode`."""
        return self._posteriors(blocks, lambda posterior: torch.stack(posterior, 1))

    def decode(
        self, read: Callable[[int], Latents], n_samples: int, segments: range
    ) -> Iterator[Audio]:
        """Yield the samples of each of ``segments``, ``[2, T]``, cut to the track's ``n_samples``.

        ``read(i)`` returns the latents ``[D, F]`` of segment i; it is called once for each segment
        and for one neighbour on each side, in order.
        """
        windows = self._latent_windows(read, n_samples, segments)
        g = self.geometry
        cores = _ordered(self._pool, self._decode_windows, windows, self._batch, self._in_flight)
        for i, core in zip(segments, cores, strict=True):
            start = i * g.core * g.hop - g.lead
            yield core[:, max(0, -start) : max(0, min(g.core * g.hop, n_samples - start))]

    def decode_ends(self, first: Latents, last: Latents, n_samples: int) -> Audio:
        """Return the first and the last sample of a track, float32 ``[2, 2]``, channels × samples.

        ``first``, ``last``: latents ``[D, F]`` of the track's first and last `end_frames` frames, or of
        all of them if it has fewer. For a network without bounds to what it sees the result is near what
        `decode` gives, not equal to it. It is computed in float32 in every precision, as whoever restores
        the track most likely does.
        """
        g = self.geometry
        begin = self._decode_alone(first)[:, g.lead]
        behind = g.n_frames(n_samples) * g.hop - (n_samples + g.lead)
        end = self._decode_alone(last)[:, -1 - behind]
        return np.stack([begin, end], 1)

    @property
    def end_frames(self) -> int:
        """How many frames at an end of a track its outermost sample depends on."""
        g = self.geometry
        return g.decoder_context + 2 + g.lead // g.hop

    def _decode_alone(self, latents: Latents) -> Audio:
        """Return what ``latents`` ``[D, F]`` decode to with nothing around them, ``[2, F·hop]``."""
        margin = self.geometry.decoder_context
        padded = np.pad(latents, ((0, 0), (margin, margin)))
        (audio,) = self._pool.submit(self._run, self.vae.decode, [padded], "float32").result()
        hop = self.geometry.hop
        return audio[:, margin * hop : -margin * hop or None]

    def _windows(self, blocks: Iterable[Audio]) -> Iterator[tuple[Audio, int]]:
        """Yield windows of audio ``[2, (core + 2·context)·hop]`` and the frames to keep of each.

        The track is mirrored at its ends: against silence, a track that begins or ends in the midst
        of sound, as those of a live album do, would be coded with an edge, and joins would click.
        """
        g = self.geometry
        margin, core = g.encoder_context * g.hop, g.core * g.hop
        before, after, size = margin + g.lead, margin + 2 * g.hop, core + 2 * margin
        source = iter(blocks)
        pending = [_first_samples(source, before)]
        n_samples = pending[0].shape[1]
        if not n_samples:
            return
        pending[0] = np.pad(pending[0], ((0, 0), (before, 0)), mode="symmetric")
        held = before + n_samples
        done = 0  # frames handed out
        for block in source:
            n_samples += block.shape[1]
            pending.append(block)
            held += block.shape[1]
            while held >= size:
                joined = np.concatenate(pending, 1)
                yield joined[:, :size], g.core
                done += g.core
                pending = [joined[:, core:]]
                held -= core
        rest = np.pad(np.concatenate(pending, 1), ((0, 0), (0, after)), mode="symmetric")
        while (left := g.n_frames(n_samples) - done) > 0:
            window = rest[:, :size]
            yield np.pad(window, ((0, 0), (0, size - window.shape[1]))), min(left, g.core)
            rest = rest[:, core:]
            done += g.core

    def _latent_windows(
        self, read: Callable[[int], Latents], n_samples: int, segments: range
    ) -> Iterator[Latents]:
        """Yield windows of latents ``[D, core + 2·context]``, zeros beyond the track's ends."""
        g = self.geometry
        n_segments = g.n_segments(n_samples)
        context = g.decoder_context
        nothing = np.zeros((self.n_latents, 0), np.float32)

        def segment(i: int) -> Latents:
            return read(i) if 0 <= i < n_segments else nothing

        before, now = (
            (segment(segments.start - 1), segment(segments.start)) if segments else (nothing,) * 2
        )
        for i in segments:
            after = segment(i + 1)
            window = np.zeros((self.n_latents, g.core + 2 * context), np.float32)
            left = before[:, max(0, before.shape[1] - context) :]
            right = after[:, :context]
            window[:, context - left.shape[1] : context] = left
            window[:, context : context + now.shape[1]] = now
            window[:, context + g.core : context + g.core + right.shape[1]] = right
            yield window
            before, now = now, after

    def _posteriors(
        self, blocks: Iterable[Audio], of: Callable[[Posterior], Tensor]
    ) -> Iterator[Latents]:
        context = self.geometry.encoder_context

        def encode(windows: list[tuple[Audio, int]]) -> list[Latents]:
            found = self._run(lambda x: of(self.vae.encode(x)), [audio for audio, _ in windows])
            return [x[..., context : context + n] for x, (_, n) in zip(found, windows, strict=True)]

        return _ordered(self._pool, encode, self._windows(blocks), self._batch, self._in_flight)

    def _decode_windows(self, windows: list[Latents]) -> list[Audio]:
        g = self.geometry
        margin = g.decoder_context * g.hop
        return [a[:, margin : margin + g.core * g.hop] for a in self._run(self.vae.decode, windows)]

    def _run(
        self,
        network: Callable[[Tensor], Tensor],
        windows: list[Audio],
        precision: str | None = None,
    ) -> list[Audio]:
        """Return the network's output for each window; the batch is padded with zeros."""
        dtype = getattr(torch, precision or self.precision)
        batch = np.zeros((self._batch, *windows[0].shape), np.float32)
        for row, window in zip(batch, windows, strict=False):
            row[:] = window
        # In the thread of the pool: autocast is a thread's own.
        reduced = torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)
        with torch.inference_mode(), reduced:
            output = network(torch.from_numpy(batch).to(self.device)).float().cpu().numpy()
        return list(output[: len(windows)])


def _first_samples(source: Iterator[Audio], n_samples: int) -> Audio:
    """Return blocks from ``source`` joined, at least ``n_samples`` samples if it has as many."""
    taken = [np.zeros((2, 0), np.float32)]
    while sum(block.shape[1] for block in taken) < n_samples:
        block = next(source, None)
        if block is None:
            break
        taken.append(block)
    return np.concatenate(taken, 1)


def _usable_cores() -> int:
    """The cores this process may use: fewer than the machine has under taskset, Slurm or Docker."""
    has_affinity = hasattr(os, "sched_getaffinity")
    n_cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return min(n_cores, _MAX_DEFAULT_THREADS)


def _one_thread() -> None:
    # Windows run side by side, one thread each: two threads in one small window gain nothing, and a
    # sum split among threads could round differently from run to run.
    torch.set_num_threads(1)


def _ordered(
    pool: ThreadPoolExecutor,
    work: Callable[[list[_In]], list[_Out]],
    items: Iterable[_In],
    batch_size: int,
    in_flight: int,
) -> Iterator[_Out]:
    """Yield the results of ``work`` on batches of ``items``, in order, ``in_flight`` batches ahead."""
    waiting: deque[Future[list[_Out]]] = deque()
    batch: list[_In] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) < batch_size:
                continue
            waiting.append(pool.submit(work, batch))
            batch = []
            if len(waiting) >= in_flight:
                yield from waiting.popleft().result()
        if batch:
            waiting.append(pool.submit(work, batch))
        while waiting:
            yield from waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
