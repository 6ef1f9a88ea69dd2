"""The published network, held against vectors that were computed with its authors' own code.

``tests/data/published``: keys, shapes and configuration of the published checkpoint, and the same
network at four base channels with random weights, its input and its output.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from earzip.models.trained import published_dimensions
from earzip.network.config import EarConfig
from earzip.network.ear import EarVae
from earzip.network.oobleck import Snake, fold_for_inference, strided_conv1d
from earzip.network.transformer import RotaryEmbedding, rotate

PUBLISHED = Path(__file__).parents[2] / "data" / "published"
TINY = json.loads((PUBLISHED / "tiny_ear_vae.config.json").read_text())


@pytest.fixture
def vae() -> EarVae:
    vae = EarVae(published_dimensions(TINY)).eval().requires_grad_(False)
    vae.load_state_dict(load_file(PUBLISHED / "tiny_ear_vae.safetensors"), strict=True)
    return vae


@pytest.fixture(scope="module")
def vectors() -> dict[str, Tensor]:
    return load_file(PUBLISHED / "tiny_ear_vae_io.safetensors")


def assert_near(got: Tensor, wanted: Tensor, share_of_peak: float = 1e-4) -> None:
    torch.testing.assert_close(got, wanted, rtol=0, atol=share_of_peak * float(wanted.abs().max()))


@pytest.mark.parametrize("folded", [False, True])
def test_outputs_are_those_of_the_authors(
    vae: EarVae, vectors: dict[str, Tensor], folded: bool
) -> None:
    if folded:
        fold_for_inference(vae)
    posterior = vae.encode(vectors["audio"])
    assert_near(posterior.mean, vectors["latent_mean"])
    variance = torch.nn.functional.softplus(vectors["latent_scale"]) ** 2 + 1e-6
    assert_near(posterior.scale**2, variance)
    assert_near(vae.decode(vectors["latent_mean"]), vectors["decoded"])


def test_every_layer_matters_to_the_vectors(vae: EarVae, vectors: dict[str, Tensor]) -> None:
    """A module that the vectors did not reach could be wrong without a test that fails."""
    decoded = vectors["decoded"]
    for layer in vae.transformers.layers:
        weights = [
            p for name, p in layer.named_parameters() if name.endswith(("out.weight", "2.weight"))
        ]
        kept = [w.clone() for w in weights]
        for weight in weights:
            weight.zero_()
        changed = vae.decode(vectors["latent_mean"])
        assert (changed - decoded).abs().max() > 1e-3 * decoded.abs().max()
        for weight, before in zip(weights, kept, strict=True):
            weight.copy_(before)


def test_the_full_size_network_has_exactly_the_published_keys_and_shapes() -> None:
    config = published_dimensions(json.loads((PUBLISHED / "ear_vae_44k.config.json").read_text()))
    assert config == EarConfig()
    with torch.device("meta"):
        state = EarVae(config).state_dict()
    published = json.loads((PUBLISHED / "ear_vae_44k.state_dict.json").read_text())
    assert {name: list(tensor.shape) for name, tensor in state.items()} == published


def test_a_snake_of_a_residual_unit_is_one_module_under_two_names(vae: EarVae) -> None:
    unit = vae.encoder.layers[1].layers[0]
    assert unit.layers[0] is unit.layers[2]
    assert isinstance(unit.layers[0], Snake)


def test_a_snake_bends_as_its_formula_says() -> None:
    snake = Snake(1)
    with torch.no_grad():
        snake.alpha.fill_(torch.tensor(2.0).log())
        snake.beta.fill_(torch.tensor(4.0).log())
        x = torch.tensor([[[0.3, -1.7]]])
        torch.testing.assert_close(snake(x), x + torch.sin(2 * x) ** 2 / 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("folded", [False, True])
def test_a_snake_keeps_the_type_of_its_input(dtype: torch.dtype, folded: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    snake = Snake(6)
    with torch.no_grad():
        snake.alpha.normal_(0, 0.5, generator=generator)
        snake.beta.normal_(0, 0.5, generator=generator)
        x = torch.randn(2, 6, 500, generator=generator).to(dtype)
        before = x.clone()
        wanted = snake(x.double())
        if folded:
            fold_for_inference(snake)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            got = snake(x)
    assert got.dtype == dtype
    assert torch.equal(x, before)
    assert (got - wanted).norm() < 4 * torch.finfo(dtype).eps * wanted.norm()


def test_a_snake_that_is_not_folded_learns() -> None:
    snake = Snake(3)
    x = torch.randn(1, 3, 50, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        snake(x).square().sum().backward()
    for gradient in (x.grad, snake.alpha.grad, snake.beta.grad):
        assert gradient is not None
        assert (gradient != 0).all()


def test_every_activation_of_a_folded_network_is_in_the_type_of_autocast(
    vae: EarVae, vectors: dict[str, Tensor]
) -> None:
    fold_for_inference(vae)
    types: set[torch.dtype] = set()
    for module in vae.modules():
        if isinstance(module, Snake):
            module.register_forward_hook(lambda _, __, y: types.add(y.dtype))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        vae.decode(vae.encode(vectors["audio"]).mean)
    assert types == {torch.bfloat16}


def test_rotation_depends_on_the_distance_of_frames_alone() -> None:
    cos, sin = RotaryEmbedding(32)(40)
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 32, generator=generator)
    turned_q, turned_k = rotate(q.expand(40, 32), cos, sin), rotate(k.expand(40, 32), cos, sin)
    scores = turned_q @ turned_k.t()
    torch.testing.assert_close(scores[5, 2], scores[35, 32], atol=1e-4, rtol=0)
    assert (scores[5, 2] - scores[5, 3]).abs() > 1e-2


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("latent_dim",), 32, r"encoder.latent_dim is 128, expected 64"),
        (("decoder", "config", "final_tanh"), True, "final_tanh is True, expected False"),
        (("decoder", "config", "strides"), [2, 4, 4, 4, 4], "decoder.strides"),
        (("encoder", "config", "strides"), [2, 4], "of one length"),
        (("downsampling_ratio",), 512, "downsampling_ratio is 512, expected 1024"),
        (("transformer", "config", "dim_heads"), 48, "divide n_latents"),
        (("encoder",), None, "not a configuration of an εar-VAE"),
    ],
)
def test_the_configuration_of_another_network_is_refused(
    path: tuple[str, ...], value: object, message: str
) -> None:
    data: dict[str, Any] = copy.deepcopy(TINY)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        published_dimensions(data)


@pytest.mark.parametrize(("dtype", "least_db"), [(torch.bfloat16, 28), (torch.float16, 45)])
def test_reduced_precision_gives_float32_near_its_own(
    vae: EarVae, vectors: dict[str, Tensor], dtype: torch.dtype, least_db: float
) -> None:
    fold_for_inference(vae)
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        posterior, sound = vae.encode(vectors["audio"]), vae.decode(vectors["latent_mean"])
    for got, wanted in ((posterior.mean, vectors["latent_mean"]), (sound, vectors["decoded"])):
        assert got.dtype == torch.float32
        noise = (got - wanted).square().sum()
        assert least_db < 10 * torch.log10(wanted.square().sum() / noise) < 80
    assert posterior.scale.dtype == torch.float32
    assert (posterior.scale > 0).all()


@pytest.mark.parametrize("stride", [2, 4, 8])
@pytest.mark.parametrize("n_in", [4, 8, 12, 16, 24, 64])
@pytest.mark.parametrize(("dtype", "most_error"), [(torch.bfloat16, 0.01), (torch.float16, 0.001)])
def test_strided_convolutions_are_right_in_every_precision(
    n_in: int, stride: int, dtype: torch.dtype, most_error: float
) -> None:
    """`F.conv1d` in bfloat16 is not, on processors with AMX."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, n_in, 96 * stride, generator=generator)
    weight = torch.randn(10, n_in, 2 * stride, generator=generator)
    bias = torch.randn(10, generator=generator)
    wanted = F.conv1d(x, weight, bias, stride, stride // 2)
    assert torch.equal(strided_conv1d(x, weight, bias, stride, stride // 2), wanted)
    with torch.autocast("cpu", dtype):
        got = strided_conv1d(x, weight, bias, stride, stride // 2)
    assert got.dtype == dtype
    assert (got - wanted).norm() < most_error * wanted.norm()


def test_in_reduced_precision_the_encoder_needs_no_strided_convolution(
    vae: EarVae, vectors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = F.conv1d

    def wrong_with_even_kernels(x: Tensor, weight: Tensor, *args: Any, **options: Any) -> Tensor:
        result: Tensor = right(x, weight, *args, **options)
        return -result if weight.shape[2] % 2 == 0 else result

    monkeypatch.setattr(F, "conv1d", wrong_with_even_kernels)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        mean = vae.encode(vectors["audio"]).mean
    assert_near(mean, vectors["latent_mean"], 0.1)
