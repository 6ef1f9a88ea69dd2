"""``earzip play``: listen to archives, through a player of the system."""

from __future__ import annotations

import queue
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

from earzip.batch.filters import Choice
from earzip.cli.choice import choice_options
from earzip.cli.help import sectioned_command
from earzip.cli.keys import Keys
from earzip.cli.lines import in_columns, terminal_width
from earzip.cli.piping import plan_reading
from earzip.cli.runtime_options import one_device_options
from earzip.cli.streams import echo, log, printable
from earzip.cli.values import parse_time
from earzip.cli.where import Query, matching, where_option
from earzip.errors import ArchiveError, EarzipError
from earzip.formats.geometry import clock
from earzip.formats.names import name_without_archive_suffix
from earzip.results import FileRecord, FileStatus, Report
from earzip.runtime import Runtime
from earzip.tasks import read_track

if TYPE_CHECKING:
    from earzip.playback.playback import Playback

_TICK_S = 0.1
_KEYS_HELP = "space pauses, ← → move 10 s, ↑ ↓ a minute, n and p change the track, q quits"
_JUMPS_S = {"left": -10.0, "right": 10.0, "down": -60.0, "up": 60.0}
_CLEAR = "\r\x1b[K"
_USUAL_WIDTH = 80


@sectioned_command("Listen to archives.")
@choice_options
@where_option
@click.option(
    "--start",
    metavar="TIME",
    callback=parse_time,
    help="Begin each track here: seconds or [h:]m:s.",
)
@click.option("--end", metavar="TIME", callback=parse_time, help="End each track here.")
@click.option(
    "--player",
    metavar="COMMAND",
    help="Program that plays the WAV at its standard input.  [default: mpv, ffplay, paplay, aplay or "
    "play, whichever is installed]",
)
@one_device_options("device", "precision", "threads", decodes=True)
def play(
    *,
    paths: tuple[Path, ...],
    choice: Choice,
    where: Query | None,
    start: float | None,
    end: float | None,
    player: str | None,
    runtime: Runtime,
) -> int:
    """Play archives one after the other, without a gap.

    PATH is an archive or a directory (searched recursively). At a terminal, space pauses, the left and
    right arrows move by 10 seconds, up and down by a minute, n and p go to the next and the previous
    track, and q quits. Elsewhere everything is played through. No file is written.
    """
    from earzip.models.pool import CodecPool  # noqa: PLC0415  # below, numpy
    from earzip.options import RestoreOptions  # noqa: PLC0415
    from earzip.playback.feed import Tracks  # noqa: PLC0415
    from earzip.playback.playback import Playback  # noqa: PLC0415
    from earzip.playback.players import find_player  # noqa: PLC0415

    RestoreOptions(start_s=start, end_s=end)  # refuses what is no range
    chosen = find_player(player)
    with matching(plan_reading(paths, choice), where) as planned:
        archives = [job.source for job in planned.plan.jobs]
        report = Report()
        for record in planned.plan.refused:
            log("failed", record.message or "", path=record.source)
            report.add(record)
    if not archives:
        return report.exit_code
    problems: queue.SimpleQueue[tuple[int, EarzipError]] = queue.SimpleQueue()
    with CodecPool(runtime).checked() as codecs, Keys() as keys:
        is_live = keys.are_there and sys.stderr.isatty()
        tracks = Tracks(archives, start, end, codecs)
        with (
            _Screen(archives, is_live=is_live) as screen,
            Playback(tracks, chosen, lambda *problem: problems.put(problem)) as playback,
        ):
            while not playback.is_over:
                if not all(_obey(key, playback) for key in keys.wait(_TICK_S)):
                    break
                playback.look()
                screen.show(playback)
                while not problems.empty():
                    track, error = problems.get()
                    screen.aside()
                    log("failed", error.message, path=archives[track])
                    report.add(FileRecord(FileStatus.FAILED, archives[track]))
    return report.exit_code


def _obey(key: str, playback: Playback) -> bool:
    """Do what a key says; return whether it goes on."""
    if key in ("q", "Q", "\x04"):
        return False
    if key == " ":
        playback.pause()
    elif key in _JUMPS_S:
        playback.seek(_JUMPS_S[key])
    elif key in ("n", ">"):
        playback.next()
    elif key in ("p", "<"):
        playback.previous()
    return True


class _Screen:
    """What is shown: at a terminal a line that changes, elsewhere a line for each track that begins."""

    def __init__(self, archives: list[Path], *, is_live: bool) -> None:
        self._archives = archives
        self._is_live = is_live
        self._track: int | None = None
        self._n_told = 0
        self._line = ""

    def __enter__(self) -> Self:
        if self._is_live:
            echo(_KEYS_HELP, err=True)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._line:
            _to_terminal("\n")

    def show(self, playback: Playback) -> None:
        """Show which track is heard, and where in it that is."""
        if not self._is_live:
            for track in playback.began()[self._n_told :]:
                title, length_s = self._described(track)
                echo(f"{title} ({clock(length_s)})")
                self._n_told += 1
            return
        title, length_s = self._described(playback.track)
        width = terminal_width() or _USUAL_WIDTH
        where = f"  {clock(min(playback.position_s, length_s))} / {clock(length_s)}"
        if len(self._archives) > 1:
            where += f"  {playback.track + 1} of {len(self._archives)}"
        where += "  paused" if playback.is_paused else ""
        room = max(1, width - len(where) - 1)
        line = in_columns(title, min(room, len(title)), cut=True) + where
        if self._line and playback.track != self._track:
            _to_terminal("\n")  # what was played stays to be read
        elif line == self._line:
            return
        self._track, self._line = playback.track, line
        _to_terminal(_CLEAR + line)

    def aside(self) -> None:
        """Make room for a message."""
        if self._line:
            _to_terminal(_CLEAR)
            self._line = ""

    @cache  # noqa: B019  # as long as the process
    def _described(self, track: int) -> tuple[str, float]:
        """Return artist and title, the name of the archive if there is no title, and the length."""
        path = self._archives[track]
        try:
            found = read_track(path)
        except ArchiveError:
            return printable(path.name), 0.0
        artist, title = ("; ".join(found.fields.get(name, ())) for name in ("artist", "title"))
        title = title or name_without_archive_suffix(path.name)
        return printable(f"{artist} – {title}" if artist else title), found.duration_s


def _to_terminal(text: str) -> None:
    with suppress(OSError):  # it has been lost: that is no reason to fall silent
        sys.stderr.write(text)
        sys.stderr.flush()
