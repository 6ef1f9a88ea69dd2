"""The optimiser of a run, and the schedule of its learning rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from earzip.network.networks import Network
from earzip.training.bottleneck import Bottleneck
from earzip.training.config import OptimiserConfig
from earzip.training.run_state import LEVELS
from earzip.training.start import linear_maps


def make_optimiser(
    config: OptimiserConfig, network: Network, bottleneck: Bottleneck
) -> torch.optim.Optimizer:
    """Return AdamW over three groups: matrices, which decay, vectors, and maps that learn slowly.

    Each group's ``share`` is its part of the learning rate.
    """
    slow = linear_maps(network)
    apart = {id(p) for p in (*slow, *bottleneck.parameters())}
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if id(parameter) not in apart:
            # One number a channel, as the gains of weight normalisation are, is not decayed; nor are
            # steps, a vector each of mid and side, which would drift towards 1.
            is_matrix = parameter.ndim > 1 and parameter.numel() > parameter.shape[0]
            (matrices if is_matrix and name not in LEVELS else vectors).append(parameter)
    vectors += bottleneck.parameters()
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay, "share": 1.0},
        {"params": vectors, "weight_decay": 0.0, "share": 1.0},
        {"params": slow, "weight_decay": 0.0, "share": config.linear_map_share},
    ]
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=config.betas, eps=1e-9, fused=True
    )


def learning_rate_factor(config: OptimiserConfig, done: float) -> float:
    """Return the learning rate as a share of the highest, ``done`` of the run."""
    rising = done / config.warm_up + 0.02 if config.warm_up else 1.0
    falling = (1 - done) / (1 - config.hold) if config.hold < 1 else 1.0
    return min(1.0, rising, falling)
