"""Trains a `SpectralVae` for its rate and its sound; checkpoints, resumes, logs JSON Lines."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from earzip.errors import UsageError
from earzip.model.config import SAMPLE_RATE, SpectralConfig
from earzip.model.spectral import SpectralVae
from earzip.training.data import CropSource, Mixture, MusicPool
from earzip.training.losses import LossWeights, ReconstructionLoss
from earzip.training.rate import FactorisedPrior, bits_to_kbps, fit_prior
from earzip.training.statistics import measure_statistics


@dataclass(frozen=True)
class TrainingConfig:
    """A run, as data: the same configuration and music give the same weights on one machine."""

    model: SpectralConfig
    steps: int
    batch_size: int = 4
    crop_frames: int = 64
    learning_rate: float = 2e-3
    linear_map_rate: float = 0.1
    """Learning rate of the KLT and PCA matrices, as a share of ``learning_rate``."""
    warm_up: float = 0.02
    hold: float = 0.4
    """Share of the steps after which the learning rate falls linearly to 0."""
    weight_decay: float = 0.01
    clip: float = 1.0
    target_kbps: float = 12.0
    """Rate at step scale 1, which the weight of the rate term is steered to."""
    step_scales: tuple[float, float] = (0.35, 3.0)
    """Range the quantiser's step scale is drawn from, log-uniformly, an item."""
    first_rate_weight: float = 2e-3
    statistics_batches: int = 200
    seed: int = 0
    bfloat16: bool = True
    pools: dict[str, float] = field(default_factory=lambda: {"train": 1.0})
    """File stem of each pool of music, with its odds."""
    voices: str | None = None
    loss: LossWeights = field(default_factory=LossWeights)

    @classmethod
    def load(cls, path: Path) -> TrainingConfig:
        """Return the configuration in the JSON file ``path``; UsageError when it is not one."""
        try:
            data = json.loads(path.read_text())
            data["model"] = SpectralConfig.from_json(data["model"])
            data["loss"] = LossWeights(**data.get("loss", {}))
            data["step_scales"] = tuple(data.get("step_scales", cls.step_scales))
            return cls(**data)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageError(f"not a training configuration: {error}", path) from error


# Steering of the rate's weight: proportional to the smoothed error, which damps it, and to its integral.
_RATE_PROPORTIONAL, _RATE_INTEGRAL, _RATE_SMOOTHING = 2.0, 0.002, 0.02
_PRIOR_BATCHES = 16


def quantise_straight_through(latents: Tensor, step: Tensor) -> Tensor:
    """Return ``latents`` rounded to multiples of ``step``, with gradients for both.

    Rounding passes the gradient of the latents unchanged; that of the step is the learned-step rule
    of Esser et al. (LSQ, 2020).
    """
    scaled = latents / step
    return (scaled + (scaled.round() - scaled).detach()) * step


class Trainer:
    """One run in ``folder``: checkpoint, log and final weights lie there."""

    def __init__(
        self, config: TrainingConfig, music: Path, folder: Path, start: Path | None = None
    ) -> None:
        """Resume the run in ``folder``, or begin one: from the weights ``start``, or from ``music``."""
        self.config = config
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.vae = SpectralVae(config.model)
        self.prior = FactorisedPrior(config.model.n_latents)
        self.crops = _open_crops(config, music)
        self.loss = ReconstructionLoss(config.loss)
        self.optimizer = _optimizer(config, self.vae, self.prior)
        self.step = 0
        self.log_rate_weight = math.log(config.first_rate_weight)
        self.rate_error = 0.0
        self.checkpoint = folder / "checkpoint.safetensors"
        if self.checkpoint.exists():
            self._resume()
        elif start is not None:
            self._begin_from(start)
        else:
            self.vae.initialise(measure_statistics(self.vae, self.crops, config.statistics_batches))

    def _begin_from(self, start: Path) -> None:
        """Take over the weights of an earlier round, which hold no prior: that is fitted to them."""
        try:
            self.vae.load_state_dict(load_file(start))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise UsageError(f"not weights of this configuration: {error}", start) from error
        with torch.no_grad():
            batches = (self.crops.batch(step) for step in range(_PRIOR_BATCHES))
            posteriors = [self.vae.encode(torch.from_numpy(batch)) for batch in batches]
        mean = torch.cat([posterior.mean for posterior in posteriors])
        fit_prior(self.prior, mean, posteriors[0].scale[:1], self.config.seed)

    def run(self, log_every: int = 100, checkpoint_every: int = 500) -> None:
        """Train to the end; writes ``weights.safetensors`` and ``weights.json``."""
        config = self.config
        sums: dict[str, float] = {}
        began = time.monotonic()
        with (self.folder / "log.jsonl").open("a") as log:
            for batch in self._batches():
                for name, value in self._train_step(batch).items():
                    sums[name] = sums.get(name, 0.0) + value
                self.step += 1
                if self.step % log_every == 0:
                    record = {name: round(value / log_every, 5) for name, value in sums.items()}
                    record.update(step=self.step, seconds=round(time.monotonic() - began, 1))
                    log.write(json.dumps(record) + "\n")
                    log.flush()
                    sums = {}
                if self.step % checkpoint_every == 0 or self.step == config.steps:
                    self._save()
        save_weights(self.vae, self.folder / "weights.safetensors")

    def _batches(self) -> Iterator[Tensor]:
        """Yield the batches of the steps that are left, one prepared ahead."""
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self.crops.batch, self.step)
            for step in range(self.step, self.config.steps):
                batch = coming.result()
                if step + 1 < self.config.steps:
                    coming = ahead.submit(self.crops.batch, step + 1)
                yield torch.from_numpy(batch)

    def _train_step(self, audio: Tensor) -> dict[str, float]:
        config = self.config
        self._set_learning_rate()
        # Everything random of a step follows from its number, so that a resumed run is the same run.
        draw = random.Random(f"{config.seed}/{self.step}")
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step)
        low, high = (math.log(scale) for scale in config.step_scales)
        uniform = torch.rand(len(audio), 1, 1, generator=generator)
        step_scale = torch.exp(low + (high - low) * uniform)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            posterior = self.vae.encode(audio)
            step = posterior.scale * step_scale
            decoded = self.vae.decode(quantise_straight_through(posterior.mean, step))
        noise = torch.rand(posterior.mean.shape, generator=generator) - 0.5
        frame_bits = self.prior.bits(posterior.mean + noise * step, step).sum(1).mean(1)
        rate = (frame_bits * step_scale.flatten()).mean()
        distortion, values = self.loss(decoded, audio, draw)
        weight = math.exp(self.log_rate_weight + _RATE_PROPORTIONAL * self.rate_error)
        total = distortion + weight * rate
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.vae.parameters(), config.clip)
        torch.nn.utils.clip_grad_norm_(self.prior.parameters(), config.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            unit = posterior.scale
            unit_bits = self.prior.bits(posterior.mean + noise * unit, unit).sum(1).mean()
        kbps = bits_to_kbps(float(unit_bits), config.model.hop, SAMPLE_RATE)
        self._steer_rate(kbps)
        record = {name: float(value) for name, value in values.items()}
        return record | {"kbps": kbps, "norm": float(norm), "rate_weight": weight}

    def _steer_rate(self, kbps: float) -> None:
        error = max(-1.0, min(1.0, kbps / self.config.target_kbps - 1))
        self.rate_error += _RATE_SMOOTHING * (error - self.rate_error)
        self.log_rate_weight += _RATE_INTEGRAL * error

    def _set_learning_rate(self) -> None:
        c = self.config
        done = self.step / c.steps
        factor = min(1.0, done / c.warm_up + 0.02, (1 - done) / (1 - c.hold))
        for group in self.optimizer.param_groups:
            group["lr"] = c.learning_rate * factor * group["share"]

    def _save(self) -> None:
        tensors = {f"vae.{k}": v for k, v in self.vae.state_dict().items()}
        tensors |= {f"prior.{k}": v for k, v in self.prior.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
        meta = {"step": str(self.step), "log_rate_weight": repr(self.log_rate_weight)}
        meta["rate_error"] = repr(self.rate_error)
        partial = self.checkpoint.with_suffix(".partial")
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial, meta)
        partial.replace(self.checkpoint)

    def _resume(self) -> None:
        tensors = load_file(self.checkpoint)
        self.vae.load_state_dict(_under("vae.", tensors))
        self.prior.load_state_dict(_under("prior.", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimizer.", tensors).items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        meta = _metadata(self.checkpoint)
        self.step = int(meta["step"])
        self.log_rate_weight = float(meta["log_rate_weight"])
        self.rate_error = float(meta["rate_error"])


def save_weights(vae: SpectralVae, path: Path) -> None:
    """Write the weights of ``vae`` as float16, statistics as float32, to a safetensors file."""
    tensors = {}
    for name, tensor in vae.state_dict().items():
        small = tensor.ndim < 2 or name == "rms"
        tensors[name] = tensor.detach().to(torch.float32 if small else torch.float16).contiguous()
        if not bool(torch.isfinite(tensors[name]).all()):
            raise ValueError(f"{name} does not fit float16")
    save_file(tensors, path)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


def _open_crops(config: TrainingConfig, music: Path) -> CropSource:
    frames = config.crop_frames * config.model.hop
    shortest = 2 * frames
    pools = [MusicPool(music / f"{name}.s16", shortest) for name in config.pools]
    total = sum(config.pools.values())
    odds = [share / total for share in config.pools.values()]
    voices = MusicPool(music / f"{config.voices}.s16", shortest) if config.voices else None
    return CropSource(Mixture(pools, odds, voices), config.batch_size, frames, config.seed)


def _optimizer(
    config: TrainingConfig, vae: SpectralVae, prior: FactorisedPrior
) -> torch.optim.Optimizer:
    linear_maps = ("analysis", "synthesis", "envelope_analysis", "envelope_synthesis")
    groups: dict[str, list[Tensor]] = {"matrices": [], "vectors": [], "linear": []}
    for name, parameter in vae.named_parameters():
        if name.split(".")[0] in linear_maps:
            groups["linear"].append(parameter)
        else:
            groups["matrices" if parameter.ndim >= 2 else "vectors"].append(parameter)
    groups["vectors"] += list(prior.parameters())
    options: list[dict[str, Any]] = [
        {"params": groups["matrices"], "weight_decay": config.weight_decay, "share": 1.0},
        {"params": groups["vectors"], "weight_decay": 0.0, "share": 1.0},
        {"params": groups["linear"], "weight_decay": 0.0, "share": config.linear_map_rate},
    ]
    return torch.optim.AdamW(
        options, lr=config.learning_rate, betas=(0.9, 0.95), eps=1e-9, fused=True
    )
