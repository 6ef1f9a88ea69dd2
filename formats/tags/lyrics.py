"""Synchronised lyrics: ID3 SYLT entries <-> LRC text, the form other formats keep.

A line begins with its time, ``[mm:ss.mmm]``; where the source times words, the later words of a
line have theirs in angle brackets (enhanced LRC).
"""

from __future__ import annotations

import re

_TIME = r"(\d{1,4}):([0-5]\d)(?:[.:](\d{1,3}))?"
_LINE = re.compile(rf"\[{_TIME}\](.*)", re.ASCII | re.DOTALL)
_WORD = re.compile(rf"<{_TIME}>", re.ASCII)

Entries = list[tuple[str, int]]  # text, milliseconds


def lrc_from_sync(entries: Entries) -> str:
    """LRC text of SYLT entries. By ID3's rule a new line begins with a newline character.

    Writers that time whole lines often leave it out: then every entry is a line.
    """
    by_word = any(text.startswith("\n") for text, _ in entries[1:])
    lines: list[str] = []
    for text, milliseconds in entries:
        time = (
            f"{milliseconds // 60_000:02}:{milliseconds // 1000 % 60:02}.{milliseconds % 1000:03}"
        )
        words = text.strip("\r\n").replace("\n", " ")
        if lines and by_word and not text.startswith("\n"):
            lines[-1] += f"<{time}>{words}"
        else:
            lines.append(f"[{time}]{words}")
    return "\n".join(lines)


def sync_from_lrc(text: str) -> Entries | None:
    """SYLT entries of LRC text; None unless every line that is not empty begins with a time."""
    lines = [_LINE.fullmatch(line.strip("\r")) for line in text.split("\n") if line.strip()]
    entries: Entries = []
    by_word = any(line and _WORD.search(line[4]) for line in lines)
    for line in lines:
        if not line:
            return None
        # text, then minutes, seconds, fraction and text of every further word
        first, *others = _WORD.split(line[4])
        newline = "\n" if by_word and entries else ""
        entries.append((newline + first, _milliseconds(line[1], line[2], line[3])))
        entries += [
            (others[i + 3], _milliseconds(*others[i : i + 3])) for i in range(0, len(others), 4)
        ]
    return entries or None


def _milliseconds(minutes: str, seconds: str, fraction: str | None) -> int:
    return (int(minutes) * 60 + int(seconds)) * 1000 + int((fraction or "").ljust(3, "0"))
