"""Canonical JSON: every value has one spelling, so equal facts are equal bytes.

The rules (SPEC.md, "Canonical JSON"): UTF-8, no white space, no duplicate keys, no escapes but the
necessary ones, integers of at most 64 bits, no fractions, no NaN.
"""

from __future__ import annotations

import json
from typing import TypeAlias

JsonValue: TypeAlias = "str | int | bool | list[JsonValue] | dict[str, JsonValue] | None"

_INTEGER_MIN = -(2**63)
_INTEGER_MAX = 2**63 - 1
_SURELY_FITTING = 18  # characters


def dump_canonical(value: JsonValue, *, sort_keys: bool) -> bytes:
    """Return the canonical bytes of ``value``; keys in their own order unless ``sort_keys``.

    Raises `ValueError` for what has none: fractions, integers past 64 bits, half a surrogate pair.
    """
    _refuse_unspellable(value)
    return _spell(value, sort_keys=sort_keys)


def load_canonical(data: bytes, *, sort_keys: bool) -> JsonValue:
    """Return the value that ``data`` spells; the inverse of `dump_canonical`.

    Raises `ValueError`, with a sentence for the user, for anything that is not canonical.
    """
    try:
        value: JsonValue = _DECODER.decode(data.decode("utf-8"))
        canonical = _spell(value, sort_keys=sort_keys)
    except UnicodeError as error:
        raise ValueError("text is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"text is not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    if canonical != data:
        raise ValueError("JSON is not in canonical form (white space, escapes or order of keys)")
    return value


def _spell(value: JsonValue, *, sort_keys: bool) -> bytes:
    return (_SORTED if sort_keys else _UNSORTED).encode(value).encode("utf-8")


def _refuse_unspellable(value: JsonValue) -> None:
    if isinstance(value, dict):
        if not all(type(key) is str for key in value):
            raise ValueError("a key is not text")
        for member in value.values():
            _refuse_unspellable(member)
    elif isinstance(value, list):
        for member in value:
            _refuse_unspellable(member)
    elif value is not None and type(value) not in (str, int, bool):
        raise ValueError(f"{value!r} has no canonical JSON form")
    elif type(value) is int and not _INTEGER_MIN <= value <= _INTEGER_MAX:
        raise ValueError("an integer has more than 64 bits")


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a JSON object has a key twice")
    return members


def _refuse_number(spelling: str) -> JsonValue:
    raise ValueError(f"JSON number {spelling[:32]} is not an integer")


def _integer(spelling: str) -> int:
    if len(spelling) <= _SURELY_FITTING:  # nearly all, in headers by the thousand
        return int(spelling)
    # The length first: turning a million digits into an integer takes quadratic time.
    too_long = len(spelling) > len(str(_INTEGER_MIN))
    if too_long or not _INTEGER_MIN <= int(spelling) <= _INTEGER_MAX:
        raise ValueError("an integer has more than 64 bits")
    return int(spelling)


# Made once: json.loads and json.dumps make new ones for every header.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_float=_refuse_number,
    parse_constant=_refuse_number,
    parse_int=_integer,
)
_UNSORTED, _SORTED = (
    json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
    for sort_keys in (False, True)
)
