"""What a run starts from: statistics of music, an earlier run, or weights alone."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from earzip.errors import UsageError
from earzip.model.level_vae import LevelVae
from earzip.model.networks import Network
from earzip.model.spectral import SpectralVae
from earzip.model.transform import TransformVae
from earzip.training.bottleneck import Bottleneck
from earzip.training.data import CropSource
from earzip.training.discriminator import Discriminator
from earzip.training.rate import fit_prior
from earzip.training.run_state import first_misfit, read_parts
from earzip.training.statistics import (
    measure_level_statistics,
    measure_statistics,
    measure_transform_statistics,
)

_PRIOR_BATCHES = 16
_LINEAR_MAPS = ("analysis", "synthesis", "envelope_analysis", "envelope_synthesis")


def start_from_music(network: Network, crops: CropSource, n_batches: int) -> None:
    """Set what is linear of a network from statistics, if it can be; another network starts random."""
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
