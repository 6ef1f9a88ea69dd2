"""What a model makes of a pure tone: its distortion and noise at each quality, as archives hold it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from earzip.arrays import Audio
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.audio.write import AudioWriter
from earzip.formats.geometry import SAMPLE_RATE
from earzip.metrics import require_eval
from earzip.metrics.thd import LEVELS_DBFS, TONE_HZ, ThdN, measure_thd_n, tone
from earzip.models.pool import CodecPool
from earzip.models.store import find_model
from earzip.options import QUALITIES, CompressOptions
from earzip.transcode.compress import compress_file
from earzip.transcode.sound import CodedSound

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


@dataclass(frozen=True)
class ToneEvaluation:
    """A tone that went through a model."""

    model: str
    quality: str
    level_dbfs: float
    """The level of the original tone."""
    thd_n: ThdN
    restored: Audio
    """Float32 ``[2, T]``."""

    def to_json(self) -> dict[str, object]:
        """Return the JSON object of a record."""
        return {
            "type": "tone",
            "model": self.model,
            "quality": self.quality,
            "frequency_hz": TONE_HZ,
            "level_dbfs": self.level_dbfs,
            "level_restored_dbfs": self.thd_n.level_dbfs,
            "thd_n_db": self.thd_n.db,
            "thd_n_percent": self.thd_n.percent,
        }


def evaluate_tones(model: str, *, codecs: CodecPool | None = None) -> Iterator[ToneEvaluation]:
    """Yield what becomes of a 997 Hz tone at −1 and at −20 dBFS, at each quality of ``model``.

    ``model`` is a name or a ``.json`` path. The tones are archived, in a temporary folder, and decoded.
    Raises ModelNotFoundError, ModelDamagedError, and UsageError if the packages of the extra ``eval``
    are missing.
    """
    require_eval()
    spec = find_model(model)
    with ExitStack() as stack:
        pool = codecs or stack.enter_context(CodecPool())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="earzip-")))
        for quality in QUALITIES:
            for level_dbfs in LEVELS_DBFS:
                source = folder / f"{quality}{level_dbfs}.wav"
                _write(source, tone(level_dbfs))
                options = CompressOptions(model=model, quality=quality)
                archive = compress_file(source, source.with_suffix(".earz"), options, codecs=pool)
                # By the model itself: one in a .json need not be where archives look for theirs.
                restored = _decoded(archive.target, pool.of_model(spec))
                thd_n = measure_thd_n(restored)
                yield ToneEvaluation(spec.name, quality, level_dbfs, thd_n, restored)


def _write(path: Path, audio: Audio) -> None:
    with AudioWriter(
        path,
        container="wav",
        sample_rate=SAMPLE_RATE,
        channels=2,
        bits="float",
        dither=False,
        n_samples=audio.shape[1],
    ) as writer:
        writer.write(audio)


def _decoded(archive: Path, codec: Codec) -> Audio:
    with ArchiveReader(archive) as reader:
        track = CodedSound(reader, codec, 0, reader.header.n_samples, keep_going=False)
        return np.concatenate(list(track.blocks()), axis=1)
