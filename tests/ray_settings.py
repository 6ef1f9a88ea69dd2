"""What clusters of Ray that tests start have in common."""

from __future__ import annotations

import secrets
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import MODELS

_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
"""Kept while the process runs."""


@cache
def token() -> Path:
    """Return the file of what members of a cluster know each other by; Ray would put one into the home.

    It is one for all tests of a process: Ray remembers the first that it has read.
    """
    _FOLDERS.append(tempfile.TemporaryDirectory(prefix="ray-token"))
    path = Path(_FOLDERS[-1].name, "token")
    path.write_text(secrets.token_hex(32))
    return path


def set_up(patch: pytest.MonkeyPatch) -> None:
    """Set the environment of a cluster, and of the actors in it."""
    patch.setenv("EARZIP_MODELS", str(MODELS))
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_AUTH_TOKEN_PATH", str(token()))
