"""What an archive says of sound beside coefficients, as a decoder of levels needs it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from earzip.network import levels, onsets, short_transform

ENERGY_FLOOR = 1e-12
_LEAST_MISSING = 0.005  # of a band's energy, that a decoder takes to be missing
_DRAWN_RANGE = (-6.0, 0.7)  # nepers, of what a band lacks
_TONAL_DRAWN = -2.3  # nepers: what little is drawn between partials
_DB = math.log(10) / 10  # nepers of energy


class Described(NamedTuple):
    """What latents beside coefficients say; as `levels.Measured` has it."""

    level_db: Tensor
    balance_db: Tensor
    width_db: Tensor
    """``[B, F, n_levels]``."""
    half_db: Tensor
    course_db: Tensor
    is_tonal: Tensor
    """Bool ``[B, F, n_levels]``."""
    is_short: Tensor
    """Bool ``[B, F]``."""
    onset: onsets.Onset

    def of_frames(self, at: slice) -> Described:
        """Return what is said of the frames ``at``."""
        onset = onsets.Onset(*(x[:, at] for x in self.onset))
        return self._replace(
            level_db=self.level_db[:, at],
            balance_db=self.balance_db[:, at],
            width_db=self.width_db[:, at],
            half_db=self.half_db[:, at],
            course_db=self.course_db[:, at],
            is_tonal=self.is_tonal[:, at],
            is_short=self.is_short[:, at],
            onset=onset,
        )

    def lacking(self, coded: Tensor) -> Tensor:
        """Return what mid and side lack of the energy of a bin: ``[B, 2, F, n_levels]``.

        ``coded``: what they have, of that shape.
        """
        both = levels.from_db(self.level_db)
        side = torch.sigmoid(_DB * self.width_db)
        wanted = torch.stack([both * (1 - side), both * side], 1)
        return (wanted - coded).clamp(min=0) + _LEAST_MISSING * wanted + ENERGY_FLOOR

    def amplitudes(self, energies: Tensor, gains: Tensor, lacking: Tensor) -> Tensor:
        """Return by what to multiply shapes to get the energies ``lacking``: ``[B, 2, F', n_levels]``.

        ``energies``: of a bin of shapes, ``[B, 2, F', n_levels]``; ``gains``: of that shape, nepers,
        what a network adds; ``lacking``: ``[B, 2, F, n_levels]``.
        """
        n_fine = energies.shape[2] // lacking.shape[2]
        wanted = lacking[:, :, :, None] * self.shares(n_fine)[:, None]
        bounded = gains.clamp(*_DRAWN_RANGE).unflatten(2, (-1, n_fine))
        bounded = bounded + _TONAL_DRAWN * self.is_tonal[:, None, :, None]
        of_shapes = energies.unflatten(2, (-1, n_fine)) + ENERGY_FLOOR
        return (torch.sqrt(wanted / of_shapes) * torch.exp(bounded)).flatten(2, 3)

    def targets(self) -> Tensor:
        """Return the energies of a bin of left and right, ``[B, 2, F, 2, n_levels]``, by halves."""
        both = levels.from_db(self.level_db)
        of_left = torch.sigmoid(2 * _DB * self.balance_db)
        of_channels = torch.stack([both * of_left, both * (1 - of_left)], 1)
        late = 2 * torch.sigmoid(2 * _DB * self.half_db)
        return of_channels[:, :, :, None] * torch.stack([2 - late, late], 2)[:, None]

    def shares(self, n_fine: int) -> Tensor:
        """Return the energies of parts of a frame over their mean: ``[B, F, n_fine, n_levels]``."""
        ratio = torch.exp(2 * _DB * self.half_db)
        early = 2 / (1 + ratio)
        halves = torch.stack([early, 2 - early], 2).repeat_interleave(n_fine // 2, 2)
        is_attack = (self.course_db != 0).any(-1).any(-1)
        if not is_attack.any():
            return halves
        power = torch.exp(_DB * self.course_db).unflatten(2, (n_fine, -1)).mean(3)
        power = power / power.mean(2, keepdim=True)
        middles = [0.5 * (a + b) for a, b in pairwise(short_transform.EDGES)]
        inner = short_transform.ATTACK_EDGES[1:-1]
        of_level = [sum(middle >= edge for edge in inner) for middle in middles]
        return torch.where(is_attack[:, :, None, None], power[..., of_level], halves)
