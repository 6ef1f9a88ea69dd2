"""Records whose fields say once what they may be, in their types: read from JSON, written, checked.

    @dataclass(frozen=True)
    class Track(Checked):
        sample_rate: Annotated[int, Range(1, 768_000), Key("rate")]
        title: Annotated[str | None, Text(64), LEFT_OUT] = None

A record checks itself when it is made, so no wrong one exists. Its own ``__post_init__`` has only what
ties fields together. Errors are `ValueError` and begin with the path of the field in the JSON.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

HEX = re.compile(r"[0-9a-f]+")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_Record = TypeVar("_Record")


@dataclass(frozen=True)
class Range:
    """A number from ``low`` to ``high``."""

    low: float
    high: float

    def __contains__(self, value: Any) -> bool:
        return bool(self.low <= value <= self.high)

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


@dataclass(frozen=True)
class Text:
    """At most ``max_bytes`` in UTF-8, all of it as ``pattern`` says."""

    max_bytes: int
    pattern: re.Pattern[str] | None = None

    def __contains__(self, value: Any) -> bool:
        fits = (len(value) if value.isascii() else len(value.encode())) <= self.max_bytes
        return fits and (self.pattern is None or self.pattern.fullmatch(value) is not None)

    def __str__(self) -> str:
        pattern = f" like {self.pattern.pattern}" if self.pattern else ""
        return f"a text of at most {self.max_bytes} bytes{pattern}"


@dataclass(frozen=True)
class OneOf:
    """One of ``options``."""

    options: tuple[str, ...]

    def __contains__(self, value: Any) -> bool:
        return value in self.options

    def __str__(self) -> str:
        return f"one of {', '.join(self.options)}"


@dataclass(frozen=True)
class Key:
    """The name of the field in the JSON, where that is another."""

    name: str


SHA256 = Text(64, re.compile(r"[0-9a-f]{64}"))
LEFT_OUT = object()
"""The JSON lacks the field where it is None."""


class Checked:
    """Base of dataclasses whose fields are checked against their types. Raises `ValueError`."""

    def __post_init__(self) -> None:
        for name, key, kind, _, _ in _fields(type(self)):
            kind.require(key, getattr(self, name))


def read(cls: type[_Record], data: Any, where: str = "", *, by_hand: bool = False) -> _Record:
    """Return the record in ``data``, parsed JSON called ``where``; the inverse of `write`.

    Unknown members are ignored, as a later version may have written them, or refused in what people
    write ``by_hand``. Raises `ValueError`.
    """
    if type(data) is not dict:
        raise _error(where or "JSON", data, "an object")
    prefix = f"{where}." if where else ""
    table = _fields(cls)
    if by_hand and (unknown := sorted(set(data) - set(keys := [each.key for each in table]))):
        raise ValueError(f"{prefix}{unknown[0]} is unknown; expected one of {', '.join(keys)}")
    values = {}
    for name, key, kind, is_required, is_left_out in table:
        value = data.get(key)
        if value is None:
            if key not in data:
                if is_required:
                    raise ValueError(f"{prefix}{key} is missing")
                continue
            if is_left_out:
                raise ValueError(f"{prefix}{key} is null, expected a value or no key")
        load = kind.read
        values[name] = value if load is _as_it_is else load(prefix + key, value, by_hand)
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from error


def write(record: Any) -> dict[str, Any]:
    """Return ``record`` as JSON-able data; the inverse of `read`."""
    values = [(each, getattr(record, each.name)) for each in _fields(type(record))]
    return {
        each.key: each.kind.write(value)
        for each, value in values
        if not (each.is_left_out and value is None)
    }


def keys_of(cls: type) -> list[str]:
    """Return the names that the fields of a record have in the JSON."""
    return [each.key for each in _fields(cls)]


def _as_it_is(_where: str, value: Any, _by_hand: bool) -> Any:
    return value


class _Kind(NamedTuple):
    require: Callable[[str, Any], None]
    """Refuse a value of a record."""
    read: Callable[[str, Any, bool], Any] = _as_it_is
    """Return a record's value for one of the JSON; `require` refuses impossible ones."""
    write: Callable[[Any], Any] = lambda value: value


class _Field(NamedTuple):
    name: str
    key: str
    kind: _Kind
    is_required: bool
    is_left_out: bool


def _fields(cls: Any) -> tuple[_Field, ...]:
    return _table(cls)  # a class is hashable, which mypy does not see


@cache
def _table(cls: Any) -> tuple[_Field, ...]:
    hints = get_type_hints(cls, include_extras=True)
    table = []
    for each in fields(cls):
        marks = getattr(hints[each.name], "__metadata__", ())
        key = next((mark.name for mark in marks if isinstance(mark, Key)), each.name)
        is_required = each.default is each.default_factory is MISSING
        kind = _kind(hints[each.name])
        table.append(_Field(each.name, key, kind, is_required, LEFT_OUT in marks))
    return tuple(table)


_PLAIN: dict[Any, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("an integer", (int,)),
    float: ("a number", (int, float)),  # not bool, which is an int
    str: ("", (str,)),
}


def _kind(hint: Any, limits: tuple[Range | Text | OneOf, ...] = ()) -> _Kind:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _kind(args[0], tuple(a for a in args[1:] if isinstance(a, Range | Text | OneOf)))
    if NoneType in args:
        (inner,) = (arg for arg in args if arg is not NoneType)
        kind = _optional(_kind(inner, limits))
    elif origin is Literal:
        kind = _plain("", (str,), (OneOf(args),))
    elif origin is tuple:
        kind = _list(_kind(args[0]), None if args[-1] is ... else len(args))
    elif origin is dict:
        kind = _mapping(_kind(args[1]))
    elif is_dataclass(hint):
        kind = _record(hint)
    elif hint in _PLAIN:
        kind = _plain(*_PLAIN[hint], limits)
    else:
        kind = _Kind(lambda _where, _value: None)
    return kind


def _plain(words: str, types: tuple[type, ...], limits: tuple[Any, ...]) -> _Kind:
    wanted = " ".join([words, *map(str, limits)]).strip() or "a text"

    def require(where: str, value: Any) -> None:
        # Runs over all archives of a library check some forty values an archive: no generator here.
        is_right = type(value) in types and (type(value) is not float or math.isfinite(value))
        for each in limits:
            is_right = is_right and value in each
        if not is_right:
            raise _error(where, value, wanted)

    def require_integer(where: str, value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            raise _error(where, value, wanted)

    def require_text(where: str, value: Any) -> None:
        is_right = type(value) is str and value.isascii() and len(value) <= most
        if not is_right or (matches is not None and matches(value) is None):
            require(where, value)

    def read_number(_where: str, value: Any, _by_hand: bool) -> Any:
        return float(value) if type(value) is int and abs(value) < 2**53 else value

    if types == (int,) and len(limits) == 1:
        low, high = limits[0].low, limits[0].high
        return _Kind(require_integer)  # as `require`, in a third of the time: most fields are such
    if len(limits) == 1 and isinstance(limits[0], Text):
        most, pattern = limits[0].max_bytes, limits[0].pattern
        matches = None if pattern is None else pattern.fullmatch
        return _Kind(require_text)
    return _Kind(require, read_number) if float in types else _Kind(require)


def _optional(inner: _Kind) -> _Kind:
    def load(where: str, value: Any, by_hand: bool) -> Any:
        return None if value is None else inner.read(where, value, by_hand)

    return _Kind(
        lambda where, value: None if value is None else inner.require(where, value),
        _as_it_is if inner.read is _as_it_is else load,
        lambda value: None if value is None else inner.write(value),
    )


def _list(item: _Kind, length: int | None) -> _Kind:
    wanted = "a list" if length is None else f"a list of {length}"

    def require(where: str, value: Any) -> None:
        if type(value) is not tuple or length not in (None, len(value)):
            raise _error(where, value, wanted)
        for each in value:
            item.require(where, each)

    def load(where: str, value: Any, by_hand: bool) -> Any:
        if type(value) is not list:
            raise _error(where, value, wanted)
        return tuple(item.read(where, each, by_hand) for each in value)

    return _Kind(require, load, lambda value: [item.write(each) for each in value])


def _mapping(item: _Kind) -> _Kind:
    def require(where: str, value: Any) -> None:
        if type(value) is not dict:
            raise _error(where, value, "an object")
        for key, each in value.items():
            item.require(f"{where}.{key}", each)

    def load(where: str, value: Any, by_hand: bool) -> Any:
        if type(value) is not dict:
            raise _error(where, value, "an object")
        return {key: item.read(f"{where}.{key}", each, by_hand) for key, each in value.items()}

    return _Kind(require, load, lambda value: {key: item.write(v) for key, v in value.items()})


def _record(cls: Any) -> _Kind:
    def require(where: str, value: Any) -> None:
        if not isinstance(value, cls):
            raise _error(where, value, f"a {cls.__name__}")

    if hasattr(cls, "from_json"):  # it has a spelling of its own
        return _Kind(require, lambda where, value, _: cls.from_json(value, where), cls.to_json)
    return _Kind(require, lambda where, value, hand: read(cls, value, where, by_hand=hand), write)


def _error(where: str, value: Any, wanted: str) -> ValueError:
    return ValueError(f"{where} is {reprlib.repr(value)}, expected {wanted}")
