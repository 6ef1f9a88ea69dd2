"""Options of compress, restore, latents and decode-latents: plain data, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from earzip.errors import BelowFloorError, UsageError

if TYPE_CHECKING:
    pass


Lossless = Literal["flac", "wav"]
Lossy = Literal["opus", "mp3", "aac"]
Container = Lossless | Lossy
LOSSLESS: tuple[Lossless, ...] = get_args(Lossless)
LOSSY: tuple[Lossy, ...] = get_args(Lossy)
CONTAINERS: tuple[Container, ...] = (*LOSSLESS, *LOSSY)
CONTAINER_OF_SUFFIX: Mapping[str, Container] = {
    ".flac": "flac",
    ".wav": "wav",
    ".opus": "opus",
    ".mp3": "mp3",
    ".m4a": "aac",
}
"""What a file is to be by the extension of its name."""
Bits = Literal[16, 24, "float"]
BelowFloor = Literal["keep", "fail", "raise", "lossless"]
BELOW_FLOOR = get_args(BelowFloor)
LatentDtype = Literal["float32", "float16"]
LATENT_DTYPES = get_args(LatentDtype)
Truncated = Literal["keep", "fail"]
TRUNCATED = get_args(Truncated)
Pictures = Literal["embed", "share", "drop"]
PICTURES = get_args(Pictures)
FIT_RANGE = (16, 10_000)
"""Pixels that pictures may be scaled to."""
_LATEST_S = 1e9
"""The latest time that a user can give, in seconds: 31 years, far beyond any archive's end."""
QUALITIES = ("low", "medium", "high")
QUALITY_NUMBERS = {"low": 2.0, "medium": 5.0, "high": 8.0}
"""Where the named qualities lie on the scale from 0 to 10."""
MAX_QUALITY = 10.0
_BITRATES = (1.0, 500.0)
DEFAULT_MODEL = "mini-2"


def quality_name(quality: str) -> str:
    """Return how archives call a quality: its name, or a number that has none.

    Raises UsageError for what is neither a name nor a number from 0 to 10.
    """
    if quality in QUALITIES:
        return quality
    try:
        number = float(quality)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MAX_QUALITY:
        raise UsageError(
            f"quality is {quality!r}, expected {', '.join(QUALITIES)} or a number from 0 to 10"
        )
    number = round(number, 2)
    names = {value: name for name, value in QUALITY_NUMBERS.items()}
    return names.get(number, f"{number:g}")


def quality_number(quality: str) -> float:
    """Return where a quality lies on the scale from 0 to 10. Raises UsageError for what is none."""
    name = quality_name(quality)
    return QUALITY_NUMBERS.get(name) or float(name)


def as_lossy(container: Container | None) -> Lossy | None:
    """Return ``container`` if it is a lossy one."""
    return container if container in LOSSY else None


@dataclass(frozen=True)
class Floor:
    """How close a decoded track must be to its source, and what happens if it is not.

    Measures are those of `earzip.metrics.measures.Measures`, by its names. Of digital silence and of
    tracks under 46 ms there are none: they are not below a floor, but "lossless" keeps them exactly.
    """

    min_si_sdr_db: float | None = None
    """The least scale-invariant signal-to-distortion ratio, dB."""
    max_mel: float | None = None
    """The greatest mel distance."""
    below: BelowFloor = "keep"
    """"keep" warns; "fail" writes no archive; "lossless" stores an exact copy in it; "raise" raises the
    quality until it is met, and stores an exact copy where the highest does not."""

    def __post_init__(self) -> None:
        if self.below not in BELOW_FLOOR:
            raise UsageError(f"below is {self.below!r}, expected one of {', '.join(BELOW_FLOOR)}")
        bounds = [bound for bound in (self.min_si_sdr_db, self.max_mel) if bound is not None]
        if not bounds:
            raise UsageError("a floor needs a minimum SI-SDR or a maximum mel distance")
        for bound in bounds:
            if not math.isfinite(bound):
                raise UsageError(f"a floor is {bound}, expected a finite number")
        if self.max_mel is not None and self.max_mel < 0:
            raise UsageError(f"the maximum mel distance is {self.max_mel:g}, expected 0 or more")

    def shortfalls(self, measures: Mapping[str, float] | None) -> tuple[str, ...]:
        """Return a few words for each measure that does not reach the floor."""
        found = []
        if measures is not None:
            si_sdr_db, mel = measures["si_sdr_db"], measures["mel"]
            if self.min_si_sdr_db is not None and si_sdr_db < self.min_si_sdr_db:
                found.append(f"SI-SDR is {si_sdr_db:.2f} dB, required {self.min_si_sdr_db:g}")
            if self.max_mel is not None and mel > self.max_mel:
                found.append(f"mel distance is {mel:.3f}, allowed {self.max_mel:g}")
        return tuple(found)

    def wants_exact(self, measures: Mapping[str, float] | None) -> bool:
        """Return whether a track of these measures must be kept exactly."""
        return self.below in ("lossless", "raise") and (
            measures is None or bool(self.shortfalls(measures))
        )

    def require(self, measures: Mapping[str, float] | None, outcome: str) -> None:
        """Raise BelowFloorError for a track that fails; ``outcome`` ends the sentence."""
        if self.below == "fail" and (found := self.shortfalls(measures)):
            raise BelowFloorError(f"is below the floor: {', '.join(found)}{outcome}")


@dataclass(frozen=True)
class CompressOptions:
    """How to encode. ``model`` is a name or a ``.json`` path."""

    model: str = DEFAULT_MODEL
    quality: str = "medium"
    """low, medium, high, or a number from 0 to 10."""
    bitrate_kbps: float | None = None
    """The rate of each track, of everything but its pictures; takes the place of ``quality``."""
    force: bool = False
    """Encode again what is up to date, and replace a target that is not an archive of the source."""
    check: bool = False
    """Decode what was written and store its measures against the source; needs the extra ``eval``."""
    floor: Floor | None = None
    """What the measures must reach; implies ``check``."""
    verify_sources: bool = False
    """Compare a source with its archive by SHA-256 and read the archive whole, instead of comparing size
    and time of modification (`earzip.transcode.up_to_date.compressed_already`)."""
    truncated: Truncated | None = None
    """"keep" archives a source that is cut short or damaged as far as it decodes, "fail" refuses it;
    None: FLAC, whose frames have checksums and whose length is known, fails, and all else is kept."""

    pictures: Pictures | None = None
    """"embed" keeps them in each archive, "share" puts each once beside the archives of a folder, "drop"
    leaves them out. None: an archive that is there keeps them as it has them, a new one embeds them."""
    fit_pictures: int | None = None
    """Scale larger pictures down to so many pixels a side; needs the extra ``pictures``. None: with
    ``pictures`` they are kept as they are, without it as an archive that is there has them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "quality", quality_name(self.quality))
        if self.truncated not in (None, *TRUNCATED):
            raise UsageError(f"truncated is {self.truncated!r}, expected {' or '.join(TRUNCATED)}")
        if self.pictures not in (None, *PICTURES):
            raise UsageError(f"pictures is {self.pictures!r}, expected {', '.join(PICTURES)}")
        least, most = FIT_RANGE
        if self.fit_pictures is not None and not least <= self.fit_pictures <= most:
            raise UsageError(
                f"pictures to fit {self.fit_pictures} pixels, expected {least} to {most:,}"
            )
        if self.fit_pictures is not None and self.pictures == "drop":
            raise UsageError("pictures cannot be both scaled and dropped")
        lowest, highest = _BITRATES
        if self.bitrate_kbps is not None and not lowest <= self.bitrate_kbps <= highest:
            raise UsageError(
                f"bitrate is {self.bitrate_kbps:g} kbps, expected {lowest:g} to {highest:g}"
            )

    @property
    def checks(self) -> bool:
        """Whether archives are checked."""
        return self.check or self.floor is not None


@dataclass(frozen=True)
class RestoreOptions:
    """How to decode."""

    container: Container | None = None
    """None: what the extension of the target's name says, FLAC if that says nothing."""
    bits: Bits | None = None
    """None: 24 for lossless sources, 16 for lossy ones."""
    dither: bool = True
    """TPDF, at 16 bit only."""
    start_s: float | None = None
    end_s: float | None = None
    as_source: bool = False
    """Give the source's own rate, exact frame count, and mono if it was mono; from an archive with an
    exact copy all of the source's samples as they were, or the source file itself."""
    keep_going: bool = False
    """Fill damaged segments with silence and leave out damaged tags instead of failing."""
    force: bool = False
    """Replace a target that was not restored from this archive."""

    def __post_init__(self) -> None:
        if self.container not in (None, *CONTAINERS):
            raise UsageError(f"container is {self.container!r}, expected {', '.join(CONTAINERS)}")
        if self.container in LOSSY and (self.as_source or self.bits):
            what = "samples as those of the source are" if self.as_source else "bits of samples are"
            raise UsageError(f"{what} for FLAC and WAV, not for {self.container}")
        if self.bits not in (None, 16, 24, "float"):
            raise UsageError(f"bits is {self.bits!r}, expected 16, 24 or 'float'")
        if self.container == "flac" and self.bits == "float":
            raise UsageError("FLAC holds integers: float samples need the container wav")
        start_s = self.start_s or 0.0
        end_s = _LATEST_S if self.end_s is None else self.end_s
        # Comparing NaN is false whichever way: it is refused too.
        if not 0 <= start_s < end_s <= _LATEST_S:
            raise UsageError(f"start {start_s:g} s and end {self.end_s} s are not a range")

    def for_target(self, target: Path) -> RestoreOptions:
        """Return these options with the container of ``target``; UsageError if it cannot be."""
        named = CONTAINER_OF_SUFFIX.get(target.suffix.lower(), "flac")
        return self if self.container else replace(self, container=named)


@dataclass(frozen=True)
class ShardForm:
    """What the samples of a shard are made of: arrays of a ``dtype``, or archives."""

    dtype: LatentDtype = "float32"
    of_archives: bool = False


@dataclass(frozen=True)
class DecodeOptions:
    """How to decode latents."""

    model: str | None = None
    """The name of a model, or a ``.json`` path. None: the one that the latents name."""
    container: Lossless = "flac"
    bits: Bits = 24
    force: bool = False
    """Replace a target that is there."""
