"""One track to latents and back, in windows of fixed geometry and bounded memory.

    frames   ...  |  context  |        core of window i        |  context  |  ...
    window i      [-----------|--------------------------------|-----------]
                                       kept ^                       cut ^

A model's context is at least as wide as what its networks can see, so a kept frame or sample does not
depend on where windows begin: there is nothing to cross-fade. On a CPU every window is one forward
pass on one thread, whatever the batch size and the number of threads, so the same audio gives the same
bytes; threads work on different windows. Any number of threads may code tracks with one codec at a
time: see `earzip.coding.windows`. In bfloat16 and float16 autocast runs what the network leaves to it
in that type; windows, latents and sound are float32 all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from earzip.arrays import Audio, Latents
from earzip.coding.gpu import arithmetic, fitting_batch, moved, set_arithmetic, wait_for_all
from earzip.coding.waiting import Network
from earzip.coding.windows import window_engine
from earzip.errors import UsageError
from earzip.formats.geometry import Geometry
from earzip.network import native
from earzip.network.ear import EarVae
from earzip.network.packed import packed
from earzip.network.vae import Vae
from earzip.runtime import PRECISIONS, TF32, usable_cores


class Codec:
    """A network with its geometry, on one device, in one of `earzip.runtime.PRECISIONS`.

    ``vae`` is moved to the device. ``threads`` is the number of windows computed side by side on a CPU
    (default: the cores this process may use, at most 16); ``batch_size`` the windows of one pass on a
    GPU (default: 16, or what its memory holds), where the last batch is padded to full size because
    results may depend on it. What a device cannot do `earzip.coding.device.choose_device` tells.
    Raises DeviceError where a GPU's memory is too small.
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
        # Spares half a window a track. On a GPU windows of one size share batches, and what the published
        # network makes of a frame depends on how many there are.
        self._ends_with_track = self.device.type == "cpu" and not isinstance(vae, EarVae)
        assert isinstance(vae, torch.nn.Module)
        moved(vae, self.device)
        fast = self.vae
        if self.device.type == "cpu" and precision != "float16":
            fast = packed(self.vae, getattr(torch, precision))
        if precision == "float32":  # else both are needed
            self.vae = fast
        # Made once: windows share a batch if the network is the same object.
        self._mean = self._network(lambda audio: fast.encode(audio).mean, precision)
        self._posterior = self._network(lambda audio: torch.stack(fast.encode(audio), 1), precision)
        self._decoder = self._network(fast.decode, precision)
        self._exact_decoder = self._network(self._decode_exactly, "float32")
        if self.device.type != "cpu":
            set_arithmetic(precision)
            batch_size = fitting_batch(self._try_batch, batch_size)
        self._engine = window_engine(
            self.device, threads=threads or usable_cores(), batch_size=batch_size or 1
        )

    def close(self) -> None:
        """End the worker threads, once no track is in progress."""
        self._engine.close()

    def encode(self, blocks: Iterable[Audio]) -> Iterator[Latents]:
        """Yield the posterior mean of each window's core, ``[D, F]``, F = core but for the last.

        ``blocks``: float32 ``[2, T]`` pieces of one track, ±1, 44.1 kHz, in order, of any lengths.
        """
        return self._encode(self._mean, blocks)

    def encode_posterior(self, blocks: Iterable[Audio]) -> Iterator[Latents]:
        """Yield mean and scale of each window's core, ``[2, D, F]``; otherwise as `encode`."""
        return self._encode(self._posterior, blocks)

    def decode(
        self, read: Callable[[int], Latents], n_samples: int, segments: range
    ) -> Iterator[Audio]:
        """Yield the samples of each of ``segments``, ``[2, T]``, cut to the track's ``n_samples``.

        ``read(i)`` returns the latents ``[D, F]`` of segment i; it is called once for each segment
        and for one neighbour on each side, in order.
        """
        g = self.geometry
        margin = g.decoder_context * g.hop
        windows = self._latent_windows(read, n_samples, segments)
        for audio, i in self._engine.computed(self._decoder, windows):
            core = audio[:, margin : margin + g.core * g.hop]
            start = i * g.core * g.hop - g.lead
            yield core[:, max(0, -start) : max(0, min(g.core * g.hop, n_samples - start))]

    def decode_ends(self, first: Latents, last: Latents, n_samples: int) -> Audio:
        """Return the first and the last sample of a track, float32 ``[2, 2]``, channels × samples.

        ``first``, ``last``: latents ``[D, F]`` of the track's first and last `end_frames` frames, or of
        all of them if it has fewer. For a network with an unbounded receptive field the result is close
        to that of `decode`, not equal. It is computed in float32 in every precision, like most restored
        tracks.
        """
        g = self.geometry
        behind = g.n_frames(n_samples) * g.hop - (n_samples + g.lead)
        begin, end = self._decode_alone(first, last)
        return np.stack([begin[:, g.lead], end[:, -1 - behind]], 1)

    @property
    def end_frames(self) -> int:
        """How many frames at an end of a track its outermost sample depends on."""
        g = self.geometry
        return g.decoder_context + 2 + g.lead // g.hop

    def _decode_alone(self, *pieces: Latents) -> list[Audio]:
        """Return what each piece, ``[D, F]``, decodes to with nothing around it, ``[2, F·hop]``."""
        g = self.geometry
        margin = g.decoder_context
        padded = [np.pad(latents, ((0, 0), (margin, margin))) for latents in pieces]
        # In batches of their own size: they would be a small part of a full one.
        computed = [
            self._engine.submit(self._exact_decoder, window, len(pieces)) for window in padded
        ]
        return [future.result()[:, margin * g.hop : -margin * g.hop or None] for future in computed]

    def _windows(self, blocks: Iterable[Audio]) -> Iterator[tuple[Audio, int]]:
        """Yield windows of audio ``[2, (core + 2·context)·hop]`` and the frames to keep of each.

        The last one is shorter where these frames and the context are enough.
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
            n_frames = min(left, g.core)
            if self._ends_with_track:
                size = n_frames * g.hop + 2 * margin
            window = rest[:, :size]
            yield np.pad(window, ((0, 0), (0, size - window.shape[1]))), n_frames
            rest = rest[:, core:]
            done += g.core

    def _latent_windows(
        self, read: Callable[[int], Latents], n_samples: int, segments: range
    ) -> Iterator[tuple[Latents, int]]:
        """Yield windows of latents ``[D, core + 2·context]`` and their segments.

        There are zeros beyond the track's ends; no more of them than the context, where that suffices.
        """
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
            core = now.shape[1] if self._ends_with_track and i + 1 == n_segments else g.core
            window = np.zeros((self.n_latents, core + 2 * context), np.float32)
            left = before[:, max(0, before.shape[1] - context) :]
            right = after[:, :context]
            window[:, context - left.shape[1] : context] = left
            window[:, context : context + now.shape[1]] = now
            window[:, context + core : context + core + right.shape[1]] = right
            yield window, i
            # A copy: a part would keep all of the segment.
            before, now = now[:, max(0, now.shape[1] - context) :].copy(), after

    def _encode(self, network: Network, blocks: Iterable[Audio]) -> Iterator[Latents]:
        context = self.geometry.encoder_context
        for latents, n_frames in self._engine.computed(network, self._windows(blocks)):
            yield latents[..., context : context + n_frames]

    def _decode_exactly(self, latents: Tensor) -> Tensor:
        with native.left_out():
            return self.vae.decode(latents)

    def _try_batch(self, n: int) -> None:
        """Encode and decode ``n`` windows of silence, with as much memory as ``n`` of sound take."""
        g = self.geometry
        audio = 2, (g.core + 2 * g.encoder_context) * g.hop
        latents = self.n_latents, g.core + 2 * g.decoder_context
        with torch.inference_mode():
            for network, shape in ((self._posterior, audio), (self._decoder, latents)):
                network(torch.zeros(n, *shape, device=self.device))
                wait_for_all(self.device)

    def _network(self, network: Callable[[Tensor], Tensor], precision: str) -> Network:
        """Return ``network`` computing in ``precision``."""
        dtype = torch.float32 if precision == TF32 else getattr(torch, precision)

        def run(batch: Tensor) -> Tensor:
            # In the thread that computes: autocast is thread-local.
            with (
                arithmetic(precision) if self.device.type != "cpu" else nullcontext(),
                torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32),
            ):
                return network(batch).float()

        return run


def _first_samples(source: Iterator[Audio], n_samples: int) -> Audio:
    """Return blocks from ``source`` joined, at least ``n_samples`` samples if it has as many."""
    taken = [np.zeros((2, 0), np.float32)]
    while sum(block.shape[1] for block in taken) < n_samples:
        block = next(source, None)
        if block is None:
            break
        taken.append(block)
    return np.concatenate(taken, 1)
