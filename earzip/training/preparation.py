"""Sound files into a pool that `earzip.training.data.MusicPool` reads, and a report.

    NAME.s16            int16, interleaved stereo, 44.1 kHz, track after track
    NAME.json           a list of {name, start, frames, rms_db}, in stereo frames and dBFS
    NAME.report.jsonl   an object a track, kept or not: its measures, and why it is not wanted

A track is decoded once, measured as it comes, and held until it is known whether it is kept: three
minutes of it (64 MB) in memory, the rest in a nameless file beside the pool. As many tracks are held
as there are jobs, and one more; a mix of three hours takes 3.8 GB of disk for as long.
"""

from __future__ import annotations

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import IO, BinaryIO

import numpy as np

from earzip.arrays import Audio
from earzip.batch.jobs import Job, Plan
from earzip.batch.locks import claim
from earzip.batch.plan import Selection, plan_batch
from earzip.errors import SourceError, TargetError
from earzip.formats.atomic import atomic_write, make_folder, reap_stale
from earzip.formats.audio.reader import SourceReader
from earzip.formats.audio.resample import stereo_44k
from earzip.formats.audio.source import open_source
from earzip.formats.geometry import SAMPLE_RATE
from earzip.formats.names import AUDIO_EXTENSIONS
from earzip.results import Progress
from earzip.training.filtering import FLOOR_DB, Limits, Measures, Reason, TrackMeter

_HELD_BYTES = 64_000_000
_COPIED_BYTES = 1 << 20
_FULL_SCALE = 32_768


@dataclass(frozen=True)
class PreparationOptions:
    """How tracks are chosen, and by how many threads they are decoded."""

    limits: Limits = field(default_factory=Limits)
    keep_all: bool = False
    """Keep what the limits would reject too; the report says all the same what they find."""
    jobs: int = 1
    force: bool = False
    """Replace a pool of that name."""


@dataclass(frozen=True)
class TrackReport:
    """The outcome for one track; no measures: it cannot be decoded."""

    path: Path
    measures: Measures | None
    reasons: tuple[Reason, ...]
    kept: bool

    def to_json(self) -> dict[str, object]:
        """Return the object of the report."""
        return {
            "path": str(self.path),
            "kept": self.kept,
            "reasons": [reason.sentence for reason in self.reasons],
            **(self.measures.to_json() if self.measures else {}),
        }


OnTrack = Callable[[TrackReport, Job | None], None]
"""Called with each track in order, and its job; None: it was refused before it was opened."""


@dataclass
class Preparation:
    """Counts of a run."""

    n_kept: int = 0
    kept_s: float = 0.0
    n_rejected: int = 0
    """All that are not kept."""
    n_failed: int = 0
    """Those that cannot be decoded."""
    reasons: Counter[str] = field(default_factory=Counter)
    """How many rejected tracks have a reason of this kind; one may have several."""

    def add(self, report: TrackReport) -> None:
        """Count a track."""
        self.n_failed += report.measures is None
        if report.kept and report.measures:
            self.n_kept += 1
            self.kept_s += report.measures.duration_s
        else:
            self.n_rejected += 1
            self.reasons.update({reason.kind for reason in report.reasons})


def find_tracks(paths: Iterable[Path]) -> Plan:
    """Return the sound files in ``paths`` in a fixed order, each once, and the refused ones.

    Folders are walked as by every command over files: hidden ones are left out, links are followed.
    """
    selection = Selection(
        takes=lambda name: Path(name).suffix.lower() in AUDIO_EXTENSIONS,
        otherwise="not a sound file",
    )
    plan = plan_batch(paths, selection)
    first = {os.path.realpath(job.source): job for job in reversed(plan.jobs)}
    plan.jobs = [job for job in plan.jobs if first[os.path.realpath(job.source)] is job]
    return plan


def pool_paths(target: Path) -> tuple[Path, Path, Path]:
    """Return samples, index and report of the pool ``target``: DIR/NAME or DIR/NAME.s16."""
    name = target.name.removesuffix(".s16")
    parent = target.parent
    return parent / f"{name}.s16", parent / f"{name}.json", parent / f"{name}.report.jsonl"


def prepare(
    plan: Plan,
    target: Path,
    options: PreparationOptions,
    on_track: OnTrack,
    on_progress: Progress,
) -> Preparation:
    """Write the tracks of ``plan`` that are wanted to the pool ``target``, and the report.

    The files are the same for any number of jobs, and appear whole, or not at all where an exception
    ends this. If no track is kept, only the report is written. ``on_progress`` is called with the
    seconds done, by one thread at a time; its exceptions end the run. Raises TargetError where a file
    of the pool exists (without ``options.force``) or cannot be written, LockedError while another run
    writes it.
    """
    samples, index, report = pool_paths(target)
    # A report alone is from an attempt that kept nothing; replace it.
    for path in (samples, index):
        if not options.force and os.path.lexists(path):
            raise TargetError("already exists; add --force to replace it", path)
    make_folder(samples)
    reap_stale(samples.parent)
    done = Preparation()
    with claim(samples), atomic_write(report) as report_file:

        def put_on_record(track: TrackReport, job: Job | None) -> None:
            report_file.write(json.dumps(track.to_json()).encode() + b"\n")
            done.add(track)
            on_track(track, job)

        for refused in plan.refused:
            put_on_record(_unreadable(refused.source, refused.message or ""), None)
        with (
            _new_pool(samples, index, replace=options.force) as pool,
            closing(_decode_all(plan.jobs, samples.parent, options, on_progress)) as tracks,
        ):
            for job, track in tracks:
                if track.report.kept:
                    pool.append(track)
                put_on_record(track.report, job)
    return done


@dataclass(frozen=True)
class _Track:
    """A track that was decoded; ``sound`` is float32, interleaved stereo."""

    report: TrackReport
    sound: IO[bytes]
    peak: float


class _Pool:
    """Samples as they are written, and the entries of the index."""

    def __init__(self, samples: BinaryIO) -> None:
        self.entries: list[dict[str, object]] = []
        self._samples = samples
        self._n_frames = 0

    def append(self, track: _Track) -> None:
        """Write a track, turned down to full scale if its peak is above; without dither."""
        assert track.report.measures is not None
        peak = max(track.peak, 1.0)
        n_frames = 0
        track.sound.seek(0)
        while data := track.sound.read(_COPIED_BYTES):
            scaled = np.rint(np.frombuffer(data, np.float32) * np.float32(_FULL_SCALE / peak))
            samples = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2")
            self._samples.write(samples.tobytes())
            n_frames += samples.size // 2
        level_db = track.report.measures.level_db - 20 * float(np.log10(peak))
        self.entries.append(
            {
                "name": str(track.report.path),
                "start": self._n_frames,
                "frames": n_frames,
                "rms_db": round(max(level_db, FLOOR_DB), 2),
            }
        )
        self._n_frames += n_frames


@contextmanager
def _new_pool(samples: Path, index: Path, *, replace: bool) -> Iterator[_Pool]:
    """Give a pool that gets its names when the block ends well, the index last: it makes the pool."""
    with ExitStack() as files:
        index_file = files.enter_context(_unless_empty(index, replace=replace))
        samples_file = files.enter_context(_unless_empty(samples, replace=replace))
        pool = _Pool(samples_file)
        yield pool
        if not pool.entries:
            return
        index_file.write(json.dumps(pool.entries, indent=0).encode() + b"\n")
        index_file.flush()  # a full disk must show before the samples have their name
        try:
            index.unlink(missing_ok=True)  # it does not belong to the new samples
        except OSError as error:
            raise TargetError(f"cannot be replaced: {error.strerror}", index) from error


@contextmanager
def _unless_empty(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    with atomic_write(path, replace=replace) as file:
        yield file
        if not file.tell():
            file.discard()


def _decode_all(
    jobs: Iterable[Job], folder: Path, options: PreparationOptions, on_progress: Progress
) -> Generator[tuple[Job, _Track]]:
    """Yield the tracks of ``jobs`` in their order; each can be read until the next one is taken."""
    lock, stopping = Lock(), False

    def progress(seconds: float) -> None:
        with lock:
            if stopping:
                raise _StoppedError
            on_progress(seconds)

    def decode(job: Job) -> _Track:
        return _decode(job.source, folder, options, progress)

    waiting: deque[tuple[Job, Future[_Track]]] = deque()
    with ThreadPoolExecutor(options.jobs, "decode") as threads:
        try:
            for job in jobs:
                waiting.append((job, threads.submit(decode, job)))
                if len(waiting) > options.jobs:
                    yield from _finished(waiting)
            while waiting:
                yield from _finished(waiting)
        finally:
            stopping = True
            for _, future in waiting:
                future.cancel()
                future.add_done_callback(_close)


class _StoppedError(Exception):
    """Ends the threads when their tracks are no longer needed."""


def _finished(waiting: deque[tuple[Job, Future[_Track]]]) -> Iterator[tuple[Job, _Track]]:
    job, future = waiting[0]
    track = future.result()
    waiting.popleft()
    with track.sound:
        yield job, track


def _close(future: Future[_Track]) -> None:
    if not future.cancelled() and not future.exception():
        future.result().sound.close()


def _decode(path: Path, folder: Path, options: PreparationOptions, progress: Progress) -> _Track:
    """Return a track with its measures; its sound is empty if it cannot be decoded."""
    sound: IO[bytes] = SpooledTemporaryFile(  # noqa: SIM115  # returned
        _HELD_BYTES, dir=str(folder)
    )
    try:
        meter = TrackMeter()
        try:
            with open_source(path) as reader:
                for block in stereo_44k(_Tapped(reader, meter.add_source)):
                    meter.add(block)
                    sound.write(np.ascontiguousarray(block.T).tobytes())
                    progress(block.shape[1] / SAMPLE_RATE)
                truncated = reader.truncated
        except SourceError as error:
            return _Track(_unreadable(path, error.message), sound, 0.0)
        measures = meter.measures()
        if not sound.tell():
            return _Track(_unreadable(path, "it has no sound"), sound, 0.0)
        reasons = options.limits.reasons(measures)
        if truncated:
            reasons.insert(0, Reason("damage", f"sound is missing: {truncated}"))
        kept = options.keep_all or not reasons
        return _Track(TrackReport(path, measures, tuple(reasons), kept), sound, meter.peak)
    except BaseException:
        sound.close()
        raise


class _Tapped(SourceReader):
    """A source that shows its samples, as they are stored, to ``tap`` before they are converted."""

    def __init__(self, source: SourceReader, tap: Callable[[Audio], None]) -> None:
        super().__init__(source.path, source.facts, None, source.layout)
        self._source = source
        self._tap = tap

    def _decode(self) -> Iterator[Audio]:
        for block in self._source.blocks():
            self._tap(block)
            yield block

    def close(self) -> None:
        """Release the file."""
        self._source.close()


def _unreadable(path: Path, message: str) -> TrackReport:
    if message.startswith("is "):  # of the file, whose name stands before it elsewhere
        message = f"it {message}"
    return TrackReport(path, None, (Reason("unreadable", f"cannot be decoded: {message}"),), False)
