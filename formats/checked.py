"""The checks of a header's fields: each raises `ValueError` with the field's name in the JSON."""

from __future__ import annotations

import re
import reprlib
from typing import Any

from earzip.formats.canonical_json import JsonValue

HEX = re.compile(r"[0-9a-f]+")


def require_integer(key: str, value: object, low: int, high: int) -> None:
    """Refuse what is not an integer from ``low`` to ``high``; True and False are none."""
    if type(value) is not int or not low <= value <= high:
        found = reprlib.repr(value)
        raise ValueError(f"header field {key} is {found}, expected an integer {low} to {high}")


def require_boolean(key: str, value: object) -> None:
    """Refuse what is neither True nor False."""
    if type(value) is not bool:
        raise ValueError(f"header field {key} is {reprlib.repr(value)}, expected true or false")


def require_text(
    key: str, value: object, max_bytes: int, pattern: re.Pattern[str] | None = None
) -> None:
    """Refuse what is not text of at most ``max_bytes`` in UTF-8, all of it as ``pattern`` says."""
    if type(value) is not str or len(value.encode("utf-8")) > max_bytes:
        raise ValueError(f"header field {key} is not text of at most {max_bytes} bytes")
    if pattern is not None and not pattern.fullmatch(value):
        found = reprlib.repr(value)
        raise ValueError(f"header field {key} is {found}, expected {pattern.pattern}")


def require_sha256(key: str, value: object) -> None:
    """Refuse what is not a SHA-256 in hexadecimal digits."""
    require_text(key, value, 64, HEX)
    if len(str(value)) != 64:
        raise ValueError(f"header field {key} has {len(str(value))} digits, expected 64")


def require_members(where: str, value: JsonValue) -> dict[str, JsonValue]:
    """Return ``value``, refuse what is not a JSON object."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not a JSON object")
    return value


def require_member(where: str, members: dict[str, JsonValue], key: str) -> Any:
    """Return the member ``key`` of the object called ``where``, refuse to go without."""
    if key not in members:
        raise ValueError(f"header has no field {f'{where}.{key}'.lstrip('.')}")
    return members[key]
