"""``python -m earzip.training CONFIG MUSIC FOLDER``: train a model, or resume the run in FOLDER."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from earzip.training.trainer import Trainer, TrainingConfig


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m earzip.training", description=__doc__)
    parser.add_argument("config", type=Path, help="the run, as JSON")
    parser.add_argument("music", type=Path, help="folder of the NAME.s16 and NAME.json pools")
    parser.add_argument("folder", type=Path, help="folder of the run: checkpoint, log, weights")
    parser.add_argument(
        "--start", type=Path, help="weights to begin with (.safetensors): another round of training"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = TrainingConfig.load(arguments.config)
    Trainer(config, arguments.music, arguments.folder, arguments.start).run()


if __name__ == "__main__":
    main()
