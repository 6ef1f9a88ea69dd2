"""Levels of a network that holds bands to what an archive says of them: measured, and applied.

Level bands are disjoint ranges of bins of the fine MDCT. Four kinds of latents describe them, all of
them measured and none learned: the level of each band in a frame, of mid and of side; how the later
half of the frame differs from the earlier one; the course of an attack in blocks of 2.9 ms; and
where the sound is tonal, so that nothing is to be drawn there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from earzip.model.config import SAMPLE_RATE

FLOOR = 1e-9  # of a coefficient's mean energy: −90 dB
ATTACK_EDGES_HZ = (700, 1400, 2800, 5600, 10_000, 21_000)
N_ATTACK_BANDS = len(ATTACK_EDGES_HZ) - 1
ATTACK_HOP = 128  # 2.9 ms
ATTACK_SIZE = 2 * ATTACK_HOP
TONAL_STEP = 8.0  # what stands for 1 in a latent that is 0 or 1: far above any step

_LEAST_MODULATION_DB = 5.0  # RMS of an attack's course, and more than noise has by chance
_STRONGEST_DB = 40.0  # of a course
_TONAL_FLATNESS_DB = -14.0
_FIRST_HZ, _LAST_HZ, _N_LOG_BANDS = 1400.0, 14_000.0, 20
_LOWER_HZ, _UPPER_HZ = (690.0, 905.0, 1120.0), (16_000.0, 18_500.0, 20_700.0)


def level_edges(fine_hop: int) -> list[int]:
    """Return the first bin of each level band and the end of the last, in bins of the fine MDCT.

    Twenty bands of a sixth of an octave from 1.4 to 14 kHz, three below and three above.
    """
    width_hz = SAMPLE_RATE / 2 / fine_hop
    ratio = (_LAST_HZ / _FIRST_HZ) ** (1 / _N_LOG_BANDS)
    logarithmic = [_FIRST_HZ * ratio**i for i in range(_N_LOG_BANDS + 1)]
    edges = [round(hz / width_hz) for hz in (*_LOWER_HZ, *logarithmic, *_UPPER_HZ)]
    for i in range(1, len(edges)):
        edges[i] = max(edges[i], edges[i - 1] + 1)
    return edges


def band_matrix(edges: list[int], n_bins: int) -> Tensor:
    """Return float32 ``[bands, n_bins]``, 1 where a bin belongs to a band."""
    bins = torch.arange(n_bins)
    first, end = torch.tensor(edges[:-1])[:, None], torch.tensor(edges[1:])[:, None]
    return ((bins >= first) & (bins < end)).float()


def to_db(energy: Tensor) -> Tensor:
    """Return ``energy`` of a coefficient in dB, not below the floor."""
    return 10 * torch.log10(energy + FLOOR)


def from_db(level: Tensor) -> Tensor:
    """Return the energy at ``level``, the inverse of `to_db`; 0 at the floor and below."""
    return (torch.exp(level * (math.log(10) / 10)) - FLOOR).clamp(min=0)


class AttackTransform:
    """The short Fourier transform, sine windows of 256, in which an attack's course is measured."""

    def __init__(self) -> None:
        n = torch.arange(ATTACK_SIZE, dtype=torch.float64)
        self.window = torch.sin(math.pi * (n + 0.5) / ATTACK_SIZE).float()
        width_hz = SAMPLE_RATE / ATTACK_SIZE
        edges = [round(hz / width_hz) for hz in ATTACK_EDGES_HZ]
        self.first, self.end = edges[0], edges[-1]
        self.bands = band_matrix(edges, ATTACK_SIZE // 2 + 1)

    def forward(self, audio: Tensor) -> Tensor:
        """Return the spectrum ``[..., blocks + 1, bins]`` of ``audio`` ``[..., blocks · 128]``.

        Spectrum i is centred on the beginning of block i.
        """
        padded = F.pad(audio, (ATTACK_HOP, ATTACK_HOP))
        frames = padded.unfold(-1, ATTACK_SIZE, ATTACK_HOP) * self.window.to(audio.device)
        spectrum: Tensor = torch.fft.rfft(frames)
        return spectrum

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Return the audio of `forward`."""
        frames = torch.fft.irfft(spectrum, ATTACK_SIZE) * self.window.to(spectrum.device)
        left, right = frames.split(ATTACK_HOP, -1)
        return (left[..., 1:, :] + right[..., :-1, :]).flatten(-2)

    def energies(self, spectrum: Tensor) -> Tensor:
        """Return the energies ``[B, blocks, bands]`` of both channels of `forward` together.

        Those of a block are of the spectrum that is centred on its beginning.
        """
        power = torch.view_as_real(spectrum[..., :-1, :]).square().sum((1, -1))
        energies: Tensor = power @ self.bands.t().to(power.device)
        return energies


class Course(NamedTuple):
    """How energies move in attack frames."""

    course_db: Tensor
    """``[B, F, blocks, bands]`` in dB over the frame's mean; 0 in all frames but those of attacks."""
    is_attack: Tensor
    """Bool ``[B, F]``."""


def attack_course(energies: Tensor, n_blocks: int) -> Course:
    """Return the course of an attack in each frame of ``n_blocks`` blocks, from `energies`."""
    by_frame = energies.unflatten(1, (-1, n_blocks))
    mean = by_frame.mean(2, keepdim=True)
    floor = ATTACK_SIZE * FLOOR
    course = 10 * torch.log10((by_frame + floor) / (mean + floor))
    course = course.clamp(-_STRONGEST_DB, _STRONGEST_DB)
    is_attack = course.square().mean((2, 3)).sqrt() > _LEAST_MODULATION_DB
    return Course(course * is_attack[..., None, None], is_attack)


def apply_course(audio: Tensor, course_db: Tensor, transform: AttackTransform) -> Tensor:
    """Return ``audio`` ``[B, 2, F · hop]`` with the course of its energies as given.

    ``course_db``: as `Course.course_db`; frames where it is 0 throughout stay as they are.
    """
    is_attack = (course_db != 0).any(-1).any(-1)
    if not is_attack.any():
        return audio
    n_blocks = course_db.shape[2]
    spectrum = transform.forward(audio)
    energies = transform.energies(spectrum).unflatten(1, (-1, n_blocks))
    mean = energies.mean(2, keepdim=True)
    floor = ATTACK_SIZE * FLOOR
    wanted = torch.exp(course_db * (math.log(10) / 10)) * mean
    gain = torch.sqrt((wanted + floor) / (energies + floor)).clamp(0.01, 4.0)
    gain = torch.where(is_attack[..., None, None], gain, torch.ones_like(gain)).flatten(1, 2)
    of_bins = (gain - 1) @ transform.bands.to(gain.device) + 1
    return transform.inverse(spectrum * F.pad(of_bins, (0, 0, 0, 1), value=1.0)[:, None])


def tonal_cells(coefficients: Tensor, edges: list[int]) -> Tensor:
    """Return where the sound is tonal: bool ``[B, F, bands]``, bands in bins of ``coefficients``.

    ``coefficients``: ``[B, 2, F, n]`` of the long MDCT. The flatness (geometric over arithmetic mean) is
    that of the pseudo-spectrum c²_k + (c_{k+1} − c_{k−1})², which hardly depends on the phase (Daudet
    and Sandler, "MDCT analysis of sinusoids", 2004), of the channels' mean.
    """
    beside = F.pad(coefficients, (1, 1))
    pseudo = coefficients.square() + (beside[..., 2:] - beside[..., :-2]).square()
    power = pseudo.mean(1) + FLOOR
    bands = band_matrix(edges, power.shape[-1]).to(power.device)
    bands = bands / bands.sum(1, keepdim=True)
    log_mean = (10 * torch.log10(power)) @ bands.t()
    mean_log = 10 * torch.log10(power @ bands.t())
    is_audible = mean_log > 10 * math.log10(FLOOR) + 10
    return ((log_mean - mean_log) < _TONAL_FLATNESS_DB) & is_audible
