"""Trains a network for its rate and its sound, on one process or many; resumes to the exact step."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from earzip.errors import EarzipError, UsageError
from earzip.formats.atomic import atomic_write, make_folder
from earzip.formats.geometry import SAMPLE_RATE
from earzip.models.trained import RUN_WEIGHTS, write_run_network
from earzip.network.config import latent_layout
from earzip.network.networks import Network, build_network
from earzip.training.batches import Crops, Share, in_passes, steps_of
from earzip.training.bottleneck import Bottleneck, RateController
from earzip.training.config import TrainingConfig
from earzip.training.data import CropSource, Mixture, MusicPool
from earzip.training.discriminator import Adversary, Discriminator
from earzip.training.log import TrainingLog
from earzip.training.losses import ReconstructionLoss
from earzip.training.optimiser import learning_rate_factor, make_optimiser
from earzip.training.processes import make_accelerator, require_agreement
from earzip.training.rate import bits_to_kbps
from earzip.training.run_state import (
    RunState,
    load_state,
    read_facts,
    save_state,
    save_weights,
)
from earzip.training.start import (
    start_from_music,
    start_from_run,
    start_from_weights,
)

CHECKPOINT = "checkpoint.safetensors"
CONFIG = "config.json"

OnStep = Callable[[int, dict[str, float | None]], None]
"""Called after each step: its number, and the values of the log's last record."""

_MOST_BAD_STEPS = 100


class Autoencoder(nn.Module):
    """Encoder, bottleneck and decoder in one pass, so that processes can share the gradients."""

    def __init__(self, network: Network, bottleneck: Bottleneck) -> None:
        super().__init__()
        self.network = network
        self.bottleneck = bottleneck

    def forward(self, crops: Crops) -> tuple[Tensor, Tensor, Tensor]:
        """Return audio ``[B, 2, T]``; cost and bits ``[B]``, see `earzip.training.bottleneck.Passed`."""
        posterior = self.network.encode(crops.audio)
        passed = self.bottleneck(posterior, crops.draws, crops.noise)
        return self.network.decode(passed.latents), passed.cost, passed.bits


class Trainer:
    """One run in ``folder``: with its configuration, checkpoint, log, curves and final weights.

    Under ``accelerate launch`` each process takes its share of every batch.
    """

    def __init__(
        self,
        config: TrainingConfig,
        music: Path,
        folder: Path,
        *,
        start: Path | None = None,
        workers: int = 1,
    ) -> None:
        """Resume the run in ``folder``, or start one: from ``start``, or from statistics of ``music``.

        ``start`` is the folder of an earlier run or a file of weights; ``workers`` processes cut crops
        ahead. Raises UsageError for batches that cannot be split, for a run that was started with
        another configuration (but for its ``accumulation``), for processes that see different runs, and
        for a ``start`` that does not fit; SourceError for music that cannot be read.
        """
        self.config = config
        self.folder = folder
        self.step = 0
        self.accelerator = make_accelerator(config.precision)
        self._share = Share(
            config.batch_size,
            self.accelerator.process_index,
            self.accelerator.num_processes,
            config.accumulation,
        )
        self._workers = workers
        torch.manual_seed(config.seed)
        network = build_network(config.architecture, config.model)
        dimensions = network.config
        self._hop = dimensions.hop
        self._latents_shape = dimensions.n_latents, config.crop_frames
        layout = latent_layout(config.architecture, config.model)
        bottleneck = Bottleneck(config.bottleneck, dimensions.n_latents, layout)
        adversarial, discriminator = config.adversarial, None
        if adversarial:
            discriminator = Discriminator(adversarial.fft_sizes, adversarial.channels)
        self.crops = _open_crops(config, music, self._hop)
        self._music = _digests(config, music)
        self._start = str(start.resolve()) if start else None
        self.checkpoint = folder / CHECKPOINT
        facts = self._facts_to_resume() if self.checkpoint.exists() else None
        require_agreement(
            {
                "a configuration": config.to_json(),
                "music": self._music,
                "a state of the run": facts and [facts[k] for k in ("step", "bad_steps", "rate")],
            }
        )
        if facts is None:
            self._begin(start, network, bottleneck, discriminator)
        model = Autoencoder(network, bottleneck)
        self._model, self._optimiser = self.accelerator.prepare(
            model, make_optimiser(config.optimiser, model.network, model.bottleneck)
        )
        self.network, self.bottleneck = network, bottleneck
        self._ema = None
        if config.optimiser.ema:
            average = get_ema_multi_avg_fn(config.optimiser.ema)
            self._ema = AveragedModel(network, multi_avg_fn=average)
        self._adversary = None
        if adversarial and discriminator:
            self._adversary = Adversary(adversarial, discriminator, self.accelerator)
        self._loss = ReconstructionLoss(config.loss)
        self._rate = RateController(config.bottleneck)
        self._bad_steps = 0
        if facts is not None:
            load_state(self._state(), self.checkpoint)
            self.step, self._bad_steps = facts["step"], facts["bad_steps"]
            self._rate.load_state_dict(facts["rate"])

    def _begin(
        self,
        start: Path | None,
        network: Network,
        bottleneck: Bottleneck,
        discriminator: Discriminator | None,
    ) -> None:
        """Set what the run starts from."""
        crops = self.crops
        if start is None:
            start_from_music(network, crops, self.config.statistics_batches)
        elif start.is_dir():
            start_from_run(start / CHECKPOINT, network, bottleneck, discriminator, crops)
        else:
            start_from_weights(start, network, bottleneck, crops)

    def run(
        self,
        log_every: int = 100,
        checkpoint_every: int = 500,
        on_step: OnStep | None = None,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the end, or until a stop is requested of any process; return whether it is the end.

        The state is saved either way; at the end the weights are written. Raises EarzipError when
        training diverges.
        """
        self._write_config()
        log = TrainingLog(self.folder, self.step, self.accelerator)
        steps = range(self.step, self.config.steps)
        for passes in steps_of(
            self.crops,
            self._share,
            steps,
            self._latents_shape,
            seed=self.config.seed,
            workers=self._workers,
            device=self.accelerator.device,
        ):
            log.add(self._train_step(passes))
            self.step += 1
            at_end = self.step == self.config.steps
            stopping = not at_end and self._any(stop_requested())
            saving = at_end or stopping or self.step % checkpoint_every == 0
            # A record ends at each checkpoint, so that a resumed run writes the same records.
            if saving or self.step % log_every == 0:
                log.write(self.step)
            if saving:
                self._save()
                log.draw()
            if on_step:
                on_step(self.step, log.last)
            if stopping:
                return False
        if self.accelerator.is_main_process:
            save_weights(self._ema.module if self._ema else self.network, self.folder / RUN_WEIGHTS)
            write_run_network(
                self.folder,
                self.config.architecture,
                self.network.config,
                self.config.bottleneck.noise,
                self.config.bottleneck.step_scales,
                self.config.bottleneck.rounding_of_archives,
            )
        self.accelerator.wait_for_everyone()
        return True

    def _train_step(self, passes: list[Crops]) -> dict[str, Tensor]:
        """Do one step; return its values for the log."""
        config = self.config.optimiser
        factor = learning_rate_factor(config, self.step / self.config.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = config.learning_rate * factor * group["share"]
        adversary = self._adversary if self._adversary_has_started() else None
        results = [
            self._backward(crops, adversary)
            for crops in in_passes(self.accelerator, self._model, passes)
        ]
        values = _means([record for _, record in results])
        values["norm"], is_finite = self._update()
        kbps = bits_to_kbps(
            float(self.accelerator.reduce(values.pop("bits"), "mean")), self._hop, SAMPLE_RATE
        )
        values["kbps"], values["rate_weight"] = torch.tensor([kbps, self._rate.weight])
        self._rate.update(kbps)
        if adversary and is_finite:
            pairs = [
                (crops.audio, decoded) for crops, (decoded, _) in zip(passes, results, strict=True)
            ]
            values |= adversary.learn(pairs, config.clip)
        return values

    def _backward(
        self, crops: Crops, adversary: Adversary | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Add the gradients of one pass; return the decoded audio and the terms of the loss."""
        decoded, cost, bits = self._model(crops)
        # Everything random about a step follows from its number: a resumed run is the same run.
        draw = random.Random(f"{self.config.seed}/{self.step}")
        total, values = self._loss(decoded, crops.audio, draw)
        # Also at weight 0, so that every parameter gets a gradient: processes wait for all of them.
        total = total + self._rate.weight * cost.mean()
        if adversary:
            judged, terms = adversary.judge(decoded, crops.audio)
            total = total + judged
            values |= terms
        self.accelerator.backward(total / self._share.passes)
        return decoded.detach(), values | {"bits": bits.detach().mean()}

    def _update(self) -> tuple[Tensor, bool]:
        """Step the optimiser where every gradient is finite; return the network's norm, and whether."""
        clip = self.config.optimiser.clip
        norm: Tensor = self.accelerator.clip_grad_norm_(self.network.parameters(), clip)
        norm_of_prior = self.accelerator.clip_grad_norm_(self.bottleneck.parameters(), clip)
        is_finite = bool(torch.isfinite(norm)) and bool(torch.isfinite(norm_of_prior))
        if is_finite:
            self._optimiser.step()
            self._bad_steps = 0
            if self._ema:
                self._ema.update_parameters(self.network)
        else:
            self._bad_steps += 1
        self._optimiser.zero_grad(set_to_none=True)
        last_chance = self.step + 1 == self.config.steps
        if self._bad_steps == _MOST_BAD_STEPS or (self._bad_steps and last_chance):
            raise EarzipError(
                f"training diverges: no finite gradient in the last {self._bad_steps} of "
                f"{self.step + 1} steps",
                self.folder,
            )
        return norm, is_finite

    def _adversary_has_started(self) -> bool:
        adversarial = self.config.adversarial
        return adversarial is not None and self.step >= adversarial.start * self.config.steps

    def _any(self, stop: bool) -> bool:
        """Return whether ``stop`` in any process: all must stop at the same step."""
        if self.accelerator.num_processes == 1:
            return stop
        asked = torch.tensor(float(stop), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, "sum") > 0)

    def _write_config(self) -> None:
        if self.accelerator.is_main_process:
            make_folder(self.folder, is_folder=True)
            with atomic_write(self.folder / CONFIG) as file:
                file.write(json.dumps(self.config.to_json(), indent=1).encode() + b"\n")
        self.accelerator.wait_for_everyone()

    def _state(self) -> RunState:
        modules: dict[str, nn.Module] = {"network": self.network, "bottleneck": self.bottleneck}
        optimisers: dict[str, Any] = {"optimiser": self._optimiser}
        if self._ema:
            modules["ema"] = self._ema
        if self._adversary:
            modules["discriminator"] = self._adversary.discriminator
            optimisers["discriminator_optimiser"] = self._adversary.optimiser
        facts = {
            "step": self.step,
            "bad_steps": self._bad_steps,
            "rate": self._rate.state_dict(),
            "config": self.config.to_json(),
            "music": self._music,
            "start": self._start,
        }
        return RunState(modules, optimisers, facts)

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            save_state(self._state(), self.checkpoint)
        self.accelerator.wait_for_everyone()

    def _facts_to_resume(self) -> dict[str, Any]:
        facts = read_facts(self.checkpoint)
        # Passes of a step change no more than processes do, and must grow if memory is short.
        before = facts["config"] | {"accumulation": self.config.accumulation}
        if differing := _differences(before, self.config.to_json()):
            raise UsageError(
                f"the run was started with another configuration: {'; '.join(differing)}; "
                "for a further stage, start a new run from this one",
                self.folder,
            )
        if changed := [n for n, digest in self._music.items() if facts["music"].get(n) != digest]:
            raise UsageError(
                f"the run was started with other music in {' and '.join(changed)}", self.folder
            )
        # The command that started the run resumes it, with or without its start.
        if self._start not in (None, facts["start"]):
            raise UsageError(f"the run did not start from {self._start}", self.folder)
        self._start = facts["start"]
        return facts


def _means(records: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each value over the passes of a step, which all have the same."""
    return {name: torch.stack([r[name] for r in records]).mean() for name in records[0]}


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in sorted(before.keys() | now.keys()):
        a, b = before.get(name), now.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name} was {a!r}, not {b!r}")
    return found


def _pool_names(config: TrainingConfig) -> list[str]:
    return [*config.music, *([config.voices] if config.voices else [])]


def _digests(config: TrainingConfig, music: Path) -> dict[str, str]:
    """Return the identity of each pool: the SHA-256 of its list of tracks."""
    indices = {name: (music / f"{name}.json").read_bytes() for name in _pool_names(config)}
    return {name: hashlib.sha256(index).hexdigest() for name, index in indices.items()}


def _open_crops(config: TrainingConfig, music: Path, hop: int) -> CropSource:
    names = _pool_names(config)
    if missing := [name for name in names if not (music / f"{name}.s16").is_file()]:
        there = ", ".join(sorted(path.stem for path in music.glob("*.s16"))) or "none"
        raise UsageError(
            f"the configuration needs the pools {', '.join(names)}; missing from this directory: "
            f"{', '.join(missing)} (it has: {there}); make pools with `earzip train prepare`, or "
            """use others with --set 'music={"NAME": 1}' --set voices=null""",
            music,
        )
    frames = config.crop_frames * hop
    shortest = 2 * frames
    pools = [MusicPool(music / f"{name}.s16", shortest) for name in config.music]
    total = sum(config.music.values())
    odds = [share / total for share in config.music.values()]
    voices = MusicPool(music / f"{config.voices}.s16", shortest) if config.voices else None
    return CropSource(Mixture(pools, odds, voices), config.batch_size, frames, config.seed)
