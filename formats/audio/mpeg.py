"""The frames of an MPEG audio file (MP3, MP2), found by walking their headers.

mpg123, behind libsndfile, estimates the length of a file without a Xing header from its first
frames, and libsndfile then reads that much and no more: a file that begins loud and goes on quiet
loses most of its sound. Where a Xing header promises less than the file holds (joined files) the
rest is lost too. So the frames are counted here, and the decoder is handed a header that tells the
truth. The same count shows a file that was cut.

Where mono follows stereo, as in joined files, libsndfile stops; so each stretch is a stream of its own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from earzip.errors import SourceError, count
from earzip.formats.audio.mpeg_crc import checksum_is_right, has_checksum
from earzip.formats.audio.mpeg_header import LAYER_3, MPEG_1, FrameHeader, parse_header
from earzip.formats.audio.mpeg_search import find_first_frame, frames_begin, syncs
from earzip.formats.containers.outer import id3v2_size
from earzip.formats.containers.spans import Span


@dataclass
class MpegStream:
    """A stretch of an MPEG audio file that is all stereo, or all mono; most files are one.

    ``spans`` are the (offset, length) of runs of whole frames, the Xing frame left out.
    ``promised`` is the Xing header's count of frames, ``cut_bytes`` the size of an incomplete last
    frame, ``skipped_bytes`` what lies between frames and is no tag. ``n_following`` counts the frames of
    the stretches after this one.
    """

    first_header: FrameHeader
    first_bytes: bytes
    info: bytes | None
    info_at: int = 0
    promised: int | None = None
    n_frames: int = 0
    cut_bytes: int = 0
    skipped_bytes: int = 0
    longest: int = 0
    n_following: int = 0
    n_with_checksum: int = 0
    n_wrong_checksums: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)

    @property
    def n_channels(self) -> int:
        """1 or 2."""
        return 1 if self.first_header.is_mono else 2

    @property
    def truncated(self) -> str | None:
        """Why the file holds less than it should, or None."""
        if self.promised is not None:
            # Some encoders count the Xing frame itself: one frame less, ended cleanly, is whole.
            there = self.n_frames + self.n_following
            missing = self.promised - there
            if missing > 1 or (missing == 1 and self.cut_bytes):
                return (
                    f"its Xing header promises {count(self.promised, 'frame')}, it has "
                    f"{count(there, 'whole frame')}"
                )
            return None
        if self.cut_bytes:
            return f"it ends inside a frame, after {count(self.n_frames, 'whole frame')}"
        if self.skipped_bytes:
            return (
                f"it has {count(self.skipped_bytes, 'byte')} of something else between its frames"
            )
        return None

    @property
    def surplus(self) -> str | None:
        """What the Xing header leaves out, or None; some encoders count one frame less."""
        there = self.n_frames + self.n_following
        if self.promised is None or there - self.promised <= 1:
            return None
        promised = count(self.promised, "frame")
        return f"its Xing header promises {promised}, {there} are there; all are archived"

    @property
    def n_samples_without_xing(self) -> int | None:
        """Samples per channel in a stream of layer I or II; None for MP3.

        An MP3's Xing header tells the decoder its length and the samples to leave out at the ends.
        """
        has_xing = self.first_header.layer == LAYER_3
        return None if has_xing else self.n_frames * self.first_header.n_samples

    def decoder_input(self) -> list[Span]:
        """Return the input for a decoder: a true Xing header, whole frames, nothing else."""
        if self.info is not None and self.promised == self.n_frames:
            header = self._believable_info(self.info)
        elif self.info is not None and self.promised is not None:
            header = self._corrected_info(self.info)
        elif self.first_header.layer == LAYER_3:
            header = self._new_info()
        else:  # Xing headers are of layer III alone; layers I and II have a constant rate
            header = b""
        return [header, *self.spans, *self._ballast()]

    def _ballast(self) -> list[Span]:
        """Return frames to follow the last one, so that no decoder expects too few.

        Without a Xing header libsndfile reads as many samples as the first frames let it expect of so
        many bytes; `n_samples_without_xing` of them are wanted.
        """
        n_bytes = sum(length for _, length in self.spans)
        if self.n_samples_without_xing is None or not n_bytes:
            return []
        n_repeats = (self.longest + 4) * self.n_frames // n_bytes
        return [*self.spans] * n_repeats

    def _corrected_info(self, info: bytes) -> bytes:
        frame = bytearray(self._believable_info(info))
        at = self.info_at + 4
        (flags,) = struct.unpack_from(">I", frame, at)
        struct.pack_into(">I", frame, at + 4, self.n_frames)
        if flags & 2 and at + 12 <= len(frame):
            n_bytes = len(frame) + sum(length for _, length in self.spans)
            struct.pack_into(">I", frame, at + 8, n_bytes)
        # LAME's end padding belongs to a last frame that is not the last one, or is not there.
        at = self._gapless_at
        if at + 3 <= len(frame):
            frame[at + 1] &= 0xF0
            frame[at + 2] = 0
        return bytes(frame)

    def _believable_info(self, info: bytes) -> bytes:
        """Return the Xing frame, without LAME's delay and padding if they leave nothing of the sound."""
        at = self._gapless_at
        record = int.from_bytes(info[at : at + 3], "big")
        delay, padding = record >> 12, record & 0xFFF
        if delay + padding < self.n_frames * self.first_header.n_samples:
            return info
        return info[:at] + bytes(3) + info[at + 3 :]

    @property
    def _gapless_at(self) -> int:
        """Where in the Xing frame LAME has the delay and the padding, 12 bits each."""
        assert self.info is not None
        (flags,) = struct.unpack_from(">I", self.info, self.info_at + 4)
        n_optional = 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)
        return self.info_at + 12 + n_optional + 21

    def _new_info(self) -> bytes:
        first = bytearray(self.first_bytes)
        first[1] |= 1  # no CRC
        first[2] = (first[2] & 0x0D) | 0x90  # bit rate 9, no padding: room in every version
        header = parse_header(bytes(first))
        assert header is not None
        has_count = 1
        info = b"Info" + struct.pack(">2I", has_count, self.n_frames)
        return (bytes(first) + bytes(header.side_info) + info).ljust(header.length, b"\0")


def find_mpeg_streams(
    file: BinaryIO, size: int, start: int = 0, *, is_expected: bool = False
) -> list[MpegStream]:
    """Return the stretches of MPEG audio from ``start`` to ``size`` of a file, none if it has none.

    One that is expected, by the file's name, may be further from ``start``, or shorter. SourceError if
    its sample rate or layer changes on the way.
    """
    position = find_first_frame(file, start, size, is_expected=is_expected)
    streams: list[MpegStream] = []
    while position is not None:
        file.seek(position)
        first_bytes = file.read(4)
        header = parse_header(first_bytes)
        assert header is not None
        stream = MpegStream(header, first_bytes, None)
        file.seek(position)
        _take_info(stream, file.read(header.length))
        position += header.length if stream.info is not None else 0
        position = _walk(file, stream, position, size)
        streams.append(stream)
    for index, stream in enumerate(streams):
        stream.n_following = sum(later.n_frames for later in streams[index + 1 :])
    return streams


def _take_info(stream: MpegStream, frame: bytes) -> None:
    """Note the Xing, Info or VBRI header of the first frame, if it is one."""
    xing_at = 4 + stream.first_header.side_info
    for at in (xing_at, xing_at + 2):  # two bytes of CRC may stand before it
        if frame[at : at + 4] in (b"Xing", b"Info"):
            stream.info, stream.info_at = frame, at
            if len(frame) >= at + 12 and frame[at + 7] & 1:
                stream.promised = int.from_bytes(frame[at + 8 : at + 12], "big")
            return
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        stream.info = frame
        stream.info_at = 36


def _walk(file: BinaryIO, stream: MpegStream, position: int, end: int) -> int | None:
    """Follow the frames from ``position``, noting runs, junk and an incomplete last frame.

    Return where mono follows stereo, or the other way, None where the file ends.
    """
    known: dict[bytes, FrameHeader | None] = {}  # parsing each of a million is slow
    run_start = position
    changes_at = None
    while position < end:
        file.seek(position)
        head = file.read(4)
        if head not in known:
            parsed = parse_header(head)
            known[head] = parsed if parsed and parsed.continues(stream.first_header) else None
        header = known[head]
        if header is not None and position + header.length <= end:
            if header.is_mono == stream.first_header.is_mono:
                _take_frame(file, stream, header, head)
                position += header.length
                continue
            # By chance a lone header looks so, where bytes between frames are none.
            if frames_begin(file, position, end) is not None:
                changes_at = position
                break
        if position > run_start:
            stream.spans.append((run_start, position - run_start))
        following = _resume(file, stream.first_header, position, end)
        if following is None:
            # Of a cut frame there may be less than a header.
            rest = head[: min(2, end - position)]
            if header is not None or (end - position < 4 and stream.first_bytes.startswith(rest)):
                stream.cut_bytes = end - position
            return None
        if not _is_tag(file, position):
            stream.skipped_bytes += following - position
        position = run_start = following
    if position > run_start:
        stream.spans.append((run_start, position - run_start))
    return changes_at


def _take_frame(file: BinaryIO, stream: MpegStream, header: FrameHeader, head: bytes) -> None:
    """Count the frame that begins with ``head``, after which ``file`` stands."""
    stream.n_frames += 1
    stream.longest = max(stream.longest, header.length)
    if not has_checksum(head):
        return
    stream.n_with_checksum += 1
    stream.n_wrong_checksums += not checksum_is_right(
        head + file.read(header.length - len(head)),
        layer=header.layer_number,
        is_mpeg_1=header.version == MPEG_1,
        sample_rate=header.sample_rate,
        kbps=header.kbps,
        side_info=header.side_info,
    )


def _resume(file: BinaryIO, like: FrameHeader, position: int, end: int) -> int | None:
    """Return where frames begin again after ``position``, or None."""
    position += id3v2_size(file, position) or 1
    for candidate in syncs(file, position, end):
        header = frames_begin(file, candidate, end)
        if header is not None:
            if header.continues(like):
                return candidate
            raise SourceError(
                f"its sample rate or layer changes from {like.sample_rate} Hz to "
                f"{header.sample_rate} Hz at byte {candidate}"
            )
    return None


def _is_tag(file: BinaryIO, position: int) -> bool:
    file.seek(position)
    return file.read(8).startswith((b"ID3", b"TAG", b"APETAGEX"))
