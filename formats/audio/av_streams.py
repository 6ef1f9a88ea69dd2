"""What FFmpeg tells of the streams in a file: which there are, how long, and whether lossless."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import BinaryIO

import av
from av.container import InputContainer

from earzip.formats.audio.downmix import DEFAULT_LAYOUTS, Layout
from earzip.formats.audio.flac import StreamInfo, parse_streaminfo
from earzip.formats.audio.reader import ONLY_SOUND, only_first_of
from earzip.formats.containers.walk import asf_length_s

FLOAT_FORMATS = ("flt", "fltp", "dbl", "dblp")
_NO_DURATION = {"aac", "ac3", "eac3"}  # FFmpeg only estimates it, from the bit rate
_LOSSLESS = re.compile(
    r"pcm_(?!alaw|mulaw|vidc)|al(?:ac|s)|ape|flac|mlp|tak|truehd|tta|wavpack|wmalossless"
)
_ATTACHED_PICTURE, _TIMED_PICTURES = 1 << 10, 1 << 11  # dispositions: a cover, pictures of chapters
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d\.\d+)")


def is_lossless(codec: str) -> bool:
    """Return whether a decoder of FFmpeg, by its name, gives the samples that were encoded."""
    return _LOSSLESS.match(codec) is not None


def what_else(container: InputContainer) -> tuple[str, ...]:
    """Return sentences on streams of the file other than the first of sound."""
    notes: list[str] = []
    n_sounds = len(container.streams.audio)
    if n_sounds > 1:
        notes.append(only_first_of(n_sounds))
    pictures = _ATTACHED_PICTURE | _TIMED_PICTURES
    if any(not int(stream.disposition) & pictures for stream in container.streams.video):
        notes.append(ONLY_SOUND)
    return tuple(notes)


def declared_length(
    container: InputContainer, stream: av.AudioStream, file: BinaryIO, rate: int
) -> tuple[int | None, bool]:
    """Return the frames at ``rate`` that the container promises of the stream, and if to the sample."""
    form = container.format.name.split(",")[0]
    # iTunes writes the length without the padding of the last frame here alone.
    gapless = container.metadata.get("iTunSMPB", "").split()
    if len(gapless) > 3 and re.fullmatch("[0-9A-Fa-f]{1,16}", gapless[3]) and int(gapless[3], 16):
        return int(gapless[3], 16), True
    if (
        stream.duration
        and stream.time_base is not None
        and form not in {*_NO_DURATION, "asf", "ogg"}
    ):
        unit = stream.time_base * rate
        # Of a unit of two samples too: HE-AAC counts at half the rate. A CAF counts packets.
        return round(stream.duration * unit), unit <= 2 and form != "caf"
    length_s = _rounded_length_s(container, stream, file, form)
    return None if length_s is None else round(length_s * rate), False


def _rounded_length_s(
    container: InputContainer, stream: av.AudioStream, file: BinaryIO, form: str
) -> Fraction | None:
    """Return the stream's length as the container has it, in seconds; None if only others have one."""
    tagged = _CLOCK.match(stream.metadata.get("DURATION", ""))  # of Matroska
    if len(container.streams) > 1 and tagged:
        hours, minutes, seconds = tagged.groups()
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    # Of Ogg the pages know better, and of several streams the longest has this length.
    if form in {*_NO_DURATION, "ogg"} or len(container.streams) > 1:
        return None
    if form == "asf":
        # FFmpeg guesses from the bit rate once a tagger has changed the size of the file.
        return asf_length_s(file)
    return None if container.duration is None else Fraction(container.duration, av.time_base)


def layout_of(frame: av.AudioFrame) -> Layout:
    """Return the speaker positions of a decoded frame, the usual ones where it names none."""
    named = tuple(channel.name for channel in frame.layout.channels)
    unnamed = all(name in ("NONE", "UNK", "UNSD") for name in named)
    return DEFAULT_LAYOUTS.get(len(named), named) if unnamed else named


def bit_depth(stream: av.AudioStream, frame: av.AudioFrame) -> int | None:
    """Return the bits of a stored sample, None where FFmpeg returns 32 and does not tell."""
    if frame.format.bits < 32 or frame.format.name in FLOAT_FORMATS:
        return int(frame.format.bits)
    config = stream.codec_context.extradata or b""
    if stream.codec_context.name == "alac" and len(config) > 17:
        return config[17]
    info = flac_info(stream)
    return info.format.bits if info else None


def flac_info(stream: av.AudioStream) -> StreamInfo | None:
    """Return the STREAMINFO of a FLAC stream in any container, None of another codec."""
    if stream.codec_context.name != "flac":
        return None
    return parse_streaminfo(stream.codec_context.extradata or b"")
