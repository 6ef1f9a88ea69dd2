"""What messages and records call files: texts in which one name stands for another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from earzip.results import FileRecord

Named = Callable[[str], str]
"""Returns a text with the right names in it."""


def renamed(record: FileRecord, named: Named, source: Path, target: Path | None) -> FileRecord:
    """Return ``record`` with the right names in all of its texts, of ``source`` and ``target``."""
    return replace(
        record,
        source=source,
        target=target,
        message=record.message and named(record.message),
        warnings=tuple(map(named, record.warnings)),
        figures=_in_all(record.figures, named),
    )


def _in_all(value: Any, named: Named) -> Any:
    """Return a value of JSON with the right names in all of its texts."""
    match value:
        case str():
            return named(value)
        case Mapping():
            return {_in_all(key, named): _in_all(each, named) for key, each in value.items()}
        case list() | tuple():
            return type(value)(_in_all(each, named) for each in value)
        case _:
            return value
