"""What a run starts from: statistics of music, an earlier run, or weights alone."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from earzip.errors import UsageError
from earzip.formats.geometry import SAMPLE_RATE
from earzip.network import levels
from earzip.network.level_vae import LevelStatistics, LevelVae
from earzip.network.mdct import Mdct
from earzip.network.networks import Network
from earzip.network.spectral import LinearStatistics, SpectralVae, mid_side
from earzip.network.transform import TransformStatistics, TransformVae
from earzip.training.bottleneck import Bottleneck
from earzip.training.data import CropSource
from earzip.training.discriminator import Discriminator
from earzip.training.kweighting import k_weighting_response
from earzip.training.rate import fit_prior
from earzip.training.run_state import first_misfit, read_parts

_PRIOR_BATCHES = 16
_LINEAR_MAPS = ("analysis", "synthesis", "envelope_analysis", "envelope_synthesis")
_RMS_FLOOR = 1e-5
_SMOOTHING_BINS = 5
_FIRST_STEP = 0.5
# 12 kbps of music at the reference level, by an ideal coder that knows each coefficient's neighbours.
_FIRST_COEFFICIENT_STEP = 0.14
_LEAST_WEIGHT = 0.3  # K-weighting closes below 38 Hz; what is not coded there cannot be drawn


def start_from_music(network: Network, crops: CropSource, n_batches: int) -> None:
    """Set the linear parts of a network from statistics, if it has any; others start random."""
    if isinstance(network, SpectralVae):
        network.initialise(measure_statistics(network, crops, n_batches))
    elif isinstance(network, TransformVae):
        network.initialise(measure_transform_statistics(network, crops, n_batches))
    elif isinstance(network, LevelVae):
        network.initialise(measure_level_statistics(network, crops, n_batches))


def linear_maps(network: Network) -> list[nn.Parameter]:
    """Return the weights that are set from statistics, which learn slowly."""
    if not isinstance(network, SpectralVae | TransformVae):
        return []
    names = [name for name in _LINEAR_MAPS if hasattr(network, name)]
    return [p for name in names for p in getattr(network, name).parameters()]


def start_from_weights(
    path: Path, network: Network, bottleneck: Bottleneck, crops: CropSource
) -> None:
    """Take over weights in a file, which hold no prior: that is fitted to their latents.

    Raises UsageError for a file that does not fit.
    """
    try:
        network.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        misfit = first_misfit(error)
        raise UsageError(f"not weights of this configuration: {misfit}", path) from error
    _fit_prior(network, bottleneck, crops)


def start_from_run(
    checkpoint: Path,
    network: Network,
    bottleneck: Bottleneck,
    discriminator: Discriminator | None,
    crops: CropSource,
) -> None:
    """Take over network, prior and discriminator of a run; of a running mean of weights, that mean.

    A prior or a discriminator that the run did not have is fitted, or starts random. Raises
    UsageError for a run that does not fit.
    """
    parts = read_parts(checkpoint, ["network", "ema", "bottleneck", "discriminator"])
    averaged = _averaged(parts["ema"])
    try:
        network.load_state_dict(averaged or parts["network"])
        if discriminator is not None and parts["discriminator"]:
            discriminator.load_state_dict(parts["discriminator"])
        if parts["bottleneck"] and bottleneck.prior is not None:
            bottleneck.load_state_dict(parts["bottleneck"])
        else:
            _fit_prior(network, bottleneck, crops)
    except RuntimeError as error:
        misfit = first_misfit(error)
        raise UsageError(f"not a run of this configuration: {misfit}", checkpoint) from error


def _averaged(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = "module."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@torch.no_grad()
def _posterior_of(network: Network, crops: CropSource) -> tuple[Tensor, Tensor]:
    """Return means ``[B, D, F]``, and the mean scale of each channel ``[1, D, 1]``."""
    batches = (torch.from_numpy(crops.batch(step)) for step in range(_PRIOR_BATCHES))
    posteriors = [network.encode(batch) for batch in batches]
    scale = torch.cat([posterior.scale for posterior in posteriors]).mean((0, 2), keepdim=True)
    return torch.cat([posterior.mean for posterior in posteriors]), scale


def _fit_prior(network: Network, bottleneck: Bottleneck, crops: CropSource) -> None:
    if bottleneck.prior is not None:
        latents, scale = _posterior_of(network, crops)
        fit_prior(bottleneck.prior, latents, scale, bottleneck.config.rounding_of_archives)


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
