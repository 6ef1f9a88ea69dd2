"""K-weighting (ITU-R BS.1770-5) at 44.1 kHz, as a zero-phase filter for training losses."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from earzip.formats.geometry import SAMPLE_RATE

# Analog prototypes of the standard's 48 kHz table, realised here by the bilinear transform.
_SHELF_HZ, _SHELF_GAIN_DB, _SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
_HIGH_PASS_HZ, _HIGH_PASS_Q = 38.13547087602444, 0.5003270373238773
_SHELF_BAND_EXPONENT = 0.4996667741545416


def k_weighting_response(f_hz: Tensor, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """Return the complex response at ``f_hz``, complex128 of the same shape."""
    z = torch.exp(-2j * math.pi * f_hz.double() / sample_rate)
    k = math.tan(math.pi * _SHELF_HZ / sample_rate)
    high = 10 ** (_SHELF_GAIN_DB / 20)
    band = high**_SHELF_BAND_EXPONENT
    numerator = (
        high + band * k / _SHELF_Q + k * k,
        2 * (k * k - high),
        high - band * k / _SHELF_Q + k * k,
    )
    denominator = (1 + k / _SHELF_Q + k * k, 2 * (k * k - 1), 1 - k / _SHELF_Q + k * k)
    shelf = _ratio(numerator, denominator, z)
    k = math.tan(math.pi * _HIGH_PASS_HZ / sample_rate)
    a0 = 1 + k / _HIGH_PASS_Q + k * k
    denominator = (1.0, 2 * (k * k - 1) / a0, (1 - k / _HIGH_PASS_Q + k * k) / a0)
    return shelf * _ratio((1.0, -2.0, 1.0), denominator, z)


def _ratio(b: tuple[float, ...], a: tuple[float, ...], z: Tensor) -> Tensor:
    return (b[0] + b[1] * z + b[2] * z * z) / (a[0] + a[1] * z + a[2] * z * z)


@lru_cache(maxsize=8)
def _magnitude(n_fft: int, device: torch.device) -> Tensor:
    f_hz = torch.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE, dtype=torch.float64)
    return k_weighting_response(f_hz).abs().float().to(device)


def k_weight(audio: Tensor) -> Tensor:
    """Return ``audio`` ``[..., T]`` weighted with the magnitude of the K-weighting response.

    Zero phase, so that phase losses see the phases of the signal itself. The filter is as long as
    the padded signal: its tail is cut at the ends.
    """
    n = audio.shape[-1]
    n_fft = 1 << (n + 2047).bit_length()
    response = _magnitude(n_fft, audio.device).to(audio.dtype)
    weighted: Tensor = torch.fft.irfft(torch.fft.rfft(audio, n_fft) * response, n_fft)
    return weighted[..., :n]
