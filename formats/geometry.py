"""What SPEC.md lets a header and a segment hold, for whoever makes a model as for readers.

Plain numbers without imports: the specification of a model is checked against them without numpy.
"""

MAX_LATENTS = 4096  # channels
MAX_EXPONENT = 1024  # of a step, either way
MAX_EXPONENT_SPREAD = 255  # from the least to the greatest exponent of an archive
MAX_INTEGER_BYTES = 4 << 20  # of a segment: latents × core × 2, as the coded integers may take
MAX_CONTEXT_FRAMES = 1024
"""Of a segment in `context-1`. A reader takes them one by one, 30 to 100 µs each, and a hostile archive
says many in few bytes: each MB of them keeps it busy for a quarter of an hour."""
SEGMENT_SLACK_BYTES = 65_536  # that a segment's tables may take beside its integers


def max_segment_bytes(n_latents: int, core: int) -> int:
    """Return the most bytes that a segment of ``core`` frames may decompress to."""
    return 2 * n_latents * core + SEGMENT_SLACK_BYTES
