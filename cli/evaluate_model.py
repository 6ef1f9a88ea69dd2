"""``earzip evaluate --thd``: the distortion and noise of a tone that goes through a model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from earzip.batch.plan import is_folder
from earzip.cli.options import NetworkOptions, RunOptions
from earzip.errors import TargetError, UsageError
from earzip.models.store import find_model, verify_model

_SUFFIX = ".png"


def evaluate_model(
    model: str, output: Path | None, run: RunOptions, network: NetworkOptions
) -> int:
    """Print a row, or a JSON object, for each quality of ``model`` and level of the tone."""
    _require_picture(output, force=run.force)
    verify_model(find_model(model))
    from earzip.evaluate.tones import evaluate_tones  # noqa: PLC0415
    from earzip.models.pool import CodecPool  # noqa: PLC0415  # loads numpy

    tones = []
    with CodecPool(**network.checked()) as codecs:
        if not run.as_json:
            click.echo("quality  sine dBFS  restored dBFS  THD+N dB  THD+N %")
        for found in evaluate_tones(model, codecs=codecs):
            tones.append(found)
            if run.as_json:
                click.echo(json.dumps(found.to_json()))
                continue
            click.echo(
                f"{found.quality:<7}  {found.level_dbfs:9.1f}  {found.thd_n.level_dbfs:13.2f}  "
                f"{found.thd_n.db:8.1f}  {found.thd_n.percent:7.3g}"
            )
    if output is not None:
        from earzip.evaluate.tones_plot import draw_tones  # noqa: PLC0415  # loads matplotlib

        draw_tones(tones, output, replace=run.force)
    return 0


def _require_picture(output: Path | None, *, force: bool) -> None:
    """Raise before the work if ``output`` is no picture that can be written."""
    if output is None:
        return
    if output.suffix.lower() != _SUFFIX:
        raise UsageError(f"a picture is written to a file that ends in {_SUFFIX}", output)
    if is_folder(output):
        raise UsageError("is a folder, expected a file for the picture", output)
    if not is_folder(output.parent):
        raise TargetError("its folder is not there", output)
    if not force and os.path.lexists(output):
        raise TargetError("exists; --force replaces it", output)
