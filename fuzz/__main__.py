"""Gives readers damaged bytes until one does what it must not.

    python -m fuzz all --minutes 30              every target, as long each
    python -m fuzz tags sound --runs 10000       some of them
    python -m fuzz archive --input FILE          one input again
    python -m fuzz archive --minutes 30 --guided    under atheris: pip install '.[fuzz]'

A finding is an error other than the one that says what is wrong with the file, a crash, more than 512 MiB
or 5 s of CPU time, a file left open, or an archive that `verify` passes and nobody can read. Its input is
saved, and the exit code is 1. Without --minutes and --runs it takes a minute.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz import NAMES

if TYPE_CHECKING:
    from fuzz.engine import Limits


def main(arguments: list[str] | None = None) -> int:
    """Fuzz; return the exit code."""
    options = _parser().parse_args(arguments)
    names = NAMES if "all" in options.targets else tuple(dict.fromkeys(options.targets))
    if options.input:
        return _replay(names, options.input)
    if options.guided:
        return _run_guided(names, options)
    # Here, because --help need not load numpy, and atheris has to be first.
    from fuzz.engine import fuzz, save  # noqa: PLC0415
    from fuzz.targets import TARGETS  # noqa: PLC0415

    found = False
    for name in names:
        began = time.monotonic()
        n_runs, finding = fuzz(
            TARGETS[name], f"{options.seed}/{name}", _limits(options, len(names))
        )
        took = f"{n_runs:,} inputs in {time.monotonic() - began:.0f} s, seed {options.seed}"
        if finding is None:
            print(f"{name}: {took}: nothing found", flush=True)
            continue
        found = True
        path = save(finding, name, options.findings)
        print(f"{name}: {took}: {path}\n{finding.what}", flush=True)
    return int(found)


def _parser() -> argparse.ArgumentParser:
    assert __doc__
    parser = argparse.ArgumentParser(
        "python -m fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("targets", nargs="+", choices=[*NAMES, "all"], metavar="TARGET")
    parser.add_argument("--minutes", type=float, help="shared by the targets")
    parser.add_argument("--runs", type=int, help="inputs of each target")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--findings", type=Path, default=Path(__file__).parent / "findings")
    parser.add_argument("--input", type=Path, help="read this file, and nothing else")
    parser.add_argument("--guided", action="store_true")
    return parser


def _limits(options: argparse.Namespace, n_targets: int) -> Limits:
    from fuzz.engine import Limits  # noqa: PLC0415

    if options.minutes is None and options.runs is None:
        return Limits(60 / n_targets)
    seconds = None if options.minutes is None else 60 * options.minutes / n_targets
    return Limits(seconds, options.runs)


def _replay(names: tuple[str, ...], path: Path) -> int:
    from fuzz.engine import replay  # noqa: PLC0415
    from fuzz.targets import TARGETS  # noqa: PLC0415

    found = False
    for name in names:
        finding = replay(TARGETS[name], path.read_bytes())
        print(f"{name}: {finding.what if finding else 'nothing found'}")
        found |= finding is not None
    return int(found)


def _run_guided(names: tuple[str, ...], options: argparse.Namespace) -> int:
    try:
        from fuzz.guided import fuzz_guided  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "atheris":
            raise
        print("--guided needs atheris: pip install '.[fuzz]'", file=sys.stderr)
        return 2
    limits = _limits(options, len(names))
    well = [fuzz_guided(name, options.seed, limits, options.findings) for name in names]
    return int(not all(well))


if __name__ == "__main__":
    sys.exit(main())
