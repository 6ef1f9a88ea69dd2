"""The spectral εar-VAE: a VAE over MDCT frames that starts out as a working parametric codec.

A frame's first latents are a KLT of its normalised mid/side MDCT coefficients plus what a network
adds; its last latents are a PCA of its log band energies, likewise. The decoder synthesises the
waveform part linearly, adds a network-drawn spectrum under predicted band gains, and passes both
through predicted gates. `initialise` sets the linear maps from statistics of music, so that training
starts from a codec and not from noise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from earzip.formats.geometry import SAMPLE_RATE
from earzip.network.config import SpectralConfig
from earzip.network.mdct import Mdct
from earzip.network.vae import Posterior

_LOG_ENERGY_FLOOR = 1e-8
_GAIN_RANGE = (-12.0, 6.0)  # nepers: a band can close to −104 dB
_GATE_RANGE = (-8.0, 1.0)


class LinearStatistics(NamedTuple):
    """Statistics of music that the linear maps of a `SpectralVae` start from.

    ``analysis`` ``[n_waveform, 2·hop]`` and ``synthesis`` ``[2·hop, n_waveform]``: whitened KLT of the
    normalised coefficients and its inverse; ``rms`` ``[2, hop]``: of the mid and side coefficients;
    ``envelope_mean`` ``[E]``, ``envelope_analysis`` ``[n_envelope, E]``, ``envelope_synthesis``
    ``[E, n_envelope]``: whitened PCA of the log band energies; ``scale`` ``[D]``: first posterior scales.
    """

    rms: Tensor
    analysis: Tensor
    synthesis: Tensor
    envelope_mean: Tensor
    envelope_analysis: Tensor
    envelope_synthesis: Tensor
    scale: Tensor


class ConvNeXtBlock(nn.Module):
    """A residual ConvNeXt block over frames: depthwise convolution, LayerNorm, GELU network."""

    def __init__(self, width: int, expansion: int, kernel_size: int, depth: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(
            width, width, kernel_size, padding=kernel_size // 2, groups=width
        )
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, expansion * width)
        self.activation = nn.GELU(approximate="tanh")
        self.project = nn.Linear(expansion * width, width)
        nn.init.normal_(self.depthwise.weight, 0, 0.1)
        with torch.no_grad():
            self.depthwise.weight[:, 0, kernel_size // 2] += 0.7
        nn.init.zeros_(self.depthwise.bias)  # type: ignore[arg-type]
        nn.init.xavier_uniform_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)
        nn.init.normal_(self.project.weight, 0, 0.5 / math.sqrt(expansion * width * depth))
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` ``[B, F, width]`` plus the block's residual."""
        h = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        residual: Tensor = self.project(self.activation(self.expand(self.norm(h))))
        return x + residual


def band_weights(n_bins: int, n_bands: int) -> Tensor:
    """Triangular weights ``[n_bands, n_bins]`` that interpolate bands over bins; columns sum to 1.

    Band centres lie evenly on log(1 + f / 300 Hz), which follows the ear's critical bands closely
    enough for gains.
    """
    f_hz = (torch.arange(n_bins, dtype=torch.float64) + 0.5) * (SAMPLE_RATE / 2 / n_bins)
    position = torch.log1p(f_hz / 300) / math.log1p(SAMPLE_RATE / 2 / 300) * (n_bands - 1)
    bands = torch.arange(n_bands, dtype=torch.float64)[:, None]
    return (1 - (position - bands).abs()).clamp(min=0).float()


def mid_side(x: Tensor) -> Tensor:
    """Left/right ``[B, 2, ...]`` to orthonormal mid/side, and back: the map is its own inverse."""
    return torch.stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]], 1).mul_(math.sqrt(0.5))


class SpectralVae(nn.Module):
    """The spectral VAE; see the module's first lines.

    Audio is float32 ``[B, 2, F·hop]``, ±1, 44.1 kHz; latents are float32 ``[B, D, F]``. The outermost
    half hop of a decoded batch is not exact: callers give context on both sides.
    """

    rms: Tensor
    envelope_mean: Tensor
    bands: Tensor
    band_means: Tensor
    short_band_means: Tensor

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.mdct = Mdct(c.hop)
        self.short_mdct = Mdct(c.short_hop)
        self.register_buffer("rms", torch.ones(2, c.hop))
        self.register_buffer("envelope_mean", torch.zeros(c.n_envelope_bands))
        bands = band_weights(c.hop, c.n_bands)
        short_bands = band_weights(c.short_hop, c.n_short_bands)
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("band_means", rows_to_means(bands), persistent=False)
        self.register_buffer("short_band_means", rows_to_means(short_bands), persistent=False)

        n_short = 2 * c.n_short_bands * (c.hop // c.short_hop)
        self.encoder_in = nn.Linear(4 * c.hop + n_short + c.n_envelope_bands, c.width)
        self.encoder_in_norm = nn.LayerNorm(c.width)
        self.encoder = nn.Sequential(
            *(
                ConvNeXtBlock(c.width, c.expansion, c.kernel_size, c.encoder_depth)
                for _ in range(c.encoder_depth)
            )
        )
        self.encoder_out_norm = nn.LayerNorm(c.width)
        self.encoder_out = nn.Linear(c.width, c.n_latents)
        self.log_scale = nn.Parameter(torch.zeros(c.n_latents))
        self.analysis = nn.Linear(2 * c.hop, c.n_waveform, bias=False)
        self.envelope_analysis = nn.Linear(c.n_envelope_bands, c.n_envelope, bias=False)

        self.decoder_in = nn.Conv1d(c.n_latents, c.width, 3, padding=1)
        self.decoder = nn.Sequential(
            *(
                ConvNeXtBlock(c.width, c.expansion, c.kernel_size, c.decoder_depth)
                for _ in range(c.decoder_depth)
            )
        )
        self.decoder_out_norm = nn.LayerNorm(c.width)
        self.shape_out = nn.Linear(c.width, 2 * c.hop)
        self.gain_out = nn.Linear(c.width, 2 * c.n_bands)
        self.gate_out = nn.Linear(c.width, 2 * c.hop)
        self.synthesis = nn.Linear(c.n_waveform, 2 * c.hop, bias=False)
        self.envelope_synthesis = nn.Linear(c.n_envelope, 2 * c.n_bands)
        self._initialise_networks()

    def _initialise_networks(self) -> None:
        """Start the network's parts small beside the linear maps, which carry the codec at first."""
        c = self.config
        root = math.sqrt(c.width)
        nn.init.normal_(self.encoder_in.weight, 0, 1 / math.sqrt(self.encoder_in.in_features))
        nn.init.normal_(self.encoder_out.weight, 0, 0.05 / root)
        nn.init.normal_(self.shape_out.weight, 0, 0.5 / root)
        nn.init.normal_(self.gain_out.weight, 0, 0.05 / root)
        nn.init.zeros_(self.gate_out.weight)
        for layer in (
            self.encoder_in,
            self.encoder_out,
            self.shape_out,
            self.gain_out,
            self.gate_out,
        ):
            nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def initialise(self, statistics: LinearStatistics) -> None:
        """Set the linear maps and first scales from the statistics of music."""
        c = self.config
        self.rms.copy_(statistics.rms)
        self.envelope_mean.copy_(statistics.envelope_mean)
        self.analysis.weight.copy_(statistics.analysis)
        self.synthesis.weight.copy_(statistics.synthesis)
        self.envelope_analysis.weight.copy_(statistics.envelope_analysis)
        self.log_scale.copy_(statistics.scale.log())
        # Below the envelope bands the drawn spectrum starts nearly closed: the KLT is good there.
        weight = torch.zeros(2, c.n_bands, c.n_envelope)
        bias = torch.full((2, c.n_bands), -5.0)
        weight[:, c.first_envelope_band :] = statistics.envelope_synthesis.view(2, -1, c.n_envelope)
        bias[:, c.first_envelope_band :] = statistics.envelope_mean.view(2, -1)
        bias[:, c.first_envelope_band - 1] = -2.5
        self.envelope_synthesis.weight.copy_(weight.view(2 * c.n_bands, c.n_envelope))
        self.envelope_synthesis.bias.copy_(bias.view(-1))

    def normalised_coefficients(self, mid_side: Tensor) -> Tensor:
        """Return MDCT coefficients over their training RMS: ``[B, F, 2·hop]``, mid then side."""
        coefficients: Tensor = self.mdct(mid_side) / self.rms[:, None]
        return coefficients.transpose(1, 2).flatten(2)

    def log_band_energies_of(self, normalised: Tensor) -> Tensor:
        """Return ``½ log`` of the mean energy by envelope band: ``[..., n_envelope_bands]``."""
        c = self.config
        energy = normalised.square().unflatten(-1, (2, c.hop)) @ self.band_means.t()
        log_energy = 0.5 * torch.log(energy + _LOG_ENERGY_FLOOR)
        return log_energy[..., c.first_envelope_band :].flatten(-2)

    def _short_log_energies(self, mid_side: Tensor) -> Tensor:
        """Return log energies of short frames, grouped by long frame: ``[B, F, ...]``."""
        c = self.config
        energy = self.short_mdct(mid_side).square() @ self.short_band_means.t()
        log_energy = (torch.log10(energy + 1e-9) + 4) * 0.5
        grouped: Tensor = log_energy.unflatten(2, (-1, c.hop // c.short_hop)).transpose(1, 2)
        return grouped.flatten(2)

    def encode(self, audio: Tensor) -> Posterior:
        """Return the posterior of ``audio`` ``[B, 2, F·hop]``."""
        with float32_throughout(audio):
            rotated = mid_side(audio)
            n = self.normalised_coefficients(rotated)
            envelope = self.log_band_energies_of(n) - self.envelope_mean
            compressed = n.sign() * n.abs().clamp(min=1e-6).pow(0.4)
            short = self._short_log_energies(rotated)
            features = torch.cat([0.5 * n.clamp(-6, 6), compressed, short, envelope], -1)
            linear = torch.cat([self.analysis(n), self.envelope_analysis(envelope)], -1)
        h = self.encoder_in_norm(self.encoder_in(features))
        residual = self.encoder_out(self.encoder_out_norm(self.encoder(h)))
        mean = (linear + residual.float()).transpose(1, 2)
        return Posterior(mean, self.log_scale.exp()[:, None].expand_as(mean))

    def decode(self, latents: Tensor) -> Tensor:
        """Return the audio ``[B, 2, F·hop]`` of ``latents`` ``[B, D, F]``."""
        c = self.config
        h = self.decoder_in(latents).transpose(1, 2)
        h = self.decoder_out_norm(self.decoder(h))
        gain, shape, gate = (
            out(h).float() for out in (self.gain_out, self.shape_out, self.gate_out)
        )
        with float32_throughout(latents):
            waveform, envelope = latents.transpose(1, 2).split([c.n_waveform, c.n_envelope], -1)
            gain = (gain + self.envelope_synthesis(envelope)).unflatten(-1, (2, c.n_bands))
            gain = gain.clamp(*_GAIN_RANGE) @ self.bands
            drawn = shape * torch.exp(gain).flatten(2)
            n = (drawn + self.synthesis(waveform)) * torch.exp(gate.clamp(*_GATE_RANGE))
            coefficients = n.unflatten(-1, (2, c.hop)).transpose(1, 2) * self.rms[:, None]
            return mid_side(self.mdct.inverse(coefficients))


def float32_throughout(x: Tensor) -> torch.autocast:
    """Return a context in which autocast leaves everything in float32, as ``x`` is.

    Transforms, energies and gains span more than the eight bits of bfloat16 resolve and float16 reaches;
    the linear maps, a tenth of the work, carry the waveform.
    """
    return torch.autocast(x.device.type, enabled=False)


def rows_to_means(weights: Tensor) -> Tensor:
    """Return ``weights`` ``[n_bands, n_bins]`` with each row summing to 1."""
    return weights / (weights.sum(1, keepdim=True) + 1e-9)
