"""Where one run of `earzip` spends its CPU time: `python -m benchmarks.stages OUT.json compress …`.

Runs the command line in this process, with windows computed in the thread of their track, and times
the functions of each stage. A stage's seconds are without those of stages within it, and all together
are those of the process.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START, REST = "start-up", "the rest"
STAGES = {
    START: ("earzip.models.pool.CodecPool.of_model",),
    "reading": (
        "earzip.transcode.compress.hash_source",
        "earzip.transcode.compress.read_source_tags",
        "earzip.formats.audio.reader.SourceReader.blocks",
        "earzip.formats.archive.reader.ArchiveReader.segment",
    ),
    "level": (
        "earzip.coding.level.LevelMeter.add",
        "earzip.coding.level.LevelMeter.level_db",
    ),
    "network": ("earzip.coding.windows._alone",),
    "integers": (
        "earzip.models.spec.ModelSpec.quantize",
        "earzip.transcode.segments.pack",
        "earzip.formats.archive.header.Header.unpack_segment",
        "earzip.transcode.sound.dequantize",
    ),
    "writing": (
        "earzip.formats.archive.writer.ArchiveWriter.add_segment",
        "earzip.formats.archive.writer.ArchiveWriter.write",
        "earzip.formats.archive.writer.ArchiveWriter.commit",
        "earzip.formats.audio.write.AudioWriter.write",
        "earzip.formats.audio.write.AudioWriter.__exit__",
        "earzip.transcode.restore.write_tags",
    ),
}
"""The functions, methods and generators of each stage, by where they are looked up."""


class Stopwatch:
    """Shares ``clock``'s seconds out among stages, one of which runs at a time."""

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self._clock = clock
        self._last = 0.0  # of process_time, the start of the process
        self._running = [START]
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count as ``name`` what happens inside; the stage around it stands still."""
        self._lap()
        if name != START and self._running == [START]:
            self._running = [REST]
        self._running.append(name)
        try:
            yield
        finally:
            self._lap()
            self._running.pop()

    def stop(self) -> dict[str, float]:
        """Return the seconds of each stage until now."""
        self._lap()
        return {name: self.seconds[name] for name in (*STAGES, REST)}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function``, whose calls, or steps if it returns an iterator, count as ``name``."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                result = function(*args, **kwargs)
            return self._steps(name, result) if isinstance(result, Iterator) else result

        return call

    def _steps(self, name: str, steps: Iterator[Any]) -> Iterator[Any]:
        nothing = object()
        while True:
            with self.stage(name):
                step = next(steps, nothing)
            if step is nothing:
                return
            yield step

    def _lap(self) -> None:
        now = self._clock()
        self.seconds[self._running[-1]] += now - self._last
        self._last = now


def time_stages(stopwatch: Stopwatch) -> None:
    """Put timers around the functions of `STAGES`, and let windows be computed where they are needed."""
    for stage, names in STAGES.items():
        for name in names:
            owner, attribute = _owner(name)
            setattr(owner, attribute, stopwatch.timed(stage, getattr(owner, attribute)))
    windows = importlib.import_module("earzip.coding.windows")

    def submit(
        _self: Any, network: Any, window: Any, _batch_size: int | None = None
    ) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(windows._alone(network, [window]))
        return future

    windows.SingleWindows.submit = submit
    windows.use_one_thread()


def _owner(name: str) -> tuple[Any, str]:
    """Return the module or class that ``name`` is looked up in, and its last part."""
    path, _, attribute = name.rpartition(".")
    try:
        return importlib.import_module(path), attribute
    except ModuleNotFoundError:
        module, _, cls = path.rpartition(".")
        return getattr(importlib.import_module(module), cls), attribute


def main() -> None:
    out, *arguments = sys.argv[1:]
    stopwatch = Stopwatch()
    time_stages(stopwatch)
    from earzip.cli.main import main as earzip  # noqa: PLC0415  # after the timers are in place

    sys.argv[1:] = arguments
    try:
        earzip()
    finally:
        Path(out).write_text(json.dumps(stopwatch.stop()))


if __name__ == "__main__":
    main()
