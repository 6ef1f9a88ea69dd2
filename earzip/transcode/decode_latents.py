"""Latents in files to sound files: the way back from `latents`, for what a network has made of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from earzip.arrays import Audio, Latents
from earzip.coding.level import is_sound, without_gain
from earzip.errors import SourceError, TargetError, UsageError
from earzip.formats.archive.header import MAX_GAIN_CENTIBELS
from earzip.formats.atomic import atomic_path, is_taken, make_folder
from earzip.formats.audio.write import AudioWriter
from earzip.formats.geometry import Geometry
from earzip.models.pool import CodecPool
from earzip.models.spec import ModelSpec
from earzip.models.store import find_model, find_model_of_archive
from earzip.options import DecodeOptions
from earzip.results import Progress
from earzip.transcode.latent_files import StoredLatents, open_latents
from earzip.transcode.restore import errors_about
from earzip.transcode.results import DecodeResult

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


def decode_latents(
    source: Path,
    target: Path,
    options: DecodeOptions,
    *,
    codecs: CodecPool,
    on_progress: Progress = lambda _seconds: None,
) -> DecodeResult:
    """Write the sound that the latents in ``source`` stand for: 44.1 kHz, stereo.

    ``source``: as `open_latents` takes it. Its facts say of how many samples the track is and which gain
    is undone; without them it is as long as the frames hold, at −20 dBFS. The first and the last 32
    samples may differ from those of an archive, which has their errors. Memory does not grow with it.

    Raises SourceError for latents that are not finite, do not fit the model or decode to no sound,
    TargetError for a target that is there (without ``force``) or cannot be written, ModelNotFoundError
    or ModelDamagedError.
    """
    if is_taken(target) and not options.force:
        raise TargetError("already exists; use --force to replace it", target)
    with open_latents(source) as stored:
        codec = codecs.of_model(_model_of(stored, options.model))
        n_samples = _fitting(stored, codec)
        rate = codec.geometry.sample_rate
        make_folder(target)
        with (
            atomic_path(target, replace=options.force) as temporary,
            errors_about(target, temporary),
            AudioWriter(
                temporary,
                container=options.container,
                sample_rate=rate,
                channels=2,
                bits=options.bits,
                dither=True,
                n_samples=n_samples,
            ) as writer,
        ):
            for block in _blocks(stored, codec, n_samples):
                writer.write(block)
                on_progress(block.shape[1] / rate)
    return DecodeResult(source, target, n_samples / rate, n_samples, writer.n_overs)


def _model_of(stored: StoredLatents, name: str | None) -> ModelSpec:
    facts = stored.facts
    if name is None:
        if facts.model_sha256 is None:
            raise SourceError("names no model; say which with --model", stored.path)
        return find_model_of_archive(facts.model or "", facts.model_sha256, stored.path)
    spec = find_model(name)
    if facts.model_sha256 not in (None, spec.sha256):
        raise SourceError(
            f"has latents of {facts.model or 'another model'} ({facts.model_sha256[:16]}…), not of "
            f"{spec.name} ({spec.sha256[:16]}…)",
            stored.path,
        )
    return spec


def _fitting(stored: StoredLatents, codec: Codec) -> int:
    """Return how many samples the latents are of. Raises SourceError if they do not fit."""
    (d, n_frames), facts = stored.shape, stored.facts
    if d != codec.n_latents:
        hint = "; they are [frames, latents]: transpose them" if n_frames == codec.n_latents else ""
        raise SourceError(
            f"has {d} latents a frame, expected the {codec.n_latents} of its model{hint}",
            stored.path,
        )
    if not abs(facts.gain_db) <= MAX_GAIN_CENTIBELS / 10:  # NaN neither
        most = MAX_GAIN_CENTIBELS // 10
        raise SourceError(f"gain_db is {facts.gain_db}, expected {most} at the most", stored.path)
    try:
        return n_samples_of(codec.geometry, n_frames, facts.n_samples)
    except UsageError as error:
        raise SourceError(
            f"{error.message}; without n_samples it is as long as its frames", stored.path
        ) from error


def n_samples_of(geometry: Geometry, n_frames: int, n_samples: int | None) -> int:
    """Return ``n_samples``, or if it is None as many as ``n_frames`` hold.

    Raises UsageError if so many samples do not take so many frames.
    """
    most = max(0, n_frames * geometry.hop - 2 * geometry.lead)
    n = most if n_samples is None else n_samples
    if n < 0 or geometry.n_frames(n) != n_frames:
        raise UsageError(
            f"{n} samples do not take {n_frames} frames, which hold {most} at the most"
        )
    return n


def _blocks(stored: StoredLatents, codec: Codec, n_samples: int) -> Iterator[Audio]:
    g, n_frames = codec.geometry, stored.shape[1]

    def read(i: int) -> Latents:
        return stored.frames(i * g.core, min((i + 1) * g.core, n_frames))

    for core in codec.decode(read, n_samples, range(g.n_segments(n_samples))):
        block = without_gain(core, 10 * stored.facts.gain_db)
        if not is_sound(block):
            raise SourceError("decodes to infinite or far too large samples", stored.path)
        yield block
