"""What mutagen shows of a file's tags, and what differs between a source and its restored file."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mutagen
from mutagen.apev2 import BINARY, APEv2
from mutagen.asf import ASF
from mutagen.flac import Picture as FlacPicture
from mutagen.id3 import ID3
from mutagen.mp4 import MP4, MP4Cover

from benchmarks.acceptance.tagging import (
    APE_COLUMN,
    ASF_COLUMN,
    ASF_PICTURE,
    BACK,
    FRONT,
    ID3_COLUMN,
    MP4_COLUMN,
    NAMES,
    PAIRS,
    PICTURE_COMMENT,
    Image,
)


@dataclass
class Seen:
    """A file's tags as mutagen shows them, under neutral names; others keep their own.

    ``native`` holds the same in the words of the file's own family, (name, value), for restores
    within it.
    """

    fields: dict[str, list[str]] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)
    chapters: list[tuple[int, str]] = field(default_factory=list)
    native: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, *values: str) -> None:
        """Append values to a field."""
        self.fields.setdefault(name, []).extend(values)


_NEUTRAL = [{names[i].lower(): name for name, names in NAMES.items()} for i in range(4)]


def _neutral(column: int, key: str) -> str:
    """Return the neutral name; that of free text frames is their description."""
    plain = key[5:].lower() if key.startswith("TXXX:") else key
    return _NEUTRAL[column].get(key.lower(), plain)


def read_tags(path: Path) -> Seen:
    """Return what mutagen shows of the file's tags; of MP4 chapters, which it does not, ffprobe."""
    file: Any = mutagen.File(path)
    seen = Seen()
    if file is None or file.tags is None:
        return seen
    if isinstance(file, MP4):
        _see_mp4(seen, file.tags)
        seen.chapters = _ffprobe_chapters(path)
    elif isinstance(file, ASF):
        _see_asf(seen, file.tags)
    elif isinstance(file.tags, APEv2):
        _see_ape(seen, file.tags)
    elif isinstance(file.tags, ID3):
        _see_id3(seen, file.tags)
        _see_riff_info(seen, path)
    else:
        _see_comments(seen, file)
    return seen


def _see_comments(seen: Seen, file: Any) -> None:
    pictures = list(getattr(file, "pictures", []))
    starts: dict[str, int] = {}
    for key, value in file.tags:
        name = key.lower()
        if name == PICTURE_COMMENT:
            pictures.append(FlacPicture(base64.b64decode(value)))
            continue
        seen.native.append((key, value))
        if name.startswith("chapter") and name.endswith("name"):
            seen.chapters.append((starts[name.removesuffix("name")], value))
        elif name.startswith("chapter"):
            hours, minutes, seconds = value.split(":")
            starts[name] = round(((int(hours) * 60 + int(minutes)) * 60 + float(seconds)) * 1000)
        else:
            seen.add(name, value)
    seen.images = [Image(picture.type, picture.mime, picture.data) for picture in pictures]
    seen.native += [
        (f"picture {number} ", picture.write().hex()) for number, picture in enumerate(pictures, 1)
    ]
    sheet = getattr(file, "cuesheet", None)
    if sheet is not None:
        seen.native.append(("cue sheet block", repr(sheet)))


def _see_id3(seen: Seen, tags: Any) -> None:
    for key, frame in tags.items():
        name = key
        neutral = _neutral(ID3_COLUMN, key)
        match frame.FrameID:
            case "APIC":
                seen.images.append(Image(int(frame.type), frame.mime, frame.data))
                name = f"picture {len(seen.images)} "
            case "CHAP":
                titles = [title.text[0] for title in frame.sub_frames.getall("TIT2")]
                seen.chapters.append((frame.start_time, "".join(titles)))
            case "CTOC":
                pass
            case "UFID":
                seen.add(neutral, frame.data.decode("latin-1"))
            case "WOAR":  # its key has the URL in it
                seen.add(_neutral(ID3_COLUMN, "WOAR"), frame.url)
            case "TMCL" | "TIPL":  # ID3v2.3 has one list of people, which mutagen gives as TIPL
                seen.add("performer", *(f"{person} ({role})" for role, person in frame.people))
            case "USLT":
                seen.add(neutral, frame.text)
            case "TCON":
                seen.add(neutral, *frame.genres)
            case "TRCK" | "TPOS":
                _see_pair(seen, ID3_COLUMN, key, frame.text[0])
            case "COMM" if frame.desc:
                seen.add(f"comment:{frame.desc.lower()}", *frame.text)
            case _:
                seen.add(neutral, *map(str, getattr(frame, "text", [repr(frame)])))
        seen.native.append((name, repr(frame)))
    seen.chapters.sort()


def _see_riff_info(seen: Seen, path: Path) -> None:
    """Add what stands in the INFO chunk of a WAV file, which mutagen does not read."""
    data = path.read_bytes()
    position = 12
    while data[:4] == b"RIFF" and position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        chunk = data[position : position + 8 + size]
        if chunk[:4] == b"LIST" and chunk[8:12] == b"INFO":
            seen.native.append(("RIFF INFO", repr(chunk)))
            entry = 12
            while entry + 8 <= len(chunk):
                length = int.from_bytes(chunk[entry + 4 : entry + 8], "little")
                value = chunk[entry + 8 : entry + 8 + length].rstrip(b"\0").decode()
                name = _RIFF_INFO[chunk[entry : entry + 4]]
                if name not in seen.fields:  # ID3 goes first
                    seen.add(name, value)
                entry += 8 + length + length % 2
        position += 8 + size + size % 2


_RIFF_INFO = {
    b"ICRD": "date",
    b"ISFT": "encodersettings",
    b"ITCH": "technician",
}  # those of the tracks


def _see_pair(seen: Seen, column: int, key: str, value: str) -> None:
    for (number, total), names in PAIRS.items():
        if names[column].lower() == key.lower():
            first, _, last = value.partition("/")
            seen.add(number, first)
            seen.add(total, last)


def _see_mp4(seen: Seen, tags: Any) -> None:
    mimes = {MP4Cover.FORMAT_PNG: "image/png", MP4Cover.FORMAT_JPEG: "image/jpeg"}
    for key, values in tags.items():
        if key == "covr":
            # MP4 has no types; the first cover is taken to be the front, as players do.
            seen.images = [Image(FRONT, mimes[each.imageformat], bytes(each)) for each in values]
        elif key in ("trkn", "disk"):
            _see_pair(seen, MP4_COLUMN, key, "{}/{}".format(*values[0]))
        else:
            texts = [each.decode() if isinstance(each, bytes) else str(each) for each in values]
            seen.add(_neutral(MP4_COLUMN, key), *texts)


def _see_ape(seen: Seen, tags: Any) -> None:
    for key, value in tags.items():
        if key.startswith("Cover Art"):
            name, _, data = value.value.partition(b"\0")
            type_ = BACK if "Back" in key else FRONT
            seen.images.append(Image(type_, f"image/{name.decode().partition('.')[2]}", data))
        elif key in ("Track", "Disc"):
            _see_pair(seen, APE_COLUMN, key, str(value))
        elif value.kind == BINARY:
            seen.add(key, repr(value.value))
        else:
            seen.add(_neutral(APE_COLUMN, key), *value)
    seen.images.sort(key=lambda image: image.type)


def _see_asf(seen: Seen, tags: Any) -> None:
    for key, value in tags:
        if key == ASF_PICTURE:
            type_, size = struct.unpack_from("<BI", value.value)
            mime = value.value[5:].decode("utf-16-le", "replace").partition("\0")[0]
            seen.images.append(Image(type_, mime, value.value[-size:]))
        elif key in ("WM/TrackNumber", "WM/PartOfSet"):
            _see_pair(seen, ASF_COLUMN, key, str(value))
        else:
            seen.add(_neutral(ASF_COLUMN, key), str(value))


def _ffprobe_chapters(path: Path) -> list[tuple[int, str]]:
    command = ["ffprobe", "-v", "error", "-show_chapters", "-of", "json", str(path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return [
        (round(1000 * float(chapter["start_time"])), chapter["tags"]["title"])
        for chapter in found["chapters"]
    ]


@dataclass(frozen=True)
class Change:
    """Something that is not the same in a restored file; ``word`` has to stand in earzip's loss."""

    word: str
    message: str

    def is_told(self, losses: Iterable[str]) -> bool:
        """Return whether one of the ``losses`` that earzip reports is this one."""
        return any(self.word.lower() in loss.lower() for loss in losses)


def changes(source: Seen, restored: Seen, *, same_family: bool) -> Iterator[Change]:
    """Yield what differs between the tags of a source and of its restored file.

    Within a family that is everything that mutagen shows, order included; across families every
    value of every field, the bytes and types of the pictures, and the chapters.
    """
    if same_family:
        yield from _native_changes(source.native, restored.native)
        return
    for name in sorted(source.fields.keys() | restored.fields.keys()):
        wanted, got = source.fields.get(name), restored.fields.get(name)
        if wanted != got:
            yield Change(_word(name), f"{name}: {_short(wanted)} became {_short(got)}")
    for number, image in enumerate(source.images, 1):
        if image not in restored.images:
            yield Change(f"picture {number} ", f"picture {number} is not there or changed")
    if len(restored.images) > len(source.images):
        counts = f"{len(restored.images)} pictures, {len(source.images)} expected"
        yield Change("picture", counts)
    if source.chapters != restored.chapters:
        yield Change("chapter", f"chapters {source.chapters} became {restored.chapters}")


_QUOTED = {*NAMES, *(name for pair in PAIRS for name in pair)}


def _word(name: str) -> str:
    """Return what a loss calls the field: frames of ID3 are known by the first part of the key."""
    return f"'{name}'" if name in _QUOTED else name.partition(":")[0]


def _native_changes(wanted: list[tuple[str, str]], got: list[tuple[str, str]]) -> Iterator[Change]:
    missing = [item for item in wanted if item not in got]
    added = [item for item in got if item not in wanted]
    for name, value in missing:
        yield Change(name, f"{name} = {_short(value)} is not there or changed")
    for name, value in added:
        yield Change(name, f"{name} = {_short(value)} was not there")
    if not missing and not added and wanted != got:
        yield Change("order", "the order changed")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 70 else f"{text[:70]}…"
