"""A restored track against its original: measures and loudness, of files and of archives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from earzip.arrays import Audio
from earzip.coding.blocks import zip_blocks
from earzip.errors import SourceError, count
from earzip.formats.geometry import SAMPLE_RATE
from earzip.formats.names import is_archive_name
from earzip.metrics import require_eval
from earzip.metrics.alignment import MAX_LAG, Lag, find_lag
from earzip.metrics.loudness import Loudness, LoudnessMeter
from earzip.models.pool import CodecPool
from earzip.results import Progress
from earzip.transcode.sound import Sound, open_sound

if TYPE_CHECKING:
    from earzip.metrics.measures import Measures
    from earzip.metrics.perceptual import PerceptualMeasures


@dataclass(frozen=True)
class Evaluation:
    """How close a restored track is to its original, both as 44.1 kHz stereo."""

    original: Path
    restored: Path
    n_samples: int
    """Samples that were compared."""
    lag: int | None
    """By how many samples the restored track comes later; None if it was not looked for."""
    measures: Measures | None
    """None where they are not defined; see `earzip.metrics.measures.QualityMeter.measures`."""
    loudness_of_original: Loudness
    loudness_of_restored: Loudness
    perceptual: PerceptualMeasures | None = None
    """None if they were not requested."""
    warnings: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Seconds that were compared."""
        return self.n_samples / SAMPLE_RATE

    def to_json(self) -> dict[str, object]:
        """Return the members of a record; None for undefined ones."""
        return {
            "original": str(self.original),
            "duration_s": self.duration_s,
            "n_samples": self.n_samples,
            "lag_samples": self.lag,
            "measures": asdict(self.measures) if self.measures else None,
            "perceptual": asdict(self.perceptual) if self.perceptual else None,
            "loudness": {
                "lufs_original": self.loudness_of_original.lufs,
                "lufs_restored": self.loudness_of_restored.lufs,
                "lra_original": self.loudness_of_original.lra,
                "lra_restored": self.loudness_of_restored.lra,
            },
        }


def evaluate_pair(
    original: str | os.PathLike[str],
    restored: str | os.PathLike[str],
    *,
    align: bool = False,
    perceptual: bool = False,
    codecs: CodecPool | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Return how close ``restored`` is to ``original``.

    Both are sound files, or archives, whose names end in .earz, which are decoded as they are read.
    Memory does not grow with their length, except by 40 kB a second if ``perceptual`` asks for the
    measures of `earzip.metrics.perceptual` too. They must be equally long at 44.1 kHz, unless
    ``align``: then the lag between them is found by cross-correlation, and their common part is
    compared; warnings name what was left out, and a second lag that fits as well.

    Raises SourceError for what cannot be read or compared, ArchiveError, ModelNotFoundError or
    ModelDamagedError, and UsageError if the packages of the extra ``eval`` are missing.
    """
    require_eval()
    original, restored = Path(original), Path(restored)
    with ExitStack() as stack:
        pool = codecs or stack.enter_context(CodecPool())
        found = _lag(original, restored, pool, on_progress) if align else None
        lag = found.n_samples if found else None
        y = stack.enter_context(open_sound(original, codecs=pool))
        x = stack.enter_context(open_sound(restored, codecs=pool))
        ours, theirs = (
            _without_first(sound.blocks(), max(0, n))
            for sound, n in ((x, lag or 0), (y, -(lag or 0)))
        )
        meters = _Meters(perceptual)
        for estimate, reference in zip_blocks(ours, theirs):
            meters.add(estimate, reference)
            if on_progress:
                on_progress(estimate.shape[1] / SAMPLE_RATE)
        if found is None and x.length() != y.length():
            raise SourceError(_lengths_differ(x, y), restored)
        of_lag = _warnings_of(found, x, y, meters.n_samples) if found else []
        measures = meters.quality.measures()
        undefined = [meters.why_undefined()] if measures is None else []
        return Evaluation(
            original=original,
            restored=restored,
            n_samples=meters.n_samples,
            lag=lag,
            measures=measures,
            loudness_of_original=meters.original.loudness(),
            loudness_of_restored=meters.restored.loudness(),
            perceptual=meters.perceptual.measures() if meters.perceptual else None,
            warnings=(*undefined, *of_lag, *y.problems, *x.problems),
        )


def _lag(original: Path, restored: Path, pool: CodecPool, on_progress: Progress | None) -> Lag:
    with open_sound(original, codecs=pool) as y, open_sound(restored, codecs=pool) as x:
        lag = find_lag(_watched(x.blocks(), on_progress), _watched(y.blocks(), on_progress))
    if lag is None:
        raise SourceError(
            f"has no sound in common with {original} at any lag up to {MAX_LAG // SAMPLE_RATE} s",
            restored,
        )
    return lag


def _watched(blocks: Iterator[Audio], on_progress: Progress | None) -> Iterator[Audio]:
    for block in blocks:
        yield block
        if on_progress:
            on_progress(0)  # raises on a stop request; the seconds count when they are measured


def _warnings_of(lag: Lag, x: Sound, y: Sound, n_compared: int) -> list[str]:
    """Return sentences of a lag that may be another, and of what each track has beyond the other."""
    found = []
    if lag.rival is not None:
        found.append(
            f"the lag may differ: {count(lag.rival, 'sample')} would fit as well as {lag.n_samples}"
        )
    for track in (y, x):
        n = track.length() - n_compared
        if n:
            found.append(
                f"{n / SAMPLE_RATE:.3f} s ({count(n, 'sample')}) of {track.path} are not compared"
            )
    return found


def _without_first(blocks: Iterator[Audio], n_samples: int) -> Iterator[Audio]:
    for block in blocks:
        yield block[:, n_samples:]
        n_samples = max(0, n_samples - block.shape[1])


def _lengths_differ(x: Sound, y: Sound) -> str:
    lengths = f"has {x.length()} samples at 44.1 kHz, {y.path} has {y.length()}"
    if any(is_archive_name(sound.path.name) for sound in (x, y)):
        lengths += " (was the archive made of another file?)"
    return f"{lengths}; --align finds the lag and compares what they share"


class _Meters:
    """All that is measured of a pair, block by block."""

    def __init__(self, perceptual: bool) -> None:
        from earzip.metrics.measures import QualityMeter  # noqa: PLC0415  # loads torch
        from earzip.metrics.perceptual import PerceptualMeter  # noqa: PLC0415

        self.quality = QualityMeter()
        self.perceptual = PerceptualMeter() if perceptual else None
        self.original, self.restored = LoudnessMeter(), LoudnessMeter()
        self.n_samples = 0
        self._has_sound = False

    def add(self, estimate: Audio, original: Audio) -> None:
        self.quality.add(estimate, original)
        self.original.add(original)
        self.restored.add(estimate)
        if self.perceptual:
            self.perceptual.add(estimate, original)
        self.n_samples += original.shape[1]
        self._has_sound = self._has_sound or bool(original.any())

    def why_undefined(self) -> str:
        """Return why there are no measures, as a sentence."""
        from earzip.metrics.measures import MIN_SAMPLES  # noqa: PLC0415

        if self.n_samples < MIN_SAMPLES:
            return f"has no measures: it is shorter than {MIN_SAMPLES} samples"
        if not self._has_sound:
            return "has no measures: the original is digital silence"
        return "has no measures: its samples or the original's are too large"
