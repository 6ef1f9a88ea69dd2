"""The transform εar-VAE: a VAE whose waveform latents are single MDCT coefficients.

An encoder network says how much of each mid/side coefficient of a long MDCT is worth its bits; what is
left are the frame's first latents, sparse once they are rounded. Its last latents are a PCA of log band
energies plus what the network adds. The decoder turns the coded coefficients into sound, looks at that
through a shorter MDCT, closes and opens it bin by bin, and draws what is missing: a spectrum under the
band energies that the coded sound lacks. `initialise` sets what is linear from statistics of music, so
that training starts from a working codec and not from noise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from earzip.network.config import LevelConfig, TransformConfig
from earzip.network.mdct import Mdct
from earzip.network.spectral import (
    ConvNeXtBlock,
    band_weights,
    float32_throughout,
    mid_side,
    rows_to_means,
)
from earzip.network.vae import Posterior

_ENERGY_FLOOR = 1e-8
_GAIN_RANGE = (-12.0, 3.0)  # nepers
_GATE_RANGE = (-8.0, 1.0)
_WORTH_RANGE = (-2.0, 0.6)
SURE_SHARE = math.exp(-_WORTH_RANGE[1])  # undoes the most that an encoder may have amplified
_DOUBT = 8.0  # steps: a coefficient of the coded sound is taken for granted but for so much
_CLOSED = -6.0  # nepers: a drawn band that starts silent
_LEAST_MISSING = 0.01  # of a band's energy, that a decoder takes to be missing


class TransformStatistics(NamedTuple):
    """Statistics of music that the linear parts of a `TransformVae` start from.

    ``rms`` ``[2, hop]`` and ``fine_rms`` ``[2, fine_hop]``: of mid and side coefficients of either
    MDCT; ``step`` ``[2, n_bins]``: first steps of coefficients; ``envelope_mean`` ``[E]``,
    ``envelope_analysis`` ``[n_envelope, E]``, ``envelope_synthesis`` ``[E, n_envelope]``: whitened PCA of
    the log band energies, E as `TransformConfig.n_envelope_bands`; ``envelope_scale`` ``[n_envelope]``:
    first posterior scales.
    """

    rms: Tensor
    fine_rms: Tensor
    step: Tensor
    envelope_mean: Tensor
    envelope_analysis: Tensor
    envelope_synthesis: Tensor
    envelope_scale: Tensor


class TransformVae(nn.Module):
    """The transform VAE; see the module's first lines.

    Audio is float32 ``[B, 2, F·hop]``, ±1, 44.1 kHz; latents are float32 ``[B, D, F]``: mid coefficients
    from the lowest, side coefficients, envelope. The outermost hop of a decoded batch is not exact:
    callers give context on both sides.
    """

    rms: Tensor
    fine_rms: Tensor
    envelope_mean: Tensor
    bands: Tensor
    band_means: Tensor
    short_band_means: Tensor

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.mdct = Mdct(c.hop)
        self.fine_mdct = Mdct(c.fine_hop)
        self.short_mdct = Mdct(c.short_hop)
        self.register_buffer("rms", torch.ones(2, c.hop))
        self.register_buffer("fine_rms", torch.ones(2, c.fine_hop))
        self.register_buffer("envelope_mean", torch.zeros(c.n_envelope_bands))
        bands = band_weights(c.fine_hop, c.n_bands)
        short_bands = band_weights(c.short_hop, c.n_short_bands)
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("band_means", rows_to_means(bands), persistent=False)
        self.register_buffer("short_band_means", rows_to_means(short_bands), persistent=False)

        n_short = 2 * c.n_short_bands * (c.hop // c.short_hop)
        self.encoder_in = nn.Linear(4 * c.hop + n_short + c.n_envelope_bands, c.encoder_width)
        self.encoder_in_norm = nn.LayerNorm(c.encoder_width)
        self.encoder = _trunk(c.encoder_width, c.encoder_depth, c)
        self.encoder_out_norm = nn.LayerNorm(c.encoder_width)
        self.worth_out = nn.Linear(c.encoder_width, c.n_coefficients)
        self.envelope_out = nn.Linear(c.encoder_width, c.n_envelope)
        # Coefficients are latents in units of their steps, so that archives name one step for all.
        self.log_step = nn.Parameter(torch.zeros(2, c.n_bins))
        self.log_scale = nn.Parameter(torch.zeros(c.n_envelope))
        self.envelope_analysis = nn.Linear(c.n_envelope_bands, c.n_envelope, bias=False)

        self.decoder_in = nn.Linear(4 * c.trunk_hop, c.width)
        self.envelope_in = nn.Linear(c.n_envelope, c.n_trunk * c.width)
        self.decoder_in_norm = nn.LayerNorm(c.width)
        self.decoder = _trunk(c.width, c.decoder_depth, c)
        self.decoder_out_norm = nn.LayerNorm(c.width)
        self.shape_out = nn.Linear(c.width, 2 * c.trunk_hop)
        self.gain_out = nn.Linear(c.width, c.trunk_hop // c.fine_hop * 2 * c.n_bands)
        self.gate_out = nn.Linear(c.width, 2 * c.trunk_hop)
        self.envelope_synthesis = nn.Linear(c.n_envelope, c.n_fine * 2 * c.n_bands)
        self._initialise_networks()

    def _initialise_networks(self) -> None:
        """Start the network's parts small beside the linear ones, which carry the codec at first."""
        root = math.sqrt(self.config.width)
        small = {
            self.encoder_in: 1 / math.sqrt(self.encoder_in.in_features),
            self.worth_out: 0.1 / root,
            self.envelope_out: 0.05 / root,
            self.decoder_in: 1 / math.sqrt(self.decoder_in.in_features),
            self.envelope_in: 1 / math.sqrt(self.envelope_in.in_features),
            self.shape_out: 0.5 / root,
            self.gain_out: 0.05 / root,
            self.gate_out: 0.0,
        }
        for layer, deviation in small.items():
            nn.init.normal_(layer.weight, 0, deviation)
            nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def initialise(self, statistics: TransformStatistics) -> None:
        """Set linear maps and first steps from the statistics of music."""
        c = self.config
        for name in ("rms", "fine_rms", "envelope_mean"):
            getattr(self, name).copy_(getattr(statistics, name))
        self.envelope_analysis.weight.copy_(statistics.envelope_analysis)
        self.log_step.copy_(statistics.step.log())
        self.log_scale.copy_(statistics.envelope_scale.log())
        weight = torch.zeros(c.n_fine, 2, c.n_bands, c.n_envelope)
        bias = torch.full((c.n_fine, 2, c.n_bands), _CLOSED)
        first = c.first_envelope_band
        synthesis = statistics.envelope_synthesis.view(c.n_fine, 2, -1, c.n_envelope)
        weight[:, :, first:] = synthesis
        bias[:, :, first:] = statistics.envelope_mean.view(c.n_fine, 2, -1)
        self.envelope_synthesis.weight.copy_(weight.flatten(0, 2))
        self.envelope_synthesis.bias.copy_(bias.flatten())

    def log_band_energies(self, mid_side_audio: Tensor) -> Tensor:
        """Return ``½ log`` of the mean energy by envelope band, ``[B, F, n_envelope_bands]``.

        Energies are those of the fine MDCT over its training RMS, fine frames of a frame in order.
        """
        c = self.config
        energy = self._band_energies(self._fine(mid_side_audio))
        log_energy = 0.5 * torch.log(energy[..., c.first_envelope_band :] + _ENERGY_FLOOR)
        grouped: Tensor = log_energy.unflatten(2, (-1, c.n_fine)).permute(0, 2, 3, 1, 4)
        return grouped.flatten(2)

    def _fine(self, mid_side_audio: Tensor) -> Tensor:
        """Return fine coefficients over their training RMS: ``[B, 2, F·n_fine, fine_hop]``."""
        coefficients: Tensor = self.fine_mdct(mid_side_audio) / self.fine_rms[:, None]
        return coefficients

    def _band_energies(self, fine: Tensor) -> Tensor:
        energies: Tensor = fine.square() @ self.band_means.t()
        return energies

    def encode(self, audio: Tensor) -> Posterior:
        """Return the posterior of ``audio`` ``[B, 2, F·hop]``."""
        c = self.config
        with float32_throughout(audio):
            rotated = mid_side(audio)
            coefficients = self.mdct(rotated)
            n = (coefficients / self.rms[:, None]).transpose(1, 2).flatten(2)
            envelope = self.log_band_energies(rotated) - self.envelope_mean
            short = short_log_energies(
                self.short_mdct(rotated), self.short_band_means, c.hop // c.short_hop
            )
            features = torch.cat([*seen_levels(n), short, envelope], -1)
            in_steps = coefficients[..., : c.n_bins] / self.log_step.exp()[:, None]
            linear = self.envelope_analysis(envelope)
        h = self.encoder_in_norm(self.encoder_in(features))
        h = self.encoder_out_norm(self.encoder(h))
        worth, added = self.worth_out(h).float(), self.envelope_out(h).float()
        waveform = in_steps.transpose(1, 2).flatten(2) * worth.clamp(*_WORTH_RANGE).exp()
        mean = torch.cat([waveform, linear + added], -1).transpose(1, 2)
        scale = torch.cat([self.log_scale.new_ones(c.n_coefficients), self.log_scale.exp()])
        return Posterior(mean, scale[:, None].expand_as(mean))

    def decode(self, latents: Tensor) -> Tensor:
        """Return the audio ``[B, 2, F·hop]`` of ``latents`` ``[B, D, F]``."""
        c = self.config
        with float32_throughout(latents):
            waveform, envelope = latents.transpose(1, 2).split([c.n_coefficients, c.n_envelope], -1)
            coded = waveform.unflatten(-1, (2, c.n_bins)).transpose(1, 2)
            coded = coded * self.log_step.exp()[:, None]
            coded = nn.functional.pad(coded, (0, c.hop - c.n_bins))
            fine = self._fine(self.mdct.inverse(coded))
            seen = fine.transpose(1, 2).flatten(2).unflatten(1, (-1, c.trunk_hop // c.fine_hop))
            features = torch.cat(seen_levels(seen.flatten(2)), -1)
            wanted = self.envelope_synthesis(envelope).unflatten(-1, (c.n_fine, 2, c.n_bands))
            wanted = wanted.flatten(1, 2).transpose(1, 2)
            missing = self._missing(wanted, fine)
        described = self.envelope_in(envelope).unflatten(-1, (c.n_trunk, c.width)).flatten(1, 2)
        h = self.decoder_in(features) + described
        h = self.decoder_out_norm(self.decoder(self.decoder_in_norm(h)))
        gain, shape, gate = (
            _fine_frames(out(h).float(), size)
            for out, size in (
                (self.gain_out, c.n_bands),
                (self.shape_out, c.fine_hop),
                (self.gate_out, c.fine_hop),
            )
        )
        with float32_throughout(latents):
            gain = (gain + missing).clamp(*_GAIN_RANGE) @ self.bands
            opened = torch.maximum(
                torch.exp(gate.clamp(*_GATE_RANGE)),
                least_opened(fine, self.log_step.exp(), self.fine_rms, c.hop),
            )
            restored = fine * opened + shape * torch.exp(gain)
            return mid_side(self.fine_mdct.inverse(restored * self.fine_rms[:, None]))

    def _missing(self, wanted: Tensor, fine: Tensor) -> Tensor:
        """Return ``½ log`` of the band energies of ``wanted`` (so given) that ``fine`` lacks."""
        energy = torch.exp(2 * wanted.clamp(*_GAIN_RANGE))
        lacking = torch.maximum(energy - self._band_energies(fine), _LEAST_MISSING * energy)
        return 0.5 * torch.log(lacking)


def short_log_energies(short: Tensor, band_means: Tensor, n_short: int) -> Tensor:
    """Return log energies of short frames ``[B, 2, F · n_short, n]`` by frames: ``[B, F, ...]``."""
    energy = short.square() @ band_means.t()
    log_energy = (torch.log10(energy + 1e-9) + 4) * 0.5
    grouped: Tensor = log_energy.unflatten(2, (-1, n_short)).transpose(1, 2)
    return grouped.flatten(2)


def least_opened(fine: Tensor, step: Tensor, fine_rms: Tensor, hop: int) -> Tensor:
    """Return the share of each coefficient of ``fine`` that no gate may take away.

    ``step``: ``[2, n_bins]``; ``fine_rms``: ``[2, fine_hop]``, the unit of ``fine``. A gate is there to
    take out the noise of rounding, and what the encoder has amplified to get it through with less of
    that. What stands far above the steps is sound, also where a network has never heard its like:
    without this, gates closed on a sine sweep.
    """
    doubtful = doubt(step, fine_rms, hop)[:, None] / fine.abs().clamp(min=1e-9)
    share: Tensor = (1 - doubtful).clamp(min=0) * SURE_SHARE
    return share


def doubt(step: Tensor, fine_rms: Tensor, hop: int) -> Tensor:
    """Return how much of a coefficient, in its unit, may be noise: ``[2, fine_hop]``."""
    padded = nn.functional.pad(step, (0, hop - step.shape[-1]))
    result: Tensor = _DOUBT * padded.unflatten(-1, (fine_rms.shape[-1], -1)).mean(-1) / fine_rms
    return result


def _trunk(width: int, depth: int, config: TransformConfig | LevelConfig) -> nn.Sequential:
    blocks = (
        ConvNeXtBlock(width, config.expansion, config.kernel_size, depth) for _ in range(depth)
    )
    return nn.Sequential(*blocks)


def _fine_frames(x: Tensor, size: int) -> Tensor:
    """Return trunk frames ``[B, F, …]`` as fine frames of mid and side, ``[B, 2, F', size]``."""
    fine: Tensor = x.unflatten(-1, (-1, 2, size)).flatten(1, 2)
    return fine.transpose(1, 2)


def seen_levels(n: Tensor) -> list[Tensor]:
    """Return normalised coefficients as a network sees them: the loud ones, and all of them."""
    # Not by pow, which takes three times as long.
    return [0.5 * n.clamp(-6, 6), n * (-0.6 * (n.abs() + 0.03).log()).exp()]
