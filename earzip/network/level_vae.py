"""The level VAE: coefficients of a switched MDCT, and a decoder that is held to the levels of bands.

An encoder network says how much of each mid/side coefficient is worth its bits, as in `TransformVae`;
what else an archive has of the sound is measured (`earzip.network.levels`). The decoder turns the coded
coefficients into sound, looks at that through a shorter MDCT, closes and opens it bin by bin, draws
what a band lacks of its level, holds the sum to the level, and hushes it right before onsets.
`initialise` sets scales from statistics of music, so that training starts from a working codec.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earzip.formats.geometry import SAMPLE_RATE
from earzip.network import drawing, levels, native, onsets, short_transform
from earzip.network.config import LevelConfig
from earzip.network.described import ENERGY_FLOOR, Described
from earzip.network.mdct import Mdct
from earzip.network.spectral import band_weights, float32_throughout, mid_side, rows_to_means
from earzip.network.switched import SwitchedMdct
from earzip.network.transform import (
    _trunk,
    seen_levels,
    short_log_energies,
)
from earzip.network.vae import Posterior

# Steps at which a bit of each kind is worth about as much to the ear.
_STEPS_DB = {
    "levels": 4.0, "balance": 6.5, "width": 10.0, "halves": 4.2, "course": 7.6, "contrast": 6.0,
}  # fmt: skip
_SIDE_STEP = 1.3  # of the steps of mid
_VOICE_STEP = 1.54  # of the steps at other frequencies
_VOICE_HZ = (500.0, 1500.0)
_SEEN = ("levels", "balance", "width", "halves", "course", "tonal", "short")  # by networks
_FLAGS = ("tonal", "short")
_DRAWN_FROM = 128 / 2048  # of the bins, 1.4 kHz: above, attacks are drawn and not coded
_SHORT_MARGIN = 1.08  # a short frame must save so much: where sound is tonal it costs in contexts
_WORTH_RANGE = (-2.0, 0.6)
_TONAL_FINENESS = 1.6  # how much finer steps are where sound is tonal: noise is heard there
_PIECE = 64  # frames: few enough for a processor's cache
_PARTS = (
    short_transform.HOP // onsets.ONSET_HOP
)  # of a block, to either of which an onset may belong
_SEEN_DB = 12.0  # what a network sees as 1


class LevelStatistics(NamedTuple):
    """Statistics of music that a `LevelVae` starts from.

    ``rms`` ``[2, hop]`` and ``fine_rms`` ``[2, fine_hop]``: of mid and side coefficients of either
    MDCT; ``step`` ``[2, n_bins]``: first steps; ``level_mean_db`` ``[n_levels]``.
    """

    rms: Tensor
    fine_rms: Tensor
    step: Tensor
    level_mean_db: Tensor


def _bits(coefficients: Tensor, steps: Tensor) -> Tensor:
    """Return Σ log₂(1 + |c| / step), float64 ``[B, F]``, of ``[B, 2, F, n]``; ``steps``: ``[2, n]``."""
    if native.is_usable(coefficients):
        return torch.stack([native.levels_bits(x, steps.contiguous()) for x in coefficients])
    sizes = (coefficients / steps[:, None]).abs().double()
    return torch.log2(1 + sizes).sum((1, 3))


def _of_frames(fine: Tensor, at: slice, n_fine: int) -> Tensor:
    """Return the fine frames ``[B, 2, F', …]`` of the frames ``at``."""
    return fine[:, :, at.start * n_fine : at.stop * n_fine]


def _scale_of_coefficients(config: LevelConfig) -> Tensor:
    """Return the steps ``[n_coefficients]`` of mid, then side, in units of `LevelVae.log_step`."""
    f_hz = torch.arange(config.n_bins) * (SAMPLE_RATE / 2 / config.hop)
    is_voice = (f_hz >= _VOICE_HZ[0]) & (f_hz < _VOICE_HZ[1])
    mid = torch.where(is_voice, _VOICE_STEP, 1.0)
    return torch.cat([mid, _SIDE_STEP * mid])


def _step_of(kind: str) -> float:
    if kind in _FLAGS:
        return levels.TONAL_STEP
    return _STEPS_DB.get(kind, 1.0)


class LevelVae(nn.Module):
    """The level VAE; see the module's first lines.

    Audio is float32 ``[B, 2, F·hop]``, ±1, 44.1 kHz; latents are float32 ``[B, D, F]`` in the order of
    `LevelConfig.layout`. The outermost hop of a decoded batch is not exact: callers give context.
    """

    rms: Tensor
    fine_rms: Tensor
    level_mean_db: Tensor
    bands: Tensor
    tonal_bands: Tensor
    short_band_means: Tensor
    scale: Tensor

    def __init__(self, config: LevelConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.mdct = SwitchedMdct(c.hop, c.short_hop)
        self.fine_mdct = Mdct(c.fine_hop)
        self.transform = short_transform.ShortTransform()
        if c.n_levels != short_transform.N_LEVELS:
            raise ValueError(f"n_levels is {c.n_levels}, expected {short_transform.N_LEVELS}")
        self.tonal_edges = levels.fine_edges(c.hop)[::2]
        self.register_buffer("rms", torch.ones(2, c.hop))
        self.register_buffer("fine_rms", torch.ones(2, c.fine_hop))
        self.register_buffer("level_mean_db", torch.zeros(c.n_levels))
        self.fine_edges = torch.tensor(levels.fine_edges(c.fine_hop))
        bands = short_transform.band_matrix(levels.fine_edges(c.fine_hop), c.fine_hop)
        self.register_buffer("bands", bands, persistent=False)
        tonal_bands = short_transform.band_matrix(self.tonal_edges, c.hop)
        self.register_buffer("tonal_bands", tonal_bands, persistent=False)
        short_bands = band_weights(c.short_hop, c.n_short_bands)
        self.register_buffer("short_band_means", rows_to_means(short_bands), persistent=False)
        sizes = c.layout
        scale = torch.cat(
            [
                _scale_of_coefficients(c)
                if kind == "coefficients"
                else torch.full((size,), _step_of(kind))
                for kind, size in sizes.items()
            ]
        )
        self.register_buffer("scale", scale[:, None], persistent=False)

        n_short = 2 * c.n_short_bands * (c.hop // c.short_hop)
        n_described = sum(sizes[kind] for kind in _SEEN)
        self.encoder_in = nn.Linear(4 * c.hop + n_short + n_described, c.encoder_width)
        self.encoder_in_norm = nn.LayerNorm(c.encoder_width)
        self.encoder = _trunk(c.encoder_width, c.encoder_depth, c)
        self.encoder_out_norm = nn.LayerNorm(c.encoder_width)
        self.worth_out = nn.Linear(c.encoder_width, c.n_coefficients)
        # Coefficients are latents in units of their steps, so that archives name one step for all.
        self.log_step = nn.Parameter(torch.zeros(2, c.n_bins))

        self.decoder_in = nn.Linear(4 * c.trunk_hop, c.width)
        self.described_in = nn.Linear(n_described, c.n_trunk * c.width)
        self.decoder_in_norm = nn.LayerNorm(c.width)
        self.decoder = _trunk(c.width, c.decoder_depth, c)
        self.decoder_out_norm = nn.LayerNorm(c.width)
        self.shape_out = nn.Linear(c.width, 2 * c.trunk_hop)
        self.gain_out = nn.Linear(c.width, c.trunk_hop // c.fine_hop * 2 * c.n_levels)
        self.gate_out = nn.Linear(c.width, 2 * c.trunk_hop)
        self._initialise_networks()

    def _initialise_networks(self) -> None:
        """Start the network's parts small beside the linear ones, which carry the codec at first."""
        root = math.sqrt(self.config.width)
        small = {
            self.encoder_in: 1 / math.sqrt(self.encoder_in.in_features),
            self.worth_out: 0.1 / root,
            self.decoder_in: 1 / math.sqrt(self.decoder_in.in_features),
            self.described_in: 1 / math.sqrt(self.described_in.in_features),
            self.shape_out: 0.5 / root,
            self.gain_out: 0.05 / root,
            self.gate_out: 0.0,
        }
        for layer, deviation in small.items():
            nn.init.normal_(layer.weight, 0, deviation)
            nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def initialise(self, statistics: LevelStatistics) -> None:
        """Set scales and first steps from the statistics of music."""
        for name in ("rms", "fine_rms", "level_mean_db"):
            getattr(self, name).copy_(getattr(statistics, name))
        self.log_step.copy_(statistics.step.log())

    def encode(self, audio: Tensor) -> Posterior:
        """Return the posterior of ``audio`` ``[B, 2, F·hop]``."""
        with float32_throughout(audio):
            rotated = mid_side(audio)
            long, blocks = self.mdct.long(rotated), self.mdct.short(rotated)
            is_short = self._saves_by_short(long, blocks)
            rest = self._describe(audio, long, is_short)
            coefficients = self.mdct.choose(rotated, long, blocks, is_short)
        h = self.encoder_in_norm(self._listen(long, blocks, rest))
        del rotated, long, blocks
        worth = self.worth_out(self.encoder_out_norm(self.encoder(h))).float()
        with float32_throughout(audio):
            weights = worth.clamp(*_WORTH_RANGE).exp()
            mean = self._weighed(coefficients, weights, rest).transpose(1, 2)
        return Posterior(mean, self.scale.expand_as(mean))

    def _weighed(self, coefficients: Tensor, weights: Tensor, rest: Tensor) -> Tensor:
        """Return latents ``[B, F, D]``: ``coefficients`` in steps, times ``weights``, and ``rest``."""
        c = self.config
        steps, coded = self.log_step.exp(), self._coded(rest) * self._fineness(rest)
        if all(native.is_usable(x) for x in (coefficients, weights, steps)):
            latents = rest.new_empty(*rest.shape[:2], c.n_latents)
            latents[..., c.n_coefficients :] = rest
            for each in zip(coefficients, coded, weights, latents, strict=True):
                native.levels_weigh(each[0], steps, *each[1:])
            return latents
        in_steps = coefficients[..., : c.n_bins] / steps[:, None] * coded[:, None]
        waveform = in_steps.transpose(1, 2).flatten(2) * weights
        return torch.cat([waveform, rest], -1)

    def _listen(self, long: Tensor, blocks: Tensor, rest: Tensor) -> Tensor:
        """Return what the encoder's trunk gets of frames: ``[B, F, encoder_width]``.

        ``long``: coefficients ``[B, 2, F, hop]``; ``blocks``: of short frames, ``[B, 2, F', short_hop]``;
        ``rest``: latents beside coefficients, ``[B, F, …]``.
        """
        n_blocks = self.config.hop // self.config.short_hop
        seen = self._seen(rest)
        heard = []
        for at in self._pieces(long):
            with float32_throughout(long):
                of_blocks = _of_frames(blocks, at, n_blocks)
                features = self._features(long[:, :, at], of_blocks, seen[:, at])
            heard.append(self.encoder_in(features))
        return torch.cat(heard, 1)

    def _features(self, long: Tensor, blocks: Tensor, seen: Tensor) -> Tensor:
        """Return what `_listen` gives to its layer; ``seen``: as `_seen`."""
        c = self.config
        n = (long / self.rms[:, None]).transpose(1, 2).flatten(2)
        energies = short_log_energies(blocks, self.short_band_means, c.hop // c.short_hop)
        return torch.cat([*seen_levels(n), energies, seen], -1)

    def _coded(self, rest: Tensor) -> Tensor:
        """Return 1 for what may be coded, 0 for the treble of attacks: ``[B, F, n_bins]``.

        Noise in the attack's own course comes nearer to it than as many bits of coefficients do.
        """
        c = self.config
        is_attack = (rest[..., c.rest_slice("course")] != 0).any(-1)
        is_treble = torch.arange(c.n_bins, device=rest.device) >= _DRAWN_FROM * c.hop
        return (~(is_attack[..., None] & is_treble)).float()

    def _fineness(self, rest: Tensor) -> Tensor:
        """Return by how much steps are finer than `log_step` says: ``[B, F, n_bins]``."""
        c = self.config
        is_tonal = rest[..., c.rest_slice("tonal")] > levels.TONAL_STEP / 2
        finer = is_tonal.float() @ self.tonal_bands[:, : c.n_bins]
        return 1 + (_TONAL_FINENESS - 1) * finer

    def _saves_by_short(self, long: Tensor, blocks: Tensor) -> Tensor:
        """Return which frames cost less as short ones, bool ``[B, F]``: bits go with log |c| / step."""
        c, steps = self.config, self.log_step.detach().exp()
        # What is not coded costs nothing. Short ones stay in the order of their blocks.
        of_bins = F.pad(steps, (0, c.hop - c.n_bins), value=math.inf)
        of_blocks = of_bins.unflatten(-1, (c.short_hop, -1)).transpose(-1, -2).flatten(-2)
        short = blocks.unflatten(-2, (-1, c.hop // c.short_hop)).flatten(-2)
        return _bits(short, of_blocks) * _SHORT_MARGIN + 8 < _bits(long, of_bins)

    @torch.no_grad()
    def _describe(self, audio: Tensor, long: Tensor, is_short: Tensor) -> Tensor:
        """Return the latents beside coefficients, ``[B, F, …]``."""
        found = levels.measure(audio, self.config.n_blocks, self.transform, self._piece(audio))
        tonal = levels.tonal_cells(long, self.tonal_edges) & ~found.course.is_attack[..., None]
        parts = {
            "levels": found.level_db - self.level_mean_db,
            "balance": found.balance_db,
            "width": found.width_db,
            "halves": found.half_db,
            "course": found.course.course_db.flatten(2),
            "contrast": found.onset.contrast_db[..., None],
            "tonal": tonal.float() * levels.TONAL_STEP,
            "short": is_short[..., None].float() * levels.TONAL_STEP,
            "onset_block": (found.onset.place // _PARTS)[..., None].float(),
            "onset_part": (found.onset.place % _PARTS)[..., None].float(),
        }
        return torch.cat([parts[kind] for kind in self.config.layout if kind in parts], -1)

    def _seen(self, rest: Tensor) -> Tensor:
        """Return the latents beside coefficients as networks see them."""
        parts = [
            rest[..., self.config.rest_slice(kind)]
            / (levels.TONAL_STEP if kind in _FLAGS else _SEEN_DB)
            for kind in _SEEN
        ]
        return torch.cat(parts, -1)

    def _described(self, rest: Tensor) -> Described:
        c = self.config
        of = {kind: rest[..., c.rest_slice(kind)] for kind in c.layout if kind != "coefficients"}
        place = _PARTS * of["onset_block"][..., 0] + of["onset_part"][..., 0]
        return Described(
            of["levels"] + self.level_mean_db,
            of["balance"],
            of["width"].repeat_interleave(2, -1),
            of["halves"],
            of["course"].unflatten(-1, (c.n_blocks, -1)),
            (of["tonal"] > levels.TONAL_STEP / 2).repeat_interleave(2, -1),
            of["short"][..., 0] > levels.TONAL_STEP / 2,
            onsets.Onset(of["contrast"][..., 0], place.round().long()),
        )

    def decode(self, latents: Tensor) -> Tensor:
        """Return the audio ``[B, 2, F·hop]`` of ``latents`` ``[B, D, F]``."""
        c = self.config
        waveform, rest = latents.transpose(1, 2).split(
            [c.n_coefficients, c.n_latents - c.n_coefficients], -1
        )
        told = self._described(rest)
        # Apart, so that what it needs is freed before sound is made.
        restored = self._restored(waveform, rest, told)
        with float32_throughout(latents):
            audio = mid_side(self.fine_mdct.inverse(restored))
            del restored
            targets, piece = told.targets(), self._piece(audio)
            held = levels.hold(audio, targets, told.is_tonal, told.course_db, self.transform, piece)
            return onsets.hush_before(held, told.onset)

    def _restored(self, waveform: Tensor, rest: Tensor, told: Described) -> Tensor:
        """Return the fine coefficients ``[B, 2, F', fine_hop]`` of latents ``[B, F, …]``."""
        c = self.config
        with float32_throughout(waveform):
            in_steps = waveform.unflatten(-1, (2, c.n_bins)).transpose(1, 2)
            coded = in_steps * self.log_step.exp()[:, None] / self._fineness(rest)[:, None]
            sound = self.mdct.inverse(coded, told.is_short)
            pieces = self._pieces(coded)
            fine: Tensor = self.fine_mdct(sound) / self.fine_rms[:, None]
            coded_levels = levels.of_bands(sound, c.n_blocks, self.transform, self._piece(sound))
        del in_steps, coded, sound  # a third of what a window needs
        seen = torch.cat([self._look(_of_frames(fine, at, c.n_fine)) for at in pieces], 1)
        described = self.described_in(self._seen(rest))
        h = seen + described.unflatten(-1, (c.n_trunk, c.width)).flatten(1, 2)
        h = self.decoder_out_norm(self.decoder(self.decoder_in_norm(h)))
        for at in pieces:
            drawn = self._drawn(
                _of_frames(fine, at, c.n_fine),
                h[:, at.start * c.n_trunk : at.stop * c.n_trunk],
                told.of_frames(at),
                coded_levels[:, :, at],
            )
            if len(pieces) == 1:
                return drawn
            _of_frames(fine, at, c.n_fine).copy_(drawn)  # nothing else looks at these frames
        return fine

    def _pieces(self, frames: Tensor) -> list[slice]:
        """Return which of ``frames`` ``[B, 2, F, …]`` to work on together."""
        n_frames = frames.shape[2]
        size = self._piece(frames) or n_frames
        return [slice(at, min(at + size, n_frames)) for at in range(0, n_frames, max(size, 1))]

    @staticmethod
    def _piece(x: Tensor) -> int | None:
        """Return how many frames to work on together where that saves memory and time, else None."""
        return _PIECE if x.device.type == "cpu" and not torch.is_grad_enabled() else None

    def _look(self, fine: Tensor) -> Tensor:
        """Return what the trunk gets of ``fine`` ``[B, 2, F', fine_hop]``: ``[B, F·n_trunk, width]``."""
        with float32_throughout(fine):
            features = drawing.features(fine, self.config.trunk_hop // self.config.fine_hop)
        seen: Tensor = self.decoder_in(features)
        return seen

    def _drawn(self, fine: Tensor, h: Tensor, told: Described, coded_levels: Tensor) -> Tensor:
        """Return the coefficients ``[B, 2, F', fine_hop]`` of frames, in which ``fine`` is coded.

        ``h``: of the trunk, ``[B, F · n_trunk, width]``; ``coded_levels``: of `levels.of_bands`.
        """
        c = self.config
        # By fine frames: ``[B, F', 2, …]``.
        gains, shapes, gates = (
            out(h).float().unflatten(-1, (-1, 2, size)).flatten(1, 2)
            for out, size in (
                (self.gain_out, c.n_levels),
                (self.shape_out, c.fine_hop),
                (self.gate_out, c.fine_hop),
            )
        )
        with float32_throughout(h):
            bands = drawing.FineBands(self.fine_edges, self.bands)
            step = self.log_step.exp()
            opened = drawing.open_coefficients(fine, gates, self.fine_rms, step, c.hop, bands)
            lacking = told.lacking(coded_levels * self._share_opened(opened))
            energies = drawing.shape_energies(shapes, self.fine_rms, bands)
            amplitudes = told.amplitudes(
                energies / self.bands.sum(1), gains.transpose(1, 2), lacking
            )
            return drawing.with_drawn(opened.coefficients, shapes, self.fine_rms, amplitudes, bands)

    def _share_opened(self, opened: drawing.Opened) -> Tensor:
        """Return the share of the coded energy that gates leave, ``[B, 2, F, n_levels]``."""
        before, after = (
            x.unflatten(2, (-1, self.config.n_fine)).mean(3) for x in (opened.before, opened.after)
        )
        share: Tensor = ((after + ENERGY_FLOOR) / (before + ENERGY_FLOOR)).clamp(max=8.0)
        return share
