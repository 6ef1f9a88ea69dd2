"""SPEC.md against the files: a reader that knows nothing but what stands there."""

import hashlib
import json
import math
import struct
from contextlib import suppress
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import pytest
import zstandard

from earzip.formats import tag_payload
from earzip.formats.archive import header, layout
from earzip.formats.archive.frames import DICTIONARY, MAX_FRAMES
from earzip.formats.archive.header import EXACT_FORMS
from earzip.formats.archive.layout import PartKind
from earzip.formats.archive.records import CheckRecord
from earzip.formats.geometry import MAX_CONTEXT_FRAMES, SAMPLE_RATE
from earzip.formats.symbols import levels, lists, rans, residuals, sparse, work
from earzip.formats.symbols.layout import CONTEXT, LEVELS, MAX_LEVELS, PACKED, SYMBOL_CODINGS, Told
from earzip.network import described, drawing, level_vae, onsets, short_transform, transform
from earzip.network import levels as network_levels
from earzip.network.config import LevelConfig
from tests.formats.archive.rules import tags
from tests.formats.archive.rules.registry import BREAKERS
from tests.formats.archive.samples import (
    BLOCKS,
    PICTURES,
    TAGS,
    Pieces,
    sample_header,
    symbols_of,
    write_sample,
)
from tests.formats.archive.spec_payload import check_payload
from tests.formats.symbols.spec_symbols import read_symbols

SPEC = files("earzip.formats").joinpath("SPEC.md").read_text("utf-8")


def spec_dictionary() -> bytes:
    block = SPEC.split("<!-- dictionary -->")[1].split("```")[1]
    return "".join(block.splitlines()).encode()


def test_the_dictionary_is_the_one_in_use() -> None:
    assert spec_dictionary() == DICTIONARY
    assert f"{len(DICTIONARY):,} bytes" in SPEC
    assert hashlib.sha256(DICTIONARY).hexdigest() in SPEC


def test_every_field_of_the_header_is_listed() -> None:
    members = json.loads(sample_header().to_bytes())
    names = {
        f"{record}.{key}" if isinstance(value, dict) else record
        for record, value in members.items()
        for key in (value if isinstance(value, dict) else [record])
    }
    header = SPEC.split("## Header")[1].split("## Symbols")[0]
    listed = {line.split("`")[1] for line in header.splitlines() if line.startswith("| `")}
    assert listed == names | {*("critical", "check", "exact", "pictures", "shared", "source.sound")}
    check = SPEC.split("## Check")[1].split("## Tags")[0]
    assert all(f"`{each.name}`" in check for each in fields(CheckRecord))
    assert f"`exact` | absent, {' or '.join(f'`{form}`' for form in EXACT_FORMS)} |" in SPEC


def test_numbers_of_the_specification_are_those_of_the_code() -> None:
    assert f"at most {layout.MAX_HEADER_BYTES >> 20} MiB" in SPEC
    assert f"{layout.MAX_INDEX_BYTES // 12:,} parts" in SPEC
    assert f"At most {layout.MAX_OTHER_PARTS:,} parts" in SPEC
    assert f"1 byte to {layout.MAX_TAGS_BYTES >> 20} MiB" in SPEC
    assert f"that is at most {layout.MAX_SEGMENT_BYTES >> 20} MiB" in SPEC
    assert header.MAX_SAMPLES == 2**36
    codings = " or ".join(f"`{coding}`" for coding in SYMBOL_CODINGS)
    assert f"| `symbols` | {codings} |" in SPEC
    assert f"`context-1` or `levels-1`, `core` is at most {MAX_CONTEXT_FRAMES:,}." in SPEC
    assert f"a segment is one to {MAX_FRAMES} in a row" in SPEC
    for kind in PartKind:
        assert f"| {kind.value} | {kind.name.lower()} |" in SPEC


def test_numbers_of_levels_are_those_of_the_code() -> None:
    text = SPEC.split("### levels-1")[1].split("\n## ")[0]
    for name, numbers in (("Z", residuals._ZEROS), ("P", residuals._POSITIVE)):
        assert f"{name}(0 … 15) = {', '.join(map(str, numbers))}\n" in text
        assert len(numbers) == 16
    edges = sparse._CLASS_EDGES.tolist()
    assert (
        f"The class is the number of those\nof {', '.join(map(str, edges))} that are at most s"
        in text
    )
    assert f"4 × {sparse.N_CLASSES} | how many non-zero" in text
    assert f"3 × {2 * sparse.N_CLASSES} | heads of {2 * sparse.N_CLASSES} lists" in text
    assert f"at least ⌈2 × N ÷ {lists._NUMBERS_A_LANE}⌉" in text
    assert lists.MAX_INTEGER == 2**22 - 1
    assert f"T − 1 may occur, T at most {lists._N_TOKENS}." in text
    assert f"O = {', '.join(map(str, lists._ODDS))} for A mod 4" in text
    assert f"min(h, {lists._SURE})" in text
    assert f"then A, 0 to {lists._N_STOPS - 1}, then B, 0 to {lists._N_CHANGES - 1}." in text
    assert f"G, the number of groups, 0 to {levels._MAX_GROUPS} |" in text
    assert f"channels, at most {MAX_LEVELS}." in text
    assert (
        f"L, the number of lanes, ⌈F ÷ {residuals._FRAMES_A_LANE}⌉ to {residuals.MAX_LANES} |"
        in text
    )
    least = int(rans._LEAST_STATE)
    assert f"each at least {least:,} |" in text
    assert f"if s < {least:,} now, s becomes {1 << int(rans._WORD_BITS):,} × s + the next" in text
    assert f"every state MUST be {least:,}." in text
    assert f"all add up to {rans.WHOLE}" in text
    assert 1 << int(rans._TABLE_BITS) == int(rans._SLOT) + 1 == rans.WHOLE
    assert text.count("s mod 4096") == 2
    assert f"for each y from −{residuals.REACH} to {residuals.REACH}." in text
    assert f"⌊t(m) × ({residuals._DECAYS} − d) ÷ {residuals._DECAYS}⌋" in text
    assert f"x + b if b is {levels._LARGE} and more or −{levels._LARGE} and less" in text
    assert f"⌈{3 * levels._N_CLASSES} × G ÷ 2⌉ | tables, seven a group" in text
    heads, classes = (
        [cell.strip() for cell in row.split("|")[2:-1]]
        for row in text.splitlines()
        if row.startswith(("| b |", "| class |"))
    )
    class_of: dict[str, int] = {}
    for head, number in zip(heads, classes, strict=True):
        of_class = head.removesuffix(" and less").removesuffix(" and more").split(", ")
        class_of |= dict.fromkeys(of_class, int(number))
    named = [str(b).replace("-", "−") for b in range(-levels._LARGE, levels._LARGE + 1)]
    assert [class_of[name] for name in named] == levels._CLASS_OF.tolist()
    assert len(class_of) == len(named)
    assert max(class_of.values()) + 1 == levels._N_CLASSES
    kinds = [row.split("|")[1].strip() for row in text.split("| kind |")[1].splitlines()[2:5]]
    assert kinds == [str(each.value) for each in Told]


def spec_number(number: float) -> str:
    """Return a number as SPEC.md writes it."""
    exponent = round(math.log10(abs(number))) if number else 0
    if abs(exponent) >= 8 and math.isclose(number, 10.0**exponent):
        return f"10^{exponent}"
    return f"{number:g}".replace("-", "−")


def test_numbers_of_the_decoder_of_mini_2_are_those_of_the_code() -> None:
    text = " ".join(SPEC.split("## The decoder of `mini-2`")[1].split("\n## ")[0].split())
    of_mini = " ".join(SPEC.split("## The decoder of `mini`")[1].split("\n## ")[0].split())
    vae, bands = level_vae, network_levels
    floor, least = spec_number(short_transform.FLOOR), spec_number(described.ENERGY_FLOOR)
    number = spec_number

    assert f"e(0 … L) = {', '.join(map(str, short_transform.EDGES))}, band i" in text
    *begins, end = short_transform.ATTACK_EDGES
    assert f"begin at bins {', '.join(map(str, begins))}; the last ends with bin {end - 1}." in text
    assert f"the number of those of {', '.join(map(str, begins[1:]))} that are at most" in text
    size = short_transform.SIZE
    assert f"has the {size} samples x(0) … x({size - 1}) from {short_transform.HOP} × j on" in text
    assert f"M = N ÷ {short_transform.HOP}." in text
    assert text.count(f"is above {number(bands.TONAL_STEP / 2)}") == 2
    assert f"all divided by {number(vae._SEEN_DB)}, then tonal" in text
    assert f"short, divided by {number(bands.TONAL_STEP)}." in text
    assert f"`level_mean_db`)) − {floor}, or 0 if that is {floor} or less" in text
    assert f"divided by {number(vae._TONAL_FINENESS)} in bins of tonal bands" in text
    assert f"(p + {least}) ÷ (q + {least})" in text
    assert f"max(0, v − coded) + {number(described._LEAST_MISSING)} × v + {least}." in text
    assert f"over a band's bins, plus {least}." in text
    low, high = map(number, described._DRAWN_RANGE)
    assert (
        f"clip(gain, {low}, {high}) − {number(-described._TONAL_DRAWN)} if the band is tonal"
        in text
    )
    assert f"((wanted + {floor}) ÷ (own + {floor})) goes by {number(bands.PLAY_DB)} towards" in text
    low, high = map(number, bands._HOLD_RANGE_DB)
    most = number(bands._MOST_TONAL_HOLD_DB)
    assert f"y = clip(x, {low}, {high}), in tonal bands at most {most}." in text
    assert f"× s̄ + {floor}) ÷ (s + {floor}))" in text
    half = short_transform.HOP // 2
    assert f"over n from −{half} to {half}" in text
    assert f"z = {number(2 * onsets._TREBLE_HZ)} × n ÷ {SAMPLE_RATE:,}" in text
    assert f"in step k of {onsets.ONSET_HOP} samples" in text
    assert f"N ÷ {onsets.ONSET_HOP} + clip({vae._PARTS} × onset block + onset part, 0" in text
    assert f"mean of q(k) … q(k + {onsets._ONSET_AFTER - 1})" in text
    assert onsets._ONSET_HUSHED == 6
    assert "each of the six steps before k" in text
    assert f"a ÷ (q + {floor}) is below {number(onsets._HUSHED_BELOW)}." in text
    assert f"the {onsets._RAMP + 1} samples around it" in text

    assert drawing.GATE_RANGE == transform._GATE_RANGE
    low, high = map(number, drawing.GATE_RANGE)
    sure = number(round(math.log(transform.SURE_SHARE), 6))
    assert f"open = max(exp(clip(gate, {low}, {high})), exp({sure})" in of_mini
    assert f"max(0, 1 − {number(transform._DOUBT)} × s" in of_mini


def test_the_order_of_latents_of_mini_2_is_that_of_the_code() -> None:
    text = SPEC.split("## The decoder of `mini-2`")[1].split("\n- ")[0]
    rows = [row.split("|")[1:-1] for row in text.splitlines() if row.startswith("| ")][1:]
    c = LevelConfig()
    sizes = {"B": c.n_bins, "L": c.n_levels, "L ÷ 2": c.n_levels // 2, "5 × M": 5 * c.n_blocks}
    said = [sizes.get(size, 1) for numbers, _ in rows for size in numbers.strip().split(", then ")]
    *rest, onset_block, onset_part = (n for kind, n in c.layout.items() if kind != "coefficients")
    assert said == [c.n_bins, c.n_bins, *rest, onset_block, onset_part]
    names = " ".join(what for _, what in rows).replace("onset ", "onset_")
    assert [
        kind for kind in names.replace(":", " ").replace(",", " ").split() if kind in c.layout
    ] == [*c.layout]


def test_the_version_is_the_newest_of_the_table() -> None:
    version = f"{layout.MAJOR_VERSION}.{layout.MINOR_VERSION}"
    assert SPEC.startswith(f"# The earzip archive, version {version}\n")
    table = SPEC.split("| version | earzip |")[1].split("\n\n")[0]
    assert table.splitlines()[-1].startswith(f"| {version} |")


def spec_frames(stored: bytes) -> list[bytes]:
    """Return what each of the zstd frames of a segment holds."""
    frames = []
    while stored:
        assert stored.startswith(b"\x28\xb5\x2f\xfd")
        assert stored[4] & 0b11111 == 0
        n_bytes = zstandard.frame_content_size(stored)
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        frames.append(decompressor.decompress(stored))
        assert decompressor.eof
        assert len(frames[-1]) == n_bytes > 0
        stored = decompressor.unused_data
    return frames


@pytest.mark.parametrize(
    ("shape", "several"),
    [
        ({"n_samples": 8192}, False),
        ({"n_samples": 300 * 1024, "n_latents": 200, "core": 150}, True),
    ],
    ids=["small", "large"],
)
@pytest.mark.parametrize(
    ("symbols", "version"), [(PACKED, (1, 0)), (CONTEXT, (1, 1)), (LEVELS, (1, 3))]
)
def test_a_reader_written_from_the_specification_reads_an_archive(
    symbols: str,
    version: tuple[int, int],
    shape: dict[str, int],
    several: bool,
    tmp_path: Path,
) -> None:
    path = tmp_path / "song.earz"
    expected = sample_header(**shape, symbols=symbols)
    write_sample(path, expected)
    data = path.read_bytes()

    prepared = zstandard.ZstdCompressionDict(
        spec_dictionary(), dict_type=zstandard.DICT_TYPE_RAWCONTENT
    )
    with_dictionary = zstandard.ZstdDecompressor(dict_data=prepared)

    def check(stored: bytes, checksum: bytes) -> bytes:
        assert hashlib.sha256(stored).digest()[:8] == checksum
        return stored

    assert data[:8] == bytes.fromhex("89 45 41 52 5A 0D 0A 1A")
    check(data[:44], data[44:52])
    major, minor = struct.unpack_from("<HH", data, 8)
    assert (major, minor) == version
    (n_header,) = struct.unpack_from("<I", data, 12)
    (n_file,) = struct.unpack_from("<Q", data, 16)
    (n_index,) = struct.unpack_from("<I", data, 24)
    assert n_file == len(data)
    stored_header = check(data[52 : 52 + n_header], data[28:36])
    index = check(data[52 + n_header : 52 + n_header + n_index], data[36:44])
    header = json.loads(with_dictionary.decompress(stored_header))

    offset = 52 + n_header + n_index
    parts: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
    for i in range(0, n_index, 12):
        (word,) = struct.unpack_from("<I", index, i)
        stored = data[offset : offset + (word & 0x0FFFFFFF)]
        parts[word >> 28].append(check(stored, index[i + 4 : i + 12]))
        offset += len(stored)
    assert offset == n_file

    geometry = header["geometry"]
    frames = -(-(header["samples"] + 2 * geometry["lead"]) // geometry["hop"])
    assert len(parts[1]) == -(-frames // geometry["core"])
    n_zstd_frames = []
    for i, stored in enumerate(parts[1]):
        zstd_frames = spec_frames(stored)
        n_zstd_frames.append(len(zstd_frames))
        raw = b"".join(zstd_frames)
        n_frames = min(geometry["core"], frames - i * geometry["core"])
        integers = read_symbols(raw, header["symbols"], header["model"]["latents"], n_frames)
        assert integers == symbols_of(expected, i).tolist()
    assert (max(n_zstd_frames) > 1) is several
    assert max(n_zstd_frames) <= (17 if symbols == PACKED else 64)
    base = header["quantizer"]["base"]
    steps = bytes.fromhex(header["quantizer"]["steps"])
    assert tuple(base + step for step in steps) == expected.quantizer.step_exponents

    spec_tag_part(with_dictionary.decompress(parts[2][0]), parts[3])


def spec_tag_part(raw: bytes, stored: list[bytes]) -> None:
    (n_json,) = struct.unpack_from("<I", raw)
    members = json.loads(raw[4 : 4 + n_json])
    check_payload(members["payload"], BLOCKS, PICTURES)
    assert members["payload"] == TAGS
    rest = raw[4 + n_json :]
    for size, block in zip(members["blocks"], BLOCKS, strict=True):
        assert rest[:size] == block
        rest = rest[size:]
    assert rest == b""
    assert [stored[i] for i in members["pictures"]] == PICTURES


def spec_tags(pieces: Pieces) -> tuple[object, list[bytes], list[bytes]]:
    """Return payload, blocks and pictures of an archive whose tag part is right around them."""
    raw = zstandard.ZstdDecompressor().decompress(dict(pieces.parts)[2])
    (n_json,) = struct.unpack_from("<I", raw)
    members = json.loads(raw[4 : 4 + n_json])
    blocks, at = [], 4 + n_json
    for size in members["blocks"]:
        blocks.append(raw[at : at + size])
        at += size
    assert at == len(raw)
    stored = [part for kind, part in pieces.parts if kind == 3]
    return members["payload"], blocks, [stored[i] for i in members["pictures"]]


def test_a_reader_of_tags_written_from_the_specification_refuses_what_earzip_does(
    tmp_path: Path,
) -> None:
    write_sample(tmp_path / "whole.earz")
    breakers = {name: each for name, each in BREAKERS.items() if each.section == "Payload"}
    assert len(breakers) > 150
    taken = []
    for name, breaker in breakers.items():
        pieces = Pieces.of(tmp_path / "whole.earz")
        breaker.make(pieces)
        with suppress(AssertionError, KeyError, TypeError):
            check_payload(*spec_tags(pieces))
            taken.append(name)
    assert taken == []
    pieces = Pieces.of(tmp_path / "whole.earz")
    tags.put(pieces, tags.good())
    check_payload(*spec_tags(pieces))


def test_numbers_of_tags_and_work_are_those_of_the_code() -> None:
    assert f"Pictures take at most {tag_payload.MAX_PICTURE_BYTES >> 20} MiB" in SPEC
    assert f"put back take at most {tag_payload.MAX_BLOCK_BYTES >> 20} MiB" in SPEC
    assert f"A block has at most {tag_payload.MAX_CUTS:,} cuts" in SPEC
    assert f"all blocks together {tag_payload.MAX_ALL_CUTS:,}" in SPEC
    assert f"at most {tag_payload.MAX_VALUES:,}\n  strings in the lists" in SPEC
    assert f"At most {tag_payload.MAX_CHAPTERS:,} chapters" in SPEC
    assert f"`blocks` | list of at most {tag_payload.MAX_BLOCKS:,} sizes" in SPEC
    assert f"`pictures` | list of at most {tag_payload.MAX_PICTURES:,} numbers" in SPEC
    assert tag_payload.MAX_MS == 2**53
    assert f"zeros if `samples` is below {header.MIN_EDGED_SAMPLES}" in SPEC
    assert f"at most {work.FREE_UNITS:,} + {work.UNITS_A_BYTE:,} × file size" in SPEC
    a_segment = f"{work._SEGMENT_UNITS:,} + ⌊latents × F ÷ {work._INTEGERS_A_UNIT}⌋"
    assert f"| a segment | {a_segment} |" in SPEC
    frame = f"{work._CONTEXT_FRAME_UNITS} + ⌈C ÷ {work._CONTEXT_CHANNELS_A_UNIT}⌉"
    assert f"each frame | {frame}, where" in SPEC
    assert f"| {work._LISTS_UNITS:,} + {work._LEVEL_UNITS:,} × (latents − S)" in SPEC
    assert f"| {work._PASS_UNITS} + ⌈k ÷ {work._PASS_CHANNELS_A_UNIT}⌉ |" in SPEC
    assert f"| the lists | {work._STEP_UNITS} × ⌈2 × N ÷ lanes⌉ |" in SPEC


@pytest.mark.parametrize("heading", ["Symbols", "From latents to sound", "Dictionary"])
def test_headings_that_others_point_to_are_there(heading: str) -> None:
    assert f"\n## {heading}\n" in SPEC
