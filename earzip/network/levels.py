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
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from earzip.formats.geometry import SAMPLE_RATE
from earzip.network import native

FLOOR = 1e-9  # of a coefficient's mean energy: −90 dB
HOP = 128  # 2.9 ms
SIZE = 2 * HOP
# In bins of 172 Hz: twenty bands of a sixth of an octave (or a bin) from 1.4 to 14 kHz, three on
# each side.
EDGES = (
    4, 5, 6, 8, 9, 10, 11, 13, 14, 16, 18, 20, 23, 26, 29, 32, 36, 41, 46, 51, 58, 65, 73, 81,
    93, 107, 120,
)  # fmt: skip
N_LEVELS = len(EDGES) - 1
ATTACK_EDGES = (4, 8, 16, 32, 58, 120)
N_ATTACK_BANDS = len(ATTACK_EDGES) - 1
TONAL_STEP = 8.0  # what stands for 1 in a latent that is 0 or 1: far above any step

_LEAST_MODULATION_DB = 5.0  # RMS of an attack's course, and more than noise has by chance
_STRONGEST_DB = 40.0  # of a course
_TONAL_FLATNESS_DB = -14.0
_DB = math.log(10) / 10  # nepers of energy
_HOLD_RANGE_DB = (-20.0, 12.0)
_MOST_TONAL_HOLD_DB = 9.0
ONSET_HOP = 32  # samples, 0.7 ms
_ONSET_AFTER, _ONSET_BEFORE, _ONSET_HUSHED = 4, 8, 6  # steps of it
_LEAST_RISE_DB = 10.0
_HUSHED_BELOW = 0.25  # of the energy there is: sound by chance 6 dB above its mean is let be
_TREBLE_HZ = 1400.0
_RAMP = 16  # samples
PLAY_DB = 0.5
"""Within which a band's level is left as it is."""


def fine_edges(n_bins: int) -> list[int]:
    """Return `EDGES` in bins of an MDCT of ``n_bins``."""
    ratio = n_bins / HOP
    return [round((edge - 0.5) * ratio) for edge in EDGES]


def band_matrix(edges: list[int], n_bins: int) -> Tensor:
    """Return float32 ``[bands, n_bins]``, 1 where a bin belongs to a band."""
    bins = torch.arange(n_bins)
    first, end = torch.tensor(edges[:-1])[:, None], torch.tensor(edges[1:])[:, None]
    return ((bins >= first) & (bins < end)).float()


def to_db(energy: Tensor) -> Tensor:
    """Return ``energy`` of a coefficient in dB, not below the floor, float32."""
    return (10 * torch.log10(energy + FLOOR)).float()


def from_db(level: Tensor) -> Tensor:
    """Return the energy at ``level``, the inverse of `to_db`; 0 at the floor and up to 3 dB above it.

    So silence is silent, whichever way its level was rounded.
    """
    energy = torch.exp(level * _DB) - FLOOR
    return torch.where(energy > FLOOR, energy, torch.zeros_like(energy))


class ShortTransform:
    """The short Fourier transform in which levels are measured and applied, and its inverse."""

    def __init__(self) -> None:
        n = torch.arange(SIZE, dtype=torch.float64)
        self.window = torch.sin(math.pi * (n + 0.5) / SIZE).float()
        self.bands = band_matrix(list(EDGES), HOP + 1)
        self.attack_bands = band_matrix(list(ATTACK_EDGES), HOP + 1)

    def forward(self, audio: Tensor) -> Tensor:
        """Return the spectra ``[..., blocks + 1, 129]`` of ``audio`` ``[..., blocks · 128]``.

        Spectrum i is centred on the beginning of block i. White noise of variance 1 has energy 1 a bin.
        """
        window = self.window.to(audio.device) / math.sqrt(HOP)
        if native.is_usable(audio):
            frames = native.stft_frames(audio, window)
        else:
            frames = F.pad(audio, (HOP, HOP)).unfold(-1, SIZE, HOP) * window
        spectra: Tensor = torch.fft.rfft(frames)
        return spectra

    def inverse(self, spectra: Tensor) -> Tensor:
        """Return the audio of `forward`."""
        window = (self.window * math.sqrt(HOP)).to(spectra.device)
        frames = torch.fft.irfft(spectra, SIZE)
        if native.is_usable(frames):
            return native.stft_overlap(frames, window)
        left, right = (frames * window).split(HOP, -1)
        audio: Tensor = (left[..., 1:, :] + right[..., :-1, :]).flatten(-2)
        return audio


def power(spectra: Tensor) -> Tensor:
    """Return the energies ``[..., blocks, 129]`` of all spectra but the last."""
    if native.is_usable(spectra):
        return native.stft_powers(spectra)
    re, im = torch.view_as_real(spectra[..., :-1, :]).unbind(-1)
    return re.square() + im.square()


def band_means(spectra: Tensor, n_parts: int) -> Tensor:
    """Return mean energies of a bin in `EDGES`, ``[..., n_parts, N_LEVELS]``, of `power`'s spectra."""
    if native.is_usable(spectra):
        return native.stft_band_means(spectra, n_parts, torch.tensor(EDGES))
    bands = band_matrix(list(EDGES), spectra.shape[-1]).to(spectra.device)
    by_block = power(spectra) @ bands.t() / bands.sum(1)
    means: Tensor = by_block.unflatten(-2, (n_parts, -1)).mean(-2)
    return means


def scale_bands(spectra: Tensor, gain: Tensor, edges: Sequence[int]) -> Tensor:
    """Return ``spectra`` ``[..., blocks + 1, 129]`` times gains of bands; may change them in place.

    ``gain``: ``[..., parts, bands]``, each for as many blocks; the last spectrum stays, and what is
    outside of the bands of ``edges``.
    """
    n_blocks = spectra.shape[-2] - 1
    if native.is_usable(spectra) and native.is_usable(gain):
        native.stft_scale(spectra, gain, torch.tensor(edges))
        return spectra
    bands = band_matrix(list(edges), spectra.shape[-1]).to(gain.device)
    of_bins = ((gain - 1) @ bands + 1).repeat_interleave(n_blocks // gain.shape[-2], -2)
    return spectra * F.pad(of_bins, (0, 0, 0, 1), value=1.0)


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


class Onset(NamedTuple):
    """The strongest onset of an attack frame, finer in time than its course."""

    contrast_db: Tensor
    """``[B, F]``: the 2.9 ms from it on over the 5.8 ms before it, above 1.4 kHz; 0 for none."""
    place: Tensor
    """Integers ``[B, F]``: where in the frame it is, in steps of `ONSET_HOP` samples."""


def find_onset(audio: Tensor, is_attack: Tensor) -> Onset:
    """Return the onset of each attack frame of ``audio`` ``[B, 2, T]``, left and right."""
    if not bool(is_attack.any()):
        none = torch.zeros_like(is_attack)
        return Onset(none.float(), none.long())
    wanted = _blocks_around(is_attack, audio.shape[-1] // HOP)
    power = _onset_powers(_treble(audio, wanted), wanted)
    after, before = _mean_from(power, _ONSET_AFTER), _mean_before(power, _ONSET_AFTER)
    rise = (torch.log(after + FLOOR) - torch.log(before + FLOOR)) / _DB
    most, place = rise.unflatten(1, (is_attack.shape[1], -1)).max(-1)
    is_onset = is_attack & (most >= _LEAST_RISE_DB)
    at = _places(place, rise.shape[1])
    calm = _mean_before(power, _ONSET_BEFORE).gather(1, at)
    contrast = (torch.log(after.gather(1, at) + FLOOR) - torch.log(calm + FLOOR)) / _DB
    return Onset(contrast.clamp(0, 60) * is_onset, place * is_onset)


@torch.no_grad()
def _hush_gains(power: Tensor, onset: Onset) -> Tensor:
    """Return gains ``[B, T / ONSET_HOP]`` that bring the treble before onsets down to their contrast."""
    at = _places(onset.place, power.shape[1])
    after = _mean_from(power, _ONSET_AFTER).gather(1, at)
    wanted = after * torch.exp(-_DB * onset.contrast_db)
    gains = torch.ones_like(power)
    for back in range(1, _ONSET_HUSHED + 1):
        before = (at - back).clamp(min=0)
        share = wanted / (power.gather(1, before) + FLOOR)
        is_loud = (onset.contrast_db > 0) & (at >= back) & (share < _HUSHED_BELOW)
        gain = torch.where(is_loud, torch.sqrt(share), torch.ones_like(share))
        gains = gains.scatter_reduce(1, before, gain, "amin")
    return gains


def _ramped(gains: Tensor, wanted: Tensor) -> Tensor:
    """Return the gains ``[n, HOP]`` of the samples of blocks that are wanted, without steps upwards."""
    n_steps = HOP // ONSET_HOP
    around = F.pad(gains, (1, 1), value=1.0).unfold(1, n_steps + 2, n_steps)[wanted]
    of_samples = around.repeat_interleave(ONSET_HOP, 1)
    beside = ONSET_HOP - _RAMP // 2
    ramped = F.avg_pool1d(of_samples[:, None, beside:-beside], _RAMP + 1, 1)[:, 0]
    result: Tensor = torch.minimum(of_samples[:, ONSET_HOP:-ONSET_HOP], ramped)
    return result


def hush_before(audio: Tensor, onset: Onset) -> Tensor:
    """Return ``audio`` ``[B, 2, T]`` without the treble that spectra spread before onsets."""
    is_onset = onset.contrast_db > 0
    if not bool(is_onset.any()):
        return audio
    wanted = _blocks_around(is_onset, audio.shape[-1] // HOP)
    treble = _treble(audio, wanted)
    gains = _ramped(_hush_gains(_onset_powers(treble, wanted), onset), wanted)
    items, blocks = wanted.nonzero(as_tuple=True)
    at = items[:, None], torch.arange(audio.shape[1], device=audio.device), blocks[:, None]
    removed = treble * (gains - 1)[:, None]
    hushed: Tensor = audio.unflatten(-1, (-1, HOP)).index_put(at, removed, accumulate=True)
    return hushed.flatten(-2)


def _blocks_around(is_wanted: Tensor, n_blocks: int) -> Tensor:
    """Return the blocks of `HOP` of frames that are wanted, and what their onsets see beside them.

    ``is_wanted``: bool ``[B, F]``; the result is bool ``[B, n_blocks]``.
    """
    of_blocks = is_wanted.float().repeat_interleave(n_blocks // is_wanted.shape[1], 1)
    reach = -(-max(_ONSET_BEFORE, _ONSET_AFTER, _ONSET_HUSHED) * ONSET_HOP // HOP)
    return F.max_pool1d(of_blocks[:, None], 2 * reach + 1, 1, reach)[:, 0] > 0


def _treble(audio: Tensor, wanted: Tensor) -> Tensor:
    """Return what is above 1.4 kHz, without delay: ``audio`` less a low-pass of 129 taps.

    ``audio``: ``[B, 2, T]``, T a multiple of `HOP`; ``wanted``: bool ``[B, T / HOP]``, in which blocks.
    The result is these blocks, ``[n, 2, HOP]``.
    """
    # As products of a matrix: many times as fast as a convolution of one channel.
    reach = F.pad(audio, (HOP // 2, HOP // 2)).unfold(-1, SIZE, HOP).transpose(1, 2)[wanted]
    blocks = audio.unflatten(-1, (-1, HOP)).transpose(1, 2)[wanted]
    treble: Tensor = blocks - reach @ _low_pass().to(audio.device)
    return treble


@cache
def _low_pass() -> Tensor:
    """Return the matrix ``[SIZE, HOP]`` of a windowed sinc of 129 taps that passes 0 unchanged."""
    with torch.inference_mode(False):  # training needs it as well, whoever asks first
        n = torch.arange(-HOP // 2, HOP // 2 + 1, dtype=torch.float64)
        taps = torch.sinc(2 * _TREBLE_HZ / SAMPLE_RATE * n) * torch.hann_window(131, False)[1:-1]
        taps = (taps / taps.sum()).float()
        ahead = torch.arange(SIZE)[:, None] - torch.arange(HOP)
        is_reached = (ahead >= 0) & (ahead < len(taps))
        low_pass: Tensor = taps[ahead.clamp(0, len(taps) - 1)] * is_reached
    return low_pass


def _onset_powers(treble: Tensor, wanted: Tensor) -> Tensor:
    """Return mean powers of both channels by steps of `ONSET_HOP`: ``[B, T / ONSET_HOP]``.

    ``treble``: that of the blocks ``wanted``, as `_treble` has it; others count as silent.
    """
    powers = treble.new_zeros(*wanted.shape, HOP // ONSET_HOP)
    powers[wanted] = treble.square().unflatten(-1, (-1, ONSET_HOP)).mean((1, 3))
    return powers.flatten(1)


def _mean_from(power: Tensor, n: int) -> Tensor:
    """Return the mean of each of ``power`` ``[B, N]`` and the ``n`` − 1 behind it."""
    padded = F.pad(power[:, None], (0, n - 1), mode="replicate")
    mean: Tensor = F.avg_pool1d(padded, n, 1)[:, 0]
    return mean


def _mean_before(power: Tensor, n: int) -> Tensor:
    """Return the mean of the ``n`` before each of ``power`` ``[B, N]``."""
    padded = F.pad(power[:, None], (n, 0), mode="replicate")
    mean: Tensor = F.avg_pool1d(padded, n, 1)[:, 0, :-1]
    return mean


def _places(place: Tensor, n: int) -> Tensor:
    """Return where in ``n`` steps the places in frames ``[B, F]`` are."""
    n_frames = place.shape[1]
    first = torch.arange(n_frames, device=place.device) * (n // n_frames)
    return (first + place.clamp(0, n // n_frames - 1)).long()


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


def measure(audio: Tensor, n_blocks: int, transform: ShortTransform) -> Measured:
    """Return what is measured of ``audio`` ``[B, 2, F · n_blocks · 128]``, left and right."""
    means, mid, attack = _energies(transform.forward(audio), n_blocks, transform)
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
) -> Tensor:
    """Return ``audio`` ``[B, 2, F · n_blocks · 128]`` held to levels, and to the course of attacks.

    ``targets``: energies ``[B, 2, F, parts, N_LEVELS]`` of a bin, of left and right, in equal parts of
    a frame. ``is_tonal``: bool ``[B, F, N_LEVELS]``, where levels are raised less. ``course_db``:
    as `Course.course_db`; frames where it is 0 throughout have none.
    """
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
