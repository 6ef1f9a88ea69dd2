"""``earzip devices``: what the network can run on, what fits there, and what is left alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from earzip.cli.output import size
from earzip.cli.streams import printable
from earzip.errors import ExitCode
from earzip.models.store import list_models

if TYPE_CHECKING:
    from earzip.models.devices import Cpu, Devices, Fit, Gpu


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def devices(as_json: bool) -> int:
    """List what the network can run on, and what fits.

    Of the CPU: what of it is used. Of each GPU: memory, and the precisions in which it computes rightly,
    which is tried. What is left alone is named with the reason. Of each installed model: the memory that
    its weights and a window of sound take, and how many windows at once each GPU should hold, at most 16.
    """
    from earzip.models.devices import find_devices, fits  # noqa: PLC0415  # loads torch

    found = find_devices()
    specs, problems = list_models()
    rows, further = fits(specs, found)
    for problem in (*problems, *further):
        click.echo(f"earzip: {printable(str(problem))}", err=True)
    if as_json:
        click.echo(json.dumps(found.to_json() | {"models": [row.to_json() for row in rows]}))
        return ExitCode.OK
    for line in [*_of_cpu(found.cpu), *map(_of_gpu, found.gpus), *_of_others(found)]:
        click.echo(printable(line))
    click.echo()
    for line in _table(rows, [gpu.device for gpu in found.gpus if not gpu.problem]):
        click.echo(line)
    return ExitCode.OK


def _of_cpu(cpu: Cpu) -> list[str]:
    cores = "1 core" if cpu.cores == 1 else f"{cpu.cores} cores"
    sets = ", ".join(cpu.instructions) or "none of note"
    return [
        f"cpu  {cpu.name}, {cores}",
        f"  instructions   {sets}; PyTorch uses {cpu.kernels}",
        f"  decodes in     {cpu.decodes_in}, unless --precision says otherwise",
        f"  loops in C     {_use(cpu.without_loops)}",
        f"  packed layers  {_use(cpu.without_packed)}",
    ]


def _use(without: str | None) -> str:
    return "used" if without is None else f"not used: {without}"


def _of_gpu(gpu: Gpu) -> str:
    if gpu.problem:
        return f"{gpu.device}  {gpu.name}, not used: {gpu.problem}"
    return (
        f"{gpu.device}  {gpu.name}, {size(gpu.memory)}, {size(gpu.free)} free, compute capability "
        f"{gpu.capability}; computes in {', '.join(gpu.precisions)}"
    )


def _of_others(found: Devices) -> list[str]:
    lines = [f"not used  {reason}" for reason in found.refused]
    if not found.gpus and not lines:
        lines.append(f"no GPU is found by PyTorch {found.torch}")
    return lines


def _table(rows: list[Fit], gpus: list[str]) -> list[str]:
    cells = [["model", "precision", "weights", "a window", *(f"windows, {gpu}" for gpu in gpus)]]
    for row in rows:
        takes = [size(row.takes.weights), size(row.takes.window)]
        windows = [str(row.windows.get(gpu, "–")) for gpu in gpus]
        cells.append([row.model, row.precision, *takes, *windows])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
