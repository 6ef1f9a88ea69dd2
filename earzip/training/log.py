"""The log of a run, JSON Lines, and its curves."""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from earzip.formats.atomic import atomic_path, atomic_write

LOG = "log.jsonl"
CURVES = "curves.png"

_COLUMNS = 3
# Panels of the picture: the terms of each, without their suffixes.
_PANELS = {
    "magnitude": ("log_magnitude", "convergence", "mel", "level"),
    "waveform": ("complex_convergence", "complex_bands", "correlation", "coherence"),
    "phase": ("instantaneous_frequency", "group_delay"),
    "adversarial": ("adversarial", "feature_matching", "discriminator"),
    "rate, kbps": ("kbps",),
    "gradient norm": ("norm",),
}


class TrainingLog:
    """Means of what is added since the last record, over all processes; the main one writes them."""

    def __init__(self, folder: Path, step: int, accelerator: Accelerator) -> None:
        """Go on with the log in ``folder`` at ``step``: later records, of a killed run, go."""
        self.last: dict[str, float | None] = {}
        self._folder = folder
        self._accelerator = accelerator
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._began = time.monotonic()
        self._seconds_before = 0.0
        if accelerator.is_main_process:
            records = [record for record in read_log(folder) if record["step"] <= step]
            self._seconds_before = records[-1]["seconds"] if records else 0.0
            with atomic_write(folder / LOG) as file:
                file.writelines(json.dumps(record).encode() + b"\n" for record in records)

    def add(self, values: dict[str, Tensor]) -> None:
        """Take in the values of a step, each a scalar; not every step has every value."""
        for name, value in values.items():
            before = self._sums.get(name, torch.zeros((), dtype=torch.float64))
            self._sums[name] = before.to(value.device) + value.detach()
            self._counts[name] = self._counts.get(name, 0) + 1

    def write(self, step: int) -> None:
        """Write the record that ends with ``step``."""
        names = sorted(self._sums)
        if not names:
            return
        device = self._accelerator.device
        means = torch.stack([self._sums[name].to(device) / self._counts[name] for name in names])
        means = self._accelerator.reduce(means, "mean")
        self._sums, self._counts = {}, {}
        self.last = {name: _rounded(float(mean)) for name, mean in zip(names, means, strict=True)}
        if self._accelerator.is_main_process:
            seconds = self._seconds_before + time.monotonic() - self._began
            record = {"step": step, "seconds": round(seconds, 1), **self.last}
            with (self._folder / LOG).open("a") as file:
                file.write(json.dumps(record) + "\n")

    def draw(self) -> None:
        """Draw the curves again."""
        if self._accelerator.is_main_process:
            draw_curves(read_log(self._folder), self._folder / CURVES)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the records of the run in ``folder``, without lines that a kill or a power cut has hurt."""
    try:
        lines = (folder / LOG).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines:
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and {"step", "seconds"} <= record.keys():
                records.append(record)
    return records


def draw_curves(records: list[dict[str, Any]], path: Path) -> None:
    """Draw what the log of a run has, over its steps, as a PNG at ``path``."""
    # Figure without pyplot, which would need a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    known = {name for record in records for name in record}
    shown = {
        title: names
        for title, terms in _PANELS.items()
        if (names := sorted(name for name in known if name.removesuffix("_short") in terms))
    }
    n_rows = -(-len(shown) // _COLUMNS)
    figure = Figure(figsize=(12, 3.5 * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    for i, (title, names) in enumerate(shown.items(), 1):
        panel = figure.add_subplot(n_rows, _COLUMNS, i)
        for name in names:
            points = [(r["step"], r[name]) for r in records if r.get(name) is not None]
            short = name.endswith("_short")
            label = name.removesuffix("_short").replace("_", " ") + ", short" * short
            steps, values = [step for step, _ in points], [value for _, value in points]
            panel.plot(steps, values, "--" if short else "-", label=label)
        panel.set_title(title)
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    figure.supxlabel("step")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _rounded(value: float) -> float | None:
    """Six significant digits, enough to compare runs by; None for what JSON has no number for."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
