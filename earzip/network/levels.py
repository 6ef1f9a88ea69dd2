"""The levels of bands that an archive stores: measured, and applied.

All are measured in a short Fourier transform (sine windows of 256 samples, every 128): the energies of
an MDCT depend on phase, and held to those a band of noise is 2 dB off. A frame is 16 such spectra.
Latents say, all of them measured and none learned: the level of each band in a frame, both channels
together; the balance of left and right; the width, side over mid; how the later half of the frame
differs from the earlier one; the course of an attack, spectrum by spectrum, and where exactly its
strongest onset is; and where the sound is tonal, so that nothing is to be drawn there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from earzip.network import native
from earzip.network.onsets import Onset, find_onset
from earzip.network.short_transform import (
    ATTACK_EDGES,
    EDGES,
    FLOOR,
    HOP,
    ShortTransform,
    band_matrix,
    band_means,
    power,
    scale_bands,
)

TONAL_STEP = 8.0  # what stands for 1 in a latent that is 0 or 1: far above any step

_LEAST_MODULATION_DB = 5.0  # RMS of an attack's course, and more than noise has by chance
_STRONGEST_DB = 40.0  # of a course
_TONAL_FLATNESS_DB = -14.0
_DB = math.log(10) / 10  # nepers of energy
_HOLD_RANGE_DB = (-20.0, 12.0)
_MOST_TONAL_HOLD_DB = 9.0
PLAY_DB = 0.5
"""Within which a band's level is left as it is."""


def fine_edges(n_bins: int) -> list[int]:
    """Return `EDGES` in bins of an MDCT of ``n_bins``."""
    ratio = n_bins / HOP
    return [round((edge - 0.5) * ratio) for edge in EDGES]


def to_db(energy: Tensor) -> Tensor:
    """Return ``energy`` of a coefficient in dB, not below the floor, float32."""
    return (10 * torch.log10(energy + FLOOR)).float()


def from_db(level: Tensor) -> Tensor:
    """Return the energy at ``level``, the inverse of `to_db`; 0 at the floor and up to 3 dB above it.

    So silence is silent, whichever way its level was rounded.
    """
    energy = torch.exp(level * _DB) - FLOOR
    return torch.where(energy > FLOOR, energy, torch.zeros_like(energy))


class Course(NamedTuple):
    """How energies move in attack frames."""

    course_db: Tensor
    """``[B, F, blocks, attack bands]`` in dB over the frame's mean; 0 but in frames of attacks."""
    is_attack: Tensor
    """Bool ``[B, F]``."""


def attack_course(energies: Tensor, n_blocks: int) -> Course:
    """Return the course of an attack in each frame of ``n_blocks`` spectra.

    ``energies``: ``[B, F · n_blocks, attack bands]`` of both channels together.
    """
    by_frame = energies.unflatten(1, (-1, n_blocks))
    course = 10 * torch.log10((by_frame + FLOOR) / (by_frame.mean(2, keepdim=True) + FLOOR))
    course = course.clamp(-_STRONGEST_DB, _STRONGEST_DB)
    is_attack = course.square().mean((2, 3)).sqrt() > _LEAST_MODULATION_DB
    return Course(course * is_attack[..., None, None], is_attack)


class Measured(NamedTuple):
    """What is measured of a sound, frame by frame."""

    level_db: Tensor
    """``[B, F, N_LEVELS]``: mean energy of a bin, left and right together."""
    balance_db: Tensor
    """``[B, F, N_LEVELS]``: half of left over right."""
    width_db: Tensor
    """``[B, F, N_LEVELS / 2]``: side over mid, in pairs of bands."""
    half_db: Tensor
    """``[B, F, N_LEVELS]``: half of the later half over the earlier; 0 in attacks."""
    course: Course
    onset: Onset


def _energies(
    spectra: Tensor, n_blocks: int, transform: ShortTransform
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean energies of a bin, and of attacks, of ``spectra`` ``[B, 2, blocks + 1, 129]``.

    Those of left and right are ``[B, 2, F, 2, N_LEVELS]``, by halves of frames, those of mid
    ``[B, F, 2, N_LEVELS]``, both float64: so they are the same in whichever order they are added. Those
    of `ATTACK_EDGES` are sums of both channels by block, float32 ``[B, blocks, attack bands]``.
    """
    half = n_blocks // 2
    if native.is_usable(spectra):
        found = [
            native.levels_measure(x, half, torch.tensor(EDGES), torch.tensor(ATTACK_EDGES))
            for x in spectra
        ]
        means, mid, attack = (torch.stack(each) for each in zip(*found, strict=True))
    else:
        of_parts = torch.view_as_real(spectra[..., :-1, :]).double()
        powers = of_parts.square().sum(-1)
        of_mid = 0.5 * of_parts.sum(1).square().sum(-1)
        bands = transform.bands.to(spectra.device).double()
        means, mid = (
            (x @ bands.t() / bands.sum(1)).unflatten(-2, (-1, half)).mean(-2)
            for x in (powers, of_mid)
        )
        attack = (powers.sum(1) @ transform.attack_bands.to(spectra.device).double().t()).float()
    return means.unflatten(-2, (-1, 2)), mid.unflatten(-2, (-1, 2)), attack


def _of_pairs(means: Tensor) -> Tensor:
    """Return mean energies of a bin in pairs of bands ``[..., N_LEVELS / 2]``."""
    edges = torch.tensor(EDGES, device=means.device)
    sizes = edges.diff().to(means.dtype)
    sums, of_pairs = (x.unflatten(-1, (-1, 2)).sum(-1) for x in (means * sizes, sizes))
    result: Tensor = sums / of_pairs
    return result


def in_pieces(n_frames: int, piece: int | None) -> Iterator[tuple[slice, slice, slice]]:
    """Yield for every ``piece`` frames, or all of them, three ranges.

    They are the frames of the piece; those and the frame on either side, into which spectra reach; and
    where among these the first ones are.
    """
    for start in range(0, n_frames, piece or max(n_frames, 1)):
        stop = min(start + (piece or n_frames), n_frames)
        first = max(start - 1, 0)
        near = slice(first, min(stop + 1, n_frames))
        yield slice(start, stop), near, slice(start - first, stop - first)


def of_bands(
    sound: Tensor, n_blocks: int, transform: ShortTransform, piece: int | None = None
) -> Tensor:
    """Return the mean energies of a bin, ``[B, 2, F, N_LEVELS]``, of ``sound``, mid and side.

    ``sound``: ``[B, 2, F · n_blocks · 128]``; ``piece``: as `measure`.
    """
    size = n_blocks * HOP
    found = []
    for _, near, inside in in_pieces(sound.shape[-1] // size, piece):
        spectra = transform.forward(sound[..., near.start * size : near.stop * size])
        found.append(band_means(spectra, near.stop - near.start)[:, :, inside])
    return torch.cat(found, 2)


def _energies_in_pieces(
    audio: Tensor, n_blocks: int, transform: ShortTransform, piece: int | None
) -> tuple[Tensor, ...]:
    """Return `_energies` of the spectra of ``audio`` ``[B, 2, F · n_blocks · 128]``."""
    size = n_blocks * HOP
    found = []
    for _, near, inside in in_pieces(audio.shape[-1] // size, piece):
        spectra = transform.forward(audio[..., near.start * size : near.stop * size])
        means, mid, attack = _energies(spectra, n_blocks, transform)
        blocks = slice(inside.start * n_blocks, inside.stop * n_blocks)
        found.append((means[:, :, inside], mid[:, inside], attack[:, blocks]))
    return tuple(
        torch.cat(each, axis)
        for each, axis in zip(zip(*found, strict=True), (2, 1, 1), strict=True)
    )


def measure(
    audio: Tensor, n_blocks: int, transform: ShortTransform, piece: int | None = None
) -> Measured:
    """Return what is measured of ``audio`` ``[B, 2, F · n_blocks · 128]``, left and right.

    ``piece``: frames to work on together, which changes nothing but the memory that is needed.
    """
    means, mid, attack = _energies_in_pieces(audio, n_blocks, transform, piece)
    left, right = to_db(means.mean(3)).unbind(1)
    both = means.sum(1)
    early, late = to_db(both).unbind(2)
    course = attack_course(attack, n_blocks)
    of_mid, of_side = (to_db(_of_pairs(x).mean(2)) for x in (mid, (both - mid).clamp(min=0)))
    return Measured(
        to_db(both.mean(2)),
        (0.5 * (left - right)).clamp(-15, 15),
        (of_side - of_mid).clamp(-30, 15),
        (0.5 * (late - early)).clamp(-15, 15) * ~course.is_attack[..., None],
        course,
        find_onset(audio, course.is_attack),
    )


def hold(
    audio: Tensor,
    targets: Tensor,
    is_tonal: Tensor,
    course_db: Tensor,
    transform: ShortTransform,
    piece: int | None = None,
) -> Tensor:
    """Return ``audio`` ``[B, 2, F · n_blocks · 128]`` held to levels, and to the course of attacks.

    ``targets``: energies ``[B, 2, F, parts, N_LEVELS]`` of a bin, of left and right, in equal parts of
    a frame. ``is_tonal``: bool ``[B, F, N_LEVELS]``, where levels are raised less. ``course_db``:
    as `Course.course_db`; frames where it is 0 throughout have none. ``piece``: as `measure`.
    """
    n_frames = targets.shape[2]
    size = course_db.shape[2] * HOP
    if piece is None:
        return _hold(audio, targets, is_tonal, course_db, transform)
    held = torch.empty_like(audio)
    for at, near, inside in in_pieces(n_frames, piece):
        sound = audio[..., near.start * size : near.stop * size]
        part = _hold(sound, targets[:, :, near], is_tonal[:, near], course_db[:, near], transform)
        held[..., at.start * size : at.stop * size] = part[
            ..., inside.start * size : inside.stop * size
        ]
    return held


def _hold(
    audio: Tensor,
    targets: Tensor,
    is_tonal: Tensor,
    course_db: Tensor,
    transform: ShortTransform,
) -> Tensor:
    spectra = transform.forward(audio)
    n_blocks = course_db.shape[2]
    n_parts = targets.shape[3]
    own = band_means(spectra, targets.shape[2] * n_parts).unflatten(2, (-1, n_parts))
    is_attack = (course_db != 0).any(-1).any(-1)
    if bool(is_attack.any()):  # whose parts the course tells
        attack = is_attack[:, None, :, None, None]
        own = torch.where(attack, own.mean(3, keepdim=True), own)
        targets = torch.where(attack, targets.mean(3, keepdim=True), targets)
    off_db = torch.log((targets + FLOOR) / (own + FLOOR)) / _DB
    raised = off_db.sign() * (off_db.abs() - PLAY_DB).clamp(min=0)
    raised = raised.clamp(*_HOLD_RANGE_DB)
    tonal = is_tonal[:, None, :, None]
    raised = torch.where(tonal, raised.clamp(max=_MOST_TONAL_HOLD_DB), raised)
    spectra = scale_bands(spectra, torch.exp(0.5 * _DB * raised).flatten(2, 3), EDGES)
    if bool(is_attack.any()):
        bands = transform.attack_bands.to(audio.device)
        energies = (power(spectra).sum(1) @ bands.t()).unflatten(1, (-1, n_blocks))
        wanted = torch.exp(_DB * course_db) * energies.mean(2, keepdim=True)
        gain = torch.sqrt((wanted + FLOOR) / (energies + FLOOR)).clamp(0.01, 4.0)
        gain = torch.where(is_attack[..., None, None], gain, torch.ones_like(gain)).flatten(1, 2)
        of_channels = gain[:, None].expand(-1, spectra.shape[1], -1, -1)
        spectra = scale_bands(spectra, of_channels, ATTACK_EDGES)
    return transform.inverse(spectra)


def tonal_cells(coefficients: Tensor, edges: list[int]) -> Tensor:
    """Return where the sound is tonal: bool ``[B, F, bands]``, bands in bins of ``coefficients``.

    ``coefficients``: ``[B, 2, F, n]`` of the long MDCT. The flatness (geometric over arithmetic mean) is
    that of the pseudo-spectrum c²_k + (c_{k+1} − c_{k−1})², which hardly depends on the phase (Daudet
    and Sandler, "MDCT analysis of sinusoids", 2004), of the channels' mean.
    """
    if native.is_usable(coefficients):
        power = torch.stack([native.levels_pseudo_power(x) for x in coefficients]) + FLOOR
    else:
        beside = F.pad(coefficients, (1, 1))
        pseudo = coefficients.square() + (beside[..., 2:] - beside[..., :-2]).square()
        power = pseudo.mean(1) + FLOOR
    bands = band_matrix(edges, power.shape[-1]).to(power.device)
    bands = bands / bands.sum(1, keepdim=True)
    log_mean = (10 * torch.log10(power)) @ bands.t()
    mean_log = 10 * torch.log10(power @ bands.t())
    is_audible = mean_log > 10 * math.log10(FLOOR) + 10
    return ((log_mean - mean_log) < _TONAL_FLATNESS_DB) & is_audible
