"""Samples in memory to latents and back, and to an archive: `encode`, `Encoded` and `decode`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earzip.arrays import Audio, Latents, Symbols
from earzip.coding.edges import mend_edges
from earzip.coding.level import gain_to_reference_db, is_sound, measure_level_db, without_gain
from earzip.coding.quantizer import dequantize
from earzip.errors import UsageError
from earzip.formats.archive.header import MAX_GAIN_CENTIBELS, Edges, Header
from earzip.formats.archive.layout import ArchiveSizes
from earzip.formats.archive.writer import ArchiveWriter
from earzip.formats.atomic import make_folder
from earzip.formats.audio.array import ArraySource
from earzip.formats.audio.downmix import MAX_CHANNELS
from earzip.formats.tag_payload import Chapter
from earzip.formats.tags.model import Picture, TagSet
from earzip.models.pool import CodecPool
from earzip.models.spec import ModelSpec
from earzip.models.store import find_model
from earzip.options import DEFAULT_MODEL, CompressOptions
from earzip.transcode.archive_settings import ArchiveSettings
from earzip.transcode.decode_latents import n_samples_of
from earzip.transcode.facts import TrackFacts
from earzip.transcode.kept_sound import KeptSound
from earzip.transcode.saved_tags import write_with_tags
from earzip.transcode.segments import Coded, SegmentEncoder, header_of, pack_segment
from earzip.transcode.source_state import record_of

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


@dataclass(frozen=True, eq=False)
class Encoded(TrackFacts):
    """A track as `encode` returns it: what an archive of it holds, in memory."""

    symbols: Symbols
    """Quantised latents: int32 ``[D, F]``."""
    _header: Header
    _spec: ModelSpec

    @property
    def header(self) -> Header:
        """Everything that an archive of it says of its sound."""
        return self._header

    @property
    def latents(self) -> Latents:
        """The symbols times their steps, at the models' working level: float32 ``[D, F]``."""
        return dequantize(self.symbols, np.array(self._header.quantizer.step_exponents, np.int32))

    def decode(self, *, codecs: CodecPool | None = None) -> Audio:
        """Return the samples that an archive of it restores to: float32 ``[2, n_samples]``, 44.1 kHz."""
        header = self._header
        with ExitStack() as stack:
            codec = (codecs or stack.enter_context(CodecPool())).of_model(self._spec)
            return _decoded(
                codec, self.latents, header.n_samples, header.gain_centibels, header.edges
            )

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        tags: Mapping[str, str | Sequence[str]] | None = None,
        pictures: Iterable[Picture] = (),
        chapters: Iterable[Chapter] = (),
        force: bool = False,
    ) -> ArchiveSizes:
        """Write the archive ``path``, whole or not at all; return what its bytes are spent on.

        ``tags``: a value, or several, for each name. ``force``: replace a file that is there. Raises
        TargetError, TagError for tags that no archive holds, UsageError for values that are no text, and
        SourceError for sound that is too large.
        """
        path = Path(path)
        tag_set = _tag_set(tags or {}, pictures, chapters)
        core = self._header.geometry.core
        make_folder(path)
        with ArchiveWriter(path, replace=force) as writer:
            for i in range(self._header.n_segments):
                symbols = self.symbols[:, i * core : (i + 1) * core]
                writer.add_segment(*pack_segment(symbols, self._spec, None))
            sizes = write_with_tags(writer, self._header, tag_set)
            writer.commit()
        return sizes


def encode(
    samples: NDArray[np.floating[Any]],
    rate: int,
    *,
    model: str = DEFAULT_MODEL,
    quality: str | float = "medium",
    codecs: CodecPool | None = None,
) -> Encoded:
    """Return the track ``samples``, floats ``[channels, samples]`` within ±1 at ``rate`` Hz, encoded.

    It is resampled and mixed to stereo as `earzip.transcode.compress.compress_file` does it with a file
    of these samples as float32, and gets the same latents. ``model``: a name or a ``.json`` path.
    Raises UsageError for arguments of another type or shape and for a quality that is none, SourceError
    for NaN and infinite samples, samples that are too large and rates beyond 1 to 768 kHz,
    ModelNotFoundError or ModelDamagedError.
    """
    samples = _floats(samples, "samples", "[channels, samples]")
    if not 1 <= samples.shape[0] <= MAX_CHANNELS:
        raise UsageError(
            f"samples have the shape {samples.shape}, expected [channels, samples] "
            f"with 1 to {MAX_CHANNELS} channels"
        )
    source = ArraySource(samples, _whole(rate, "rate", "Hz"))
    settings = ArchiveSettings.of(CompressOptions(model=model, quality=str(quality)))
    with ExitStack() as stack:
        codec = (codecs or stack.enter_context(CodecPool())).of_model(settings.spec)
        source.keep_digest()
        sound = KeptSound(source)
        gain_db = gain_to_reference_db(measure_level_db(sound.first_pass()))
        encoder = SegmentEncoder(codec, settings.spec, None)
        segments = [np.zeros((codec.n_latents, 0), np.int32)]
        with sound.second_pass() as (reader, blocks):
            latents = encoder.encode(blocks, gain_db, lambda _n_samples: None)
            segments += encoder.quantized(latents, settings.preset)
        edges = encoder.edges(settings.preset)
        coded = Coded(gain_db, encoder.n_samples, edges, settings.quality)
        record = record_of(reader, "", source.sha256(), source.n_bytes, None)
        header = header_of(coded, codec, settings, record)
        return Encoded(np.concatenate(segments, 1), header, settings.spec)


def decode(
    latents: NDArray[np.floating[Any]],
    *,
    model: str = DEFAULT_MODEL,
    n_samples: int | None = None,
    gain_db: float = 0.0,
    codecs: CodecPool | None = None,
) -> Audio:
    """Return the samples that ``latents``, floats ``[D, F]`` of ``model``, stand for.

    That is float32 ``[2, n_samples]`` at 44.1 kHz; without ``n_samples`` as many as the frames hold.
    ``gain_db``: what was applied before encoding, ±120, and is undone. The first and the last 32 samples
    of a track may differ from those of its archive, which has their errors.

    Raises UsageError for arguments that do not fit the model or each other and for latents that decode to
    no sound, ModelNotFoundError or ModelDamagedError.
    """
    latents = _floats(latents, "latents", "[latents, frames]")
    if not abs(gain_db) <= MAX_GAIN_CENTIBELS / 10:  # NaN neither
        raise UsageError(f"gain_db is {gain_db}, expected {MAX_GAIN_CENTIBELS // 10} at the most")
    with ExitStack() as stack:
        codec = (codecs or stack.enter_context(CodecPool())).of_model(find_model(model))
        d, n_frames = latents.shape
        if d != codec.n_latents:
            raise UsageError(f"latents have {d} rows, expected the {codec.n_latents} of {model}")
        with np.errstate(over="ignore"):
            latents = latents.astype(np.float32, copy=False)
        if not np.isfinite(latents).all():
            raise UsageError("latents have values that are not finite numbers")
        asked = None if n_samples is None else _whole(n_samples, "n_samples", "samples")
        n = n_samples_of(codec.geometry, n_frames, asked)
        return _decoded(codec, latents, n, 10 * gain_db, (0, 0, 0, 0))


def _decoded(
    codec: Codec, latents: Latents, n_samples: int, gain_centibels: float, edges: Edges
) -> Audio:
    g = codec.geometry
    cores = codec.decode(
        lambda i: latents[:, i * g.core : (i + 1) * g.core],
        n_samples,
        range(g.n_segments(n_samples)),
    )
    blocks = [without_gain(core, gain_centibels) for core in cores]
    audio = np.concatenate([np.zeros((2, 0), np.float32), *blocks], 1)
    if not is_sound(audio):
        raise UsageError("latents decode to infinite or far too large samples")
    return mend_edges(audio, 0, n_samples, edges)


def _floats(array: object, name: str, shape: str) -> NDArray[np.floating[Any]]:
    """Return ``array``, checked to be one of floats in two dimensions. Raises UsageError."""
    if not isinstance(array, np.ndarray):
        raise UsageError(
            f"{name} are of type {type(array).__name__}, expected a numpy array {shape}"
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise UsageError(f"{name} are {array.dtype}, expected float32")
    if array.ndim != 2:
        raise UsageError(f"{name} have the shape {array.shape}, expected {shape}")
    return array


def _whole(number: object, name: str, unit: str) -> int:
    if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < 0:
        raise UsageError(f"{name} is {number!r}, expected a whole number of {unit}")
    return int(number)


def _tag_set(
    values_of: Mapping[str, str | Sequence[str]],
    pictures: Iterable[Picture],
    chapters: Iterable[Chapter],
) -> TagSet:
    tags = TagSet(pictures=list(pictures), chapters=list(chapters))
    for name, given in values_of.items():
        values = [given] if isinstance(given, str) else given
        if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
            raise UsageError(f"tag {name!r} is {given!r}, expected text or a list of texts")
        tags.add(name, *values)
    return tags
