"""Synchronised lyrics: ID3 SYLT entries <-> LRC text, the form other formats keep.

A line begins with its time, ``[mm:ss.mmm]``; where the source times words, the later words of a
line have theirs in angle brackets (enhanced LRC).
"""

from __future__ import annotations

import re

_TIME = r"(\d{1,4}):([0-5]\d)(?:[.:](\d{1,3}))?"
_LINE = re.compile(rf"\[{_TIME}\](.*)", re.ASCII | re.DOTALL)
_WORD = re.compile(rf"<{_TIME}>", re.ASCII)

_STAMPS = re.compile(rf"((?:\[{_TIME}\])+)(.*)", re.ASCII | re.DOTALL)
_STAMP = re.compile(rf"([\[<]){_TIME}([\]>])", re.ASCII)
_OFFSET = re.compile(r"\[offset:\s*([+-]?\d{1,9})\s*\]", re.ASCII | re.IGNORECASE)

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


def cut_lrc(text: str, start_ms: int, end_ms: int) -> tuple[str, int, int]:
    """Return the lines sung from ``start_ms`` to ``end_ms``, timed from there; how many are left out.

    The last number is that of all lines with a time; a text without any is returned as it is. A line
    with several times is kept at those within.
    """
    offset = _OFFSET.search(text)  # of a sheet whose times are late
    late_ms = int(offset[1]) if offset else 0
    begin, end = start_ms + late_ms, end_ms + late_ms
    kept = []
    n_dropped = n_timed = 0
    for line in text.splitlines(keepends=True):
        match = _STAMPS.fullmatch(line)
        if not match:
            kept.append(line)
            continue
        n_timed += 1
        stamps = [
            _moved(stamp, start_ms)
            for stamp in _STAMP.finditer(match[1])
            if begin <= _milliseconds(stamp[2], stamp[3], stamp[4]) < end
        ]
        if not stamps:
            n_dropped += 1
            continue
        words = match[5]
        late = (w for w in _STAMP.finditer(words) if w[1] == "<" and not _in_time(w, end))
        if first := next(late, None):
            words = words[: first.start()] + line[len(line.rstrip("\r\n")) :]
        kept += [*stamps, _STAMP.sub(lambda w: _moved(w, start_ms), words)]
    if not n_timed:
        return text, 0, 0
    return ("".join(kept) if n_dropped < n_timed else ""), n_dropped, n_timed


def _in_time(stamp: re.Match[str], end_ms: int) -> bool:
    return _milliseconds(stamp[2], stamp[3], stamp[4]) < end_ms


def _moved(stamp: re.Match[str], start_ms: int) -> str:
    """A time counted from ``start_ms``, with as many decimals as it had, or three where it needs them."""
    time = max(0, _milliseconds(stamp[2], stamp[3], stamp[4]) - start_ms)
    seconds, thousandths = divmod(time, 1000)
    n_decimals = len(stamp[4] or "")
    if thousandths % 10 ** (3 - n_decimals):
        n_decimals = 3
    decimals = f".{thousandths:03}"[: n_decimals + 1] if n_decimals else ""
    return f"{stamp[1]}{seconds // 60:02}:{seconds % 60:02}{decimals}{stamp[5]}"


def _milliseconds(minutes: str, seconds: str, fraction: str | None) -> int:
    return (int(minutes) * 60 + int(seconds)) * 1000 + int((fraction or "").ljust(3, "0"))
