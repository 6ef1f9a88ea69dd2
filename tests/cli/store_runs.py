"""Runs over a bucket."""

from __future__ import annotations

import re

from tests.cli.conftest import Earzip, Outcome

_TEMPORARY = re.compile(r"earzip-[a-z0-9_]{8}")
"""What is in the name of a folder that no message may name."""

COMPRESS = ("compress", "s3://music/in", "-o", "s3://music/out", "--model", "tiny")


def run(earzip: Earzip, *arguments: object, stdin: bytes = b"") -> Outcome:
    """Return what a command has left, which never names the folder that it works in."""
    outcome = earzip(*arguments, stdin=stdin)
    assert not _TEMPORARY.search(outcome.stdout + outcome.stderr)
    return outcome
