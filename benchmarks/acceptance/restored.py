"""Checks of archives and restored files against their sources, by other programs' eyes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.acceptance.command import Checks
from benchmarks.acceptance.music import Item
from benchmarks.acceptance.seen import Seen, changes, read_tags
from benchmarks.acceptance.sound import (
    Likeness,
    Shape,
    decoded_shape,
    likeness,
    reading_snr_db,
    subtype,
    written_shapes,
)
from benchmarks.data.pcm import SAMPLE_RATE

_SLACK_FRAMES = 2 * 4096  # of a cut lossy stream: decoders differ in what they make of its end
# Against mistakes, not to judge quality: a coder takes something from noise, and changes it.
_MAX_LEVEL_DB = 2.0
_LEAST_CORRELATION = 0.3  # of a wrong or shifted file it is about 0
_LEAST_READING_SNR_DB = 40.0  # MP3 and Opus decoders differ in their arithmetic
_SAME_FAMILY = {("vorbis", "flac"), ("id3", "wav")}


@dataclass(frozen=True)
class Source:
    """A sound file of the folder, and what it holds."""

    item: Item
    path: Path

    @cached_property
    def shape(self) -> Shape:
        """What ffmpeg decodes."""
        return decoded_shape(self.path)

    @cached_property
    def tags(self) -> Seen:
        """What mutagen shows; nothing where the end of a WAV file is cut off, and its tags are."""
        if self.item.fate == "truncated" and self.item.suffix == "wav":
            return Seen()
        return read_tags(self.path)


@dataclass(frozen=True)
class Variant:
    """One way to restore: a container, and ``--as-source`` or not."""

    name: str
    container: str
    options: tuple[str, ...]
    as_source: bool = False

    def restored_name(self, source: str) -> str:
        """Return the file that the archive of ``source`` becomes."""
        same = source.lower().endswith(f".{self.container}")
        return source if same else f"{source}.{self.container}"


VARIANTS = (
    Variant("flac", "flac", ()),
    Variant("wav", "wav", ("--format", "wav")),
    Variant("as-source", "wav", ("--format", "wav", "--as-source"), as_source=True),
)


def check_archive(checks: Checks, source: Source, info: dict[str, Any]) -> Shape:
    """Check what ``earzip info --json`` says of an archive; return the source's shape in it."""
    item, found = source.item, info["source"]
    about = item.name
    facts: dict[str, object] = {
        "bit_depth": item.bits,
        "lossless": item.lossless,
        "is_float": item.is_float,
    }
    facts |= {"name": source.path.name, "n_bytes": source.path.stat().st_size}
    for fact, expected in facts.items():
        checks.require_equal("facts of sources", found[fact], expected, f"{about}: {fact}")
    shape = Shape(found["sample_rate"], found["channels"], found["n_frames"])
    if item.fate == "truncated" and not item.lossless:
        off = abs(shape.n_frames - source.shape.n_frames)
        same = (shape.sample_rate, shape.channels) == (
            source.shape.sample_rate,
            source.shape.channels,
        )
        fits = same and off <= _SLACK_FRAMES
        checks.require("facts of sources", fits, f"{about}: {shape}, ffmpeg {source.shape}")
    else:
        checks.require_equal("lengths of sources", shape, source.shape, about)
    checks.require_equal("lengths at 44.1 kHz", info["n_samples"], shape.n_samples_44k(), about)
    told = bool(found["truncated"])
    checks.require_equal("truncated is flagged", told, item.fate == "truncated", about)
    checks.require_equal("two pictures", len(info["picture_bytes"]), len(source.tags.images), about)
    return shape


def check_restored(
    checks: Checks, source: Source, archived: Shape, variant: Variant, path: Path, losses: list[str]
) -> None:
    """Check the file at ``path``; ``losses`` are the losses of tags that earzip told."""
    about = f"{variant.name}: {source.item.name}"
    if not checks.require("restored files are there", path.is_file(), about):
        return
    if variant.as_source:
        expected = Shape(archived.sample_rate, min(archived.channels, 2), archived.n_frames)
    else:
        expected = Shape(SAMPLE_RATE, 2, archived.n_samples_44k())
    for reader, shape in zip(("libsndfile", "ffprobe"), written_shapes(path), strict=True):
        checks.require_equal(f"exact lengths: {variant.name}", shape, expected, f"{about} {reader}")
    bits = "PCM_24" if source.item.lossless else "PCM_16"
    checks.require_equal("bit depths", subtype(path), bits, about)
    times = path.stat().st_mtime_ns, source.path.stat().st_mtime_ns
    checks.require_equal("times of modification", *times, about)
    _check_tags(checks, source, variant, path, losses)


def _check_tags(
    checks: Checks, source: Source, variant: Variant, path: Path, losses: Sequence[str]
) -> None:
    same_family = (source.item.family, variant.container) in _SAME_FAMILY
    promise = "tags, same family" if same_family else "tags, across families"
    restored = read_tags(path)
    found = list(changes(source.tags, restored, same_family=same_family))
    untold = [change.message for change in found if not change.is_told(losses)]
    about = f"{variant.name}: {source.item.name}: "
    checks.require(promise, not untold, about + "; ".join(untold) + f"; told: {list(losses)}")
    pictures = [image.data for image in restored.images]
    wanted = [image.data for image in source.tags.images]
    checks.require("pictures, byte for byte", pictures == wanted, about + f"{len(pictures)}")


def check_sound(checks: Checks, source: Source, path: Path) -> Likeness:
    """Check that a restored file is its source's sound, in place and as loud; return how like."""
    like = likeness(path, source.path)
    about = f"{source.item.name}: {like}"
    checks.require("sound like the source's", like.correlation >= _LEAST_CORRELATION, about)
    if source.shape.channels <= 2:  # ffmpeg mixes more of them down at another level
        checks.require("level kept", abs(like.level_db) <= _MAX_LEVEL_DB, about)
        snr_db = reading_snr_db(source.path)
        about = f"{source.item.name}: {snr_db:.1f} dB"
        checks.require("sources read as ffmpeg reads them", snr_db >= _LEAST_READING_SNR_DB, about)
    return like
