"""The same targets under atheris, which goes where the code has not been yet: the extra ``fuzz``."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["earzip", "mutagen", "tomllib"]):
    from fuzz.engine import MAX_BYTES, MAX_CPU_S, Limits
    from fuzz.targets import TARGETS

_MAX_INPUT = 1 << 20


def fuzz_guided(name: str, seed: int, limits: Limits, findings: Path) -> bool:
    """Run a target under atheris in a process of its own; return whether it found nothing.

    A finding lies in ``findings``.
    """
    pid = os.fork()
    if pid == 0:
        _run(name, seed, limits, findings)  # never returns
    _, status = os.waitpid(pid, 0)
    return status == 0


def _run(name: str, seed: int, limits: Limits, findings: Path) -> None:
    target = TARGETS[name]
    corpus = Path(tempfile.mkdtemp(prefix="earzip-fuzz-"))
    for number, data in enumerate(list(target.seeds(corpus))):
        (corpus / f"seed-{number}").write_bytes(data)
    current = corpus.with_suffix(".current")

    def read(data: bytes) -> None:
        current.write_bytes(data)
        with suppress(target.allowed):
            target.read(current)

    def damaged(data: bytes, max_size: int, number: int) -> bytes:
        rng = random.Random(number)
        if rng.randrange(2):
            mutant: bytes = atheris.Mutate(data, max_size)
            return mutant
        return target.damaged(data, rng)[:max_size]

    findings.mkdir(parents=True, exist_ok=True)
    options = [
        f"-seed={seed}", f"-timeout={4 * MAX_CPU_S:.0f}", f"-rss_limit_mb={MAX_BYTES >> 20}",
        f"-max_len={_MAX_INPUT}", f"-artifact_prefix={findings}/{name}-", "-print_final_stats=1",
    ]  # fmt: skip
    if limits.seconds is not None:
        options.append(f"-max_total_time={max(1, round(limits.seconds))}")
    if limits.runs is not None:
        options.append(f"-runs={limits.runs}")
    atheris.Setup([sys.argv[0], *options, str(corpus)], read, custom_mutator=damaged)
    atheris.Fuzz()
