"""Writing tags to restored FLAC and WAV files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from mutagen.id3 import ID3

from earzip.errors import TagError, TargetError
from earzip.formats.tags.flac import (
    COMMENT,
    CUESHEET,
    MAX_BLOCK,
    PICTURE,
    cuesheet_for,
    open_flac,
    parse_cuesheet,
    save_flac,
)
from earzip.formats.tags.id3 import load_id3, parse_id3v2, save_id3
from earzip.formats.tags.id3_build import add_view
from earzip.formats.tags.losses import losses_between, raw_only_losses
from earzip.formats.tags.model import (
    MAX_ENTRIES,
    Picture,
    SoundFacts,
    TagSet,
    TagView,
    kind_name,
)
from earzip.formats.tags.picture import decode_flac_picture, encode_flac_picture
from earzip.formats.tags.read import PARSERS
from earzip.formats.tags.riff import append_wav_chunks, read_wav_facts
from earzip.formats.tags.vorbis import (
    CHANNEL_MASK_KEY,
    UNREADABLE_PICTURE,
    comment_key,
    comments_from_view,
    is_picture_text,
    join_comments,
    parse_comments,
    picture_spans,
    split_comments,
)

_FLAC = "a FLAC file"
_WAV = "a WAV file"
_MP3 = "an MP3 file"
_ID3 = ("id3v2", "id3v1")


def write_tags(path: Path, tags: TagSet) -> list[str]:
    """Write tags to a FLAC or WAV file just written, without tags yet; a sentence for each loss.

    Raises TagError if the file is of another format or already tagged, TargetError if the disk
    refuses. Tags that cannot be written are losses, not errors: the sound is what is restored.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == b"fLaC":
            return _write_flac(path, tags)
        with path.open("r+b") as file:
            return _write_wav(file, tags)
    except TagError as error:
        raise TagError(f"tags cannot be written: {error.message}", path) from error
    except OSError as error:
        raise TargetError(f"tags cannot be written: {error.strerror}", path) from error


def _readable(tags: TagSet, *kinds: str) -> list[tuple[str, bytes]]:
    """The raw blocks of these kinds that can be read whole; ``raw_only`` names the others."""
    blocks = []
    for kind in kinds:
        for block in tags.raw_bytes(kind):
            try:
                if PARSERS[kind](block).problem is None:
                    blocks.append((kind, block))
            except TagError:
                continue
    return blocks


def _write_flac(path: Path, tags: TagSet) -> list[str]:
    file = open_flac(path)
    info = file.info
    sound = SoundFacts(info.sample_rate, info.channels, info.total_samples)
    # The vendor string names the library that encoded this file, not the source.
    vendor = getattr(file.tags, "vendor", "earzip").encode()
    blocks, losses = flac_blocks(tags, sound, vendor)
    save_flac(file, path, blocks)
    return losses


def flac_blocks(
    tags: TagSet, sound: SoundFacts, vendor: bytes, target: str = _FLAC
) -> tuple[list[tuple[int, bytes]], list[str]]:
    """The metadata blocks of ``tags``, (code, body), for a FLAC file; a sentence for each loss.

    ``vendor``: the library that encodes the file; ``target``: what it is called in the sentences.
    """
    native = _readable(tags, "flac-comment", "ogg-comment")[:1]
    comments = [c for _, block in native for c in _native_comments(block, sound.channels)]
    sheets = _readable(tags, "flac-cuesheet")[:1]
    bodies = [body for _, sheet in sheets if (body := cuesheet_for(sheet, sound))]
    sheet_view = parse_cuesheet(sheets[0][1]) if bodies else TagView()
    known: TagView = parse_comments(join_comments(vendor, comments))
    known.merge(sheet_view, same_family=True)
    comments += comments_from_view(tags, known)
    fitting = _fitting(comments, MAX_BLOCK - len(vendor) - 8)
    comment_block = join_comments(vendor, fitting)
    got: TagView = parse_comments(comment_block)
    pictures = [
        (picture, body) for picture, body in _picture_blocks(tags) if len(body) <= MAX_BLOCK
    ]
    blocks = [(COMMENT, comment_block), *((CUESHEET, body) for body in bodies)]
    blocks += [(PICTURE, body) for _, body in pictures]
    got.pictures += [picture for picture, _ in pictures]
    got.merge(sheet_view, same_family=True)
    losses = losses_between(tags, got, target)
    if sheets and not bodies:
        losses.append(f"the cue sheet block does not fit {target} of this length")
    left_out = {comment_key(comment) for comment in set(comments).difference(fitting)}
    losses += [
        f"{target} cannot store field {name!r}; it stays in the archive"
        for name in sorted(left_out - tags.fields.keys())
    ]
    kinds = {kind for kind, _ in native + sheets}
    losses += _further_blocks(tags, kinds)
    unreadable = {
        kind: [name for name in tags.raw_only.get(kind, ()) if name == UNREADABLE_PICTURE]
        for kind, _ in native
    }
    losses += raw_only_losses(unreadable, (), target)
    return blocks, losses + raw_only_losses(tags.raw_only, kinds, target)


def _further_blocks(tags: TagSet, written: Collection[str]) -> list[str]:
    """A sentence for each kind of which one block was written and others were not."""
    counts = {kind: sum(block.kind == kind for block in tags.raw) for kind in written}
    return [
        f"{n - 1} more {kind_name(kind)} of the source; it stays in the archive"
        for kind, n in counts.items()
        if n > 1
    ]


def _fitting(comments: list[bytes], room: int) -> list[bytes]:
    """Comments that take at most ``room`` bytes and can be read again: the longest are left out."""
    comments = comments[:MAX_ENTRIES]
    over = sum(4 + len(comment) for comment in comments) - room
    dropped = set()
    for index in sorted(range(len(comments)), key=lambda i: len(comments[i]), reverse=True):
        if over <= 0:
            break
        dropped.add(index)
        over -= 4 + len(comments[index])
    return [comment for index, comment in enumerate(comments) if index not in dropped]


def _native_comments(block: bytes, channels: int) -> list[bytes]:
    """The source's own comments, less those that do not belong into this FLAC file.

    Pictures in base64 become FLAC picture blocks. A channel mask of another number of channels than
    the file has would be wrong.
    """
    pictures = {span.start for span in picture_spans(block)}
    comments = []
    for start, end in split_comments(block)[1]:
        comment = block[start:end]
        key = comment_key(comment)
        if start + len(key) + 1 in pictures or is_picture_text(key, comment[len(key) + 1 :]):
            continue
        if key != CHANNEL_MASK_KEY or _n_channels(comment) == channels:
            comments.append(comment)
    return comments


def _n_channels(comment: bytes) -> int:
    try:
        return int(comment.partition(b"=")[2], 0).bit_count()
    except ValueError:
        return 0


def _picture_blocks(tags: TagSet) -> list[tuple[Picture, bytes]]:
    """Pictures to write as blocks, with their bodies, the source's own where it was kept."""
    exact = [(decode_flac_picture(block), block) for _, block in _readable(tags, "flac-picture")]
    blocks = []
    for picture in tags.pictures:
        raw = next((entry for entry in exact if entry[0] == picture), None)
        if raw:
            exact.remove(raw)
        blocks.append((picture, raw[1] if raw else encode_flac_picture(picture)))
    return blocks


def _write_wav(file: BinaryIO, tags: TagSet) -> list[str]:
    facts = read_wav_facts(file)
    if facts.has_tags:
        raise TagError("the file has tags already")
    chunks, losses = wav_chunks(tags, facts.sound)
    try:
        append_wav_chunks(file, facts, chunks)
    except TagError as error:
        return [_refused(error)]
    return losses


def wav_chunks(tags: TagSet, sound: SoundFacts) -> tuple[list[tuple[bytes, bytes]], list[str]]:
    """The chunks of ``tags``, (name, data), for a WAV file; a sentence for each loss."""
    native = _native_blocks(tags, *_ID3, "riff-info")
    info = native.get("riff-info")
    chunks = []
    got = TagView()
    try:
        id3, losses = _id3_tag(tags, native, sound.duration_ms, _WAV)
        if id3 is not None:
            chunks.append((b"id3 ", id3))
            got.merge(parse_id3v2(id3), same_family=True)
        if info is not None:
            chunks.append((b"LIST", info))
            got.merge(PARSERS["riff-info"](info), same_family=True)
    except TagError as error:
        return [], [_refused(error)]
    losses += losses_between(tags, got, _WAV)
    written = native.keys() - {"id3v1"}  # whose frames go into the ID3v2 tag
    losses += _further_blocks(tags, native.keys())
    return chunks, losses + raw_only_losses(tags.raw_only, written, _WAV)


def id3_for_mp3(tags: TagSet, duration_ms: int) -> tuple[bytes, list[str]]:
    """The ID3v2 tag for an MP3 file, empty where there is nothing to say; a sentence for each loss."""
    native = _native_blocks(tags, *_ID3)
    try:
        id3, losses = _id3_tag(tags, native, duration_ms, _MP3)
        got = parse_id3v2(id3) if id3 else TagView()
    except TagError as error:
        return b"", [_refused(error, _MP3)]
    losses += losses_between(tags, got, _MP3) + _further_blocks(tags, native.keys())
    written = native.keys() - {"id3v1"}  # whose frames go into the ID3v2 tag
    return id3 or b"", losses + raw_only_losses(tags.raw_only, written, _MP3)


def _refused(error: TagError, target: str = _WAV) -> str:
    return f"{target} cannot store the tags: {error.message}; they stay in the archive"


def _native_blocks(tags: TagSet, *kinds: str) -> dict[str, bytes]:
    """The source's blocks of the kinds that a file takes, the first of each kind.

    An ID3 tag that says otherwise than the tags together would win over them, so it is left out.
    """
    native = dict(reversed(_readable(tags, *kinds)))
    stated: set[str] = set()
    for kind in _ID3:
        if kind not in native:
            continue
        view = PARSERS[kind](native[kind])
        if all(
            name in stated or tags.fields.get(name, values) == values
            for name, values in view.fields.items()
        ):
            stated |= view.fields.keys()
        else:
            del native[kind]
    return native


def _id3_tag(
    tags: TagSet, native: dict[str, bytes], duration_ms: int, target: str
) -> tuple[bytes | None, list[str]]:
    """The ID3 tag for a file: the source's own, byte for byte, unless something is added to it.

    ID3v1 fields that an ID3v2 tag lacks are added as mutagen does on reading both.
    """
    v2, v1 = native.get("id3v2"), native.get("id3v1")
    known = TagView()
    for kind, block in native.items():
        known.merge(PARSERS[kind](block), same_family=True)
    extra = (
        bool(tags.fields.keys() - known.fields.keys())
        or len(tags.pictures) > len(known.pictures)
        or bool(tags.chapters and not known.chapters)
    )
    if not extra and (v1 is None or (v2 and load_id3(v2).keys() == load_id3(v2, v1).keys())):
        return v2, []
    source = load_id3(v2, v1) if v2 or v1 else ID3()
    frames = dict(source.items())
    add_view(source, tags, known, duration_ms)
    tag = save_id3(source)
    again = load_id3(tag)
    losses = [
        f"frame {key[:80]!r} is changed in {target}; the original stays in the archive"
        for key, frame in frames.items()
        if key not in again or vars(again[key]) != vars(frame)
    ]
    remaining = parse_id3v2(tag).raw_only
    lost = [name for name in tags.raw_only.get("id3v2", []) if name not in remaining]
    return tag, losses + raw_only_losses({"id3v2": lost}, (), target)
