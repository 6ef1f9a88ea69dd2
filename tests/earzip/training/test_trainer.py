from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file

from earzip.errors import EarzipError, UsageError
from earzip.training.batches import Crops
from earzip.training.config import PARTS
from earzip.training.rate import FactorisedPrior, NeighbourPrior
from earzip.training.run_state import read_facts, read_parts
from earzip.training.trainer import Trainer
from tests.earzip.training.conftest import (
    EAR,
    RUNS,
    SPECTRAL,
    TRANSFORM,
    check_alike,
    command,
    load,
    records,
    slowly,
    wait_for,
    write_config,
)


def train(config: Path, music: Path, run: Path, *options: object) -> None:
    subprocess.run(
        [sys.executable, *command(config, music, run, *options)], check=True, timeout=200
    )


def launch(n: int, config: Path, music: Path, run: Path, *options: object) -> list[str]:
    words = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    words += ["--num_processes", str(n), "--num_machines", "1", "--main_process_port", "0"]
    words += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    return [*words, *command(config, music, run, *options)]


@pytest.mark.parametrize("kind", RUNS)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    kind: str, music: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, RUNS[kind])
    train(config, music, tmp_path / "whole", "--checkpoint-every", 4)
    killed = subprocess.Popen(
        [sys.executable, *command(config, music, tmp_path / "killed", "--checkpoint-every", 4)]
    )
    wait_for(tmp_path / "killed" / "checkpoint.safetensors", killed)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "weights.safetensors").exists()
    train(config, music, tmp_path / "killed", "--checkpoint-every", 4)
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    assert len(records(tmp_path / "whole")) == RUNS[kind]["steps"]
    weights, states = (
        [(tmp_path / run / f"{name}.safetensors").read_bytes() for run in ("whole", "killed")]
        for name in ("weights", "checkpoint")
    )
    assert weights[0] == weights[1]
    assert states[0] == states[1]


def test_sigterm_saves_the_state_and_ends_with_75(music: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, {**SPECTRAL, "steps": 100_000})
    run = tmp_path / "run"
    process = subprocess.Popen([sys.executable, *command(config, music, run)])
    wait_for(run / "log.jsonl", process)
    while not records(run):
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 75
    (step,) = {record["step"] for record in records(run)[-1:]}
    assert (run / "checkpoint.safetensors").exists()
    trainer = Trainer(load({**SPECTRAL, "steps": 100_000}), music, run)
    assert trainer.step == step


@pytest.mark.parametrize("kind", RUNS)
def test_two_processes_train_as_one_does(kind: str, music: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, slowly(kind))
    train(config, music, tmp_path / "one")
    done = subprocess.run(
        launch(2, config, music, tmp_path / "two"), check=True, timeout=200, stderr=subprocess.PIPE
    )
    assert b"4 crops a step, 2 processes on cpu" in done.stderr
    check_alike(tmp_path / "one", tmp_path / "two", 8)


def test_a_signal_to_the_launcher_stops_all_processes_at_one_step(
    music: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, {**SPECTRAL, "steps": 100_000})
    run = tmp_path / "run"
    process = subprocess.Popen(launch(2, config, music, run), stderr=subprocess.PIPE, text=True)
    wait_for(run / "log.jsonl", process)
    while not records(run):
        time.sleep(0.05)
    process.terminate()
    _, told = process.communicate(timeout=100)
    assert process.returncode
    assert "earzip: stopping after this step" in told
    assert (run / "checkpoint.safetensors").exists()
    assert records(run)[-1]["step"] == read_facts(run / "checkpoint.safetensors")["step"]


@pytest.mark.parametrize("kind", RUNS)
def test_accumulated_passes_train_as_one_pass_does(kind: str, music: Path, tmp_path: Path) -> None:
    for passes in (1, 4):
        config = load(slowly(kind), accumulation=passes)
        Trainer(config, music, tmp_path / str(passes), workers=0).run(log_every=1)
    check_alike(tmp_path / "1", tmp_path / "4", 8)


@pytest.mark.parametrize("without", [[], [part for part in PARTS if part != "transformer"]])
@pytest.mark.parametrize("kind", RUNS)
def test_every_parameter_has_a_gradient_whatever_is_off(
    kind: str, without: list[str], music: Path, tmp_path: Path
) -> None:
    """Processes wait for each of them."""
    trainer = Trainer(load(RUNS[kind]).without(without), music, tmp_path / "run", workers=0)
    rng = torch.Generator().manual_seed(0)
    shape = 2, *trainer._latents_shape
    noise = torch.rand(shape, generator=rng) - 0.5
    audio = torch.from_numpy(trainer.crops.batch(0)[:2])
    trainer._backward(Crops(audio, torch.rand(2, generator=rng), noise), None)
    parameters = [*trainer.network.named_parameters(), *trainer.bottleneck.named_parameters()]
    assert [name for name, parameter in parameters if parameter.grad is None] == []


def test_a_run_is_resumed_in_more_passes(music: Path, tmp_path: Path) -> None:
    """Where a step has outgrown the memory, as when the discriminator sets in."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    config = load(slowly("ear"))
    Trainer(config, music, whole, workers=0).run(log_every=1)
    first = Trainer(config, music, run, workers=0)
    assert not first.run(log_every=1, stop_requested=lambda: first.step == 3)
    again = Trainer(load(slowly("ear"), accumulation=4), music, run, workers=0)
    assert again.step == 3
    again.run(log_every=1)
    check_alike(run, whole, 8)


def test_more_processes_than_crops_are_refused(music: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batch_size 4 cannot be split evenly: 1 processes, 3"):
        Trainer(load(SPECTRAL, accumulation=3), music, tmp_path / "run")


@pytest.mark.parametrize("kind", RUNS)
def test_training_lowers_the_loss(kind: str, music: Path, tmp_path: Path) -> None:
    config = load(RUNS[kind], steps=40, adversarial=None)
    Trainer(config, music, tmp_path / "run", workers=0).run(log_every=10)
    found = records(tmp_path / "run")
    assert found[-1]["log_magnitude"] < 0.95 * found[0]["log_magnitude"]


def test_bfloat16_trains_nearly_as_float32_does(music: Path, tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        config = load(SPECTRAL, precision=precision, steps=4)
        Trainer(config, music, tmp_path / precision, workers=0).run(log_every=4)
        AcceleratorState._reset_state(reset_partial_state=True)
    (exact,), (rounded,) = records(tmp_path / "float32"), records(tmp_path / "bfloat16")
    assert rounded != exact
    assert rounded["log_magnitude"] == pytest.approx(exact["log_magnitude"], rel=0.05)


def test_weights_are_the_running_mean(music: Path, tmp_path: Path) -> None:
    trainer = Trainer(load(SPECTRAL, optimiser__ema=0.9), music, tmp_path / "run", workers=0)
    trainer.run()
    weights = load_file(tmp_path / "run" / "weights.safetensors")["encoder_in.weight"].float()
    averaged = read_parts(trainer.checkpoint, ["ema"])["ema"]["module.encoder_in.weight"]
    torch.testing.assert_close(weights, averaged, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(weights, trainer.network.state_dict()["encoder_in.weight"], rtol=1e-3)


@pytest.mark.parametrize(("noise", "rounding"), [("round", 0.4), ("uniform", 0.5)])
def test_weights_come_with_the_rounding_that_they_were_trained_for(
    noise: str, rounding: float, music: Path, tmp_path: Path
) -> None:
    config = load(TRANSFORM, steps=1, bottleneck__noise=noise)
    assert config.bottleneck.rounding == 0.4
    Trainer(config, music, tmp_path / "run", workers=0).run()
    assert json.loads((tmp_path / "run" / "weights.json").read_text())["rounding"] == rounding


def test_coefficients_of_a_transform_are_counted_by_their_neighbours(
    music: Path, tmp_path: Path
) -> None:
    bottleneck = Trainer(load(TRANSFORM), music, tmp_path / "run").bottleneck
    assert isinstance(bottleneck.prior, NeighbourPrior)
    assert bottleneck.prior.n_sparse == 400
    assert bottleneck.shares.flatten().tolist() == [1.0] * 400 + [0.5] * 4


def test_the_curves_are_a_picture(music: Path, tmp_path: Path) -> None:
    Trainer(load(SPECTRAL, steps=2), music, tmp_path / "run", workers=0).run()
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_stage_begins_with_network_prior_and_discriminator_of_the_first(
    music: Path, tmp_path: Path
) -> None:
    first = load(EAR, bottleneck__rate="prior")
    Trainer(first, music, tmp_path / "first", workers=0).run()
    second = Trainer(first, music, tmp_path / "second", start=tmp_path / "first", workers=0)
    assert second.step == 0
    parts = read_parts(
        tmp_path / "first" / "checkpoint.safetensors", ["ema", "bottleneck", "discriminator"]
    )
    state = second._state()
    for name, tensor in state.modules["network"].state_dict().items():
        torch.testing.assert_close(tensor, parts["ema"][f"module.{name}"])
    for part in ("bottleneck", "discriminator"):
        for name, tensor in state.modules[part].state_dict().items():
            torch.testing.assert_close(tensor, parts[part][name])


def test_another_round_begins_with_weights_and_fits_a_prior(music: Path, tmp_path: Path) -> None:
    config = load(SPECTRAL)
    Trainer(config, music, tmp_path / "first", workers=0).run()
    start = tmp_path / "first" / "weights.safetensors"
    second = Trainer(config, music, tmp_path / "second", start=start)
    for name, tensor in load_file(start).items():
        torch.testing.assert_close(second.network.state_dict()[name], tensor.float())
    with torch.no_grad():
        posterior = second.network.encode(torch.from_numpy(second.crops.batch(99)))
    assert second.bottleneck.prior is not None
    fitted, plain = (
        prior.bits(posterior.mean, posterior.scale).mean()
        for prior in (second.bottleneck.prior, FactorisedPrior(28))
    )
    assert fitted < plain


def test_weights_of_another_shape_are_refused(music: Path, tmp_path: Path) -> None:
    save_file({"rms": torch.ones(2, 128)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match=r"other.safetensors: not weights of this configuration"):
        Trainer(load(SPECTRAL), music, tmp_path / "run", start=tmp_path / "other.safetensors")


def test_a_run_of_another_network_is_refused_as_a_start(music: Path, tmp_path: Path) -> None:
    Trainer(load(SPECTRAL, steps=1), music, tmp_path / "first", workers=0).run()
    with pytest.raises(UsageError, match="not a run of this configuration"):
        Trainer(load(EAR), music, tmp_path / "second", start=tmp_path / "first")


def test_a_run_is_not_resumed_with_another_configuration(music: Path, tmp_path: Path) -> None:
    Trainer(load(SPECTRAL, steps=2), music, tmp_path / "run", workers=0).run()
    changed = load(SPECTRAL, steps=3, loss__group_delay=0.7)
    with pytest.raises(UsageError, match=r"loss.group_delay was 0.3, not 0.7; steps was 2, not 3"):
        Trainer(changed, music, tmp_path / "run")


def test_a_run_from_before_a_field_existed_is_resumed_with_its_default(
    music: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    Trainer(load(SPECTRAL, steps=2), music, tmp_path / "run", workers=0).run()
    facts = read_facts(checkpoint)
    del facts["config"]["bottleneck"]["rounding"]
    del facts["config"]["voices"]
    save_file(load_file(checkpoint), checkpoint, {"facts": json.dumps(facts)})
    assert Trainer(load(SPECTRAL, steps=2), music, tmp_path / "run", workers=0).step == 2
    changed = load(SPECTRAL, steps=2, bottleneck__rounding=0.4)
    with pytest.raises(UsageError, match=r"bottleneck.rounding was 0.5, not 0.4"):
        Trainer(changed, music, tmp_path / "run", workers=0)


def test_a_run_of_a_later_version_is_told_what_it_has_more(music: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    Trainer(load(SPECTRAL, steps=2), music, tmp_path / "run", workers=0).run()
    facts = read_facts(checkpoint)
    facts["config"]["loss"]["sparkle"] = 1.5
    save_file(load_file(checkpoint), checkpoint, {"facts": json.dumps(facts)})
    with pytest.raises(UsageError, match=r"another configuration: loss.sparkle was 1.5, not None"):
        Trainer(load(SPECTRAL, steps=2), music, tmp_path / "run", workers=0)


def test_a_run_is_not_resumed_with_other_music(music: Path, tmp_path: Path) -> None:
    Trainer(load(SPECTRAL, steps=2), music, tmp_path / "run", workers=0).run()
    index = music / "music.json"
    index.write_text(index.read_text().replace("-20.0", "-21.0"))
    with pytest.raises(UsageError, match="the run was started with other music in music"):
        Trainer(load(SPECTRAL, steps=2), music, tmp_path / "run")


def test_missing_music_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"pools music; missing from this directory: music \(it has: none\)"
    ):
        Trainer(load(SPECTRAL), tmp_path / "nowhere", tmp_path / "run")


def test_a_run_that_diverges_ends(music: Path, tmp_path: Path) -> None:
    trainer = Trainer(load(SPECTRAL, steps=200), music, tmp_path / "run", workers=0)
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(torch.nan)
    with pytest.raises(EarzipError, match="no finite gradient in the last 100 of 100 steps"):
        trainer.run()


def test_a_run_whose_last_step_failed_leaves_no_weights(music: Path, tmp_path: Path) -> None:
    trainer = Trainer(load(SPECTRAL, steps=3), music, tmp_path / "run", workers=0)
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(torch.nan)
    with pytest.raises(EarzipError, match="no finite gradient in the last 3 of 3 steps"):
        trainer.run()
    assert not (tmp_path / "run" / "weights.safetensors").exists()


@pytest.mark.parametrize("part", ["network", "bottleneck", "discriminator"])
def test_a_gradient_that_is_not_finite_costs_one_step(
    part: str, music: Path, tmp_path: Path
) -> None:
    config = load(EAR, bottleneck__rate="prior", adversarial__start=0.0, steps=8)
    trainer = Trainer(config, music, tmp_path / "run", workers=0)
    parameter = next(trainer._state().modules[part].parameters())
    calls: list[None] = []

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        calls.append(None)
        return torch.full_like(gradient, torch.nan) if len(calls) == 3 else gradient

    parameter.register_hook(spoil)
    trainer.run(log_every=1)
    found = records(tmp_path / "run")
    assert len(calls) > 3
    for module in trainer._state().modules.values():
        assert all(bool(p.isfinite().all()) for p in module.parameters())
    assert all(found[-1][name] is not None for name in ("norm", "kbps", "discriminator"))


def test_the_environment_does_not_change_a_run(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(SPECTRAL, steps=2)
    Trainer(config, music, tmp_path / "plain", workers=0).run()
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "inductor")
    AcceleratorState._reset_state(reset_partial_state=True)
    Trainer(config, music, tmp_path / "set", workers=0).run()
    assert records(tmp_path / "plain") == records(tmp_path / "set")


def test_the_committed_configuration_of_mini_reproduces_from_its_seed(
    music: Path, tmp_path: Path
) -> None:
    for name in ("train", "midi", "tones", "voices"):
        for suffix in (".s16", ".json"):
            (music / f"{name}{suffix}").symlink_to(music / f"music{suffix}")
    options: list[Any] = ["--set", "steps=3", "--set", "statistics_batches=4"]
    found = []
    for run in (tmp_path / "first", tmp_path / "second"):
        train(Path("mini"), music, run, *options)
        found.append((records(run), (run / "weights.safetensors").read_bytes()))
        shutil.rmtree(run)  # 200 MB of it are the checkpoint
    assert found[0] == found[1]
