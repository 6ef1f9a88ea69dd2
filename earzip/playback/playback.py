"""The playing of archives: which track, where in it, and the moves that a listener makes."""

from __future__ import annotations

import threading
import time
from typing import Self

from earzip.playback.feed import Feed, OnProblem, Tracks
from earzip.playback.players import Player, RunningPlayer

_LONGEST_TICK_S = 0.5
"""More between two looks is no time that was listened: the process was stopped, or the machine asleep."""
_RESTARTS_S = 3.0
"""Who goes back later in a track than this wants its beginning, not the track before."""


class Playback:
    """Tracks that play. A context manager; `look` is to be called several times a second.

    A player reads ahead, so a position is by the clock, and never more than the player got. To seek or
    pause ends the player; another begins at the new position.
    """

    def __init__(self, tracks: Tracks, player: Player, on_problem: OnProblem) -> None:
        self._tracks, self._player, self._on_problem = tracks, player, on_problem
        self._decoding = threading.Lock()
        self._running: RunningPlayer | None = None
        self._feed: Feed | None = None
        self._track, self._offset_s = 0, 0.0
        self._clock_s = 0.0
        self._looked = time.monotonic()
        self.is_over = False
        """Whether all has been played."""

    def __enter__(self) -> Self:
        self._begin(0, self._tracks.start_s or 0.0)
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()
        with self._decoding:  # nothing is decoded from here on
            pass

    @property
    def is_paused(self) -> bool:
        """Whether it goes on only when asked to."""
        return self._feed is None

    @property
    def track(self) -> int:
        """The number of the track that is heard."""
        return self._track

    @property
    def position_s(self) -> float:
        """Where in the track, in seconds from its beginning."""
        return self._offset_s

    def look(self) -> None:
        """Find out what is heard. Raises PlayerError if the player has failed."""
        now = time.monotonic()
        elapsed_s, self._looked = now - self._looked, now
        if self._feed is None or self._running is None:
            return
        written_s = self._feed.written_s
        if written_s:
            self._clock_s += min(elapsed_s, _LONGEST_TICK_S)
        has_ended = self._running.has_ended(has_all=self._feed.has_all)
        heard_s = written_s if has_ended else min(self._clock_s, written_s)
        for mark in self._feed.marks:
            if mark.at_s <= heard_s:
                self._track = mark.track
                self._offset_s = mark.offset_s + heard_s - mark.at_s
        self.is_over = has_ended

    def began(self) -> list[int]:
        """Return the tracks of which the player that plays got something, up to the one that is heard."""
        marks = self._feed.marks if self._feed else []
        return [mark.track for mark in marks if mark.track <= self._track]

    def pause(self) -> None:
        """Pause, or go on."""
        if self.is_paused:
            self._begin(self._track, self._offset_s)
        else:
            self._end()

    def seek(self, seconds: float) -> None:
        """Move in the track; beyond its end begins the next."""
        self._move(self._track, max(self._tracks.start_s or 0.0, self._offset_s + seconds))

    def next(self) -> None:
        """Go to the next track; behind the last one it is over."""
        if self._track + 1 < len(self._tracks.archives):
            self._move(self._track + 1, self._tracks.start_s or 0.0)
        else:
            self._end()
            self.is_over = True

    def previous(self) -> None:
        """Go to the beginning of the track, or if that is where it is to the track before."""
        first_s = self._tracks.start_s or 0.0
        is_later = self._offset_s - first_s > _RESTARTS_S
        self._move(self._track if is_later else max(0, self._track - 1), first_s)

    def _move(self, track: int, offset_s: float) -> None:
        if self.is_paused:
            self._track, self._offset_s = track, offset_s
        else:
            self._begin(track, offset_s)

    def _begin(self, track: int, offset_s: float) -> None:
        self._end()
        self._track, self._offset_s, self._clock_s = track, offset_s, 0.0
        self._running = RunningPlayer(self._player)
        self._feed = Feed(
            self._tracks, self._running, track, offset_s, self._decoding, self._on_problem
        )

    def _end(self) -> None:
        if self._feed:
            self._feed.end()
        if self._running:
            self._running.end()
        self._feed = self._running = None
