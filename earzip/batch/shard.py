"""A part of a library: for one of several independent jobs, as in a job array, or for one night."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from earzip.batch.jobs import Plan
from earzip.batch.places import is_folder
from earzip.batch.schedulers import this_task
from earzip.errors import UsageError

_SHARD = re.compile(r"(?P<number>\d{1,6}(?=/)|auto)(?:/(?P<count>\d{1,6}))?", re.ASCII)
_SUBSET = re.compile(r"(\d{1,6}|auto)/(\d{1,6})", re.ASCII)
_DAY_S = 86_400


@dataclass(frozen=True)
class _Part:
    """The part ``number`` of ``count``, counted from 1.

    The SHA-256 of a file's path decides its part. The path is relative to the named folder, so that all
    machines agree wherever the library is mounted, and a file stays in its part as others come and go.
    """

    number: int
    count: int
    _noun: ClassVar[str]
    _salt: ClassVar[bytes]

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise UsageError(f"{self._noun} is {self}, expected i/N with i from 1 to N")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, relative: str) -> bool:
        """Return whether the file at this path, relative to the named folder, belongs to the part."""
        digest = hashlib.sha256(self._salt + os.fsencode(relative)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


class Shard(_Part):
    """One of several parts that are done at the same time, by jobs that know nothing of each other."""

    _noun = "shard"
    _salt = b""

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> Self:
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


class Subset(_Part):
    """One of several parts that are done by turns, as one each night.

    It is chosen by another hash than a shard: a shard of a subset is a part of it, and never nothing
    because of the two numbers.
    """

    _noun = "subset"
    _salt = b"subset\0"

    @classmethod
    def parse(cls, text: str, now_s: float | None = None) -> Self:
        """Return the subset that ``i/N`` means, or ``auto/N``: the next one each day, in UTC.

        ``now_s``: seconds since 1970; None for now. Raises UsageError.
        """
        found = _SUBSET.fullmatch(text)
        if not found or not (count := int(found[2])):
            raise UsageError(f"subset is {text!r}, expected i/N, as 2/30, or auto/N")
        days = int((time.time() if now_s is None else now_s) // _DAY_S)
        return cls(days % count + 1 if found[1] == "auto" else int(found[1]), count)


def only_subset(plan: Plan, subset: Subset, paths: Iterable[Path]) -> None:
    """Leave the jobs of ``plan``, made of ``paths``, and records of before, that are in ``subset``."""
    roots = [path for path in paths if is_folder(path)]
    plan.jobs = [job for job in plan.jobs if subset.has(_relative(job.source, roots))]
    plan.beforehand = [
        record for record in plan.beforehand if subset.has(_relative(record.source, roots))
    ]


def only_shard(plan: Plan, shard: Shard, paths: Iterable[Path]) -> Plan:
    """Return the part of ``plan``, made of ``paths``, that belongs to ``shard``."""
    roots = [path for path in paths if is_folder(path)]

    def is_ours(source: Path) -> bool:
        return shard.has(_relative(source, roots))

    return Plan(
        [job for job in plan.jobs if is_ours(job.source)],
        [other for other in plan.other_files if is_ours(other.source)],
        [record for record in plan.refused if is_ours(record.source)],
        [record for record in plan.beforehand if is_ours(record.source)],
    )


def _relative(source: Path, roots: Sequence[Path]) -> str:
    for root in roots:
        if source != root and source.is_relative_to(root):
            return source.relative_to(root).as_posix()
    return source.name
