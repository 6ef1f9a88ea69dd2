"""The transformer that the published εar-VAE passes latents through before its decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FEED_FORWARD_EXPANSION = 4
_ROTARY_BASE = 10_000


class _LayerNorm(nn.Module):
    """LayerNorm with a learned gain and a shift that is fixed at 0 but kept in the state dict."""

    beta: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.register_buffer("beta", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.gamma, self.beta)


class RotaryEmbedding(nn.Module):
    """Angles of RoPE (Su et al., 2021), half-split: channel i turns with channel i + head_size/2."""

    inv_freq: Tensor

    def __init__(self, head_size: int) -> None:
        super().__init__()
        exponents = torch.arange(0, head_size, 2).float() / head_size
        self.register_buffer("inv_freq", 1.0 / _ROTARY_BASE**exponents)

    def forward(self, n_frames: int) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, float32 ``[n_frames, head_size]``, of frames 0 to n_frames − 1."""
        positions = torch.arange(n_frames, device=self.inv_freq.device, dtype=torch.float32)
        angles = torch.outer(positions, self.inv_freq.float())
        angles = torch.cat([angles, angles], -1)
        return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return ``x`` ``[..., F, head_size]`` turned by the angles, in float32."""
    x = x.float()
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class _Attention(nn.Module):
    def __init__(self, width: int, head_size: int) -> None:
        super().__init__()
        self.head_size = head_size
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        heads = self.to_qkv(x).unflatten(-1, (3, -1, self.head_size))
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # three of [B, heads, F, head_size]
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        attended = F.scaled_dot_product_attention(q, k, v)
        result: Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return result


class _SwiGlu(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.proj(x)
        value, gate = projected.chunk(2, -1)
        return value * F.silu(gate)


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        inner = _FEED_FORWARD_EXPANSION * width
        # Published keys count a layer between the two, which has no weights.
        self.ff = nn.Sequential(_SwiGlu(width, inner), nn.Identity(), nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.ff(x)
        return result


class _TransformerLayer(nn.Module):
    def __init__(self, width: int, head_size: int) -> None:
        super().__init__()
        self.pre_norm = _LayerNorm(width)
        self.self_attn = _Attention(width, head_size)
        self.ff_norm = _LayerNorm(width)
        self.ff = _FeedForward(width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.pre_norm(x), cos, sin)
        result: Tensor = x + self.ff(self.ff_norm(x))
        return result


class RotaryTransformer(nn.Module):
    """Pre-norm layers of full self-attention over frames, each seeing the whole sequence."""

    def __init__(self, width: int, depth: int, head_size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_TransformerLayer(width, head_size) for _ in range(depth))
        self.rotary_pos_emb = RotaryEmbedding(head_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for ``x`` ``[B, F, width]``, of the same shape."""
        cos, sin = self.rotary_pos_emb(x.shape[1])
        for layer in self.layers:
            x = layer(x, cos, sin)
        return x
