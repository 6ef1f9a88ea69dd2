"""``--where``: archives chosen by their tags, as in ``'albumartist=Nina Simone year>=1990'``."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

import click

from earzip.batch.jobs import Plan
from earzip.cli.piping import PlannedRun
from earzip.cli.stores import stand_ins
from earzip.cli.values import seconds_from_text
from earzip.errors import ArchiveError, UsageError
from earzip.options import quality_number
from earzip.tasks import Track, read_track

_NUMBERS = ("quality", "duration", "kbps")

_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TERM = re.compile(
    r"""(?:^|\s+)(?P<field>[^\s"!=:<>]+)(?:\s*(?P<operator>!=|<=|>=|==?|<|>)\s*|(?P<part>:)(?=\S))"""
)
_BETWEEN = re.compile(r"(?:^|\s)(or|and)$", re.IGNORECASE)
"""A word that nobody says in a query, at the end of a value."""
_QUOTED = re.compile(r'"([^"]*)"(?=\s|$)')
_NUMBER = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)", re.ASCII)
_YEAR = re.compile(r"\d{4}", re.ASCII)
_DATES = ("year", "date", "originaldate")


@dataclass(frozen=True)
class Term:
    """A condition: ``operator`` is ``=``, ``!=``, ``:`` or of `_ORDERS`."""

    field: str
    operator: str
    value: str

    def __post_init__(self) -> None:
        if not self.value and self.operator not in ("=", "!="):
            raise UsageError(f"{self} has no value")
        if self.field in _NUMBERS and self.operator == ":":
            raise UsageError(
                f"{self}: {self.field} is a number; compare it with =, !=, <, <=, > or >="
            )
        if self.field in ("model", "format") and self.operator in _ORDERS:
            raise UsageError(f"{self}: {self.field} is a word; compare it with =, != or :")
        if self.field in _NUMBERS or self.operator in _ORDERS:
            self._number()

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{self.value}"

    def _number(self) -> float:
        """Return the value as a number. Raises UsageError."""
        try:
            if self.field == "quality":
                return quality_number(self.value)
            return seconds_from_text(self.value) if self.field == "duration" else float(self.value)
        except UsageError as error:
            raise UsageError(f"{self}: {error.message}") from error
        except (ValueError, click.BadParameter) as error:
            raise UsageError(f"{self}: {self.value!r} is not a number") from error

    def matches(self, track: Track) -> bool:
        """Return whether any of a track's values meets the condition; for ``!=``: none is equal."""
        values = _values(track, self.field)
        if self.operator == "!=":
            return not self._has_equal(values)
        if self.operator == "=":
            return self._has_equal(values)
        if self.operator == ":":
            return any(self.value.casefold() in str(value).casefold() for value in values)
        compare, number = _ORDERS[self.operator], self._number()
        found = (_number_of(value) for value in values)
        return any(each is not None and compare(each, number) for each in found)

    def _has_equal(self, values: Sequence[str | float]) -> bool:
        if not self.value:
            return not any(values)
        return any(self._equals(value) for value in values)

    def _equals(self, value: str | float) -> bool:
        if isinstance(value, str):
            if value.casefold() == self.value.casefold():
                return True
            try:  # "03" is 3
                return float(value) == float(self.value)
            except ValueError:
                return False
        decimals = len(self.value.partition(".")[2])  # as exactly as it was asked for
        return round(value, decimals) == self._number()


def _values(track: Track, field: str) -> Sequence[str | float]:
    value = _OF_FACTS.get(field)
    return value(track) if value else track.fields.get(field, ())


def _quality(track: Track) -> list[float]:
    try:
        return [quality_number(track.quality)]
    except UsageError:  # of a preset that only its model knows
        return []


def _year(track: Track) -> list[str]:
    dates = next(filter(None, map(track.fields.get, _DATES)), ())
    return [found[0] for date in dates if (found := _YEAR.search(date))]


_OF_FACTS: dict[str, Callable[[Track], Sequence[str | float]]] = {
    "quality": _quality,
    "model": lambda track: [track.model],
    "duration": lambda track: [track.duration_s],
    "kbps": lambda track: [track.kbps],
    "format": lambda track: track.format,
    "year": _year,
}
"""What can be asked for beside the tags of an archive."""


def _number_of(value: str | float) -> float | None:
    """Return the number that a value begins with: 3 of ``3/12``, 1990 of ``1990-05-01``."""
    if not isinstance(value, str):
        return value
    found = _NUMBER.match(value)
    return float(found[1]) if found else None


@dataclass(frozen=True)
class Query:
    """Conditions that all must be met."""

    text: str
    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> Query:
        """Return the query that ``text`` spells. Raises UsageError.

        A value reaches to the next condition, or is in double quotes.
        """
        terms = []
        position = 0
        while text[position:].strip():
            found = _TERM.match(text, position)
            if not found:
                raise UsageError(
                    f"--where: {text[position:].strip()!r} is no condition; expected one as "
                    "artist=Nina Simone, title:blues or year>=1990"
                )
            if quoted := _QUOTED.match(text, found.end()):
                value, position = quoted[1], quoted.end()
            else:
                following = _TERM.search(text, found.end())
                position = following.start() if following else len(text)
                value = text[found.end() : position].strip()
                if following and (word := _BETWEEN.search(value)):
                    either = "; for either run once for each" if word[1].lower() == "or" else ""
                    raise UsageError(
                        f"--where: {word[1]!r} stands between two conditions, where no word does: all of "
                        f"them must be met{either}; a value that ends in it goes into double quotes"
                    )
            sign = found["part"] or found["operator"].replace("==", "=")
            try:
                terms.append(Term(found["field"].lower(), sign, value))
            except UsageError as error:
                raise UsageError(f"--where: {error.message}") from error
        if not terms:
            raise UsageError("--where has no condition")
        return cls(text, tuple(terms))

    def keep_matching(self, plan: Plan) -> None:
        """Leave the jobs of ``plan`` whose archives match, and those whose tags cannot be read.

        The command will say what is wrong with these. Raises UsageError for a field that none has, and
        that is no usual one either: so for one that is misspelt.
        """
        from earzip.formats.tags.names import USUAL_FIELDS  # noqa: PLC0415  # its package loads mutagen

        jobs, known = [], Counter[str](dict.fromkeys(_OF_FACTS, 0))
        n_read = 0
        for job in plan.jobs:
            try:
                track = read_track(job.source)
            except ArchiveError:
                jobs.append(job)
                continue
            n_read += 1
            known.update(track.fields.keys())
            if all(term.matches(track) for term in self.terms):
                jobs.append(job)
        unknown = [
            term.field for term in self.terms if term.field not in (known.keys() | USUAL_FIELDS)
        ]
        if n_read and unknown:
            names = get_close_matches(unknown[0], known) or [
                name for name, _ in known.most_common()
            ]
            meant = ", ".join(sorted(names[:_MAX_NAMED]))
            raise UsageError(
                f"--where: no archive here has the field {unknown[0]!r}; did you mean {meant}?"
            )
        plan.jobs = jobs


_MAX_NAMED = 20


@contextmanager
def matching(
    planning: AbstractContextManager[PlannedRun], query: Query | None
) -> Iterator[PlannedRun]:
    """Give the plan with the archives that match; without one each path fails. Raises UsageError."""
    with planning as planned:
        plan = planned.plan
        if query and plan.jobs:
            if any(job.source in planned.piped for job in plan.jobs):
                raise UsageError("--where needs archives in files, not standard input")
            if files := stand_ins():
                files.expect(plan, with_tags=True)
            query.keep_matching(plan)
            if not (plan.jobs or plan.refused):
                for path in planned.paths:
                    plan.refuse(path, f"nothing found: no archive there matches {query.text}")
        yield planned


def _parse(
    _ctx: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> Query | None:
    return Query.parse(" ".join(texts)) if texts else None


where_option = click.option(
    "--where",
    metavar="QUERY",
    multiple=True,
    callback=_parse,
    help="Take only archives that meet all conditions: 'albumartist=Nina Simone title:blues year>=1990'. "
    "Fields are tags as info names them, and year, quality, model, duration, kbps, format. May be "
    "repeated.",
)
"""Adds --where, which a command gets as ``where``, a `Query` or None."""
