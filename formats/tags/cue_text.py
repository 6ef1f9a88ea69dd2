"""The text of a cue sheet, cut to a part of the track that it describes."""

from __future__ import annotations

import re

_FRAMES = 75  # a second, in a cue sheet's times
_TRACK = re.compile(r"\s*TRACK\s", re.IGNORECASE)
_FILE = re.compile(r"\s*FILE\s", re.IGNORECASE)
_INDEX = re.compile(r"(\s*INDEX\s+(\d+)\s+)(\d+):(\d+):(\d+)(.*)", re.IGNORECASE | re.DOTALL)


def cut_cue_text(text: str, start_ms: int, end_ms: int) -> tuple[str, int, int]:
    """Return the sheet of the part, how many tracks it leaves out, and of how many.

    The sheet is empty if none is left. A track that is in progress at the start begins there. Of
    a sheet without tracks, or of several files, the counts are 0.
    """
    head, tracks = _split(text)
    starts = [_start(track) for track in tracks]
    n_files = sum(_FILE.match(line) is not None for line in text.splitlines())
    if n_files > 1 or not tracks or None in starts:
        return "", 0, 0
    start, end = start_ms * _FRAMES / 1000, end_ms * _FRAMES / 1000
    ends = [*starts[1:], None]
    kept = [
        _moved(track, start, end)
        for track, begins, stops in zip(tracks, starts, ends, strict=True)
        if begins is not None and begins < end and (stops is None or stops > start)
    ]
    sheet = "".join([*head, *(line for track in kept for line in track)]) if kept else ""
    return sheet, len(tracks) - len(kept), len(tracks)


def _split(text: str) -> tuple[list[str], list[list[str]]]:
    """The lines before the first track, and those of each track."""
    head: list[str] = []
    tracks: list[list[str]] = []
    for line in text.splitlines(keepends=True):
        if _TRACK.match(line):
            tracks.append([])
        (tracks[-1] if tracks else head).append(line)
    return head, tracks


def _start(track: list[str]) -> int | None:
    """Where a track begins, in frames: at its index 1, else its first."""
    times = {}
    for line in track:
        if match := _INDEX.fullmatch(line):
            times[int(match[2])] = _frames(match)
    return times.get(1, min(times.values(), default=None))


def _frames(match: re.Match[str]) -> int:
    return (int(match[3]) * 60 + int(match[4])) * _FRAMES + int(match[5])


def _moved(track: list[str], start: float, end: float) -> list[str]:
    lines = []
    for line in track:
        match = _INDEX.fullmatch(line)
        if not match:
            lines.append(line)
            continue
        at = _frames(match)
        if at >= end or (at < start and int(match[2]) != 1):
            continue
        seconds, frame = divmod(max(0, int(at - start + 0.5)), _FRAMES)
        lines.append(f"{match[1]}{seconds // 60:02}:{seconds % 60:02}:{frame:02}{match[6]}")
    return lines
