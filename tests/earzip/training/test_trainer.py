from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from earzip.errors import SourceError, UsageError
from earzip.training.rate import FactorisedPrior, bits_to_kbps, entropy_bits, fit_prior
from earzip.training.trainer import Trainer, TrainingConfig, quantise_straight_through
from tests.conftest import tones

CONFIG = {
    "model": {
        "n_waveform": 24, "n_envelope": 4, "width": 16, "encoder_depth": 1, "decoder_depth": 1,
        "kernel_size": 3, "hop": 256, "short_hop": 64, "n_short_bands": 4, "n_bands": 12,
        "first_envelope_band": 3,
    },
    "steps": 24,
    "batch_size": 2,
    "crop_frames": 48,
    "statistics_batches": 8,
    "bfloat16": False,
    "pools": {"music": 1.0},
    "loss": {"mel": 0.0},
}  # fmt: skip


@pytest.fixture
def music(tmp_path: Path) -> Path:
    audio = np.concatenate([tones(200_000, seed) for seed in (1, 2)], 1)
    (np.ascontiguousarray(audio.T) * 32767).astype("<i2").tofile(tmp_path / "music.s16")
    entries = [
        {"name": str(i), "start": i * 200_000, "frames": 200_000, "rms_db": -20.0} for i in (0, 1)
    ]
    (tmp_path / "music.json").write_text(json.dumps(entries))
    return tmp_path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return path


def losses(folder: Path) -> list[dict[str, float]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    music: Path, config: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; import torch; torch.set_num_threads(1)\n"
        "from earzip.training.trainer import *\n"
        "c, m, f = map(Path, sys.argv[1:])\n"
        "Trainer(TrainingConfig.load(c), m, f).run(log_every=1, checkpoint_every=4)"
    )
    command = [sys.executable, "-c", code, config, music]
    subprocess.run([*command, tmp_path / "whole"], check=True, timeout=120)
    killed = subprocess.Popen([*command, tmp_path / "killed"])
    deadline = time.monotonic() + 100
    while not (tmp_path / "killed" / "checkpoint.safetensors").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    subprocess.run([*command, tmp_path / "killed"], check=True, timeout=120)
    by_step = {record["step"]: record for record in losses(tmp_path / "killed")}
    assert list(by_step.values()) == losses(tmp_path / "whole")
    assert len(by_step) == 24
    weights = [(tmp_path / run / "weights.safetensors").read_bytes() for run in ("whole", "killed")]
    assert weights[0] == weights[1]


def test_training_lowers_the_loss(music: Path, config: Path, tmp_path: Path) -> None:
    trainer = Trainer(TrainingConfig.load(config), music, tmp_path / "run")
    trainer.run(log_every=6)
    records = losses(tmp_path / "run")
    assert records[-1]["log_magnitude"] < records[0]["log_magnitude"]


def test_another_round_begins_with_the_weights_of_the_last(
    music: Path, config: Path, tmp_path: Path
) -> None:
    loaded = TrainingConfig.load(config)
    Trainer(loaded, music, tmp_path / "first").run()
    start = tmp_path / "first" / "weights.safetensors"
    second = Trainer(loaded, music, tmp_path / "second", start)
    for name, tensor in load_file(start).items():
        torch.testing.assert_close(second.vae.state_dict()[name], tensor.float())
    audio = torch.from_numpy(second.crops.batch(99))
    posterior = second.vae.encode(audio)
    fitted_bits, plain_bits = (
        prior.bits(posterior.mean, posterior.scale).mean()
        for prior in (second.prior, FactorisedPrior(loaded.model.n_latents))
    )
    assert fitted_bits < plain_bits


def test_weights_of_another_shape_are_refused(music: Path, config: Path, tmp_path: Path) -> None:
    save_file({"rms": torch.ones(2, 128)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match=r"other.safetensors: not weights of this configuration"):
        Trainer(
            TrainingConfig.load(config), music, tmp_path / "run", tmp_path / "other.safetensors"
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [({"steps": None}, "steps"), ({"model": {"hop": 1000}}, "multiple"), ({"stepz": 3}, "stepz")],
)
def test_a_bad_configuration_names_what_is_wrong(
    config: Path, change: dict[str, object], message: str
) -> None:
    data = {**CONFIG, **change}
    config.write_text(json.dumps({k: v for k, v in data.items() if v is not None}))
    with pytest.raises(UsageError, match=message):
        TrainingConfig.load(config)


def test_missing_music_is_named(config: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a music pool"):
        Trainer(TrainingConfig.load(config), tmp_path / "nowhere", tmp_path / "run")


def test_rounding_passes_gradients() -> None:
    x = torch.tensor([[0.4, 1.3]], requires_grad=True)
    step = torch.tensor([[0.5, 0.5]], requires_grad=True)
    y = quantise_straight_through(x, step)
    torch.testing.assert_close(y, torch.tensor([[0.5, 1.5]]))
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones(1, 2))
    torch.testing.assert_close(step.grad, torch.tensor([[1 - 0.8, 3 - 2.6]]))


def test_the_prior_is_a_distribution() -> None:
    prior = FactorisedPrior(3)
    grid = torch.arange(-400, 401).float().expand(1, 3, -1) * 0.5
    mass = torch.exp2(-prior.bits(grid, torch.full((1, 1, 1), 0.5))).sum(-1)
    torch.testing.assert_close(mass, torch.ones(1, 3), atol=1e-3, rtol=0)


def test_larger_steps_cost_fewer_bits() -> None:
    prior, latents = FactorisedPrior(1), torch.randn(1, 1, 1000)
    with torch.no_grad():
        steps = [torch.full((1, 1, 1), step) for step in (0.1, 1.0, 4.0)]
        costs = [float(prior.bits(latents, step).mean()) for step in steps]
    assert costs == sorted(costs, reverse=True)


def test_a_fitted_prior_nears_the_entropy_of_its_latents() -> None:
    prior, step = FactorisedPrior(2), torch.ones(1, 2, 1)
    # A Laplace distribution of scale b has ln(2e·b) nats; wide bins and relaxed rounding add a little.
    b = torch.tensor([[[20.0], [0.5]]])
    laplace = torch.distributions.Laplace(torch.zeros(()), 1.0)
    torch.manual_seed(0)
    latents = laplace.sample((8, 2, 200)) * b
    fit_prior(prior, latents, step)
    with torch.no_grad():
        bits = prior.bits(latents.round(), step).mean((0, 2))
    assert float(bits[0]) == pytest.approx(np.log2(2 * np.e * 20), abs=0.1)
    assert float(bits[1]) < 1.9


def test_entropy_of_known_symbols() -> None:
    symbols = torch.tensor([[0, 0, 0, 0], [0, 1, 2, 3]])
    assert entropy_bits(symbols) == pytest.approx(8)
    assert bits_to_kbps(1024, 1024, 44_100) == pytest.approx(44.1)
