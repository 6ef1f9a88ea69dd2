"""What is beside the FFTs of transforms, in C (`earzip.native`), for what needs no gradients on a CPU.

It takes one pass where tensors take up to ten, and gives the same to the bit. Tensors are float32.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_float, c_int64

import torch
from torch import Tensor

from earzip import native
from earzip.native import array_of, procedure

_MOST_BINS = 4096  # of earzip.native

_Floats, _Complexes, _Doubles = (array_of(each) for each in ("float32", "complex64", "float64"))
_Indices, _Kinds = array_of("int64"), array_of("uint8")

_mdct_fold = procedure(
    "mdct_fold",
    *(_Floats, c_int64, c_int64, c_int64, _Indices, _Kinds, c_int64),
    *(_Floats, _Floats, _Floats),
)
_mdct_untwiddle = procedure("mdct_untwiddle", _Floats, c_int64, c_int64, _Floats, c_float, _Floats)
_mdct_twiddle = procedure("mdct_twiddle", _Floats, c_int64, c_int64, c_int64, _Floats, _Floats)
_mdct_add = procedure(
    "mdct_add",
    *(_Floats, c_int64, c_int64, c_int64, _Floats, c_float, _Indices, _Kinds),
    *(_Floats, c_int64, _Floats),
)
_stft_window, _stft_overlap = (
    procedure(name, _Floats, c_int64, c_int64, c_int64, _Floats, _Floats)
    for name in ("stft_window", "stft_overlap")
)
_SPECTRA = _Complexes, c_int64, c_int64, c_int64
_stft_powers = procedure("stft_powers", *_SPECTRA, _Floats)
_stft_scale = procedure("stft_scale", *_SPECTRA, _Floats, c_int64, _Indices, c_int64)
_stft_band_means = procedure("stft_band_means", *_SPECTRA, c_int64, _Indices, c_int64, _Floats)
_levels_features = procedure("levels_features", _Floats, c_int64, c_int64, c_int64, _Floats)
_levels_open = procedure(
    "levels_open",
    *(_Floats, _Floats, _Floats, _Floats, c_int64, c_int64, c_float, c_float, c_float),
    *(_Indices, c_int64, _Floats, _Floats, _Floats),
)
_levels_shape_energies = procedure(
    "levels_shape_energies", _Floats, _Floats, c_int64, c_int64, _Indices, c_int64, _Floats
)
_levels_draw = procedure(
    "levels_draw", _Floats, _Floats, _Floats, c_int64, c_int64, _Indices, c_int64, _Floats
)
_levels_measure = procedure(
    "levels_measure",
    *(_Complexes, c_int64, c_int64, c_int64, _Indices, c_int64, _Indices, c_int64),
    *(_Doubles, _Doubles, _Floats),
)
_levels_bits = procedure("levels_bits", _Floats, _Floats, c_int64, c_int64, c_int64, _Doubles)
_levels_weigh = procedure(
    "levels_weigh",
    *(_Floats, _Floats, _Floats, _Floats, c_int64, c_int64, c_int64, c_int64),
    _Floats,
)
_levels_pseudo_power = procedure("levels_pseudo_power", _Floats, c_int64, c_int64, _Floats)


_thread = threading.local()


@contextmanager
def left_out() -> Iterator[None]:
    """Let this thread compute as where nothing is compiled: what goes into archives is to be the same."""
    before = getattr(_thread, "is_left_out", False)
    _thread.is_left_out = True
    try:
        yield
    finally:
        _thread.is_left_out = before


def is_usable(x: Tensor, n_bins: int = 0) -> bool:
    """Return whether ``x``, float32 or complex64, with rows of ``n_bins``, is for these functions."""
    return (
        native.LIBRARY is not None
        and not getattr(_thread, "is_left_out", False)
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.complex64)
        and n_bins <= _MOST_BINS
        and not (torch.is_grad_enabled() and x.requires_grad)
    )


def is_mdct_usable(x: Tensor, n_bins: int) -> bool:
    """Return whether ``x`` is for an MDCT of ``n_bins`` here."""
    # Tensors of complex numbers round the last few otherwise if they are not a multiple of 16.
    return is_usable(x, n_bins) and n_bins % 32 == 0 and x.numel() > 0


def mdct(x: Tensor, starts: Tensor, kinds: Tensor, windows: Tensor, twiddle: Tensor) -> Tensor:
    """Return the coefficients ``[..., F, n_bins]`` of frames of ``x`` ``[..., T]``.

    ``starts``: int64 ``[F]``, the first sample of each, zeros beyond the ends of ``x``; ``kinds``: uint8
    ``[F]``, which of ``windows`` ``[k, 2·n_bins]`` it has; ``twiddle``: ``[n_bins / 2, 2]``.
    """
    x = x.contiguous()
    n, n_frames = windows.shape[1] // 2, len(starts)
    z = x.new_empty(*x.shape[:-1], n_frames, n // 2, 2)
    rows = math.prod(x.shape[:-1])
    _mdct_fold(x, rows, x.shape[-1], n, starts, kinds, n_frames, windows, twiddle, z)
    z = _fft(z)
    result = x.new_empty(*x.shape[:-1], n_frames, n)
    _mdct_untwiddle(z, rows * n_frames, n, twiddle, math.sqrt(2 / n), result)
    return result


def add_imdct(
    out: Tensor,
    coefficients: Tensor,
    starts: Tensor,
    kinds: Tensor,
    windows: Tensor,
    twiddle: Tensor,
) -> None:
    """Add the inverse of ``coefficients`` ``[..., F, up to n_bins]`` to ``out`` ``[..., T]``."""
    coefficients = coefficients.contiguous()
    n, (n_frames, given) = windows.shape[1] // 2, coefficients.shape[-2:]
    rows = math.prod(coefficients.shape[:-2])
    z = out.new_empty(*coefficients.shape[:-1], n // 2, 2)
    _mdct_twiddle(coefficients, rows * n_frames, given, n, twiddle, z)
    z = _fft(z)
    scale, t = math.sqrt(2 / n), out.shape[-1]
    _mdct_add(z, rows, n_frames, n, twiddle, scale, starts, kinds, windows, t, out)


def stft_frames(x: Tensor, window: Tensor) -> Tensor:
    """Return windowed frames ``[..., n + 1, 2·hop]`` of ``x`` ``[..., n·hop]``, zeros beyond its ends."""
    x = x.contiguous()
    hop = len(window) // 2
    *rows, t = x.shape
    n = t // hop
    frames = x.new_empty(*rows, n + 1, 2 * hop)
    _stft_window(x, math.prod(rows), n, hop, window, frames)
    return frames


def stft_overlap(frames: Tensor, window: Tensor) -> Tensor:
    """Return the sound ``[..., n·hop]`` of frames ``[..., n + 1, 2·hop]``, windowed once more."""
    frames = frames.contiguous()
    hop = len(window) // 2
    *rows, n_frames, _ = frames.shape
    sound = frames.new_empty(*rows, (n_frames - 1) * hop)
    _stft_overlap(frames, math.prod(rows), n_frames - 1, hop, window, sound)
    return sound


def stft_powers(spectra: Tensor) -> Tensor:
    """Return the powers ``[..., n, bins]`` of all but the last of ``spectra`` ``[..., n + 1, bins]``."""
    spectra = spectra.contiguous()
    *rows, n_spectra, bins = spectra.shape
    powers = torch.empty(*rows, n_spectra - 1, bins)
    _stft_powers(spectra, math.prod(rows), n_spectra - 1, bins, powers)
    return powers


def stft_scale(spectra: Tensor, gains: Tensor, edges: Tensor) -> None:
    """Multiply ``spectra`` ``[..., n + 1, bins]`` but the last by ``gains`` ``[..., m, bands]``.

    m divides n. ``edges``: int64 ``[bands + 1]``, in bins; what is outside stays.
    """
    assert spectra.is_contiguous()
    gains = gains.contiguous()
    *rows, n_spectra, bins = spectra.shape
    n, (m, bands) = n_spectra - 1, gains.shape[-2:]
    _stft_scale(spectra, math.prod(rows), n, bins, gains, n // m, edges, bands)


def stft_band_means(spectra: Tensor, n_parts: int, edges: Tensor) -> Tensor:
    """Return the mean powers of a bin, ``[..., n_parts, bands]``, of all but the last of ``spectra``.

    ``spectra``: ``[..., n + 1, bins]``; the rest as `stft_scale`.
    """
    spectra = spectra.contiguous()
    *rows, n_spectra, bins = spectra.shape
    n, bands = n_spectra - 1, len(edges) - 1
    means = torch.empty(*rows, n_parts, bands)
    _stft_band_means(spectra, math.prod(rows), n, bins, n // n_parts, edges, bands, means)
    return means


def levels_features(fine: Tensor, n_together: int) -> Tensor:
    """See `earzip.network.drawing.features`; ``fine``: ``[1, 2, T, bins]``."""
    fine = fine.contiguous()
    t, bins = fine.shape[2:]
    result = fine.new_empty(1, t // n_together, n_together * 4 * bins)
    _levels_features(fine, t, bins, n_together, result)
    return result


def levels_open(
    fine: Tensor,
    gates: Tensor,
    rms: Tensor,
    doubtful: Tensor,
    gate_range: tuple[float, float],
    sure: float,
    edges: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `earzip.network.drawing.open_coefficients`; ``fine``: ``[1, 2, T, bins]``."""
    fine, gates = fine.contiguous(), gates.contiguous()
    t, bins = fine.shape[2:]
    bands = len(edges) - 1
    opened = torch.empty_like(fine)
    before, after = (fine.new_empty(1, 2, t, bands) for _ in range(2))
    _levels_open(fine, gates, rms, doubtful, t, bins, *gate_range, sure, edges, bands, opened,
        before, after,
    )  # fmt: skip
    return opened, before, after


def levels_shape_energies(shapes: Tensor, rms: Tensor, edges: Tensor) -> Tensor:
    """See `earzip.network.drawing.shape_energies`; ``shapes``: ``[1, T, 2, bins]``."""
    shapes = shapes.contiguous()
    _, t, _, bins = shapes.shape
    energies = shapes.new_empty(1, 2, t, len(edges) - 1)
    _levels_shape_energies(shapes, rms, t, bins, edges, len(edges) - 1, energies)
    return energies


def levels_draw(
    coefficients: Tensor, shapes: Tensor, rms: Tensor, amplitudes: Tensor, edges: Tensor
) -> None:
    """See `earzip.network.drawing.with_drawn`; in place."""
    shapes, amplitudes = shapes.contiguous(), amplitudes.contiguous()
    _, t, _, bins = shapes.shape
    _levels_draw(shapes, rms, amplitudes, t, bins, edges, len(edges) - 1, coefficients)


def levels_measure(
    spectra: Tensor, each: int, edges: Tensor, attack_edges: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """See `earzip.network.levels._energies`, of a sound alone; ``each``: how many blocks a part has."""
    spectra = spectra.contiguous()
    _, n_spectra, bins = spectra.shape
    n, bands, attack_bands = n_spectra - 1, len(edges) - 1, len(attack_edges) - 1
    means = torch.empty(2, n // each, bands, dtype=torch.float64)
    mid = torch.empty(n // each, bands, dtype=torch.float64)
    attack = torch.empty(n, attack_bands)
    _levels_measure(spectra, n, bins, each, edges, bands, attack_edges, attack_bands, means, mid,
        attack,
    )  # fmt: skip
    return means, mid, attack


def levels_bits(coefficients: Tensor, steps: Tensor) -> Tensor:
    """Return Σ log₂(1 + |c| / step), float64 ``[F]``, of ``coefficients`` ``[2, F, n]``.

    ``steps``: ``[2, up to n]``; what is beyond does not count.
    """
    coefficients = coefficients.contiguous()
    _, n_frames, n = coefficients.shape
    bits = torch.zeros(n_frames, dtype=torch.float64)
    for of_channel, of_steps in zip(coefficients, steps, strict=True):
        _levels_bits(of_channel, of_steps, n_frames, n, steps.shape[1], bits)
    return bits


def levels_weigh(
    coefficients: Tensor, steps: Tensor, coded: Tensor, worth: Tensor, out: Tensor
) -> None:
    """Write ``coefficients`` ``[2, F, n]`` over ``steps`` ``[2, m]``, weighed, into ``out`` ``[F, …]``.

    ``coded``: ``[F, m]``; ``worth``: ``[F, 2·m]``. The first 2·m of a frame are written.
    """
    coefficients, coded, worth = (x.contiguous() for x in (coefficients, coded, worth))
    _, n_frames, n = coefficients.shape
    size = n_frames, n, steps.shape[1], out.shape[1]
    _levels_weigh(coefficients, steps, coded, worth, *size, out)


def levels_pseudo_power(coefficients: Tensor) -> Tensor:
    """Return the powers of `earzip.network.levels.tonal_cells`, ``[F, n]``, of ``[2, F, n]``."""
    coefficients = coefficients.contiguous()
    power = coefficients.new_empty(coefficients.shape[1:])
    _levels_pseudo_power(coefficients, *power.shape, power)
    return power


def _fft(z: Tensor) -> Tensor:
    return torch.view_as_real(torch.fft.fft(torch.view_as_complex(z))).contiguous()
