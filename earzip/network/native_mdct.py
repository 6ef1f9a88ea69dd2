"""The parts of an MDCT beside its FFT, in C (`earzip.native`), for what needs no gradients on a CPU.

They take one pass where tensors take ten, and give the same to the bit.
"""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

from earzip.native import LIBRARY

_MOST_BINS = 4096  # of native.c


def is_usable(x: Tensor, n_bins: int) -> bool:
    """Return whether ``x`` may be transformed here, in frames of ``n_bins``."""
    return (
        LIBRARY is not None
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and n_bins <= _MOST_BINS
        and n_bins % 4 == 0
        and not (torch.is_grad_enabled() and x.requires_grad)
    )


def forward(
    x: Tensor, starts: Tensor, kinds: Tensor, windows: Tensor, twiddle: Tensor
) -> Tensor:
    """Return the coefficients ``[..., F, n_bins]`` of frames of ``x`` ``[..., T]``.

    ``starts``: int64 ``[F]``, the first sample of each, zeros beyond the ends of ``x``; ``kinds``: uint8
    ``[F]``, which of ``windows`` ``[k, 2·n_bins]`` it has; ``twiddle``: ``[n_bins / 2, 2]``.
    """
    x = x.contiguous()
    n, n_frames = windows.shape[1] // 2, len(starts)
    z = x.new_empty(*x.shape[:-1], n_frames, n // 2, 2)
    rows = math.prod(x.shape[:-1])
    _call("mdct_fold", x, rows, x.shape[-1], n, starts, kinds, n_frames, windows, twiddle, z)
    z = _fft(z)
    result = x.new_empty(*x.shape[:-1], n_frames, n)
    _call("mdct_untwiddle", z, rows * n_frames, n, twiddle, math.sqrt(2 / n), result)
    return result


def add_inverse(
    out: Tensor, coefficients: Tensor, starts: Tensor, kinds: Tensor, windows: Tensor, twiddle: Tensor
) -> None:
    """Add the inverse of ``coefficients`` ``[..., F, up to n_bins]`` to ``out`` ``[..., T]``, in place."""
    coefficients = coefficients.contiguous()
    n, (n_frames, given) = windows.shape[1] // 2, coefficients.shape[-2:]
    rows = math.prod(coefficients.shape[:-2])
    z = out.new_empty(*coefficients.shape[:-1], n // 2, 2)
    _call("mdct_twiddle", coefficients, rows * n_frames, given, n, twiddle, z)
    z = _fft(z)
    scale, t = math.sqrt(2 / n), out.shape[-1]
    _call(
        "mdct_add", z, rows, n_frames, n, twiddle, scale, starts, kinds, windows, t, out
    )


def _fft(z: Tensor) -> Tensor:
    return torch.view_as_real(torch.fft.fft(torch.view_as_complex(z))).contiguous()


def _call(name: str, *arguments: Tensor | int | float) -> None:
    """Call a function of native.c: tensors by address, whole numbers as int64, others as float."""
    assert LIBRARY is not None
    converted = []
    for each in arguments:
        if isinstance(each, Tensor):
            assert each.is_contiguous()
            converted.append(ctypes.c_void_p(each.data_ptr()))
        else:
            converted.append(ctypes.c_int64(each) if isinstance(each, int) else ctypes.c_float(each))
    getattr(LIBRARY, name)(*converted)
