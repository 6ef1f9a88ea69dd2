"""How a track is cut into frames, windows and segments, and the limits that SPEC.md sets to them.

Plain numbers without numpy: readers of archives and the specification of a model check against them.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from earzip.formats.checked import Checked, Key, Range

SAMPLE_RATE = 44_100
"""Hz, of the sound that every model of this family takes and gives."""
MAX_RATE = 768_000  # Hz
MAX_FRAMES = 65_536  # of a core, or of the context on one side of it
MAX_LATENTS = 4096  # channels
MAX_EXPONENT = 1024  # of a step, either way
MAX_EXPONENT_SPREAD = 255  # from the least to the greatest exponent of an archive
MAX_INTEGER_BYTES = 4 << 20  # of a segment: latents × core × 2, as the coded integers may take
MAX_CONTEXT_FRAMES = 1024
"""Of a segment in `context-1` or `levels-1`. A reader takes them one by one, 30 to 100 µs each, and a
hostile archive says many in few bytes: each MB of them keeps it busy for a quarter of an hour, with
levels for an hour."""
SEGMENT_SLACK_BYTES = 65_536  # that a segment's tables may take beside its integers


def clock(seconds: float, decimals: int = 0) -> str:
    """Return a duration, or a place in a track, as ``m:ss`` or ``h:mm:ss``."""
    minutes, s = divmod(round(seconds, decimals), 60)
    hours, minutes = divmod(int(minutes), 60)
    rest = f"{s:0{decimals + 3 if decimals else 2}.{decimals}f}"
    return f"{hours}:{minutes:02}:{rest}" if hours else f"{minutes}:{rest}"


def max_segment_bytes(n_latents: int, core: int) -> int:
    """Return the most bytes that a segment of ``core`` frames may decompress to."""
    return 2 * n_latents * core + SEGMENT_SLACK_BYTES


@dataclass(frozen=True)
class Geometry(Checked):
    """How a track is cut into windows; part of the model and of the archive format.

    Raises `ValueError` for what no archive holds.
    """

    sample_rate: Annotated[int, Range(1, MAX_RATE), Key("rate")]
    """Hz, of the sound that is coded."""
    hop: Annotated[int, Range(1, 65_536)]
    """Samples a frame."""
    lead: Annotated[int, Range(0, 2**20)]
    """Samples set before and behind a track, so that its first and last frames cover it twice."""
    core: Annotated[int, Range(1, MAX_FRAMES)]
    """Frames of a window that are kept; also of every segment of an archive but the last."""
    encoder_context: Annotated[int, Range(0, MAX_FRAMES)]
    """Frames on each side of the core that the encoder sees."""
    decoder_context: Annotated[int, Range(0, MAX_FRAMES)]

    def n_frames(self, n_samples: int) -> int:
        """Return the frames of a track of ``n_samples``; none for an empty track."""
        return -(-(n_samples + 2 * self.lead) // self.hop) if n_samples else 0

    def n_segments(self, n_samples: int) -> int:
        """Return the windows, and so the segments, of a track of ``n_samples``."""
        return -(-self.n_frames(n_samples) // self.core)

    def segments_of(self, first_sample: int, last_sample: int) -> range:
        """Return the windows whose cores hold samples ``[first_sample, last_sample)``."""
        span = self.core * self.hop
        return range(
            (first_sample + self.lead) // span,
            (last_sample - 1 + self.lead) // span + 1 if last_sample > first_sample else 0,
        )


def n_samples_at(n_frames: int, rate_in: int, rate_out: int = SAMPLE_RATE) -> int:
    """Return how long ``n_frames`` at ``rate_in`` are at ``rate_out``, half a sample rounded up.

    Integers only: exact for every length.
    """
    return (2 * n_frames * rate_out + rate_in) // (2 * rate_in)
