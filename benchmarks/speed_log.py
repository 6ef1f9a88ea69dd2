"""Measurements of `benchmarks.speed` as they are made, so that a run that was stopped can go on."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self


class Log:
    """A file of measurements, one line of JSON each, and those in it that were made of the same thing.

    ``about``: what they depend on, as JSON has it: the code, the machine, the sound. Without a ``path``
    nothing is kept.
    """

    def __init__(self, path: Path | None = None, about: dict[str, Any] | None = None) -> None:
        self._path = path
        self._about = about or {}
        self._kept = dict(self._read())

    def of_file(self, file: Path) -> Self:
        """Return the log of measurements of the sound in ``file``."""
        if self._path is None:
            return self
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return type(self)(self._path, {**self._about, "sound": digest})

    def found(self, names: Sequence[str]) -> list[Any] | None:
        """Return the measurements of these names; None unless all are there."""
        if not all(name in self._kept for name in names):
            return None
        return [self._kept[name] for name in names]

    def add(self, name: str, value: Any) -> None:
        """Write a measurement down."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, "value": value, "about": self._about}) + "\n")

    def _read(self) -> list[tuple[str, Any]]:
        if self._path is None or not self._path.exists():
            return []
        whole, _, cut = self._path.read_text(encoding="utf-8").rpartition("\n")
        if cut:  # by whatever stopped it
            self._path.write_text(f"{whole}\n" if whole else "", encoding="utf-8")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [(line["name"], line["value"]) for line in lines if line["about"] == self._about]


def code_here() -> str:
    """Return which code is in the working directory: a commit of git, and the changes since."""
    head, changes = (
        subprocess.run(["git", *words], check=True, capture_output=True).stdout
        for words in (("rev-parse", "HEAD"), ("diff", "HEAD"))
    )
    since = f" and {hashlib.sha256(changes).hexdigest()}" if changes else ""
    return f"{head.decode().strip()}{since}"
