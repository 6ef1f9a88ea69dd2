"""Statistics of music that networks start from: coefficient RMS, KLT, envelope PCA."""

from __future__ import annotations

import torch
from torch import Tensor

from earzip.model import levels
from earzip.model.config import SAMPLE_RATE
from earzip.model.level_vae import LevelStatistics, LevelVae
from earzip.model.mdct import Mdct
from earzip.model.spectral import LinearStatistics, SpectralVae, mid_side
from earzip.model.transform import TransformStatistics, TransformVae
from earzip.training.data import CropSource
from earzip.training.kweighting import k_weighting_response

_RMS_FLOOR = 1e-5
_SMOOTHING_BINS = 5
_FIRST_STEP = 0.5
# 12 kbps of music at the reference level, by an ideal coder that knows each coefficient's neighbours.
_FIRST_COEFFICIENT_STEP = 0.14
_LEAST_WEIGHT = 0.3  # K-weighting closes below 38 Hz; what is not coded there cannot be drawn


def measure_statistics(vae: SpectralVae, crops: CropSource, n_batches: int) -> LinearStatistics:
    """Return the statistics over ``n_batches`` batches of ``crops``, in the units of ``vae``.

    The KLT is that of K-weighted coefficients with frames equalised half-way in loudness, so that
    loud frames do not take all of it; it is then whitened.
    """
    c = vae.config
    coefficients = torch.cat([_coefficients(vae.mdct, crops, step) for step in range(n_batches)])
    rms = _rms(coefficients)
    f_hz = (torch.arange(c.hop) + 0.5) * (SAMPLE_RATE / 2 / c.hop)
    weight = k_weighting_response(f_hz).abs().repeat(2)
    weighted = coefficients.double() * weight
    equalised = weighted / (weighted.square().mean(1, keepdim=True).sqrt() + 1e-4).sqrt()
    values, vectors = _principal(equalised, c.n_waveform)
    flat_rms = rms.double().flatten()
    analysis = vectors.t() * weight * flat_rms
    normalised = coefficients.double() / flat_rms
    spread = (normalised @ analysis.t()).std(0)

    energies = vae.log_band_energies_of(normalised.float()).double()
    mean = energies.mean(0)
    envelope_values, envelope_vectors = _principal(energies - mean, c.n_envelope)
    deviation = envelope_values.sqrt()
    # Finer steps where the weighted energy is: half-way to the equal noise of reverse water-filling.
    waveform_scale = (0.7 * _FIRST_STEP * (values[0] / values) ** 0.25).clamp(max=2.5)
    scale = torch.cat([waveform_scale, torch.full((c.n_envelope,), _FIRST_STEP)])
    return LinearStatistics(
        rms=rms.float(),
        analysis=(analysis / spread[:, None]).float(),
        synthesis=(vectors / weight[:, None] / flat_rms[:, None] * spread).float(),
        envelope_mean=mean.float(),
        envelope_analysis=(envelope_vectors / deviation).t().float(),
        envelope_synthesis=(envelope_vectors * deviation).float(),
        scale=scale.float(),
    )


@torch.no_grad()
def measure_transform_statistics(
    vae: TransformVae, crops: CropSource, n_batches: int
) -> TransformStatistics:
    """Return the statistics over ``n_batches`` batches of ``crops``, in the units of ``vae``."""
    c = vae.config
    steps = range(n_batches)
    rms, fine_rms = (
        _smoothed(torch.stack([_energies(mdct, crops, step) for step in steps]).mean(0).sqrt())
        for mdct in (vae.mdct, vae.fine_mdct)
    )
    f_hz = (torch.arange(c.n_bins) + 0.5) * (SAMPLE_RATE / 2 / c.hop)
    weight = k_weighting_response(f_hz).abs().float().clamp(min=_LEAST_WEIGHT)
    # Energies are in units of the fine RMS, which the network has to know to measure them.
    vae.fine_rms.copy_(fine_rms)
    energies = torch.cat(
        [vae.log_band_energies(_mid_side_batch(crops, step)).flatten(0, 1) for step in steps]
    ).double()
    mean = energies.mean(0)
    values, vectors = _principal(energies - mean, c.n_envelope)
    deviation = values.sqrt()
    return TransformStatistics(
        rms=rms,
        fine_rms=fine_rms,
        step=(_FIRST_COEFFICIENT_STEP / weight).expand(2, -1),
        envelope_mean=mean.float(),
        envelope_analysis=(vectors / deviation).t().float(),
        envelope_synthesis=(vectors * deviation).float(),
        envelope_scale=torch.full((c.n_envelope,), _FIRST_STEP),
    )


@torch.no_grad()
def measure_level_statistics(vae: LevelVae, crops: CropSource, n_batches: int) -> LevelStatistics:
    """Return the statistics over ``n_batches`` batches of ``crops``."""
    c = vae.config
    steps = range(n_batches)
    rms, fine_rms = (
        _smoothed(torch.stack([_energies(mdct, crops, step) for step in steps]).mean(0).sqrt())
        for mdct in (vae.mdct.long, vae.fine_mdct)
    )
    f_hz = (torch.arange(c.n_bins) + 0.5) * (SAMPLE_RATE / 2 / c.hop)
    weight = k_weighting_response(f_hz).abs().float().clamp(min=_LEAST_WEIGHT)
    means = []
    for step in steps:
        found = levels.measure(torch.from_numpy(crops.batch(step)), c.n_blocks, vae.transform)
        means.append(found.level_db.mean((0, 1)))
    return LevelStatistics(
        rms=rms,
        fine_rms=fine_rms,
        step=(_FIRST_COEFFICIENT_STEP / weight).expand(2, -1),
        level_mean_db=torch.stack(means).mean(0),
    )


def _mid_side_batch(crops: CropSource, step: int) -> Tensor:
    return mid_side(torch.from_numpy(crops.batch(step)))


@torch.no_grad()
def _coefficients(mdct: Mdct, crops: CropSource, step: int) -> Tensor:
    """Return the mid and side MDCT coefficients of a batch, ``[frames, 2·n_bins]``."""
    coefficients: Tensor = mdct(_mid_side_batch(crops, step))
    return coefficients.transpose(1, 2).flatten(2).flatten(0, 1)


def _energies(mdct: Mdct, crops: CropSource, step: int) -> Tensor:
    """Return the mean energy of the coefficients of a batch, by mid and side: ``[2, n_bins]``."""
    energies: Tensor = _coefficients(mdct, crops, step).square().mean(0).unflatten(0, (2, -1))
    return energies


def _rms(coefficients: Tensor) -> Tensor:
    """Return the smoothed RMS ``[2, n_bins]`` of ``coefficients`` ``[frames, 2·n_bins]``."""
    return _smoothed(coefficients.square().mean(0).sqrt().unflatten(0, (2, -1)))


def _smoothed(rms: Tensor) -> Tensor:
    log = torch.log(rms + 1e-7)[:, None]
    padded = torch.nn.functional.pad(log, (_SMOOTHING_BINS // 2,) * 2, mode="replicate")
    smooth = torch.nn.functional.avg_pool1d(padded, _SMOOTHING_BINS, 1)[:, 0]
    return smooth.exp().clamp(min=_RMS_FLOOR)


def _principal(x: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the ``n`` largest eigenvalues of the covariance of ``x`` and their vectors as columns."""
    values, vectors = torch.linalg.eigh(x.t() @ x / len(x))
    return values.flip(0)[:n].clamp(min=1e-12), vectors.flip(1)[:, :n]
