"""The network that makes one grade of PEAQ's variables (ITU-R BS.1387-2, annex 2, section 6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LEAST = np.array(
    [
        *(393.916656, 361.965332, -24.045116, 1.110661, -0.206623, 0.074318),
        *(1.113683, 0.950345, 0.029985, 0.000101, 0.0),
    ]
)
_GREATEST = np.array(
    [
        *(921.0, 881.131226, 16.212030, 107.137772, 2.886017, 13.933351),
        *(63.257874, 1145.018555, 14.819740, 1.0, 1.0),
    ]
)
_TO_HIDDEN = np.array(
    [
        [-0.502657, 0.436333, 1.219602],
        [4.307481, 3.246017, 1.123743],
        [4.984241, -2.211189, -0.192096],
        [0.051056, -1.762424, 4.331315],
        [2.321580, 1.789971, -0.754560],
        [-5.303901, -3.452257, -10.814982],
        [2.730991, -6.111805, 1.519223],
        [0.624950, -1.331523, -5.955151],
        [3.102889, 0.871260, -5.922878],
        [-1.051468, -0.939882, -0.142913],
        [-1.804679, -0.503610, -0.620456],
    ]
)
_HIDDEN_BIAS = np.array([-2.518254, 0.654841, -2.207228])
_TO_INDEX = np.array([-3.817048, 4.107138, 4.629582])
_INDEX_BIAS = -0.307594
_WORST_GRADE, _BEST_GRADE = -3.98, 0.22


def distortion_index(variables: Sequence[float]) -> float:
    """Return the distortion index of the eleven output variables, in the standard's order."""
    scaled = (np.array(variables) - _LEAST) / (_GREATEST - _LEAST)
    hidden = _sigmoid(_HIDDEN_BIAS + scaled @ _TO_HIDDEN)
    return float(_INDEX_BIAS + hidden @ _TO_INDEX)


def objective_difference_grade(index: float) -> float:
    """Return the grade of a distortion index: −3.98 to 0.22."""
    return float(_WORST_GRADE + (_BEST_GRADE - _WORST_GRADE) * _sigmoid(np.array(index)))


def _sigmoid(
    x: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return 1 / (1 + np.exp(-x))
