"""A page in the making: which tracks get pictures, within the size that a page may have.

The table comes first, in as much detail as fits into its share; then covers; what is left goes to
views, track by track in the order of `PageBuilder.by_need`, until one does not fit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from earzip.errors import (
    DamagedArchiveError,
    EarzipError,
    ModelDamagedError,
    ModelNotFoundError,
    SourceError,
)
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.atomic import sha256_of
from earzip.formats.audio.source import open_source
from earzip.page.assembly import (
    base64_text,
    data_script,
    excerpt_id,
    frame_bytes,
    packed_audio,
    script_json,
    write_page,
)
from earzip.page.facts import TrackFacts, library_totals
from earzip.page.originals import Originals, open_exact_copy
from earzip.page.pictures import COARSE, FINE, Grade, thumbnail
from earzip.page.rows import Detail, TrackEntry, cut, pack_rows
from earzip.page.track_view import OpenOriginal, TrackView, analyse
from earzip.results import Progress

if TYPE_CHECKING:
    from earzip.models.pool import CodecPool

PAGE_BYTES = 3_000_000
"""A page without sound has at most this size, unless its bare table alone is larger."""
AUDIO_BYTES = 100_000_000
"""What the excerpts of a page may take in addition."""
_TABLE_SHARE = 0.4
_COVER_SHARE = 0.2
_COVER_BYTES = 2_600  # of a thumbnail as text; most are smaller
_SLACK_BYTES = 30_000  # for the totals, and for later problems and notes
_ROW_SLACK_BYTES = 12  # for a row's late fields, compressed
_MAX_FINE_TRACKS = 16
_MAX_PROBLEMS = 100  # that the page lists
_PROBLEM_CHARACTERS = 300


@dataclass
class PageBuilder:
    """The entries of a page and what has been made for them."""

    entries: list[TrackEntry]
    codecs: CodecPool
    problems: Sequence[Mapping[str, str]] = ()
    """Path and message of each archive that is not in the table."""
    originals: Originals | None = None
    with_audio: bool = False
    limit_bytes: int = PAGE_BYTES
    covers: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    """Each a script element of data."""
    excerpts: dict[str, str] = field(default_factory=dict)
    """Elements of sound by their names; equal excerpts are one."""
    n_with_audio: int = 0
    is_full: bool = False
    """A view did not fit any more."""

    def __post_init__(self) -> None:
        self.detail = self._choose_detail()
        images = {entry.facts.cover.image for entry in self.entries if entry.facts.cover}
        self._cover_room = min(round(_COVER_SHARE * self.limit_bytes), _COVER_BYTES * len(images))
        self._room = (
            self.limit_bytes
            - frame_bytes(with_sound=self.with_audio)
            - self._table_bytes
            - self._cover_room
        )
        self._listed = [
            {name: cut(text, _PROBLEM_CHARACTERS) for name, text in problem.items()}
            for problem in self.problems[:_MAX_PROBLEMS]
        ]
        self._room -= len(script_json(self._listed))
        self._room -= _SLACK_BYTES + _ROW_SLACK_BYTES * len(self.entries)
        self._audio_room = AUDIO_BYTES
        self._cover_of_image: dict[tuple[bytes, int], int | None] = {}

    @property
    def grade(self) -> Grade:
        """How good the pictures are: there is more room where there are few tracks."""
        return FINE if len(self.entries) <= _MAX_FINE_TRACKS else COARSE

    def by_need(self) -> list[int]:
        """Return the numbers of the entries, those that most need a look first.

        Those whose archives hold measures, the lowest SI-SDR first; then the others as they come.
        """
        measured = [i for i, entry in enumerate(self.entries) if entry.measures]
        measured.sort(key=lambda i: (self.entries[i].measures or {})["si_sdr_db"])
        return measured + [i for i, entry in enumerate(self.entries) if not entry.measures]

    def look_at(self, i: int, on_progress: Progress) -> None:
        """Make the thumbnail and, if there is room, the view of entry ``i``.

        What goes wrong is noted in the entry, as its ``problem`` or in its ``notes``.
        """
        entry = self.entries[i]
        try:
            entry.cover = self._cover(entry.facts)
        except EarzipError as error:
            entry.add_problem(error.message)
        if self.is_full:
            return
        try:
            self._portray(entry, on_progress)
        except (ModelNotFoundError, ModelDamagedError) as error:
            entry.is_undecoded = True
            entry.add_problem(_model_problem(error, entry.facts), f"not decoded: {error.message}")
        except EarzipError as error:
            entry.is_undecoded = True
            entry.add_problem(error.message)

    def write(self, file: BinaryIO, made: str) -> None:
        """Write the page. ``made``: when, and by what."""
        totals = library_totals([entry.facts for entry in self.entries])
        summary: dict[str, Any] = {
            "made": made,
            "totals": totals,
            "problems": self._listed,
            "n_problems": len(self.problems),
            "most_problems": _MAX_PROBLEMS,
            "detail": self.detail.name,
            "n_views": len(self.views),
            "n_with_audio": self.n_with_audio,
            "with_audio": self.with_audio,
            "with_originals": self.originals is not None,
            "covers": self.covers,
        }
        rows = pack_rows(self.entries, self.detail)
        elements = [*self.views, *self.excerpts.values()]
        write_page(file, summary, rows, elements, with_sound=self.with_audio)

    def _choose_detail(self) -> Detail:
        for detail in Detail:
            self._table_bytes = len(pack_rows(self.entries, detail))
            if self._table_bytes <= _TABLE_SHARE * self.limit_bytes:
                return detail
        return Detail.BARE

    def _cover(self, facts: TrackFacts) -> int | None:
        if facts.cover is None:
            return None
        image = facts.cover.image
        if image not in self._cover_of_image:
            self._cover_of_image[image] = self._add_cover(facts.path, facts.cover.part)
        return self._cover_of_image[image]

    def _add_cover(self, archive: Path, part: int) -> int | None:
        if self._cover_room < _COVER_BYTES:
            return None
        with ArchiveReader(archive, salvage=True) as reader:
            small = thumbnail(reader.picture(part))
        text = base64_text(small) if small else ""
        if not small or len(text) > self._cover_room:
            return None
        self._cover_room -= len(text)
        self.covers.append(text)
        return len(self.covers) - 1

    def _portray(self, entry: TrackEntry, on_progress: Progress) -> None:
        view = self._decoded(entry, self._original(entry), on_progress)
        if view is None:
            return
        if view.lost_segments:
            n = len(view.lost_segments)
            entry.add_problem(f"damaged: silence in place of {n} segment{'s' * (n != 1)}")
        if view.measures:
            entry.measures = asdict(view.measures)
        digest = sha256_of(entry.facts.path) if self.with_audio else None
        text = data_script(f"view-{len(self.views)}", _packed(view, digest))
        if len(text) > self._room:
            self.is_full = True
            return
        self._room -= len(text)
        entry.view = len(self.views)
        self._add_excerpts(view)
        self.views.append(text)

    def _original(self, entry: TrackEntry) -> OpenOriginal | None:
        if self.originals is not None:
            try:
                path = self.originals.find(entry.facts)
                return lambda _archive: open_source(path)
            except SourceError as error:
                entry.notes.append(_told(error, entry))
        return open_exact_copy if entry.facts.exact_bytes else None

    def _decoded(
        self, entry: TrackEntry, open_original: OpenOriginal | None, on_progress: Progress
    ) -> TrackView | None:
        with_audio = self.with_audio and self._audio_room > 0

        def view_beside(open_original: OpenOriginal | None) -> TrackView | None:
            return analyse(
                entry.facts.path,
                open_original,
                self.codecs,
                self.grade,
                with_audio=with_audio,
                on_progress=on_progress,
            )

        try:
            return view_beside(open_original)
        except SourceError as error:
            entry.notes.append(_told(error, entry))
        except DamagedArchiveError as error:
            if open_original is not open_exact_copy:
                raise
            view = view_beside(None)  # raises again if the sound is damaged
            entry.add_problem(error.message)
            return view
        return view_beside(None)

    def _add_excerpts(self, view: TrackView) -> None:
        excerpts = {
            excerpt_id(side.excerpt): side.excerpt for side in view.sides.values() if side.excerpt
        }
        texts = {
            element_id: packed_audio(element_id, flac)
            for element_id, flac in excerpts.items()
            if element_id not in self.excerpts
        }
        n_bytes = sum(map(len, texts.values()))
        if excerpts and n_bytes <= self._audio_room:
            self.excerpts |= texts
            self.n_with_audio += 1
            self._audio_room -= n_bytes
        else:
            self._audio_room = 0


def _told(error: SourceError, entry: TrackEntry) -> str:
    """Return what is wrong with an original; its name, not whose it is, where it is another file."""
    if error.path in (None, os.fspath(entry.facts.path)):
        return error.message
    return f"{os.path.basename(error.path)}: {error.message}"  # noqa: PTH119


def _model_problem(error: EarzipError, facts: TrackFacts) -> str:
    """Return what is wrong with a track's model, without the folders that the error names."""
    state = "not installed" if isinstance(error, ModelNotFoundError) else "damaged"
    return (
        f"not decoded: needs model {facts.model!r} with SHA-256 {facts.model_sha256[:16]}…, "
        f"which is {state}"
    )


def _packed(view: TrackView, archive_sha256: str | None) -> dict[str, Any]:
    sides = {
        name: {
            "spectrogram": base64_text(side.spectrogram),
            "peaks": base64_text(side.peaks),
            "audio": excerpt_id(side.excerpt) if side.excerpt else None,
            "lufs": side.lufs,
        }
        for name, side in view.sides.items()
    }
    return {
        "sides": sides,
        "difference": base64_text(view.difference) if view.difference else None,
        "excerpt_start": view.excerpt_start_s,
        "archive_sha256": archive_sha256,
    }
