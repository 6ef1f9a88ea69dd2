"""`earzip compress` with stand-ins for the work: `python -m benchmarks.stand_in compress MUSIC -o OUT`.

All else is the program's own: options, plan, locks, processes, records, metrics. A stand-in reads and
writes no sound; it takes the time that the size of a track stands for at `SPEED` times real time, or
none. What the process that plans has taken by the end of each phase is written to `FIGURES`. Linux only.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

from earzip.batch.durations import estimated_s
from earzip.batch.events import Backend, Work
from earzip.batch.plan import Job
from earzip.options import CompressOptions
from earzip.results import CompressResult, FileRecord, Progress
from earzip.runtime import Placement
from earzip.tasks.compress import compress_record

FIGURES, SPEED = "EARZIP_STAND_IN_FIGURES", "EARZIP_STAND_IN_SPEED"
"""Environment variables: the JSON file of the figures, and × real time, 0 for no time at all."""
OBJECTS = "EARZIP_STAND_IN_OBJECTS"
"""Environment variable: how many tracks the store that stands in for all object stores has."""
_REPORT_S = 25.0
"""Sound between two reports of progress: about a window of `mini-2`."""
_ARCHIVE_BYTES_A_SECOND = 700


@dataclass(frozen=True)
class StandInTask:
    """Takes the place of `earzip.tasks.compress.CompressTask`."""

    options: CompressOptions
    prunes: bool = False
    name: ClassVar[str] = "compress"

    def up_to_date(self, _job: Job) -> FileRecord | None:
        """Return None: nothing is done yet."""
        return None

    def planned(self, _job: Job, _on_progress: Progress) -> FileRecord | None:
        """Return None: nothing speaks against any job."""
        return None

    @contextmanager
    def opened(self, _placement: Placement) -> Iterator[Work]:
        """Give the stand-in for the work."""
        yield stand_in_for(float(os.environ.get(SPEED, "0")))


def stand_in_for(speed: float) -> Work:
    """Return work that writes nothing, at ``speed`` times real time."""

    def work(job: Job, on_progress: Progress) -> FileRecord:
        duration_s = estimated_s(job)
        assert job.target is not None
        left_s = duration_s
        while left_s > 0:
            part_s = min(left_s, _REPORT_S)
            if speed:
                time.sleep(part_s / speed)
            on_progress(part_s)
            left_s -= part_s
        archive_bytes = round(duration_s * _ARCHIVE_BYTES_A_SECOND)
        result = CompressResult(
            "written", job.source, job.target, duration_s, job.n_bytes, archive_bytes, 0
        )
        return compress_record(result)

    return work


class StandInStore:
    """An object store that lists so many tracks at once, without a network, and holds none of them."""

    def __init__(self, n_tracks: int) -> None:
        self._n_tracks = n_tracks

    def _strip_protocol(self, url: str) -> str:
        return url.partition("://")[2]

    def invalidate_cache(self) -> None:
        """Do nothing: nothing is remembered."""

    def find(self, root: str, **_options: object) -> dict[str, dict[str, Any]]:
        """Return what s3fs says of the objects below ``root``: 12 tracks an album."""
        return {
            (
                key
                := f"{root}/artist {i // 120:05}/album {i // 12 % 10}/{i % 12 + 1:02} track.flac"
            ): {
                "name": key,
                "type": "file",
                "size": 23_760_000 + i,
                "ETag": f'"{i:032x}"',
                "LastModified": _LONG_AGO,
            }
            for i in range(self._n_tracks)
        }


_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class _Phases:
    """What this process has taken by the end of each phase of its run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started_at = time.monotonic()
        self._figures: dict[str, dict[str, float]] = {}

    def end(self, phase: str) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._figures[phase] = {
            "wall_s": round(time.monotonic() - self._started_at, 3),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_mb": round(usage.ru_maxrss * 1024 / 1e6, 1),
        }
        self._path.write_text(json.dumps(self._figures))

    def ending(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function``, whose call ends ``phase``."""

        def called(*arguments: Any, **named: Any) -> Any:
            self.end(phase)
            return function(*arguments, **named)

        return called


def main() -> None:
    from earzip.batch.launched import LaunchedBackend  # noqa: PLC0415
    from earzip.batch.processes import ProcessBackend  # noqa: PLC0415
    from earzip.cli import compress, run  # noqa: PLC0415
    from earzip.cli.main import main as earzip  # noqa: PLC0415

    compress.CompressTask = StandInTask  # type: ignore[misc, assignment]
    if n_objects := os.environ.get(OBJECTS):
        objects = StandInStore(int(n_objects))
        patch("earzip.stores.store._file_system", lambda _bucket, _url: objects).start()
    path = os.environ.get(FIGURES)
    if path is None or os.environ.get("RANK", "0") != "0":
        earzip()
    phases = _Phases(Path(path))
    phases.end("loaded")
    backends: list[type[Backend]] = [ProcessBackend, LaunchedBackend]
    if "ray" in sys.argv:
        from earzip.batch.ray_backend import RayBackend  # noqa: PLC0415

        backends.append(RayBackend)
    run.run_batch = phases.ending("planned", run.run_batch)
    run.plan_only = phases.ending("planned", run.plan_only)
    for backend in backends:
        patch.object(backend, "start", phases.ending("settled", backend.start)).start()
        patch.object(backend, "close", phases.ending("worked", backend.close)).start()
    try:
        earzip()
    finally:
        phases.end("ended")


if __name__ == "__main__":
    main()
