"""Options that say where and how the network runs."""

from __future__ import annotations

from collections.abc import Callable

import click

from earzip.cli.options import Function, gathered
from earzip.cli.values import Count
from earzip.runtime import AUTOMATIC, DEVICES, PRECISIONS, Runtime


class _Devices(click.ParamType[str]):
    name = "devices"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not DEVICES.fullmatch(value):
            self.fail(f"{value!r} is not auto, cpu, cuda or cuda:N[,cuda:M...]", param, ctx)
        return value


_RUNTIME_OPTIONS = {
    "device": click.option(
        "--devices",
        "device",
        metavar="NAMES",
        default="auto",
        show_default=True,
        type=_Devices(),
        help="Where the network runs: auto (every GPU, or the CPU if there is none), cpu, cuda, or "
        "some GPUs as cuda:0,cuda:2.",
    ),
    "precision": click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="float32",
        show_default=True,
        help="Number format of the network. 16 bits are faster where the device supports them, and less "
        "exact; so is tf32, on NVIDIA GPUs since Ampere.",
    ),
    "threads": click.option(
        "--threads",
        metavar="N",
        type=Count(),
        help="CPU threads of each process.  [default: the available cores, shared out]",
    ),
    "batch_size": click.option(
        "--batch-size",
        metavar="N",
        type=Count(),
        help="Windows of audio in one pass on a GPU.  [default: 16, or as many as its memory holds]",
    ),
}
_ONE_DEVICE = {
    **_RUNTIME_OPTIONS,
    "device": click.option(
        "--device",
        metavar="NAME",
        default="auto",
        show_default=True,
        help="Where the network runs: auto, cpu, cuda or cuda:N.",
    ),
}

runtime_options = gathered("runtime", Runtime, _RUNTIME_OPTIONS)
"""Adds --devices, --precision, --threads and --batch-size: ``runtime``, a `Runtime`."""

_DECODING_PRECISION = click.option(
    "--precision",
    type=click.Choice((AUTOMATIC, *PRECISIONS)),
    default=AUTOMATIC,
    show_default=True,
    help="Number format of the network. auto is bfloat16 on a CPU with instructions for it, else "
    "float32. 16 bits are faster where the device supports them, and less exact; so is tf32, on NVIDIA "
    "GPUs since Ampere.",
)
decoding_options = gathered(
    "runtime", Runtime, {**_RUNTIME_OPTIONS, "precision": _DECODING_PRECISION}
)
"""Adds what `runtime_options` adds, for a command that only decodes."""


def one_device_options(*names: str, decodes: bool = False) -> Callable[[Function], Function]:
    """Add options of these names, fields of `Runtime`, for a command that uses one device.

    ``decodes``: whether it only decodes, as commands with `decoding_options` do.
    """
    options = {name: _ONE_DEVICE[name] for name in names}
    if decodes:
        options["precision"] = _DECODING_PRECISION
    return gathered("runtime", Runtime, options)
