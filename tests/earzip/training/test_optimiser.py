"""The groups of the optimiser: what decays, and what learns slowly."""

from __future__ import annotations

import torch

from earzip.formats.symbols.layout import Layout
from earzip.network.transform import TransformVae
from earzip.training.bottleneck import Bottleneck
from earzip.training.config import BottleneckConfig, OptimiserConfig
from earzip.training.optimiser import learning_rate_factor, make_optimiser
from tests.data.make_tiny_model import TRANSFORM


def groups() -> tuple[TransformVae, list[tuple[set[int], float, float]]]:
    network = TransformVae(TRANSFORM)
    n_latents, n_sparse = TRANSFORM.n_latents, TRANSFORM.n_coefficients
    bottleneck = Bottleneck(BottleneckConfig(), n_latents, Layout(n_sparse))
    config = OptimiserConfig(weight_decay=0.01, linear_map_share=0.1)
    optimiser = make_optimiser(config, network, bottleneck)
    return network, [
        ({id(p) for p in group["params"]}, group["weight_decay"], group["share"])
        for group in optimiser.param_groups
    ]


def group_of(parameter: torch.nn.Parameter, of: list[tuple[set[int], float, float]]) -> int:
    (index,) = (i for i, (members, _, _) in enumerate(of) if id(parameter) in members)
    return index


def test_matrices_decay_and_steps_biases_and_norms_do_not() -> None:
    network, of = groups()
    decays = [decay > 0 for _, decay, _ in of]
    assert decays[group_of(network.shape_out.weight, of)]
    # Decay would pull steps towards 1, far above where they start.
    for parameter in (network.log_step, network.shape_out.bias, network.decoder_in_norm.weight):
        assert not decays[group_of(parameter, of)]


def test_maps_that_were_set_from_statistics_learn_slowly_and_steps_do_not() -> None:
    network, of = groups()
    shares = [share for _, _, share in of]
    assert shares[group_of(network.envelope_analysis.weight, of)] == 0.1
    assert shares[group_of(network.envelope_synthesis.weight, of)] == 0.1
    assert shares[group_of(network.log_step, of)] == 1


def test_every_parameter_is_in_one_group() -> None:
    network, of = groups()
    for parameter in network.parameters():
        group_of(parameter, of)


def test_the_learning_rate_rises_stays_and_falls_to_nothing() -> None:
    config = OptimiserConfig(warm_up=0.1, hold=0.5)
    factors = [learning_rate_factor(config, done) for done in (0, 0.05, 0.1, 0.5, 0.75, 1)]
    assert factors == [0.02, 0.52, 1, 1, 0.5, 0]
