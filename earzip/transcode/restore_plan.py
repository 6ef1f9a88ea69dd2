"""What a restoration writes: which samples, at which rate, in how many bits."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

from earzip.errors import UsageError
from earzip.formats.archive.header import Header
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.records import SourceRecord
from earzip.formats.audio.encode import lossy_rate
from earzip.formats.audio.exact_flac import exact_flac_bits
from earzip.formats.audio.write import flac_holds_rate
from earzip.formats.geometry import n_samples_at
from earzip.formats.tags.provenance import DIGEST_BYTES
from earzip.options import Bits, Container, RestoreOptions, as_lossy

_NEIGHBOURS = 4096  # samples: far more than a resampler looks at


@dataclass(frozen=True)
class RestorePlan:
    """Samples ``[start, end)`` of a track at ``position_rate`` as ``n_out`` samples at ``rate``."""

    start: int
    end: int
    position_rate: int
    rate: int
    n_out: int
    channels: int
    bits: Bits
    dither: bool
    container: Container
    as_source: bool
    all_channels: bool = False
    """FLAC of all channels of the exact copy, as they are."""
    described: str = ""
    """What the tags of a part that is a track of its own say, beside the archive."""
    warnings: tuple[str, ...] = ()

    @property
    def is_resampled(self) -> bool:
        """Whether the samples are not those at ``position_rate``."""
        return (
            self.rate != self.position_rate
            # A whole track of the source's own count, which rounding twice misses by one.
            or self.n_out != self.end - self.start
        )

    def read_range(self, n_all: int) -> tuple[int, int, int]:
        """Return which samples of a track of ``n_all`` to read, and how many come out too early.

        Where they are resampled, neighbours are read too: so parts of a track join to the whole.
        """
        if not self.is_resampled:
            return self.start, self.end, 0
        step = self.position_rate // math.gcd(self.position_rate, self.rate)
        first = max(0, self.start - _NEIGHBOURS) // step * step
        ahead = n_samples_at(self.start, self.position_rate, self.rate)
        return (
            first,
            min(self.end + _NEIGHBOURS, n_all),
            ahead - first * self.rate // self.position_rate,
        )

    @property
    def duration_s(self) -> float:
        """How long the result is, in seconds."""
        return self.n_out / self.rate

    def digest(self, reader: ArchiveReader, *, whole: bool) -> bytes:
        """Return what tells a restoration of an archive by this plan, whole or not, from others."""
        # The prefix has the checksums of header and index, and the index those of everything else.
        seen = reader.prefix.pack() + repr(sorted(self._asked.items())).encode()
        if not whole:
            seen += b"incomplete"
        return hashlib.sha256(seen).digest()[:DIGEST_BYTES]

    @property
    def _asked(self) -> dict[str, object]:
        """The requested options: other fields follow from them and the archive."""
        follows = ("position_rate", "all_channels", "warnings")
        asked = {name: value for name, value in vars(self).items() if name not in follows}
        if not self.described:  # as it was before there were tracks
            del asked["described"]
        return asked


def plan_restore(
    header: Header, options: RestoreOptions, path: Path, *, exact: bool
) -> RestorePlan:
    """Return what `earzip.transcode.restore.restore_file` writes of the archive at ``path``.

    ``exact``: from its exact copy. Raises UsageError for a range that begins beyond the end, and for a
    sample rate that FLAC cannot hold.
    """
    assert options.container is not None
    source = header.source
    plan = _plan_coded(header, options, options.container, path)
    if not options.as_source:
        return plan
    if options.container == "flac" and not flac_holds_rate(source.sample_rate):
        raise UsageError(
            f"FLAC cannot store the source's {source.sample_rate} Hz; --format wav can", path
        )
    whole = (plan.start, plan.end) == (0, header.n_samples)
    plan = replace(plan, rate=source.sample_rate, channels=min(source.channels, 2))
    if exact:
        plan = _from_exact(plan, header, options, whole=whole)
    else:
        # A whole track has the source's own count, which rounding twice could miss by one.
        first, last = (
            n_samples_at(at, plan.position_rate, source.sample_rate)
            for at in (plan.start, plan.end)
        )
        n_out = min(last, source.n_frames) - min(first, source.n_frames)
        plan = replace(plan, n_out=source.n_frames if whole else n_out)
    if source.channels > 2 and not plan.all_channels:
        warning = f"the source's {source.channels} channels were mixed down and stay stereo"
        plan = replace(plan, warnings=(*plan.warnings, warning))
    return plan


def coded_range(header: Header, options: RestoreOptions, path: Path) -> tuple[int, int]:
    """Return which samples of the coded sound the options request, as a start and an end.

    Raises UsageError for a range that begins beyond the end.
    """
    rate = header.geometry.sample_rate
    start = min(round((options.start_s or 0.0) * rate), header.n_samples)
    end = header.n_samples
    if options.end_s is not None:
        end = min(round(options.end_s * rate), end)
    if options.start_s and start >= header.n_samples:
        raise UsageError(
            f"is {header.duration_s:.3f} s long, the range begins at {options.start_s} s", path
        )
    return start, end


def _plan_coded(
    header: Header, options: RestoreOptions, container: Container, path: Path
) -> RestorePlan:
    """Return the plan for stereo at 44.1 kHz, or at the one rate that a lossy format has."""
    position_rate = header.geometry.sample_rate
    start, end = coded_range(header, options, path)
    rate = position_rate
    bits: Bits = options.bits or (24 if header.source.lossless else 16)
    if lossy := as_lossy(container):
        if start == end:
            raise UsageError(
                f"has no samples, which {container} cannot hold; --format flac can", path
            )
        rate, bits = lossy_rate(lossy, position_rate), "float"
    return RestorePlan(
        start=start,
        end=end,
        position_rate=position_rate,
        rate=rate,
        n_out=n_samples_at(end, position_rate, rate) - n_samples_at(start, position_rate, rate),
        channels=2,
        bits=bits,
        dither=options.dither and bits == 16,
        container=container,
        as_source=options.as_source,
    )


def _from_exact(
    plan: RestorePlan, header: Header, options: RestoreOptions, *, whole: bool
) -> RestorePlan:
    """Return ``plan``, which is at the source's rate, for the samples of the exact copy."""
    source = header.source
    n_frames = source.n_frames
    start, end = 0, n_frames
    if not whole:
        start = min(round((options.start_s or 0.0) * plan.rate), n_frames)
        end = n_frames
        if options.end_s is not None:
            end = min(round(options.end_s * plan.rate), n_frames)
    bits = options.bits or _bits_for(source, plan.container)
    warnings: tuple[str, ...] = ()
    if source.lossless and options.bits is None and not _holds(bits, source):
        warnings = (
            f"samples of {_depth(source)} bits do not fit and are rounded; "
            "--as-source without a format gives the source file itself",
        )
    return replace(
        plan,
        start=start,
        end=end,
        position_rate=plan.rate,
        n_out=end - start,
        bits=bits,
        # Samples that fit come back unchanged.
        dither=options.dither and bits == 16 and not _holds(16, source),
        all_channels=whole
        and options.bits is None
        and plan.container == "flac"
        and header.exact == "flac"
        and exact_flac_bits(source) is not None,
        warnings=warnings,
    )


_FLOAT_BITS = 32


def _depth(source: SourceRecord) -> int | None:
    """Return the bits that a source's samples take, of floats those of the float; None if it is lossy."""
    if not source.lossless and not source.is_float:
        return None
    return source.bit_depth or (_FLOAT_BITS if source.is_float else 24)


def _bits_for(source: SourceRecord, container: Container) -> Bits:
    """Return the samples that hold those of a source, as far as the container has any."""
    depth = _depth(source)
    if depth is None or (depth <= 16 and not source.is_float):
        return 16
    if container == "wav" and (source.is_float or depth > 24):
        return "float"
    return 24


def _holds(bits: Bits, source: SourceRecord) -> bool:
    """Return whether samples of ``bits`` are those of a lossless source to the bit."""
    depth = _depth(source)
    if depth is None:
        return False
    if bits == "float":
        return depth <= (_FLOAT_BITS if source.is_float else 24)
    return not source.is_float and depth <= bits
