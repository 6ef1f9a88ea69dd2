"""A part of a library for one of several independent jobs, as in a job array of a scheduler."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earzip.batch.plan import Plan, is_folder
from earzip.batch.schedulers import this_task
from earzip.errors import UsageError

_SHARD = re.compile(r"(?P<number>\d{1,6}(?=/)|auto)(?:/(?P<count>\d{1,6}))?", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """The part ``number`` of ``count``, counted from 1.

    The SHA-256 of a file's path decides its shard. The path is relative to the named folder, so that all
    machines agree wherever the library is mounted.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise UsageError(f"shard is {self}, expected i/N with i from 1 to N")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> Shard:
        """Return the shard that ``i/N`` means, or ``auto``: this task of a job array.

        ``auto/N`` is for schedulers that do not tell a task how many there are. Raises UsageError.
        """
        found = _SHARD.fullmatch(text)
        if not found:
            raise UsageError(f"shard is {text!r}, expected i/N, as 3/8, or auto, or auto/N")
        number, count = found["number"], int(found["count"]) if found["count"] else None
        if number == "auto":
            return cls(*this_task(environment, count))
        assert count is not None  # of the pattern
        return cls(int(number), count)

    def has(self, relative: str) -> bool:
        """Return whether the file at this path, relative to the named folder, belongs to the shard."""
        digest = hashlib.sha256(os.fsencode(relative)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


def only_shard(plan: Plan, shard: Shard, paths: Iterable[Path]) -> Plan:
    """Return the part of ``plan``, made of ``paths``, that belongs to ``shard``."""
    roots = [path for path in paths if is_folder(path)]

    def is_ours(source: Path) -> bool:
        return shard.has(_relative(source, roots))

    return Plan(
        [job for job in plan.jobs if is_ours(job.source)],
        [other for other in plan.other_files if is_ours(other.source)],
        [record for record in plan.refused if is_ours(record.source)],
    )


def _relative(source: Path, roots: Sequence[Path]) -> str:
    for root in roots:
        if source != root and source.is_relative_to(root):
            return source.relative_to(root).as_posix()
    return source.name
