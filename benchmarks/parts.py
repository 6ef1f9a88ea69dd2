"""The command line of benchmarks that consist of parts, whose figures are in one JSON file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# As in benchmarks.processes nothing heavy is imported here: it would count towards the peaks.

Figures = dict[str, Any]


def parts_parser(description: str | None, parts: Iterable[str]) -> argparse.ArgumentParser:
    """Return a parser with ``--out``, a path, and ``--parts``: some of ``parts``, or else all."""
    names = list(parts)
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON file, added to if it is there"
    )
    parser.add_argument("--parts", nargs="+", choices=names, default=names, help="[default: all]")
    return parser


def measure_parts(parts: Iterable[str], out: Path, measure: Callable[[str], Figures]) -> None:
    """Put the figures that ``measure`` returns for each part into ``out``, one by one, and print them.

    Those of other parts that are there stay.
    """
    figures = json.loads(out.read_text()) if out.exists() else {}
    for part in parts:
        figures[part] = measure(part)
        print(json.dumps({part: figures[part]}, indent=1))
        out.write_text(json.dumps(figures, indent=1) + "\n")
