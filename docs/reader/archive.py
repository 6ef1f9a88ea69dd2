"""Reads archives as SPEC.md describes them: the header, parts, and latents of the sound.

With numpy and zstandard alone. Words in brackets are headings of SPEC.md.
"""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import zstandard
from levels import read_levels


def read_archive(path, specification):
    """Return the header, and the stored bytes of parts by their kind [Layout, Prefix, Index]."""
    data = Path(path).read_bytes()
    require(len(data) > 52, "not an archive")
    magic, major, _, n_header, n_file, n_index = struct.unpack_from("<8sHHIQI", data)
    require(magic == b"\x89EARZ\r\n\x1a" and checksum(data[:44]) == data[44:52], "not an archive")
    require(major == 1 and n_file == len(data), "another version, or cut short")
    stored, index = data[52 : 52 + n_header], data[52 + n_header : 52 + n_header + n_index]
    require(checksum(stored) == data[28:36] and checksum(index) == data[36:44], "damaged")
    text = Path(specification).read_text("utf-8").split("<!-- dictionary -->")[1].split("```")[1]
    dictionary = zstandard.ZstdCompressionDict(
        "".join(text.splitlines()).encode(), dict_type=zstandard.DICT_TYPE_RAWCONTENT
    )
    header = json.loads(zstandard.ZstdDecompressor(dict_data=dictionary).decompress(stored))
    unknown = set(header.get("critical", [])) - {"shared"}
    require(not unknown, f"critical and unknown: {', '.join(sorted(unknown))}")  # [Versions]
    parts, at = {kind: [] for kind in range(16)}, 52 + n_header + n_index
    for word, expected in struct.iter_unpack("<I8s", index):
        part = data[at : at + (word & 0x0FFFFFFF)]
        require(checksum(part) == expected, f"part at byte {at} is damaged")
        parts[word >> 28].append(part)
        at += len(part)
    if parts[2]:  # [Tags]: their frame is compressed as the header is
        parts[2] = [zstandard.ZstdDecompressor(dict_data=dictionary).decompress(parts[2][0])]
    return header, parts


def read_pictures(path, header, parts):
    """Yield the bytes of each picture of the tags, or why they are not there [Tags, Shared pictures]."""
    if not parts[2]:
        return
    stored = list(parts[3])
    for each in header.get("shared", []):
        file = Path(path).with_name(f"{each['sha256']}.earzpic")
        data = file.read_bytes() if file.is_file() else b""
        is_right = hashlib.sha256(data).hexdigest() == each["sha256"]
        stored.append(data if is_right else f"{file.name} is missing or damaged")
    (n_json,) = struct.unpack_from("<I", parts[2][0])
    for number in json.loads(parts[2][0][4 : 4 + n_json])["pictures"]:
        yield stored[number]


def require(is_right, problem):
    """End with a sentence unless all is right."""
    if not is_right:
        raise SystemExit(problem)


def checksum(stored):
    """Return the checksum of stored bytes [Words]."""
    return hashlib.sha256(stored).digest()[:8]


class Raw:
    """The raw bytes of a segment, taken from their beginning [Zstd frames]."""

    def __init__(self, stored):
        self.data = b""
        while stored:
            frame = zstandard.ZstdDecompressor().decompressobj()
            self.data += frame.decompress(stored)
            stored = frame.unused_data

    def take(self, n, dtype="u1"):
        """Return the next n numbers."""
        size = n * np.dtype(dtype).itemsize
        taken, self.data = self.data[:size], self.data[size:]
        return np.frombuffer(taken, dtype).astype(np.int64)

    def bits(self, n):
        """Return the next n bits, those of a byte from the lowest."""
        return np.unpackbits(self.take(-(-n // 8)).astype("u1"), count=n, bitorder="little")

    def sums(self, n, n_full):
        """Return n numbers, each so many bytes FF and one byte less than that [context-1]."""
        data = self.take(n + n_full)
        ends = np.flatnonzero(data != 255)
        return data[ends] + 255 * np.diff(ends, prepend=-1) - 255


def read_packed(raw, n_channels, n_frames):
    """Return the integers [channels, frames] of [packed-1]."""
    packings = raw.take(int(raw.take(1)[0]))
    group_of = raw.take(n_channels)
    n_outliers = int(raw.take(1, "<u4")[0])
    places, excess = np.cumsum(raw.take(n_outliers, "<u4")), raw.take(n_outliers, "<i2")
    q = np.zeros((n_channels, n_frames), np.int64)
    for group, packing in enumerate(packings):
        base, a_byte = ((3, 5), (5, 3), (7, 2), (15, 2), (255, 1))[packing]
        for channel in np.flatnonzero(group_of == group):
            data = raw.take(-(-n_frames // a_byte))
            digits = data[:, None] // base ** np.arange(a_byte) % base
            q[channel] = digits.ravel()[:n_frames] - base // 2
    q.reshape(-1)[places] += excess
    return q


def read_context(raw, n_channels, n_frames):
    """Return the integers [channels, frames] of [context-1]."""
    n_sparse = int(raw.take(1, "<u2")[0])
    sounds = np.flatnonzero(raw.bits(n_sparse))
    counts = raw.take(9, "<u4")
    heads = [(int(raw.take(1)[0]), int(raw.take(1, "<u4")[0])) for _ in range(18)]
    lists = []
    for n, (form, c) in zip([*counts, *counts], heads, strict=True):
        packed = (
            (raw.take(-(-n // 4))[:, None] >> np.array([0, 2, 4, 6]) & 3).ravel()[:n] if form else 0
        )
        lists.append(packed if form else raw.sums(n, c))
    for numbers, (form, c) in zip(lists, heads, strict=True):
        if form:
            numbers[numbers == 3] += raw.sums(int((numbers == 3).sum()), c)
    negative, size = raw.bits(int(counts.sum())), len(sounds) * n_frames
    streams = []  # of each class: all its integers, in order
    for runs, magnitudes in zip(lists[:9], lists[9:], strict=True):
        own, negative = negative[: len(runs)], negative[len(runs) :]
        streams.append(np.zeros(size, np.int64))
        streams[-1][np.cumsum(runs + 1) - 1] = (magnitudes + 1) * (1 - 2 * own.astype(np.int64))
    q, used = np.zeros((n_frames, len(sounds)), np.int64), [0] * 9
    a, m = np.zeros((n_frames + 2, len(sounds) + 4), np.int64), np.zeros(len(sounds), np.int64)
    for f in range(n_frames):
        two, one, now = a[f], a[f + 1], a[f + 2]  # two channels of zeros on each side
        s = m // 32 + 2 * one[:-4] + 4 * one[1:-3] + 8 * one[2:-2] + 4 * one[3:-1] + 2 * one[4:]
        s += 2 * two[1:-3] + 4 * two[2:-2] + 2 * two[3:-1]
        for first in (0, 1):
            if first:
                s += 6 * (now[1:-3] + now[3:-1])
            classes = np.digitize(s[first::2], [1, 3, 6, 12, 22, 36, 60, 120])
            for k in range(9):
                here = np.flatnonzero(classes == k) * 2 + first
                q[f, here] = streams[k][used[k] : used[k] + len(here)]
                used[k] += len(here)
            now[2:-2] = np.minimum(np.abs(q[f]), 15)
        m += 16 * (now[1:-3] + 2 * now[2:-2] + now[3:-1]) - m // 16
    integers = np.zeros((n_channels, n_frames), np.int64)
    integers[sounds] = q.T
    if n_sparse < n_channels:
        integers[n_sparse:] = read_packed(raw, n_channels - n_sparse, n_frames)
    return integers


def read_latents(header, segments):
    """Return the latents [channels, frames] of all segments [From latents to sound]."""
    geometry, n_channels, n_samples = (
        header["geometry"],
        header["model"]["latents"],
        header["samples"],
    )
    core = geometry["core"]
    n_frames = -(-(n_samples + 2 * geometry["lead"]) // geometry["hop"]) if n_samples else 0
    digits = np.frombuffer(bytes.fromhex(header["quantizer"]["steps"]), "u1")
    steps = np.exp2((header["quantizer"]["base"] + digits.astype(float)) / 16).astype(np.float32)
    codings = {"packed-1": read_packed, "context-1": read_context, "levels-1": read_levels}
    require(header["symbols"] in codings, "another symbol coding")
    read = codings[header["symbols"]]
    n_segments = -(-n_frames // core)
    found = f"segments in the archive: {len(segments)}, expected {n_segments}"
    require(len(segments) == n_segments, found)
    latents = [np.zeros((n_channels, 0), np.float32)]
    for i, stored in enumerate(segments):
        raw = Raw(stored)
        q = read(raw, n_channels, min(core, n_frames - i * core))
        require(not raw.data, f"segment {i} has bytes left over")
        latents.append(q.astype(np.float32) * steps[:, None])
    return np.concatenate(latents, 1)
