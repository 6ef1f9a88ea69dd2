"""``earzip train``: training of models, and the music for it."""

from __future__ import annotations

import click

from earzip.cli.train_prepare import prepare
from earzip.cli.train_run import run


@click.group()
def train() -> None:
    """Train models: prepare music, then run a configuration on it."""


train.add_command(prepare)
train.add_command(run)
