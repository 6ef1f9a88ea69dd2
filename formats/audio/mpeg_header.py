"""The headers of MPEG audio frames: four bytes that say how long a frame is, and what is in it."""

from __future__ import annotations

from dataclasses import dataclass

MPEG_1, _MPEG_2, _MPEG_25 = 3, 2, 0  # the two version bits of a header
LAYER_1, LAYER_2, LAYER_3 = 3, 2, 1  # the two layer bits
_LOW_RATE_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBPS = {
    (True, LAYER_1): tuple(range(32, 449, 32)),
    (True, LAYER_2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, LAYER_3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, LAYER_1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, LAYER_2): _LOW_RATE_KBPS,
    (False, LAYER_3): _LOW_RATE_KBPS,
}
_RATE_DIVISOR = {MPEG_1: 1, _MPEG_2: 2, _MPEG_25: 4}


@dataclass(frozen=True)
class FrameHeader:
    """The four header bytes of a frame, read: ``length`` in bytes, ``n_samples`` per channel."""

    version: int
    layer: int
    sample_rate: int
    length: int
    n_samples: int
    side_info: int
    kbps: int
    is_mono: bool

    @property
    def layer_number(self) -> int:
        """The layer, 1 to 3."""
        return 4 - self.layer

    def continues(self, other: FrameHeader) -> bool:
        """Whether both can be frames of one file (mono and stereo may alternate)."""
        mine = (self.version, self.layer, self.sample_rate)
        return mine == (other.version, other.layer, other.sample_rate)


def parse_header(head: bytes) -> FrameHeader | None:
    """Return the header in the first four bytes of ``head``, None if they are none.

    Free-format frames count as none: their length is not in the header.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate_index, bitrate_index = head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer == 0 or rate_index == 3 or bitrate_index in (0, 15):
        return None
    kbps = _KBPS[version == MPEG_1, layer][bitrate_index - 1]
    sample_rate = (44_100, 48_000, 32_000)[rate_index] // _RATE_DIVISOR[version]
    padding = head[2] >> 1 & 1
    if layer == LAYER_1:
        n_samples, length = 384, (12_000 * kbps // sample_rate + padding) * 4
    else:
        n_samples = 576 if layer == LAYER_3 and version != MPEG_1 else 1152
        length = n_samples // 8 * 1000 * kbps // sample_rate + padding
    mono = head[3] >> 6 == 3
    side_info = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}[
        version == MPEG_1, mono
    ]
    return FrameHeader(version, layer, sample_rate, length, n_samples, side_info, kbps, mono)
