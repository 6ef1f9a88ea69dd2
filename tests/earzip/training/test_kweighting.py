from __future__ import annotations

import pytest
import torch

from earzip.training.kweighting import k_weight, k_weighting_response

# ITU-R BS.1770-5, annex 1, tables 1 and 2: the two filters at 48 kHz.
SHELF = (
    [1.53512485958697, -2.69169618940638, 1.19839281085285],
    [1.0, -1.69065929318241, 0.73248077421585],
)
HIGH_PASS = ([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621])


def standard_response(f_hz: torch.Tensor) -> torch.Tensor:
    z = torch.exp(-2j * torch.pi * f_hz / 48_000)
    response = torch.ones_like(z)
    for b, a in (SHELF, HIGH_PASS):
        response = (
            response
            * sum(c * z**i for i, c in enumerate(b))
            / sum(c * z**i for i, c in enumerate(a))
        )
    return response


def decibels(response: torch.Tensor) -> torch.Tensor:
    return 20 * torch.log10(response.abs())


def test_response_is_the_standards_at_48_khz() -> None:
    f_hz = torch.logspace(1, 4.35, 200, dtype=torch.float64)
    got, expected = decibels(k_weighting_response(f_hz, 48_000)), decibels(standard_response(f_hz))
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)


def test_response_at_44100_is_within_a_tenth_of_a_decibel() -> None:
    f_hz = torch.logspace(1, 4.3, 200, dtype=torch.float64)
    got, expected = decibels(k_weighting_response(f_hz)), decibels(standard_response(f_hz))
    torch.testing.assert_close(got, expected, atol=0.1, rtol=0)


@pytest.mark.parametrize("f_hz", [50.0, 1000.0, 8000.0])
def test_a_sine_keeps_its_phase_and_gets_the_gain(f_hz: float) -> None:
    t = torch.arange(65_536, dtype=torch.float64) / 44_100
    sine = torch.sin(2 * torch.pi * f_hz * t)
    gain = float(k_weighting_response(torch.tensor([f_hz])).abs())
    middle = slice(30_000, 36_000)
    torch.testing.assert_close(k_weight(sine)[middle], gain * sine[middle], atol=2e-3, rtol=0)
